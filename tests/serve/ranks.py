"""Answers of several ranks, and the loss of one.

   ranks.py URL SCRIPT PID answers FILE      the greedy answer to a long prompt, into FILE
   ranks.py URL SCRIPT PID reuses N          of the same prompt at least N tokens are known
   ranks.py URL SCRIPT PID loses RANK_PID    streams, a whole answer and one that waits, in the middle of
                                             which that process is killed
   ranks.py URL SCRIPT PID freezes RANK_PID  the same, stopped
   ranks.py URL SCRIPT PID freezes_0 ZERO OTHER [ended]   rank 0 is stopped under a stream until the other rank
                                             has left, and then let go on, so that the stream ends likewise,
                                             unless a launcher ends it
"""

import json
import os
import signal
import sys
import time

from raw import Server, body_of, check, read_answer, status_of

server = Server(sys.argv[1], sys.argv[3])
what, argument = sys.argv[4:6]
LONG = "The special magic number for kate is: 7654321. " * 120


def post(text, n_tokens, stream):
    return server.post("/v1/completions", {
        "prompt": text, "max_tokens": n_tokens, "ignore_eos": True, "temperature": 0,
        "stream": stream})


def answer():
    got = server.exchange(server.post("/v1/completions", {
        "prompt": LONG, "max_tokens": 8, "ignore_eos": True, "temperature": 0}), timeout=300.0)
    check(status_of(got) == 200, got)
    return json.loads(body_of(got))


def check_error(error, rank=1):
    check(error["code"] == "rank_lost" and error["type"] == "server_error", error)
    check(f"rank {rank} on " + os.uname().nodename + " is " in error["message"], error)
    check("step " in error["message"], error)


def lose(pid, deed):
    """Two are decoded, one of them whole at its end; one waits for a slot."""
    whole = server.connect()
    whole.sendall(post("hello whole", 60000, False))
    stream, got = server.begin(post("hello", 60000, True), 3000)
    waiting = server.connect()
    waiting.sendall(post("hello waiting", 60000, True))
    while server.metrics()["num_requests_waiting"] < 1:
        time.sleep(0.01)
    os.kill(pid, deed)
    begun = time.monotonic()
    got += read_answer(stream)
    took = time.monotonic() - begun
    print(f"told after {took:.2f} s")
    check(took < 100.0, took)
    check(got.endswith(b"\r\n0\r\n\r\n"), got[-200:])
    events = body_of(got).decode().split("\n\n")
    check(events[-1] == "" and events[-2] == "data: [DONE]", events[-2:])
    check_error(json.loads(events[-3][len("data: "):])["error"])
    check_error(json.loads(body_of(read_answer(whole)))["error"])
    late = read_answer(waiting)
    check(b'"rank_lost"' in late, late)


def is_gone(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def freeze_0(zero, other, is_ended):
    stream, got = server.begin(post("hello", 60000, True), 3000)
    os.kill(zero, signal.SIGSTOP)
    begun = time.monotonic()
    while not is_gone(other):
        check(time.monotonic() - begun < 100.0, "the other rank goes on")
        time.sleep(0.05)
    print(f"rank 1 left after {time.monotonic() - begun:.2f} s")
    if not is_ended:
        os.kill(zero, signal.SIGCONT)
        got += read_answer(stream)
        check(got.endswith(b"\r\n0\r\n\r\n"), got[-200:])
        events = body_of(got).decode().split("\n\n")
        check_error(json.loads(events[-3][len("data: "):])["error"], rank=0)


if what == "answers":
    with open(argument, "w", encoding="utf-8") as out:
        out.write(answer()["choices"][0]["text"])
elif what == "reuses":
    usage = answer()["usage"]
    check(usage["prompt_tokens_details"]["cached_tokens"] >= int(argument), usage)
elif what == "freezes_0":
    freeze_0(int(argument), int(sys.argv[6]), "ended" in sys.argv[7:])
else:
    lose(int(argument), signal.SIGKILL if what == "loses" else signal.SIGSTOP)
