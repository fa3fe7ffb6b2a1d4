"""Who is computed when, and what is not computed twice.

   schedule.py URL SCRIPT PID memory|keep|find N_TOKENS
"""

import re
import sys
import threading
import time

from raw import Server, check, events

server = Server(sys.argv[1], sys.argv[3])
HOW, N_TOKENS = sys.argv[4], int(sys.argv[5])
CHUNK = 128
KEY_LINE = "The special magic number for Paris is:"


def text_of(name, n_bytes):
    """A text with a number, and a question for it; no two names begin alike."""
    line = f"{name}: the grass is green, the sky is blue, the sun is yellow, here we go.\n"
    filler = line * (n_bytes // len(line) + 1)
    half = n_bytes // 2
    return (f"{filler[:half]}\n{KEY_LINE} 4831759.\n{filler[half:n_bytes]}\n"
            f"What is the special magic number for Paris?\n>\n{KEY_LINE}")


def ask(text, n_answer=64):
    return server.post("/v1/chat/completions", {
        "messages": [{"role": "user", "content": text}], "max_tokens": n_answer,
        "temperature": 0, "stream": True, "stream_options": {"include_usage": True},
        "return_progress": True})


class Stream:
    """A stream that is read in a thread of its own: its events, each with its time."""

    def __init__(self, text, n_answer=64):
        self.events, self.text, self.usage, self.first_s = [], "", None, None
        self.begun_s = time.time()
        self.connection = server.connect(timeout=120.0)
        self.connection.sendall(ask(text, n_answer))
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        for value in events(self.connection):
            self.take(value)

    def take(self, value):
        check("error" not in value, value)
        self.events.append((time.time(), value))
        self.usage = value.get("usage") or self.usage
        for choice in value["choices"]:
            piece = choice["delta"].get("content") or ""
            if piece and self.first_s is None:
                self.first_s = time.time()
            self.text += piece

    def progress(self):
        return [value["prompt_progress"] for _, value in self.events if "prompt_progress" in value]

    def wait_for(self, share):
        """Until the prefill is so far."""
        while not any(p["processed"] >= share * p["total"] for p in self.progress()):
            check(self.thread.is_alive(), "the stream has ended", self.text)
            time.sleep(0.005)
        return self.progress()[-1]["processed"]

    def leave(self):
        self.connection.shutdown(2)
        self.thread.join()
        self.connection.close()

    def end(self):
        self.thread.join()
        self.connection.close()
        check(self.text == f"{KEY_LINE} 4831759.", self.text, self.events[-1:])
        return self.usage["prompt_tokens_details"]["cached_tokens"]


def cut_off():
    """A client leaves at half; the same prompt again begins where it was, but for a piece."""
    text = text_of("cut", N_TOKENS)
    first = Stream(text)
    n_done = first.wait_for(0.5)
    first.leave()
    while server.metrics()["num_requests_running"] > 0:
        time.sleep(0.01)
    n_cached = Stream(text).end()
    check(n_cached >= n_done - CHUNK, n_cached, n_done)
    check(n_cached % CHUNK == 0 or n_cached > N_TOKENS, n_cached)
    print(f"cut off at {n_done} of {N_TOKENS}: {n_cached} found again")


def joined():
    """Three ask the same: one prefill serves them all. A longer one where it was over before the others came."""
    for n_tokens in [n for n in (N_TOKENS, 5 * N_TOKENS, 25 * N_TOKENS) if n <= 56000]:
        text = text_of(f"join {n_tokens}", n_tokens)
        before = server.metrics()
        streams = [Stream(text)]
        streams[0].wait_for(0.1)
        streams += [Stream(text), Stream(text)]
        cached = sorted(stream.end() for stream in streams)
        after = server.metrics()
        n_joined = after["request_joined_total"] - before["request_joined_total"]
        if n_joined == 2:
            break
    n_prompt = streams[0].usage["prompt_tokens"]
    check(n_joined == 2, n_joined, n_tokens)
    check(cached[0] < CHUNK and cached[1:] == [n_prompt - 1] * 2, cached, n_prompt)
    check(all(stream.progress() for stream in streams), "joined ones see the progress")


def left_by_the_first():
    """The client whose prefill others joined leaves: they go on from there."""
    text = text_of("left", N_TOKENS)
    first = Stream(text)
    first.wait_for(0.1)
    second = Stream(text)
    while server.metrics()["request_joined_total"] == 0 or not second.progress():
        time.sleep(0.01)
    n_done = first.wait_for(0.4)
    first.leave()
    n_cached = second.end()
    check(n_cached >= n_done - CHUNK, n_cached, n_done)


def pieces_around(body):
    """How many pieces are begun from a request to its answer. One connection asks for the count before and behind
    it, all at once: what this process, or its machine, takes for something else meanwhile is not counted."""
    with server.connect(timeout=120.0) as connection:
        connection.sendall(server.head("GET", "/metrics") + server.post("/v1/chat/completions", body)
                           + server.head("GET", "/metrics", "Connection: close"))
        data = b""
        while more := connection.recv(1 << 16):
            data += more
    found = re.findall(rb"^glm1m:prefill_pieces_total (\S+)$", data, re.M)
    check(data.count(b"HTTP/1.1 200") == 3 and len(found) == 2, data)
    return int(float(found[1]) - float(found[0]))


def short_in_between():
    """A short prompt in the middle of a long one waits for the rest of the running piece and at most
    one more, then has its own."""
    long = Stream(text_of("long", N_TOKENS))
    waits = []
    for i in range(5):
        if long.wait_for(0.1 + 0.1 * i) > N_TOKENS:
            break  # too fast to look at more
        waits.append(pieces_around({"messages": [{"role": "user", "content": f"short {i}: say\n>\n" + "x" * 16}],
                                    "max_tokens": 2, "temperature": 0}))
    long.end()
    check(sum(waits) <= 6 * len(waits), waits)
    print("pieces begun from a short request to its answer:", waits)


def decode_goes_on():
    """An answer under way is not stopped by a long prompt: tokens come during its prefill."""
    talk = Stream("a b c d e f g h\n" * 20, n_answer=40000)  # without end, as far as this is concerned
    while talk.first_s is None:
        time.sleep(0.005)
    n_before = len(talk.text)
    long = Stream(text_of("beside", N_TOKENS))
    long.wait_for(0.3)
    n_during = len(talk.text) - n_before
    talk.leave()
    long.end()
    n_items = 3 * 0.3 * N_TOKENS / CHUNK  # of three layers, each with a decode step
    check(n_during >= n_items / 2, n_during, n_items)


if HOW == "memory":
    for case in (cut_off, joined, left_by_the_first, short_in_between, decode_goes_on):
        started = time.time()
        case()
        print(f"{case.__name__}: {time.time() - started:.2f} s", flush=True)
    while server.metrics()["num_requests_running"] > 0:
        time.sleep(0.05)
else:
    stream = Stream(text_of("disk", N_TOKENS))
    n_cached = stream.end()
    check(n_cached >= N_TOKENS // 4096 * 4096 if HOW == "find" else n_cached == 0, HOW, n_cached)
