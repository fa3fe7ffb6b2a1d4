"""min_tokens: of so many tokens none ends the answer, be it the model's own end, one of stop_token_ids, or one that
completes a stop text.

   min_tokens.py URL SCRIPT PID EOS
"""

import json
import sys

from raw import Server, check

server = Server(sys.argv[1], sys.argv[3])
eos = int(sys.argv[4])
CHAT = "/v1/chat/completions"
BODIES = {CHAT: {"messages": [{"role": "user", "content": "hello"}]}, "/v1/completions": {"prompt": "hello"}}
letter, = server.ask("POST", "/tokenize", {"prompt": "a", "add_special_tokens": False})[1]["tokens"]


def ask(path, **more):
    """Of each choice its text and how it ended, and how many tokens there are."""
    status, answer = server.ask("POST", path, {**BODIES[path], "temperature": 0, "max_tokens": 40, **more})
    check(status == 200, more, answer)
    choices = [((c["text"] if "text" in c else c["message"]["content"]) or "", c["finish_reason"]) for c in answer["choices"]]
    return choices, answer["usage"]["completion_tokens"]


for path in BODIES:
    for temperature in (0, 1):
        for ends in ({"logit_bias": {str(letter): 100}, "stop_token_ids": [letter]}, {"logit_bias": {str(eos): 100}}):
            ends["temperature"] = temperature
            check(ask(path, **ends) == ([("", "stop")], 1), "it does not end at once", ends)
            for least in (1, 7, 39):
                (text, why), n = ask(path, **ends, min_tokens=least)[0][0], ask(path, **ends, min_tokens=least)[1]
                check(why == "stop" and n == least + 1, path, ends, least, text, why, n)
                check("a" not in text or "stop_token_ids" not in ends, text)
            check(ask(path, **ends, min_tokens=40)[0][0][1] == "length", ends)
            choices, n = ask(path, **ends, min_tokens=5, n=3)
            check(n == 18 and all(why == "stop" for _, why in choices), choices, n)

    # A text that ends it begins behind those tokens, also where it stands across their end.
    much = {"logit_bias": {str(letter): 100}, "stop": ["aaa", "b"]}
    check(ask(path, **much) == ([("", "stop")], 3))
    check(ask(path, **much, min_tokens=5) == ([("aaaaa", "stop")], 8))
    check(ask(path, **much, min_tokens=39) == ([("a" * 40, "length")], 40))
    check(ask(path, **much, min_tokens=5, ignore_eos=True) == ([("aaaaa", "stop")], 8))

    # Where nothing ends an answer, nothing changes.
    free = {"ignore_eos": True, "temperature": 1, "seed": 5}
    check(ask(path, **free) == ask(path, **free, min_tokens=40) == ask(path, **free, min_tokens=0))
    for wrong in (-1, 41, 1.5, "2"):
        status, answer = server.ask("POST", path, {**BODIES[path], "max_tokens": 40, "min_tokens": wrong})
        check(status == 400 and answer["error"]["param"] == "min_tokens", wrong, answer)

# The third API has a bound of its own.
for least, right in ((7, 200), (8, 200), (9, 400)):
    status, answer = server.ask("POST", "/v1/responses", {
        "input": "hello", "max_output_tokens": 8, "min_tokens": least, "logit_bias": {str(eos): 100}})
    check(status == right, least, answer)
    if right == 200:
        check(answer["usage"]["output_tokens"] == 8, least, answer["usage"])
    else:
        check(answer["error"]["param"] == "min_tokens" and "more than max_output_tokens, 8" in answer["error"]["message"], answer)

# A form ends where it is whole, and is closed though its brace is to end nothing.
brace, = server.ask("POST", "/tokenize", {"prompt": "}", "add_special_tokens": False})[1]["tokens"]
form = {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {
    "type": "object", "properties": {"a": {"enum": [1]}}, "required": ["a"], "additionalProperties": False}}}}
for more in ({}, {"stop_token_ids": [brace]}):
    (text, why), = ask(CHAT, **form, **more, max_tokens=400, min_tokens=300)[0]
    check(why in ("stop", "length") and text.lstrip().startswith("{"), more, text, why)
    if why == "stop" and not more:
        check(json.loads(text) == {"a": 1}, text)
