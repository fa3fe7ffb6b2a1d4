"""Values by which clients say nothing: the answer is that without them. What has no such meaning is refused, with what has.

   nothing.py URL SCRIPT PID
"""

import sys

from raw import Server, check

server = Server(sys.argv[1], sys.argv[3])
CHAT, OLD, CLAUDE = "/v1/chat/completions", "/v1/completions", "/v1/messages"
USER = {"role": "user", "content": "hello"}
NO_BOUND = {"temperature": 0, "stop_token_ids": [10]}  # of a random model every answer is long: 4096 tokens, or the context
BODIES = {CHAT: {"messages": [USER]}, OLD: {"prompt": "hello"}, CLAUDE: {"messages": [USER], "max_tokens": 9}}


def said(path, body):
    status, answer = server.ask("POST", path, body)
    check(status == 200, path, body, answer)
    what = answer["content"] if path == CLAUDE else [one.get("message") or one["text"] for one in answer["choices"]]
    return what, answer["usage"].get("prompt_tokens"), answer["usage"].get("completion_tokens", answer["usage"].get("output_tokens"))


def refused(path, body, *words):
    status, answer = server.ask("POST", path, body)
    check(status == 400, path, body, status, answer)
    for word in words:
        check(word in answer["error"]["message"], word, answer)


for path, body in BODIES.items():
    greedy = {**body, "temperature": 0, "max_tokens": 9}
    plain = said(path, greedy)
    check(plain[2] == 9, plain)
    for more in ({"stop": ""}, {"stop": []}, {"stop": [""]}, {"stop": None}, {"seed": -1}, {"seed": -7}, {"logprobs": False}):
        check(said(path, {**greedy, **more}) == plain, path, more)
    for top_p in (0, 1e-300):
        check(said(path, {**greedy, "temperature": 2, "top_p": top_p, "seed": 5}) == plain, path, top_p)
    refused(path, {**body, "top_p": -0.1}, "top_p is -0.1: it must be between 0 and 1")
    refused(path, {**body, "stop": ["x", 1]}, "stop: a stop text is a string")
    for n in (0, -2):
        refused(path, {**body, "max_tokens": n}, f"max_tokens is {n}", "-1")

# A random seed is another each time; any other number is a seed, also one below 0.
hot = {**BODIES[OLD], "temperature": 2, "max_tokens": 9}
check(said(OLD, {**hot, "seed": -1}) != said(OLD, {**hot, "seed": -1}))
check(said(OLD, {**hot, "seed": -7}) == said(OLD, {**hot, "seed": -7}) != said(OLD, {**hot, "seed": 7}))

# No bound of the client's is as many tokens as where it gives none.
for path in (CHAT, OLD):
    plain = said(path, {**BODIES[path], **NO_BOUND})
    check(plain[2] > 20, plain)
    for more in ({"max_tokens": -1}, {"max_tokens": -1.0}, {"max_completion_tokens": -1}, {"max_tokens": -1, "n_predict": -1}, {"max_new_tokens": -1.0}):
        check(said(path, {**BODIES[path], **NO_BOUND, **more}) == plain, path, more)
refused(CLAUDE, {**BODIES[CLAUDE], "max_tokens": -1}, "max_tokens: this API needs it")
check(said(CHAT, {**BODIES[CHAT], "temperature": 0, "max_tokens": 3, "max_completion_tokens": -1})[2] == 3)
refused(OLD, {**BODIES[OLD], "logprobs": True}, "logprobs is true", "0 to 20")
status, answer = server.ask("POST", CLAUDE, {**BODIES[CLAUDE], "stop": [], "stop_sequences": ["x"]})
check(status == 200, answer)


def talk(*messages):
    return said(CHAT, {"messages": messages, "temperature": 0, "max_tokens": 5})


# A message with nothing in it is as if it were not there; who asks says something.
plain = talk(USER, USER)
for nothing in ({"content": None}, {}, {"content": ""}, {"content": []}, {"content": None, "tool_calls": []},
                {"content": None, "tool_calls": None, "function_call": None, "audio": None, "refusal": None}):
    check(talk(USER, {"role": "assistant", **nothing}, USER) == plain, nothing)
    check(talk({**USER, "tool_calls": []}, {"role": "assistant", **nothing}, {**USER, "tool_calls": []}) == plain, nothing)
check(talk(USER, {"role": "tool", "content": None}, USER) == talk(USER, {"role": "tool", "content": ""}, USER))
for role in ("user", "system", "developer"):
    refused(CHAT, {"messages": [{"role": role, "content": None}, USER]}, "messages[0] has no content")
    refused(CHAT, {"messages": [{"role": role, "content": None, "tool_calls": []}, USER]}, "messages[0] has no content")
refused(CHAT, {"messages": [{**USER, "tool_calls": [{}]}]}, "messages[0]: only an assistant's")
refused(CHAT, {"messages": [{"role": "assistant", "content": None, "audio": {"id": "x"}}, USER]}, "messages[0]: audio")

# What is said by other names is there.
said_no = {"role": "assistant", "content": None, "refusal": "No."}
check(talk(USER, said_no, USER) == talk(USER, {"role": "assistant", "content": "No."}, USER) != plain)
call = {"name": "f", "arguments": "{}"}
older = {"role": "assistant", "content": None, "function_call": call}
newer = {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function", "function": call}]}
check(talk(USER, older, USER) == talk(USER, newer, USER) != plain)

# To go on with an answer of nothing is to begin one.
for begun in ("", None):
    more = {"continue_final_message": True, "add_generation_prompt": False, "temperature": 0, "max_tokens": 5}
    check(said(CHAT, {"messages": [USER, {"role": "assistant", "content": begun}], **more}) == talk(USER), begun)
begun = {**BODIES[CLAUDE], "temperature": 0}
check(said(CLAUDE, {**begun, "messages": [USER, {"role": "assistant", "content": ""}]}) == said(CLAUDE, begun))
