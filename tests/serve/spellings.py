"""What clients spell in another way is what it means: the answer is that to the usual spelling. What is near it is refused.

   spellings.py URL SCRIPT PID
"""

import sys

from raw import Server, check

server = Server(sys.argv[1], sys.argv[3])
CHAT, CLAUDE = "/v1/chat/completions", "/v1/messages"
USER = {"role": "user", "content": "hello"}
HOW = {"messages": [USER], "temperature": 0, "max_tokens": 5}
TOOLS = [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in ("get", "put")]


def ask(path, **more):
    status, answer = server.ask("POST", path, {**HOW, **more})
    check(status == 200, path, more, answer)
    usage = answer["usage"]
    if path == CLAUDE:
        return answer["content"], usage["input_tokens"] + usage["cache_read_input_tokens"]
    choice = answer["choices"][0]
    calls = [call["function"] for call in choice["message"].get("tool_calls", [])]
    return choice["message"]["content"], calls, usage["prompt_tokens"], usage["completion_tokens"]


def refused(path, words, **more):
    status, answer = server.ask("POST", path, {**HOW, **more})
    check(status == 400 and words in answer["error"]["message"], words, status, answer)


# Whole numbers of languages that have one kind of number.
HOT = {"temperature": 2, "seed": 7, "top_k": 9}
check(ask(CHAT, **HOT, max_tokens=4.0) == ask(CHAT, **{**HOT, "seed": 7.0, "top_k": 9e0}, max_tokens=4, n=1.0))
for value in (4.5, -2.0, 1e300, 9007199254740994.0, "4"):
    refused(CHAT, "max_tokens", max_tokens=value)

# Ids too.
OLD = {"temperature": 0, "max_tokens": 9, "ignore_eos": True}
_, plain = server.ask("POST", "/v1/completions", {**OLD, "prompt": [9, 8], "stop_token_ids": [5]})
_, reals = server.ask("POST", "/v1/completions", {**OLD, "prompt": [9.0, 8], "stop_token_ids": [5.0]})
check(reals["choices"] == plain["choices"], plain, reals)
for ids in ([9, 8.5], [9, -1.0], [9, 1e300], [9, "8"]):
    refused("/v1/completions", "prompt[1] is no id", prompt=ids)
    refused(CHAT, "stop_token_ids[1] is no id", stop_token_ids=ids)

# What a prompt may be; each of several is one of two.
for prompt in (None, 5, {}, True):
    refused("/v1/completions", "prompt must be a string, an array of ids, or an array of several of either", prompt=prompt)
refused("/v1/completions", "prompt[1]: prompt must be a string, or an array of ids", prompt=["a", 5])
refused("/tokenize", "prompt must be a string, or an array of ids", messages=None, prompt=5)


# A call's arguments as an object.
def called(arguments, **older):
    call = {"name": "get", "arguments": arguments}
    return [USER, {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function", "function": call}]},
            {"role": "tool", "tool_call_id": "1", "content": "x"}]


plain = ask(CHAT, messages=called('{"city": "Paris", "days": [1]}'), tools=TOOLS)
check(ask(CHAT, messages=called({"city": "Paris", "days": [1]}), tools=TOOLS) == plain)
check(ask(CHAT, messages=called({}), tools=TOOLS) == ask(CHAT, messages=called("{}"), tools=TOOLS) != plain)
refused(CHAT, "arguments must be a string", messages=called([1]))

# tool_choice as an object of a type, and Mistral's and Anthropic's word.
for word in ("auto", "none", "required"):
    plain = ask(CHAT, tools=TOOLS, tool_choice=word, max_tokens=9)
    check(ask(CHAT, tools=TOOLS, tool_choice={"type": word}, max_tokens=9) == plain, word)
    check(bool(plain[1]) == (word == "required"), plain)
for choice in ("any", {"type": "any"}):
    check(ask(CHAT, tools=TOOLS, tool_choice=choice, max_tokens=9) == plain, choice)
for choice in ({}, {"type": "tool"}, {"type": "function"}, {"type": "auto", "x": 1}, {"type": 1}, [], "maybe"):
    refused(CHAT, "tool_choice", tools=TOOLS, tool_choice=choice)

# What an assistant refused is what it said; what it thought is no part of what Anthropic's API shows a model again.
said = [USER, {"role": "assistant", "content": "No."}, USER]
check(ask(CHAT, messages=[USER, {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}, USER]) == ask(CHAT, messages=said))
for thought in ({"type": "thinking", "thinking": "x", "signature": "y"}, {"type": "redacted_thinking", "data": "x"}):
    text = {"type": "text", "text": "No."}
    for content in ([thought, text], [text, thought], [thought, {**text, "text": "N"}, thought, {**text, "text": "o."}]):
        check(ask(CLAUDE, messages=[USER, {"role": "assistant", "content": content}, USER]) == ask(CLAUDE, messages=said), content)
    check(ask(CLAUDE, messages=[USER, {"role": "assistant", "content": [thought]}]) == ask(CLAUDE))
    refused(CLAUDE, 'messages[0]: blocks of type', messages=[{"role": "user", "content": [thought, text]}])
