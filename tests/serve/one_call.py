"""A model that calls a tool again and again: where one call is the most, an answer ends with it.

   one_call.py URL SCRIPT PID
"""

import json
import sys

from raw import Server, check, events

server = Server(sys.argv[1], sys.argv[3])
CHAT = "/v1/chat/completions"
NAME = "get_the_weather_of_a_city"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
FILLER = "The grass is green. The sky is blue. The sun is yellow. Here we go.\n" * 3
MESSAGES = [{"role": "user", "content": f"{FILLER}\n{NAME}\n{{\"city\": \"Paris\"}}>\n{NAME}"}]
HOW = {"messages": MESSAGES, "temperature": 0, "max_tokens": 140}


def openai(**more):
    function = {"name": NAME, "description": "Weather of a city.", "parameters": SCHEMA}
    return {**HOW, "tools": [{"type": "function", "function": function}], **more}


def anthropic(**more):
    tool = {"name": NAME, "description": "Weather of a city.", "input_schema": SCHEMA}
    return {**HOW, "tools": [tool], **more}


def ask(path, body):
    status, answer = server.ask("POST", path, body)
    check(status == 200, status, answer)
    return answer


def cities(**more):
    choice = ask(CHAT, openai(**more))["choices"][0]
    return [json.loads(call["function"]["arguments"])["city"] for call in choice["message"]["tool_calls"]], choice


def uses(choice):
    answer = ask("/v1/messages", anthropic(tool_choice=choice))
    return [block["input"] for block in answer["content"] if block["type"] == "tool_use"], answer


for more in ({}, {"parallel_tool_calls": True}, {"parallel_tool_calls": None}):
    check(cities(**more)[0] == ["Paris"] * 3, more)
called, choice = cities(parallel_tool_calls=False)
check(called == ["Paris"] and choice["finish_reason"] == "tool_calls" and not choice["message"]["content"], choice)

connection, _ = server.begin(server.post(CHAT, openai(parallel_tool_calls=False, stream=True)), 1)
choices = [event["choices"][0] for event in events(connection)]
check({call["index"] for one in choices for call in one["delta"].get("tool_calls", [])} == {0}, choices)
check(choices[-1]["finish_reason"] == "tool_calls", choices)

check(uses({"type": "auto"})[0] == [{"city": "Paris"}] * 3)
called, answer = uses({"type": "auto", "disable_parallel_tool_use": True})
check(called == [{"city": "Paris"}] and answer["stop_reason"] == "tool_use", answer)

status, answer = server.ask("POST", CHAT, openai(parallel_tool_calls="no"))
check(status == 400 and answer["error"]["param"] == "parallel_tool_calls", answer)
