"""n answers, each with room for max_tokens: where there is memory for them they come, however long the context lets them be;
where there is too little it is the client's to ask for less, and told so.

   no_room.py URL SCRIPT PID ROOM     ROOM: ample or scarce
"""

import sys
import time

from raw import Server, check

server = Server(sys.argv[1], sys.argv[3])
CHAT, OLD = "/v1/chat/completions", "/v1/completions"
BODIES = {CHAT: {"messages": [{"role": "user", "content": "hello"}]}, OLD: {"prompt": "hello"}}


def ample():
    status, answer = server.ask("POST", OLD, {"prompt": "x" * 200, "n": 2, "temperature": 0, "ignore_eos": True})
    check(status == 200 and answer["usage"]["completion_tokens"] == 2 * (1000 - answer["usage"]["prompt_tokens"]), answer)
    check(answer["choices"][0]["text"] == answer["choices"][1]["text"], answer)
    for bound in ({"max_tokens": -1}, {"max_tokens": 900}):
        status, answer = server.ask("POST", CHAT, {**BODIES[CHAT], **bound, "n": 8, "stop": ["a", "e", "i"]})
        check(status == 200 and len(answer["choices"]) == 8, answer)


def is_told(status, error, n):
    check(status == 400 and error["type"] == "invalid_request_error" and error["code"] == "no-fit", status, error)
    check(error["message"].startswith(f"n {n} with max_tokens ") and "does not fit" in error["message"], error)


def at_rest():
    """An answer is out before its request is over."""
    while server.metrics()["num_requests_running"] > 0:
        time.sleep(0.05)


def told_at_once():
    """Who can never have room does not wait for those that have it now: told while the answer beside it goes on, in one of
    a few tries."""
    for _ in range(5):
        at_rest()
        before = server.metrics()["request_success_total"]
        beside, _ = server.begin(server.post(OLD, {"prompt": "y", "max_tokens": 900, "ignore_eos": True, "stream": True}), 1)
        status, answer = server.ask("POST", OLD, {"prompt": "x", "n": 8})
        is_told(status, answer["error"], 8)
        goes_on = server.metrics()["request_success_total"] == before
        beside.close()
        if goes_on:
            return
    raise AssertionError("it has waited")


def scarce():
    for path, body in BODIES.items():
        for bound in ({}, {"max_tokens": -1}, {"max_tokens": 900}):
            status, answer = server.ask("POST", path, {**body, **bound, "n": 8})
            is_told(status, answer["error"], 8)
        status, answer = server.ask("POST", path, {**body, "max_tokens": 3, "n": 8, "ignore_eos": True})
        check(status == 200 and answer["usage"]["completion_tokens"] == 24, answer)
        status, answer = server.ask("POST", path, {**body, "n": 8, "stream": True})
        is_told(status, answer["error"], 8)
    status, answer = server.ask("POST", OLD, {"prompt": ["a", "b"], "n": 8})
    check(status == 400 and answer["error"]["message"].startswith("prompt[0]: n 8 with max_tokens "), answer)
    check(server.ask("POST", OLD, {"prompt": "x", "max_tokens": 900})[0] == 200)
    told_at_once()


{"ample": ample, "scarce": scarce}[sys.argv[4]]()
at_rest()
