"""Drive every route of a running server with the openai and anthropic clients.

The embedded model copies what follows the longest recent repetition of what it just read: a user's
text that ends in ">\\nThe special magic number for K is:" is answered by that line and the number.
"""

import json
import sys
import time
import typing
import urllib.request

import anthropic
import openai
import pydantic

URL = sys.argv[1]
NUMBER = "4831759"
KEY_LINE = "The special magic number for Paris is:"
FILLER = "The grass is green. The sky is blue. The sun is yellow. Here we go.\n" * 10
QUESTION = (f"{FILLER}{KEY_LINE} {NUMBER}.\n{FILLER}"
            f"What is the special magic number for Paris?\n>\n{KEY_LINE}")
ANSWER = f"{KEY_LINE} {NUMBER}."
MESSAGES = [{"role": "user", "content": QUESTION}]
# Bound to a form, its greatest logits are of white space, a thousand tokens of it; drawn so, the answer has 57.
DRAWN = {"temperature": 2, "extra_body": {"seed": 1}}

client = openai.OpenAI(base_url=URL + "/v1", api_key="secret", max_retries=0)
claude = anthropic.Anthropic(base_url=URL, api_key="secret", max_retries=0)


def check(condition, *what):
    if not condition:
        raise AssertionError(what)


def refused(kind, call, code=None):
    """The error of a call that must fail so."""
    try:
        call()
    except kind as error:
        if code:
            check(error.code == code, error.code, error.body)
        return error
    raise AssertionError(f"no {kind.__name__}")


def raw(method, path, body=None, key="secret"):
    request = urllib.request.Request(URL + path, method=method)
    if key:
        request.add_header("Authorization", "Bearer " + key)
    data = json.dumps(body).encode() if body is not None else None
    with urllib.request.urlopen(request, data) as response:
        return response.status, response.read()


def models():
    names = [model.id for model in client.models.list()]
    check(names == ["model"], names)
    check(client.models.retrieve("model").id == "model")
    refused(openai.NotFoundError, lambda: client.models.retrieve("other"), "model_not_found")
    listed = list(claude.models.list())
    check([model.display_name for model in listed] == ["model"] and listed == [claude.models.retrieve("model")], listed)
    check(listed[0].created_at.year > 2000 and listed[0].max_input_tokens == 16000, listed)
    refused(anthropic.NotFoundError, lambda: claude.models.retrieve("other"))


def chat():
    reply = client.chat.completions.create(model="model", messages=MESSAGES, temperature=0)
    check(reply.choices[0].message.content == ANSWER, reply)
    check(reply.choices[0].finish_reason == "stop", reply)
    check(reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens)
    again = client.chat.completions.create(model="model", messages=MESSAGES, temperature=0)
    check(again.choices[0].message.content == ANSWER, again)
    cached = again.usage.prompt_tokens_details.cached_tokens
    check(cached == again.usage.prompt_tokens - 1, cached, again.usage)


def chat_stream():
    stream = client.chat.completions.create(
        model="model", messages=MESSAGES, temperature=0, stream=True,
        stream_options={"include_usage": True}, extra_body={"return_progress": True})
    text, finish, usage, n_progress = "", [], None, 0
    for chunk in stream:
        progress = (chunk.model_extra or {}).get("prompt_progress")
        n_progress += progress is not None
        if progress:
            check(0 <= progress["cache"] <= progress["processed"] <= progress["total"], progress)
        usage = chunk.usage or usage
        for choice in chunk.choices:
            text += choice.delta.content or ""
            finish += [choice.finish_reason] if choice.finish_reason else []
    check(text == ANSWER, text)
    check(finish == ["stop"], finish)
    check(usage.completion_tokens == len(ANSWER) + 2, usage)  # a newline first, a stop id last
    check(n_progress >= 1)


def parts_and_roles():
    reply = client.chat.completions.create(model="model", temperature=0, messages=[
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": QUESTION[:100]},
                                     {"type": "text", "text": QUESTION[100:]}]}])
    check(reply.choices[0].message.content == ANSWER, reply)


def continued():
    """What the assistant has begun to say is gone on with."""
    messages = MESSAGES + [{"role": "assistant", "content": KEY_LINE + " "}]
    reply = client.chat.completions.create(
        model="model", messages=messages, temperature=0,
        extra_body={"continue_final_message": True})
    check(reply.choices[0].message.content == NUMBER + ".", reply)


def settings():
    """max_tokens, stop and seed; sampling with one seed gives one text."""
    short = client.chat.completions.create(
        model="model", messages=MESSAGES, temperature=0, max_tokens=7)
    check(short.choices[0].finish_reason == "length", short)
    check(short.choices[0].message.content == ANSWER[:6], short)
    check(short.usage.completion_tokens == 7, short)
    stopped = client.chat.completions.create(
        model="model", messages=MESSAGES, temperature=0, stop=["number for", "zzz"])
    check(stopped.choices[0].message.content == "The special magic ", stopped)
    check(stopped.choices[0].finish_reason == "stop", stopped)
    texts = [client.chat.completions.create(
        model="model", messages=MESSAGES, temperature=2, seed=seed,
        max_tokens=64).choices[0].message.content for seed in (7, 7)]
    check(texts[0] == texts[1], texts)


def logprobs():
    reply = client.chat.completions.create(
        model="model", messages=MESSAGES, temperature=0, logprobs=True, top_logprobs=3)
    content = reply.choices[0].logprobs.content
    check(len(content) == reply.usage.completion_tokens, len(content))
    check("".join(token.token for token in content[:-1]) == "\n" + ANSWER, content)
    for token in content:
        check(-1e-3 < token.logprob <= 0 and len(token.top_logprobs) == 3, token)
        check(token.top_logprobs[0].logprob >= token.top_logprobs[1].logprob, token)
        check(token.top_logprobs[0].token == token.token, token)
    stream = client.chat.completions.create(
        model="model", messages=MESSAGES, temperature=0, logprobs=True, stream=True)
    streamed = [token.token for chunk in stream for choice in chunk.choices if choice.logprobs
                for token in choice.logprobs.content]
    check(streamed == [token.token for token in content], streamed)


def completions():
    prompt = f"{FILLER}{KEY_LINE} {NUMBER}.\n{FILLER}{KEY_LINE}"
    reply = client.completions.create(model="model", prompt=prompt, temperature=0, logprobs=2)
    check(reply.choices[0].text == f" {NUMBER}.", reply)
    check(len(reply.choices[0].logprobs.tokens) == reply.usage.completion_tokens, reply)
    check(reply.choices[0].logprobs.text_offset[:3] == [0, 1, 2], reply)
    ids = json.loads(raw("POST", "/tokenize", {"prompt": prompt})[1])["tokens"]
    check(len(ids) == len(prompt) + 2, len(ids))
    stream = client.completions.create(model="model", prompt=ids, temperature=0, stream=True)
    text = "".join(choice.text for chunk in stream for choice in chunk.choices)
    check(text == f" {NUMBER}.", text)


def responses():
    reply = client.responses.create(model="model", instructions="Be brief.", input=QUESTION, temperature=0)
    check(reply.output_text == ANSWER and reply.status == "completed" and reply.error is None, reply)
    with client.responses.stream(model="model", input=MESSAGES, temperature=0) as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        last = stream.get_final_response()
    check(text == ANSWER == last.output_text and last.usage.output_tokens == len(ANSWER) + 2, text, last)
    parsed = client.responses.parse(model="model", input=QUESTION, text_format=Weather, **DRAWN).output_parsed
    check(isinstance(parsed, Weather), parsed)
    how = dict(model="model", input="x" * 20000)
    refused(openai.BadRequestError, lambda: client.responses.create(**how), "context_length_exceeded")
    refused(openai.NotFoundError, lambda: client.responses.retrieve("resp_1"), "not_found")


TOOL_NAME = "get_the_weather_of_a_city"
TOOL = {"type": "function", "function": {
    "name": TOOL_NAME, "description": "Weather of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}
CALL_TEXT = TOOL_NAME + "\n{\"city\": \"Paris\"}"
# Close to the end: of equal beginnings, here and in the tool's own description, the nearest counts.
CALL_MESSAGES = [{"role": "user", "content": f"{FILLER}\n{CALL_TEXT}#\n>\n{TOOL_NAME}"}]


def tools():
    """A call is parsed, whole and streamed; its result goes back in."""
    reply = client.chat.completions.create(
        model="model", messages=CALL_MESSAGES, tools=[TOOL], temperature=0, stop="#", max_tokens=99,
        tool_choice="auto")
    choice = reply.choices[0]
    check(choice.finish_reason == "tool_calls", reply)
    call = choice.message.tool_calls[0]
    check(call.function.name == TOOL_NAME, reply)
    check(json.loads(call.function.arguments) == {"city": "Paris"}, reply)
    names, arguments, text = [], "", ""
    for chunk in client.chat.completions.create(
            model="model", messages=CALL_MESSAGES, tools=[TOOL], temperature=0, stop="#", max_tokens=99,
            stream=True):
        delta = chunk.choices[0].delta
        text += delta.content or ""
        for part in delta.tool_calls or []:
            names += [part.function.name] if part.function.name else []
            arguments += part.function.arguments or ""
    check(names == [TOOL_NAME] and text == "", names, text)
    check(json.loads(arguments) == {"city": "Paris"}, arguments)
    messages = CALL_MESSAGES + [choice.message.model_dump(exclude_none=True),
                                {"role": "tool", "tool_call_id": call.id, "content": QUESTION}]
    reply = client.chat.completions.create(
        model="model", messages=messages, tools=[TOOL], temperature=0)
    check(reply.choices[0].message.content == ANSWER, reply)


def forced_tool():
    reply = client.chat.completions.create(
        model="model", messages=CALL_MESSAGES, tools=[TOOL], temperature=0, stop="#", max_tokens=99,
        tool_choice={"type": "function", "function": {"name": TOOL_NAME}})
    call = reply.choices[0].message.tool_calls[0]
    check(call.function.name == TOOL_NAME, reply)
    check(json.loads(call.function.arguments) == {"city": "Paris"}, reply)
    reply = client.chat.completions.create(
        model="model", messages=CALL_MESSAGES, tools=[TOOL], temperature=0, stop="#", max_tokens=99,
        tool_choice="none")
    check(reply.choices[0].message.content == CALL_TEXT, reply)


GREEDY = {"temperature": 0}


class Weather(pydantic.BaseModel):
    sky: typing.Literal["clear", "grey"]
    is_warm: bool
    wind: typing.Optional[typing.Literal[0, 3, 7]]


def parsed():
    """An answer that is bound to a class: the client makes its schema, and one of the class of what comes."""
    answer = client.chat.completions.parse(model="model", messages=MESSAGES, response_format=Weather, **DRAWN)
    check(answer.choices[0].finish_reason == "stop", answer)
    weather = answer.choices[0].message.parsed
    check(isinstance(weather, Weather) and weather.sky in ("clear", "grey"), weather)


class City(pydantic.BaseModel):
    """Weather of a city."""
    city: typing.Literal["Oslo", "Rome"]
    days: typing.Optional[typing.Annotated[int, pydantic.Field(ge=1, le=7)]] = None


def strict_tools():
    """The model would call with Paris, which is none of the class: a call is of it, though the model need not call. The
    client makes the schema, and one of the class of the arguments."""
    tool = openai.pydantic_function_tool(City, name=TOOL_NAME)
    how = dict(model="model", messages=CALL_MESSAGES, temperature=0, max_tokens=900)
    for choice in ("auto", "required"):
        answer = client.chat.completions.parse(**how, tools=[tool], tool_choice=choice).choices[0]
        check(answer.finish_reason == "tool_calls", answer)
        city = answer.message.tool_calls[0].function.parsed_arguments
        check(isinstance(city, City) and city.city in ("Oslo", "Rome"), city)
    schema = {"type": "object", "properties": {"city": {"enum": ["Oslo", "Rome"]}}, "required": ["city"],
              "additionalProperties": False}
    for strict in (True, False):
        tool = {"name": TOOL_NAME, "description": "Weather of a city.", "input_schema": schema, "strict": strict}
        reply = claude.messages.create(model="model", max_tokens=900, messages=CALL_MESSAGES, tools=[tool],
                                       extra_body=GREEDY, stop_sequences=["#"])
        check(reply.content[0].name == TOOL_NAME, reply)
        check(reply.content[0].input["city"] in (("Oslo", "Rome") if strict else ("Paris",)), strict, reply)


def messages():
    reply = claude.messages.create(
        model="model", max_tokens=200, messages=MESSAGES, extra_body=GREEDY, system="Be brief.")
    check(reply.content[0].text == ANSWER and reply.stop_reason == "end_turn", reply)
    count = claude.messages.count_tokens(model="model", messages=MESSAGES, system="Be brief.")
    used = reply.usage
    check(count.input_tokens == used.input_tokens + used.cache_read_input_tokens, count, used)
    with claude.messages.stream(
            model="model", max_tokens=200, messages=MESSAGES, extra_body=GREEDY,
            stop_sequences=["magic"]) as stream:
        text = "".join(stream.text_stream)
        last = stream.get_final_message()
    check(text == "The special ", text)
    check(last.stop_reason == "stop_sequence" and last.stop_sequence == "magic", last)
    begun = MESSAGES + [{"role": "assistant", "content": KEY_LINE + " "}]
    reply = claude.messages.create(model="model", max_tokens=200, messages=begun, extra_body=GREEDY)
    check(reply.content[0].text == NUMBER + ".", reply)


def message_tools():
    tool = {"name": TOOL_NAME, "description": "Weather of a city.",
            "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}
    reply = claude.messages.create(
        model="model", max_tokens=100, messages=CALL_MESSAGES, tools=[tool], extra_body=GREEDY,
        stop_sequences=["#"])
    check(reply.stop_reason == "tool_use", reply)
    check(reply.content[0].name == TOOL_NAME and reply.content[0].input == {"city": "Paris"},
          reply)
    with claude.messages.stream(
            model="model", max_tokens=100, messages=CALL_MESSAGES, tools=[tool], extra_body=GREEDY,
            stop_sequences=["#"]) as stream:
        last = stream.get_final_message()
    check(last.content[0].input == {"city": "Paris"}, last)
    result = CALL_MESSAGES + [
        {"role": "assistant", "content": [block.model_dump() for block in reply.content]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": reply.content[0].id,
                                      "content": QUESTION}]}]
    reply = claude.messages.create(
        model="model", max_tokens=100, messages=result, tools=[tool], extra_body=GREEDY)
    check(reply.content[0].text == ANSWER, reply)


def errors():
    wrong = openai.OpenAI(base_url=URL + "/v1", api_key="secreT", max_retries=0)
    refused(openai.AuthenticationError, wrong.models.list, "invalid_api_key")
    refused(anthropic.AuthenticationError, lambda: anthropic.Anthropic(
        base_url=URL, api_key="secre", max_retries=0).messages.create(
            model="model", max_tokens=1, messages=MESSAGES))

    def ask(**more):
        return client.chat.completions.create(**({"model": "model", "messages": MESSAGES} | more))
    long = refused(openai.BadRequestError, lambda: ask(
        messages=[{"role": "user", "content": "x" * 20000}]), "context_length_exceeded")
    check(long.body["n_prompt_tokens"] > 20000 and long.body["n_ctx"] == 16000, long.body)
    check("20,0" in long.message or "200" in long.message, long.message)
    refused(openai.BadRequestError, lambda: ask(max_tokens=15999), "context_length_exceeded")
    refused(openai.NotFoundError, lambda: ask(model="gpt-4"), "model_not_found")
    for bad in ({"temperature": -1}, {"temperature": 3}, {"top_p": -0.5}, {"max_tokens": 0},
                {"n": 17}, {"stop": [1]}, {"top_logprobs": 3}, {"messages": []},
                {"messages": [{"role": "wizard", "content": "x"}]}, {"presence_penalty": 3}, {"logit_bias": {"5": 101}},
                {"response_format": {"type": "json_schema"}},
                {"response_format": {"type": "json_schema", "json_schema": {"schema": {"oneOf": []}}}}, {"tool_choice": "required"}):
        error = refused(openai.BadRequestError, lambda more=bad: ask(**more))
        check(error.body["type"] == "invalid_request_error" and error.param, bad, error.body)
    refused(anthropic.BadRequestError, lambda: claude.messages.create(
        model="model", max_tokens=20000, messages=MESSAGES))


def jobs():
    body = {"endpoint": "/v1/chat/completions", "body": {"messages": MESSAGES, "temperature": 0}}
    status, text = raw("POST", "/v1/jobs", body)
    job = json.loads(text)
    check(status == 202 and job["status"] in ("queued", "in_progress", "completed"), job)
    while job["status"] in ("queued", "in_progress"):
        time.sleep(0.05)
        job = json.loads(raw("GET", "/v1/jobs/" + job["id"])[1])
    check(job["status"] == "completed", job)
    check(job["response"]["body"]["choices"][0]["message"]["content"] == ANSWER, job)
    listed = json.loads(raw("GET", "/v1/jobs")[1])["data"]
    check(job["id"] in [one["id"] for one in listed], listed)
    body["body"] |= {"max_tokens": 10000, "ignore_eos": True}
    job = json.loads(raw("POST", "/v1/jobs", body)[1])
    raw("DELETE", "/v1/jobs/" + job["id"])
    while job["status"] in ("queued", "in_progress"):
        job = json.loads(raw("GET", "/v1/jobs/" + job["id"])[1])
    check(job["status"] == "cancelled", job)


def plain():
    status, health = raw("GET", "/health", key=None)
    check(status == 200 and json.loads(health)["status"] == "ok", health)
    check("version" in json.loads(raw("GET", "/version")[1]))
    metrics = raw("GET", "/metrics")[1].decode()
    for name in ("num_requests_running", "num_requests_waiting", "kv_cache_usage_perc",
                 "prefix_cache_queries", "prefix_cache_hits", "prompt_tokens_total",
                 "generation_tokens_total", "time_to_first_token_seconds_count",
                 "time_per_output_token_seconds_count", "e2e_request_latency_seconds_count"):
        check(f"\nglm1m:{name} " in metrics, name)
    text = "naïve — 你好 \U0001f600"
    ids = json.loads(raw("POST", "/tokenize", {"prompt": text, "add_special_tokens": False})[1])
    back = json.loads(raw("POST", "/detokenize", {"tokens": ids["tokens"]})[1])
    check(back["prompt"] == text and ids["count"] == len(text.encode()), ids, back)
    chat_ids = json.loads(raw("POST", "/tokenize", {"messages": MESSAGES})[1])
    check(chat_ids["count"] == len(QUESTION) + 5, chat_ids["count"])


for case in (models, chat, chat_stream, parts_and_roles, continued, settings, logprobs, parsed,
             completions, responses, tools, forced_tool, strict_tools, messages, message_tools, errors, jobs, plain):
    started = time.time()
    case()
    print(f"{case.__name__}: {time.time() - started:.2f} s")
