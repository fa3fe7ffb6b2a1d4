"""n answers to one prompt.

   choices.py URL SCRIPT PID DTYPE
"""

import json
import sys
import threading

from raw import Server, body_of, check, status_of

server = Server(sys.argv[1], sys.argv[3])
DTYPE = sys.argv[4]
CHAT, COMPLETION = "/v1/chat/completions", "/v1/completions"
TEXT = "What is to be said about the grass, the sky and the sun? " * 6  # more than a page, and a part of one


def chat(n, text=TEXT, n_answer=24, **more):
    body = {"messages": [{"role": "user", "content": text}], "max_tokens": n_answer, "ignore_eos": True,
            "n": n, "temperature": 0, **more}
    status, answer = server.ask("POST", CHAT, body)
    check(status == 200, status, answer)
    check([choice["index"] for choice in answer["choices"]] == list(range(n)), answer)
    check(all(choice["finish_reason"] == "length" for choice in answer["choices"]), answer)
    check(answer["usage"]["completion_tokens"] == n * n_answer, answer["usage"])
    return [choice["message"]["content"] for choice in answer["choices"]]


def greedy():
    """All the same, and computed once."""
    one = chat(1)[0]
    before = server.metrics()
    check(chat(4, TEXT + "!") == chat(1, TEXT + "!") * 4)
    check(chat(3) == [one] * 3, one)
    after = server.metrics()
    n_prompts = after["prompt_tokens_total"] - before["prompt_tokens_total"]
    check(n_prompts < 4 * len(TEXT), "prompts were counted more than once", n_prompts)
    check(chat(4, "x", 1) == chat(1, "x", 1) * 4, "answers of one token")


def drawn():
    """Reproducible, different, the first as it is alone."""
    how = {"temperature": 1.5, "seed": 11}
    three = chat(3, **how)
    check(three == chat(3, **how), three)
    check(three[:2] == chat(2, **how) and three[:1] == chat(1, **how), three)
    check(len(set(three)) == 3, three)


def streamed():
    """Every choice's chunks are its own, and make its answer."""
    body = {"messages": [{"role": "user", "content": TEXT}], "max_tokens": 24, "ignore_eos": True, "n": 3,
            "temperature": 1.5, "seed": 11, "stream": True, "stream_options": {"include_usage": True}}
    events = body_of(server.exchange(server.post(CHAT, body))).decode().split("\n\n")
    check(events[-2:] == ["data: [DONE]", ""], events[-3:])
    texts, ends, usage = [""] * 3, [None] * 3, None
    for event in events[:-2]:
        value = json.loads(event[len("data: "):])
        usage = value.get("usage") or usage
        for choice in value["choices"]:
            i = choice["index"]
            check(ends[i] is None, "a chunk behind the end", value)
            texts[i] += choice["delta"].get("content") or ""
            ends[i] = choice["finish_reason"]
    check(texts == chat(3, temperature=1.5, seed=11), texts)
    check(ends == ["length"] * 3 and usage["completion_tokens"] == 72, ends, usage)


def completions():
    status, answer = server.ask("POST", COMPLETION, {
        "prompt": TEXT, "n": 2, "best_of": 2, "max_tokens": 5, "temperature": 0, "ignore_eos": True, "logprobs": 2})
    check(status == 200, answer)
    first, second = answer["choices"]
    check(first["text"] == second["text"] and first["logprobs"] == second["logprobs"], answer)
    check(len(first["logprobs"]["tokens"]) == 5, first)


def refused():
    for path, more, status in ((CHAT, {"n": 0}, 400), (CHAT, {"n": 17}, 400), (CHAT, {"n": 5}, 400),
                               (CHAT, {"n": 2, "best_of": 3}, 400), ("/v1/messages", {"n": 2}, 400)):
        body = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 1, **more}
        found, answer = server.ask("POST", path, body)
        check(found == status, more, found, answer)


def scarce():
    """More than there are slots for: each has its turn, among others of one choice."""
    answers = {}
    wanted = {n: chat(n, TEXT + str(n)) for n in (1, 2, 3, 4)}

    def ask(key, n):
        answers[key] = chat(n, TEXT + str(n))
    threads = [threading.Thread(target=ask, args=(i, 1 + i % 4)) for i in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check(all(answers.get(i) == wanted[1 + i % 4] for i in range(12)), answers, wanted)


def left():
    """A client that leaves takes all its choices with it."""
    body = {"messages": [{"role": "user", "content": "leave"}], "max_tokens": 2000, "ignore_eos": True, "n": 4,
            "stream": True}
    for n_bytes in (1, 3000):
        with server.connect() as connection:
            connection.sendall(server.post(CHAT, body))
            got = 0
            while got < n_bytes:
                got += len(connection.recv(n_bytes - got))
        server.rest(at_rest)


def recorded():
    """Every answer says how keys and values were kept."""
    body = {"messages": [{"role": "user", "content": "x"}], "prompt": "x", "max_tokens": 2}
    for path in (CHAT, COMPLETION, "/v1/messages"):
        status, answer = server.ask("POST", path, body)
        check(status == 200 and "kv_cache_dtype " + DTYPE + "," in answer["system_fingerprint"], path, answer)
        told = server.exchange(server.post(path, {**body, "stream": True}))
        check(b"kv_cache_dtype " + DTYPE.encode() + b"," in told, path, told)


check(status_of(server.exchange(server.head("GET", "/health"))) == 200)
chat(1, "x", 1)
at_rest = server.n_descriptors()
for case in (greedy, drawn, streamed, completions, recorded, refused, scarce, left):
    case()
server.rest(at_rest)
