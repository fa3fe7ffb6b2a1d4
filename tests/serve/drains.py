"""SIGTERM in the middle of streams.

   drains.py URL SCRIPT PID once|twice|waiting
"""

import json
import os
import signal
import sys
import time

from raw import Server, body_of, check, read_answer, status_of

server = Server(sys.argv[1], sys.argv[3])
HOW = sys.argv[4]
CHAT = "/v1/chat/completions"


def ask(n_tokens, text="hello", stream=True):
    return server.post(CHAT, {
        "messages": [{"role": "user", "content": text}], "max_tokens": n_tokens,
        "ignore_eos": True, "temperature": 0, "stream": stream})


def ask_two(n_tokens):
    """Two prompts, of which the first takes long."""
    return server.post("/v1/completions", {
        "prompt": ["hello", "again"], "max_tokens": n_tokens, "ignore_eos": True, "temperature": 0, "stream": True})


def end(connection, got):
    """The events of a stream that must be whole."""
    answer = got + read_answer(connection)
    check(answer.endswith(b"\r\n0\r\n\r\n"), answer[-100:])
    events = body_of(answer).decode().split("\n\n")
    check(events[-1] == "" and events[-2] == "data: [DONE]", events[-2:])
    return [json.loads(event[len("data: "):]) for event in events[:-2]]


# Long enough for what happens beside it, and no longer where all of it is computed.
n_long = 12000 if HOW != "once" else 400 if os.environ.get("GLM_TEST_FAST") == "1" else 1000
streams = [(server.connect(), b"") for _ in range(2)]
for i, (connection, _) in enumerate(streams):
    connection.sendall(ask_two(n_long) if i == 1 and HOW == "twice" else ask(n_long, f"hello {i}"))
while server.metrics()["num_requests_running"] < 2:
    time.sleep(0.005)
waiting = server.connect()
if HOW == "waiting":  # both slots are taken
    waiting.sendall(ask(8, stream=False))
    while server.metrics()["num_requests_waiting"] < 1:
        time.sleep(0.005)
os.kill(server.pid, signal.SIGTERM)
while (status := server.ask("GET", "/health")[0]) != 503:
    check(status == 200, status)
if HOW == "once":
    status, health = server.ask("GET", "/health")
    check(status == 503 and health["status"] == "draining", status, health)
    refused = server.exchange(ask(8))
    check(status_of(refused) == 503 and b"\r\nRetry-After: " in refused, refused)
else:
    os.kill(server.pid, signal.SIGINT)  # another SIGTERM that comes at once would be the same one
for connection, got in streams:
    events = end(connection, got)
    if HOW == "once":
        check(events[-1]["choices"][0]["finish_reason"] == "length", events[-1])
    else:
        check(events[-1].get("error", {}).get("code") == "shutting_down", events[-1])
        is_named = events[-1]["error"]["message"].startswith("prompt[0]: ")
        check(is_named == (events[0]["object"] == "text_completion"), events[-1])
if HOW == "waiting":
    answer = read_answer(waiting)
    check(status_of(answer) == 503, answer)
