"""Answers that are bound to a form.

   forms.py URL SCRIPT PID
"""

import json
import sys

from raw import Server, body_of, check

server = Server(sys.argv[1], sys.argv[3])
CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
NAMES = ("get", "get_more")
TOOLS = [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in NAMES]
CLAUDE_TOOLS = [{"name": name, "input_schema": {"type": "object"}} for name in NAMES]
HOW = {"messages": [{"role": "user", "content": "say something"}], "max_tokens": 120, "temperature": 1.8, "top_p": 1}


def schema_of(schema):
    return {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": schema}}


FORM = schema_of({
    "type": "object", "title": "Plan", "additionalProperties": False, "required": ["city", "sure"],
    "properties": {"city": {"enum": ["Oslo", "Rome"]}, "sure": {"type": ["boolean", "null"]},
                   "days": {"type": "array", "items": {"type": "integer"}},
                   "next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}})


def ask(path=CHAT, **more):
    status, answer = server.ask("POST", path, {**HOW, **more})
    check(status == 200, status, answer)
    return answer


def objects():
    """What is whole is an object; what max_tokens cut was on its way to one."""
    n_whole = 0
    for seed in range(4):
        for choice in ask(n=8, seed=seed, response_format={"type": "json_object"})["choices"]:
            text = choice["message"]["content"]
            if choice["finish_reason"] == "stop":
                n_whole += 1
                check(isinstance(json.loads(text), dict), text)
            else:
                check(choice["finish_reason"] == "length" and text.lstrip()[:1] in ("", "{"), choice)
    check(n_whole >= 3, "hardly an object is whole", n_whole)
    text = ask("/v1/completions", prompt="x", response_format={"type": "json_object"}, temperature=0)["choices"][0]["text"]
    check(text.lstrip()[:1] in ("", "{"), text)


def of_schema(text):
    """What SCHEMA says, in Python."""
    value = json.loads(text)
    check(set(value) <= {"city", "sure", "days", "next"} and {"city", "sure"} <= set(value), value)
    check(value["city"] in ("Oslo", "Rome") and value["sure"] in (True, False, None), value)
    check(all(type(day) is int for day in value.get("days", [])), value)
    if value.get("next") is not None:
        of_schema(json.dumps(value["next"]))


def schemas():
    """What is whole is of the schema."""
    n_whole = 0
    for seed in range(2):
        for choice in ask(n=8, seed=seed, response_format=FORM, max_tokens=300)["choices"]:
            text = choice["message"]["content"]
            if choice["finish_reason"] == "stop":
                n_whole += 1
                of_schema(text)
            else:
                check(choice["finish_reason"] == "length", choice)
    check(n_whole >= 3, "hardly one is whole", n_whole)


def either():
    """With tools: a call, or an answer of the form; both are seen."""
    seen = set()
    for form in (FORM, {"type": "json_object"}):
        for seed in range(2):
            for choice in ask(n=8, seed=seed, tools=TOOLS, response_format=form)["choices"]:
                made = choice["message"].get("tool_calls", [])
                seen.add(bool(made))
                if made:
                    is_call(made[0], choice["finish_reason"] == "tool_calls")
                elif choice["finish_reason"] == "stop":
                    text = choice["message"]["content"]
                    of_schema(text) if form is FORM else check(isinstance(json.loads(text), dict), text)
    check(seen == {True, False}, seen)


def is_call(call, is_whole):
    check(call["type"] == "function" and call["function"]["name"] in NAMES, call)
    if is_whole:
        check(isinstance(json.loads(call["function"]["arguments"]), dict), call)


def calls():
    """A call of one of the tools, and nothing besides."""
    seen, n_whole = set(), 0
    for seed in range(4):
        for choice in ask(n=8, seed=seed, tools=TOOLS, tool_choice="required")["choices"]:
            is_whole = choice["finish_reason"] == "tool_calls"
            made = choice["message"].get("tool_calls", [])
            check(len(made) == 1 and not choice["message"]["content"], choice)
            is_call(made[0], is_whole)
            seen.add(made[0]["function"]["name"])
            n_whole += is_whole
    check(seen == set(NAMES) and n_whole >= 3, seen, n_whole)
    for seed in range(8):
        named = ask(seed=seed, tools=TOOLS, tool_choice={"type": "function", "function": {"name": "get"}})["choices"][0]
        check(named["message"]["tool_calls"][0]["function"]["name"] == "get", named)
        is_call(named["message"]["tool_calls"][0], named["finish_reason"] == "tool_calls")
        reply = ask(MESSAGES, seed=seed, tools=CLAUDE_TOOLS, tool_choice={"type": "any"})
        check([block["type"] for block in reply["content"]] == ["tool_use"], reply)
        check(reply["content"][0]["name"] in NAMES, reply)


def streamed():
    """Pieces of arguments that make the whole answer's."""
    how = {"tools": TOOLS, "tool_choice": "required", "seed": 3}
    whole = ask(**how)["choices"][0]["message"]["tool_calls"][0]["function"]
    body = {**HOW, **how, "stream": True}
    name, arguments = "", ""
    for event in body_of(server.exchange(server.post(CHAT, body))).decode().split("\n\n")[:-2]:
        for choice in json.loads(event[len("data: "):])["choices"]:
            for call in choice["delta"].get("tool_calls", []):
                name += call["function"].get("name", "")
                arguments += call["function"]["arguments"]
    check((name, arguments) == (whole["name"], whole["arguments"]), name, arguments, whole)


def refused():
    unknown = {"type": "object", "properties": {"a": {"type": "string", "format": "date"}}}
    status, answer = server.ask("POST", CHAT, {**HOW, "response_format": schema_of(unknown)})
    check(status == 400 and '"format" at #/properties/a' in answer["error"]["message"], answer)
    for more, param in (({"response_format": {"type": "json_schema", "json_schema": {}}}, "response_format"),
                        ({"response_format": {"type": "xml"}}, "response_format"),
                        ({"tool_choice": "required"}, "tool_choice"), ({"tools": TOOLS, "tool_choice": "x"}, "tool_choice"),
                        ({"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "ge"}}}, "tool_choice")):
        status, answer = server.ask("POST", CHAT, {**HOW, **more})
        check(status == 400 and answer["error"]["param"] == param, more, answer)
    both = {"response_format": {"type": "json_object"}, "tools": TOOLS, "tool_choice": "none"}
    check(ask(**both)["choices"][0]["message"]["content"].lstrip()[:1] in ("", "{"))


for case in (objects, schemas, calls, either, streamed, refused):
    case()
