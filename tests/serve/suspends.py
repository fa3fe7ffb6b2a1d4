"""A prefill that is suspended by SIGTERM, and gone on with by another server.

   suspends.py URL SCRIPT PID N_TOKENS once|twice|forked|beside|again FILE

FILE holds how far the first one was. "beside": another prompt is prefilled in turns with it, so that
one of the two is between two of its pieces when both are stopped. "forked": as twice, behind a short prompt that begins
like it and is in memory by then.
"""

import json
import os
import re
import signal
import sys

from raw import Server, check

server = Server(sys.argv[1], sys.argv[3])
N_TOKENS, HOW, PLACE = int(sys.argv[4]), sys.argv[5], sys.argv[6]
KEY_LINE = "The special magic number for Paris is:"


def question(first=N_TOKENS):
    """A text with a number in its first half, and a question for it."""
    line = f"{first}: the grass is green, the sky is blue, the sun is yellow, here we go.\n"
    filler = line * (N_TOKENS // len(line) + 1)
    return (f"{filler[:N_TOKENS // 4]}\n{KEY_LINE} 4831759.\n{filler[N_TOKENS // 4:N_TOKENS]}\n"
            f"What is the special magic number for Paris?\n>\n{KEY_LINE}")


def events(connection):
    """Each event's JSON; the stream must be properly ended."""
    data = b""
    while not data.endswith(b"0\r\n\r\n"):
        more = connection.recv(65536)
        check(more, "the stream is cut off", data)
        data += more
        while b"\n\n" in data:
            event, _, data = data.partition(b"\n\n")
            text = event[event.index(b"data: ") + len(b"data: "):]
            if text == b"[DONE]":
                check(connection.recv(65536) if not data else data, "no last chunk")
                return
            yield json.loads(text)
    raise AssertionError("no [DONE]")


def ask(connection, text):
    connection.sendall(server.post("/v1/chat/completions", {
        "messages": [{"role": "user", "content": text}], "max_tokens": 64, "temperature": 0,
        "stream": True, "return_progress": True}))


def kept_of(last):
    """How many tokens a stream that the server ended says are kept."""
    error = last.get("error", {})
    kept = re.search(r"(\d+) of the prompt's (\d+) tokens are kept", error.get("message", ""))
    check(error.get("code") == "shutting_down" and kept, last)
    check(int(kept[2]) >= N_TOKENS, last)
    return int(kept[1])


if HOW == "forked":
    with server.connect(timeout=240.0) as connection:
        ask(connection, question()[:2000])
        check("error" not in list(events(connection))[-1], "the short one is not answered")
with server.connect(timeout=240.0) as connection:
    other = server.connect(timeout=240.0) if HOW == "beside" else None
    if other:
        ask(other, question("another"))
    ask(connection, question())
    seen, answer, last, is_signalled = [], "", None, False
    for last in events(connection):
        if "prompt_progress" in last:
            seen.append(last["prompt_progress"]["processed"])
        for choice in last.get("choices", []):
            answer += choice["delta"].get("content") or ""
        is_far = seen and seen[-1] > (0.6 if other else 0.4 if HOW == "forked" else 0.1) * N_TOKENS
        if HOW != "again" and is_far and not is_signalled:
            is_signalled = True
            os.kill(server.pid, signal.SIGTERM)
            if HOW != "once":
                # Another SIGTERM that comes at once would be the same one.
                os.kill(server.pid, signal.SIGINT)
    if HOW == "again":
        check(answer == f"{KEY_LINE} 4831759.", answer, last)
        with open(PLACE, encoding="ascii") as file:
            place = int(file.read())
        check(max(seen[:2]) >= place, "computed again", place, seen[:4])
        print(f"gone on with at {place} of {N_TOKENS}")
    else:
        kept = kept_of(last)
        check(kept >= seen[-1], kept, seen[-1])
        if other:
            check(kept_of(list(events(other))[-1]) >= 4096, "nothing of the other is kept")
        with open(PLACE, "w", encoding="ascii") as file:
            file.write(str(kept))
