"""OpenAI's /v1/responses, compared with /v1/chat/completions."""

import json
import sys

from raw import Server, body_of, check

server = Server(sys.argv[1], sys.argv[3])
PATH = "/v1/responses"
LINE = "The special magic number for Paris is:"
TEXT = f"{LINE} 4831759.\nThe sky is blue.\n" + "The grass is green.\n" * 9 + f">\n{LINE}"
HOW = {"temperature": 0}


def ask(status=200, **body):
    got, answer = server.ask("POST", PATH, {**HOW, **body})
    check(got == status, body, answer)
    return answer


def text_of(answer):
    check(answer["object"] == "response" and answer["error"] is None, answer)
    (message,) = answer["output"]
    check(message["role"] == "assistant" and message["status"] == answer["status"], answer)
    (part,) = message["content"]
    check(part["type"] == "output_text" and part["annotations"] == [], answer)
    return part["text"]


def message(role, text, kind=None):
    return {"role": role, "content": [{"type": kind, "text": text}] if kind else text}


def chat(*messages):
    got, answer = server.ask("POST", "/v1/chat/completions", {**HOW, "messages": messages})
    check(got == 200, answer)
    return answer["choices"][0]["message"]["content"], answer["usage"]


def whole():
    wanted, usage = chat(message("system", "Be brief."), message("user", TEXT))
    check(wanted == f"{LINE} 4831759.", wanted)
    answer = ask(instructions="Be brief.", input=TEXT)
    check(text_of(answer) == wanted and answer["status"] == "completed" and answer["id"].startswith("resp_"), answer)
    used = answer["usage"]
    check(used["input_tokens"] == usage["prompt_tokens"] and used["output_tokens"] == usage["completion_tokens"], used)
    check(used["total_tokens"] == usage["total_tokens"] and used["input_tokens_details"]["cached_tokens"] > 0, used)
    turns = (message("user", "Hello"), message("assistant", "Hello."), message("user", TEXT))
    kinds = ("input_text", "output_text", "input_text")
    items = [{"type": "message", "id": "msg_1", **message(turn["role"], turn["content"], kind)}
             for turn, kind in zip(turns, kinds)]
    wanted, usage = chat(*turns)
    for given in (list(turns), items, items[:1] + [{"type": "reasoning", "summary": []}] + items[1:]):
        answer = ask(input=given)
        check(text_of(answer) == wanted and answer["usage"]["input_tokens"] == usage["prompt_tokens"], answer, wanted)
    cut = ask(input=TEXT, max_output_tokens=7)
    check(text_of(cut) == LINE[:6] and cut["status"] == "incomplete", cut)
    check(cut["incomplete_details"] == {"reason": "max_output_tokens"}, cut)


def events_of(**body):
    data = body_of(server.exchange(server.post(PATH, {**HOW, **body, "stream": True}))).decode()
    found = []
    for event in data.split("\n\n"):
        if event.startswith("event: "):
            name, _, value = event.partition("\n")
            found.append(json.loads(value.removeprefix("data: ")))
            check(found[-1]["type"] == name.removeprefix("event: "), event)
    check([event["sequence_number"] for event in found] == list(range(len(found))), data)
    return found


def streamed():
    found = events_of(input=TEXT)
    kinds = [event["type"].removeprefix("response.") for event in found]
    n = kinds.count("output_text.delta")
    check(n > 1 and kinds == ["created", "in_progress", "output_item.added", "content_part.added"]
          + n * ["output_text.delta"]
          + ["output_text.done", "content_part.done", "output_item.done", "completed"], kinds)
    text = "".join(event["delta"] for event in found if "delta" in event)
    last = found[-1]["response"]
    check(text == f"{LINE} 4831759." == text_of(last) == found[-4]["text"] == found[-3]["part"]["text"], text)
    check(found[-2]["item"] == last["output"][0] and found[0]["response"]["id"] == last["id"], last)
    check({event["item_id"] for event in found if "item_id" in event} == {last["output"][0]["id"]}, found)
    check(events_of(input=TEXT, max_output_tokens=3)[-1]["type"] == "response.incomplete")


def formats():
    schema = {"type": "object", "properties": {"sky": {"enum": ["blue", "grey"]}}, "required": ["sky"],
              "additionalProperties": False}
    form = {"type": "json_schema", "name": "x", "schema": schema, "strict": True}
    for given, keys in ((form, {"sky"}), ({"type": "json_object"}, set())):
        answer = ask(input=TEXT, text={"format": given, "verbosity": "medium"})
        check(set(json.loads(text_of(answer))) >= keys, answer)


def refused():
    for field, value in (("tools", [{"type": "function", "name": "f"}]), ("previous_response_id", "resp_1"),
                         ("conversation", "conv_1"), ("prompt", {"id": "p"}), ("background", True), ("n", 2),
                         ("top_logprobs", 1), ("max_output_tokens", 0), ("instructions", 1), ("typical_p", 0.5),
                         ("verbosity", "low"), ("input", []), ("input", 1), ("input", None),
                         ("input", [{"type": "function_call_output", "output": "x"}])):
        error = ask(400, **{"input": TEXT, **({"text": {field: value}} if field == "verbosity" else {field: value})})["error"]
        check(error["param"] == field and field in error["message"], error)
    # A message is known by its place in input, whatever stands before it.
    bad = {"role": "wizard", "content": "x"}
    for items, place in (([bad], 0), ([message("user", "x"), {"type": "reasoning", "summary": []}, bad], 2),
                         ([message("user", "x"), 7], 1), ([message("user", "x"), message("user", 5)], 1),
                         ([{"role": "user"}], 0), ([message("user", "x", "input_image")], 0)):
        error = ask(400, instructions="Be brief.", input=items)["error"]
        check(error["param"].startswith(f"input[{place}]") and f"input[{place}]" in error["message"], error)
        check("messages[" not in error["message"], error)
    error = ask(400, input=[{"type": "reasoning", "summary": []}])["error"]
    check(error["param"] == "input", error)
    check(ask(400, input=TEXT, text={"format": {"type": "xml"}})["error"]["param"] == "text.format")
    check(ask(404, input=TEXT, model="other")["error"]["code"] == "model_not_found")
    check(ask(400, input="x" * 17000)["error"]["code"] == "context_length_exceeded")
    for value in ([], None, False):
        ask(input="x", max_output_tokens=1, tools=value, background=value, previous_response_id=value, store=False)


for case in (whole, streamed, formats, refused):
    case()
