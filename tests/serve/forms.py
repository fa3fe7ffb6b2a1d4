"""Answers that are bound to a form.

   forms.py URL SCRIPT PID
"""

import datetime
import json
import re
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


def claude_schemas():
    """The same as Anthropic's clients ask for it: as output_config.format, or by its older name."""
    form, n_whole = {"type": "json_schema", "schema": FORM["json_schema"]["schema"]}, 0
    for more in ({"output_config": {"effort": "high", "format": form}}, {"output_format": form}):
        for seed in range(6):
            reply = ask(MESSAGES, seed=seed, max_tokens=300, **more)
            if reply["stop_reason"] == "end_turn":
                n_whole += 1
                of_schema(reply["content"][0]["text"])
            else:
                check(reply["stop_reason"] == "max_tokens", reply)
    check(n_whole >= 2, "hardly one is whole", n_whole)
    for more in ({"output_config": 1}, {"output_config": {"format": {"type": "text"}}}, {"output_format": {"type": "json_schema"}},
                 {"output_config": {"format": form}, "output_format": form}):
        status, answer = server.ask("POST", MESSAGES, {**HOW, **more})
        check(status == 400 and answer["error"]["message"].startswith("output_"), more, answer)


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


def cut_calls():
    """White space may stand before a call's arguments: an answer that ends there is a call, too."""
    n_cut = 0
    for seed in range(2):
        for choice in ask(n=8, seed=seed, tools=TOOLS, max_tokens=2,
                          tool_choice={"type": "function", "function": {"name": "get"}})["choices"]:
            check(not choice["message"]["content"], choice)
            call, = choice["message"]["tool_calls"]
            check(call["function"]["name"] == "get", call)
            n_cut += call["function"]["arguments"] == ""
        use, = ask(MESSAGES, seed=seed, tools=CLAUDE_TOOLS, tool_choice={"type": "tool", "name": "get"}, max_tokens=1)["content"]
        check(use["name"] == "get" and use["input"] in ({}, {"text": "{"}), use)
    check(n_cut >= 1, "none is cut before its arguments")


def cut_names():
    """A name that max_tokens or a stop text cut is neither text nor a call, even where the piece is another tool's name."""
    tools = [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in ("get", "getmore")]
    claude = [{"name": name, "input_schema": {"type": "object"}} for name in ("get", "getmore")]
    for cut, finish in (({"max_tokens": 2}, "length"), ({"max_tokens": 3}, "length"), ({"stop": "t"}, "stop"), ({"stop": "g"}, "stop")):
        for choice in ask(n=4, seed=1, tools=tools, tool_choice="required", **cut)["choices"]:
            check(choice["message"] == {"role": "assistant", "content": ""} and choice["finish_reason"] == finish, cut, choice)
        body = server.exchange(server.post(CHAT, {**HOW, "seed": 1, "tools": tools, "tool_choice": "required", "stream": True, **cut}))
        deltas = [json.loads(line[6:])["choices"][0]["delta"] for line in body_of(body).decode().split("\n") if line.startswith("data: {")]
        check(not any(delta.get("content") or "tool_calls" in delta for delta in deltas), cut, deltas)
    reply = ask(MESSAGES, seed=1, tools=claude, tool_choice={"type": "any"}, max_tokens=3)
    check(reply["content"] == [] and reply["stop_reason"] == "max_tokens", reply)
    reply = ask(MESSAGES, seed=1, tools=claude, tool_choice={"type": "any"}, stop_sequences=["et"])
    check(reply["content"] == [] and reply["stop_reason"] == "stop_sequence", reply)

    # Besides an answer of a form a call is as sure, once it has begun.
    seen = set()
    for seed in range(3):
        for choice in ask(n=8, seed=seed, tools=tools, response_format={"type": "json_object"}, max_tokens=3)["choices"]:
            text = choice["message"]["content"]
            seen.add(text)
            check("tool_calls" not in choice["message"] and (text.lstrip()[:1] in ("", "{")), choice)
    check(len(seen) > 1 and "" in seen, seen)

    # "get" by itself is its call, once its line is over.
    for choice in ask(n=4, seed=1, tools=tools[:1], tool_choice="required", max_tokens=4)["choices"]:
        call, = choice["message"]["tool_calls"]
        check(call["function"] == {"name": "get", "arguments": ""}, choice)
    call, = ask(seed=1, tools=tools[:1], tool_choice="required", stop="\n")["choices"][0]["message"]["tool_calls"]
    check(call["function"] == {"name": "get", "arguments": ""}, call)
    for choice in ask(n=4, seed=1, tools=tools[:1], tool_choice="required", stop="t\n")["choices"]:
        check(choice["message"] == {"role": "assistant", "content": ""}, choice)


# Two whose calls can be told apart by what they are called with; and one that cannot be bound to.
SCHEMAS = {
    "book": {"type": "object", "additionalProperties": False, "required": ["city", "nights"], "properties": {
        "city": {"enum": ["Oslo", "Rome"], "description": "where"}, "nights": {"type": "integer", "minimum": 1, "maximum": 14},
        "guests": {"type": "array", "minItems": 1, "maxItems": 2, "items": {"$ref": "#/$defs/guest"}}},
        "$defs": {"guest": {"type": "string", "minLength": 1, "maxLength": 3}}},
    "note": {"type": "object", "additionalProperties": False, "required": ["sure"], "properties": {
        "sure": {"anyOf": [{"type": "boolean"}, {"type": "null"}], "default": None}}}}
UNKNOWN = {"type": "object", "properties": {"a": {"type": "string", "pattern": "(?=x)"}}}


def of_tool(call, is_whole):
    """A call's arguments are of its tool's schema, which is said here in Python."""
    if not is_whole:
        return
    value = json.loads(call["arguments"])
    if call["name"] == "note":
        check(list(value) == ["sure"] and value["sure"] in (True, False, None), value)
        return
    check(call["name"] == "book" and {"city", "nights"} <= set(value) <= {"city", "nights", "guests"}, value)
    check(value["city"] in ("Oslo", "Rome") and type(value["nights"]) is int and 1 <= value["nights"] <= 14, value)
    guests = value.get("guests", ["x"])
    check(1 <= len(guests) <= 2 and all(isinstance(guest, str) and 1 <= len(guest) <= 3 for guest in guests), value)


def called_with(strict=None):
    function = [{"name": name, "parameters": schema} for name, schema in SCHEMAS.items()]
    return [{"type": "function", "function": one | ({"strict": strict} if strict is not None else {})} for one in function]


def bound_calls():
    """The name decides which schema a call keeps to, strict or not, named or any, with a form of the answer or without."""
    seen = {}
    for seed, strict in enumerate((None, False, True)):
        for choice in ask(n=8, seed=seed, tools=called_with(strict=strict), tool_choice="required", max_tokens=200)["choices"]:
            call, is_whole = choice["message"]["tool_calls"][0]["function"], choice["finish_reason"] == "tool_calls"
            of_tool(call, is_whole)
            seen[call["name"]] = seen.get(call["name"], 0) + is_whole
    check(min(seen["book"], seen["note"]) >= 1, seen)
    for seed in range(3):
        for name in SCHEMAS:
            choice = ask(seed=seed, tools=called_with(), max_tokens=200,
                         tool_choice={"type": "function", "function": {"name": name}})["choices"][0]
            call = choice["message"]["tool_calls"][0]["function"]
            check(call["name"] == name, call)
            of_tool(call, choice["finish_reason"] == "tool_calls")
        for choice in ask(n=4, seed=seed, tools=called_with(), response_format=FORM)["choices"]:
            for made in choice["message"].get("tool_calls", []):
                of_tool(made["function"], choice["finish_reason"] == "tool_calls")
        claude_tools = [{"name": name, "input_schema": schema} for name, schema in SCHEMAS.items()]
        reply = ask(MESSAGES, seed=seed, tools=claude_tools, tool_choice={"type": "any"}, max_tokens=200)
        block = reply["content"][0]
        of_tool({"name": block["name"], "arguments": json.dumps(block["input"])}, reply["stop_reason"] == "tool_use")


def patterns():
    """Strings are of their pattern or format, numbers within their bounds, as Python reads them."""
    properties = {"id": {"type": "string", "pattern": "^[A-Z]{2}-\\d{3}$"}, "day": {"type": "string", "format": "date"},
                  "share": {"type": "number", "minimum": 0.25, "exclusiveMaximum": 1}}
    schema = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    whole = 0
    for choice in ask(n=8, seed=3, response_format=form, max_tokens=200)["choices"]:
        if choice["finish_reason"] != "stop":
            continue
        value = json.loads(choice["message"]["content"])
        check(re.fullmatch("[A-Z]{2}-[0-9]{3}", value["id"]) and 0.25 <= value["share"] < 1, value)
        check(value["day"][:4] == "0000" or datetime.date.fromisoformat(value["day"]), value)
        whole += 1
    check(whole >= 1, whole)


def unbound_calls():
    """Of a schema that is not understood: an object, as of one that is not given; where it is strict, no answer."""
    for parameters in ({"parameters": UNKNOWN}, {}):
        tool = {"type": "function", "function": {"name": "get"} | parameters}
        for choice in ask(n=4, seed=1, tools=[tool], tool_choice="required")["choices"]:
            is_call(choice["message"]["tool_calls"][0], choice["finish_reason"] == "tool_calls")
    for path, tool in ((CHAT, {"type": "function", "function": {"name": "get", "parameters": UNKNOWN, "strict": True}}),
                       (MESSAGES, {"name": "get", "input_schema": UNKNOWN, "strict": True})):
        status, answer = server.ask("POST", path, {**HOW, "tools": [tool]})
        check(status == 400 and 'tools[0], which is strict: schema: pattern at #/properties/a: a group that looks ahead' in answer["error"]["message"], answer)
    none = {"type": "function", "function": {"name": "get", "strict": True}}
    call = ask(tools=[none], tool_choice="required")["choices"][0]["message"]["tool_calls"][0]["function"]
    check("".join(call["arguments"].split()) in ("{}", "{", ""), call)


def strict_and_free():
    """Where it need not call, a strict tool changes no answer that is none. Beside the function, strict is not read by the model."""
    for seed in range(2):
        texts = [ask(seed=seed, tools=[tool | {"strict": strict} for tool in called_with()], max_tokens=40)["choices"][0]
                 ["message"]["content"] for strict in (True, False)]
        check(texts[0] == texts[1], texts)


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
    unknown = {"type": "object", "properties": {"a": {"type": "string", "format": "uri"}}}
    status, answer = server.ask("POST", CHAT, {**HOW, "response_format": schema_of(unknown)})
    check(status == 400 and 'format "uri" at #/properties/a' in answer["error"]["message"], answer)
    for more, param in (({"response_format": {"type": "json_schema", "json_schema": {}}}, "response_format"),
                        ({"response_format": {"type": "xml"}}, "response_format"),
                        ({"tool_choice": "required"}, "tool_choice"), ({"tools": TOOLS, "tool_choice": "x"}, "tool_choice"),
                        ({"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "ge"}}}, "tool_choice")):
        status, answer = server.ask("POST", CHAT, {**HOW, **more})
        check(status == 400 and answer["error"]["param"] == param, more, answer)
    both = {"response_format": {"type": "json_object"}, "tools": TOOLS, "tool_choice": "none"}
    check(ask(**both)["choices"][0]["message"]["content"].lstrip()[:1] in ("", "{"))


for case in (objects, schemas, claude_schemas, calls, cut_calls, cut_names, bound_calls, patterns, unbound_calls, strict_and_free, either, streamed, refused):
    case()
