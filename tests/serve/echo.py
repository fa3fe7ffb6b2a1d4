"""echo: an answer begins with its prompt, whose tokens have the log probabilities of `glm1m perplexity`.

   echo.py URL SCRIPT PID SCORES IDS TEXT
"""

import array
import json
import sys

from raw import Server, body_of, reset, status_of

server = Server(sys.argv[1], sys.argv[3])
scores_path, ids_path, text_path = sys.argv[4:7]
ids = [int(x) for x in open(ids_path).read().split()]
text = open(text_path).read()
data = array.array("f", open(scores_path, "rb").read()[128:])
scores = list(zip(data[0::2], data[1::2]))  # of ids[2:]


def complete(**fields):
    return server.ask("POST", "/v1/completions", {"temperature": 0, **fields})


def streamed(**fields):
    """The stream's chunks."""
    told = server.exchange(server.post("/v1/completions", {"temperature": 0, "stream": True, **fields}))
    assert status_of(told) == 200, told[:300]
    events = body_of(told).decode().split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""], events[-3:]
    return [json.loads(event[len("data: "):]) for event in events[:-2]]


def joined(chunks):
    """The choices that they make, in the order of their numbers."""
    choices = {}
    for chunk in chunks:
        piece = chunk["choices"][0]
        choice = choices.setdefault(piece["index"], {"text": "", "logprobs": None, "finish_reason": None})
        assert choice["finish_reason"] is None, (piece, "after its end")
        choice["text"] += piece["text"]
        choice["finish_reason"] = piece["finish_reason"]
        if piece["logprobs"] and choice["logprobs"]:
            choice["logprobs"] = {key: old + piece["logprobs"][key] for key, old in choice["logprobs"].items()}
        choice["logprobs"] = choice["logprobs"] or piece["logprobs"]
    return [choices[i] for i in range(len(choices))]


def check_prompt(logprobs, n_top):
    lists = [logprobs[key] for key in ("tokens", "token_logprobs", "top_logprobs", "text_offset")]
    assert all(len(one) >= len(ids) for one in lists), [len(one) for one in lists]
    assert lists[1][0] is None and lists[2][0] is None
    for at, (log_prob, rank) in enumerate(scores, 2):
        assert abs(lists[1][at] - log_prob) <= 1e-5 * abs(log_prob) + 1e-6, (at, lists[1][at], log_prob)
        top = lists[2][at]
        assert len(top) == n_top, (at, top)  # each has a name of its own, part of a character or not
        if n_top and rank == 0:
            assert max(top.values()) == lists[1][at], (at, top)
    assert lists[3][: len(ids)] == [0, 0] + list(range(len(text)))  # a token is a byte here
    return lists


status, body = complete(prompt=ids, echo=True, logprobs=2, max_tokens=1)
assert status == 200, body
choice = body["choices"][0]
lists = check_prompt(choice["logprobs"], 2)
assert len(lists[0]) == len(ids) + 1 and lists[1][-1] == max(lists[2][-1].values())
assert choice["text"].startswith(text) and body["usage"]["completion_tokens"] == 1
assert body["usage"]["prompt_tokens_details"]["cached_tokens"] == 0

# A token that is part of a character has its bytes for a name, and is found by it among its alternatives.
status, body = complete(prompt=[255, 0, 104], echo=True, logprobs=20, max_tokens=1)
lists = body["choices"][0]["logprobs"]
assert status == 200 and lists["tokens"][:3] == ["bytes:\\xff", "bytes:\\x00", "h"], body
assert all(len(top) == 20 for top in lists["top_logprobs"][1:]), [len(top) for top in lists["top_logprobs"][1:]]
assert lists["top_logprobs"][3][lists["tokens"][3]] == lists["token_logprobs"][3], lists

# Again: what is kept of it is no help, and is not in the way; nothing is generated, and the time is the prompt's.
status, body = complete(prompt=[ids], echo=True, logprobs=0, max_tokens=0)
assert status == 200, body
assert body["timings"]["prompt_ms"] > 0 and body["timings"]["predicted_ms"] == 0, body["timings"]
choice = body["choices"][0]
assert len(check_prompt(choice["logprobs"], 0)[0]) == len(ids)
assert choice["text"] == text and choice["finish_reason"] == "length"
assert body["usage"]["completion_tokens"] == 0 and body["usage"]["prompt_tokens_details"]["cached_tokens"] == 0

# Ids are those that were sent: who asks counts them.
status, body = complete(prompt=ids[2:], echo=True, logprobs=1, max_tokens=1)
assert status == 200 and body["usage"]["prompt_tokens"] == len(ids) - 2, body["usage"]
assert len(body["choices"][0]["logprobs"]["token_logprobs"]) == len(ids) - 1

# The text alone costs nothing more.
status, body = complete(prompt=text, echo=True, max_tokens=3)
assert status == 200, body
assert body["choices"][0]["text"].startswith(text) and body["choices"][0]["logprobs"] is None
assert body["usage"]["completion_tokens"] == 3 and body["usage"]["prompt_tokens_details"]["cached_tokens"] > 0

# A text begins as any does, and its logprobs, too.
status, body = complete(prompt=text, echo=True, logprobs=1, max_tokens=1)
assert status == 200, body
check_prompt(body["choices"][0]["logprobs"], 1)

# Several prompts are answered in their order, as each is alone; ids and texts, n of each.
parts = [ids[:40], ids, ids[3:90], text[:50]]
alone = [complete(prompt=part, echo=True, logprobs=1, max_tokens=1, seed=1)[1] for part in parts]
status, body = complete(prompt=parts, echo=True, logprobs=1, max_tokens=1, seed=1)
assert status == 200, body
assert [choice["index"] for choice in body["choices"]] == [0, 1, 2, 3]
for choice, one in zip(body["choices"], alone):
    assert {**choice, "index": 0} == one["choices"][0], (choice["index"], choice["text"])
assert body["usage"]["prompt_tokens"] == sum(one["usage"]["prompt_tokens"] for one in alone), body["usage"]
assert body["usage"]["completion_tokens"] == 4


def check_timings(body):
    """Those of all prompts, as the usage is."""
    timings, usage = body["timings"], body["usage"]
    assert timings["prompt_n"] + timings["cache_n"] == usage["prompt_tokens"], (timings, usage)
    assert timings["cache_n"] == usage["prompt_tokens_details"]["cached_tokens"], (timings, usage)
    assert timings["predicted_n"] == usage["completion_tokens"], (timings, usage)
    assert timings["prompt_ms"] > 0 and timings["queued_ms"] >= 0 and timings["predicted_ms"] >= 0, timings


check_timings(body)
status, body = complete(prompt=[text[:50], text[:60]], n=2, max_tokens=3, temperature=1, seed=5)
assert status == 200 and [choice["index"] for choice in body["choices"]] == [0, 1, 2, 3], body
check_timings(body)
again = complete(prompt=text[:60], n=2, max_tokens=3, temperature=1, seed=5)[1]
assert [choice["text"] for choice in body["choices"][2:]] == [choice["text"] for choice in again["choices"]]

# Which one is wrong is said; nothing is answered then.
for wrong, where in ((["a", [1, -1]], "prompt[1]: "), ([[-1], "a"], "prompt[0]: "), (["a", 7], "prompt[1]: "),
                     (["a", ids * 3], "prompt[1]: "), (["a"] * 257, "there are 257 prompts, at most 256")):
    status, body = complete(prompt=wrong, max_tokens=1)
    assert status == 400 and body["error"]["message"].startswith(where), body

# Streamed, they come one behind the other, numbered through; joined, the chunks are what comes whole.
for fields in ({"echo": True, "logprobs": 1, "max_tokens": 1}, {"n": 2, "max_tokens": 3, "temperature": 1, "seed": 5}):
    whole = complete(prompt=parts, **fields)[1]
    chunks = streamed(prompt=parts, stream_options={"include_usage": True}, **fields)
    assert {chunk["id"] for chunk in chunks} == {chunks[0]["id"]}, chunks[0]
    usage = chunks.pop()["usage"]
    check_timings({"timings": chunks[-1]["timings"], "usage": usage})
    assert {**usage, "prompt_tokens_details": 0} == {**whole["usage"], "prompt_tokens_details": 0}, usage
    assert joined(chunks) == [{key: choice[key] for key in ("text", "logprobs", "finish_reason")} for choice in whole["choices"]]
    shown = [chunk["choices"][0]["index"] // fields.get("n", 1) for chunk in chunks]
    assert shown == sorted(shown) and shown[-1] == len(parts) - 1, shown
counted = [chunk["usage"]["prompt_tokens"] for chunk in streamed(
    prompt=parts, max_tokens=1, stream_options={"include_usage": True, "continuous_usage_stats": True})]
assert counted == sorted(counted) and counted[0] < counted[-1] == whole["usage"]["prompt_tokens"], counted

# Who leaves in the middle of them is not computed for any more.
for streams in (False, True):
    n_descriptors = server.n_descriptors()
    before = server.metrics()["prompt_tokens_total"]
    connection = server.connect()
    connection.sendall(server.post("/v1/completions", {
        "prompt": [ids] * 200, "echo": True, "logprobs": 1, "max_tokens": 1, "stream": streams}))
    while server.metrics()["prompt_tokens_total"] < before + 2 * len(ids):
        pass
    reset(connection)
    server.rest(n_descriptors)
    assert server.metrics()["prompt_tokens_total"] < before + 150 * len(ids), "the others were computed"

for wrong in ({"n": 2}, {"max_tokens": -2}, {"echo": "yes"}):
    status, body = complete(**{"prompt": ids, "echo": True, "max_tokens": 1, **wrong})
    assert status == 400, (wrong, status, body)
status, body = complete(prompt=ids, max_tokens=0)
assert status == 400, body

# What lm-evaluation-harness asks for before its scores (tokenizer_backend=remote): the name of the token that ends
# a text, and its id. Within a text, or with what begins a prompt, that name is text.
status, info = server.ask("GET", "/tokenizer_info")
assert status == 200 and info["eos_token"] == info["pad_token"] == "<|endoftext|>" and info["bos_token"] is None, info


def tokens_of(prompt, begins):
    status, body = server.ask("POST", "/tokenize", {"prompt": prompt, "add_special_tokens": begins})
    assert status == 200, body
    return body["tokens"]


(end,) = tokens_of(info["eos_token"], False)
status, body = server.ask("POST", "/detokenize", {"tokens": [end]})
assert body["prompt"] == info["eos_token"], body
assert len(tokens_of("a" + info["eos_token"], False)) == 14
assert len(tokens_of(info["eos_token"], True)) == 15
status, body = complete(prompt=[end] + ids[2:9], echo=True, logprobs=1, max_tokens=1)
assert status == 200 and len(body["choices"][0]["logprobs"]["tokens"]) == 9, body
