"""Fields that ask for what would change an answer and is not there: refused by name, by every API; with values that
change nothing they are taken.

   absent.py URL SCRIPT PID
"""

import sys

from raw import Server, check

server = Server(sys.argv[1], sys.argv[3])
CHAT = "/v1/chat/completions"
SCHEMA = {"type": "object"}
CHANGES = {
    "guided_json": SCHEMA, "guided_regex": "a+", "guided_choice": ["a", "b"], "guided_grammar": "root ::= x",
    "structured_outputs": {"json": SCHEMA}, "json_schema": {}, "grammar": "root ::= x", "functions": [{"name": "f"}],
    "function_call": {"name": "f"}, "audio": {"voice": "x"}, "web_search_options": {}, "mcp_servers": [{"name": "x"}],
    "modalities": ["text", "audio"],
    "documents": [{"text": "x"}], "chat_template": "{{ x }}", "bad_words": ["x"], "allowed_token_ids": [1],
    "use_beam_search": True, "include_stop_str_in_output": True, "truncate_prompt_tokens": 3, "prompt_logprobs": 0,
    "return_tokens_as_token_ids": True, "return_token_ids": True, "max_new_tokens": 3, "n_predict": 3, "extra_body": {"top_k": 1},
    "response_format": {"type": "json_object", "schema": SCHEMA},
    "repeat_penalty": 1.1, "no_repeat_ngram_size": 3, "num_beams": 4,
    "top_a": 0.2, "tfs_z": 0.9, "logits_processors": ["x"],
    "typical_p": 0.9, "typ_p": 0.9, "mirostat": 2, "dynatemp_range": 0.5, "dry_multiplier": 0.8, "xtc_probability": 0.5,
    "thinking": {"type": "always"}, "reasoning_effort": "lots", "verbosity": "low", "reasoning": {"effort": 3}, "enable_thinking": True,
    "skip_special_tokens": False, "best_of": 2}
NOTHING = {
    "guided_json": None, "grammar": "", "functions": [], "documents": [], "bad_words": [], "use_beam_search": False,
    "extra_body": {}, "structured_outputs": {}, "max_new_tokens": 1, "n_predict": -1, "mirostat": 0, "typ_p": 1,
    "presence_penalty": 0, "repetition_penalty": 1, "repeat_penalty": 1.0, "no_repeat_ngram_size": 0,
    "num_beams": 1, "top_a": 0, "tfs_z": 1, "logits_processors": [], "min_p": 0.0, "min_tokens": 0, "logit_bias": {},
    "skip_special_tokens": True, "modalities": ["text"], "audio": None, "function_call": "none", "add_generation_prompt": True,
    "chat_template_kwargs": {"enable_thinking": False}, "thinking": {"type": "disabled"}, "reasoning_effort": "none",
    "reasoning": {"enabled": False}, "enable_thinking": False, "verbosity": "medium"}
# How much to think is a bound, which clients send to every model, and one that thinks nothing keeps to it.
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
BOUNDS = ([{"thinking": {"type": "enabled", "budget_tokens": 31999}}, {"thinking": {"type": "adaptive", "display": "omitted"}},
           {"thinking": None, "reasoning": {"enabled": True}}, {"reasoning": {"max_tokens": 2000, "exclude": True}}]
          + [{"reasoning_effort": effort, "reasoning": {"effort": effort}, "output_config": {"effort": effort}} for effort in EFFORTS])
MESSAGES = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 1}
BODIES = {CHAT: MESSAGES, "/v1/messages": MESSAGES, "/v1/completions": {"prompt": "hello", "max_tokens": 1}}
for path, body in BODIES.items():
    for name, value in CHANGES.items():
        status, answer = server.ask("POST", path, {**body, name: value})
        check(status == 400 and answer["error"]["message"].startswith(name), path, name, status, answer)
    status, answer = server.ask("POST", path, {**body, **NOTHING})
    check(status == 200, path, status, answer)
    status, answer = server.ask("POST", path, {**body, "ignore_eos": True, "min_tokens": 1})
    check(status == 200, path, status, answer)

    plain = server.ask("POST", path, {**body, "temperature": 0})[1]
    for bound in BOUNDS:
        status, answer = server.ask("POST", path, {**body, "temperature": 0, **bound})
        check(status == 200 and [answer.get(name) for name in ("choices", "content")]
              == [plain.get(name) for name in ("choices", "content")], path, bound, answer)

for value in ({"type": "maybe"}, {}, True, "disabled", {"type": None}):
    status, answer = server.ask("POST", "/v1/messages", {**MESSAGES, "thinking": value})
    check(status == 400 and 'or {"type": "disabled"}' in answer["error"]["message"], value, answer)
for effort in ("much", 3, {}):
    status, answer = server.ask("POST", "/v1/messages", {**MESSAGES, "output_config": {"effort": effort}})
    check(status == 400 and answer["error"]["message"].startswith("output_config.effort"), effort, answer)

# do_sample false is temperature 0.
LONGER = {**BODIES["/v1/completions"], "max_tokens": 8, "temperature": 2}
greedy, sampled = ([server.ask("POST", "/v1/completions", {**LONGER, **how, "seed": 3})[1]["choices"][0]["text"]
                    for how in pair] for pair in (({"do_sample": False}, {"temperature": 0}), ({}, {"do_sample": True})))
check(greedy[0] == greedy[1] and sampled[0] == sampled[1] != greedy[0], greedy, sampled)

# A tool that its own server would run.
status, answer = server.ask("POST", "/v1/messages", {**MESSAGES, "tools": [{"type": "web_search_20250305", "name": "web_search"}]})
check(status == 400 and 'tools[0] is of type "web_search_20250305"' in answer["error"]["message"], answer)
for tool in ({}, {"type": "custom"}, {"type": None}):
    status, answer = server.ask("POST", "/v1/messages", {**MESSAGES, "tools": [{**tool, "name": "f", "input_schema": SCHEMA}]})
    check(status == 200, tool, answer)
for name, value in (("add_generation_prompt", False), ("echo", True)):
    status, answer = server.ask("POST", CHAT, {**MESSAGES, name: value})
    check(status == 400 and answer["error"]["param"] == name, name, status, answer)
