"""Clients that leave in any phase of a request: descriptors, slots and pages are those of before.

   leave.py URL SCRIPT PID N SEED CONTEXT
"""

import concurrent.futures
import random
import socket
import sys
import time

from raw import Server, check, reset, status_of

N, SEED, CONTEXT = map(int, sys.argv[4:7])
AT_ONCE = 8
ROUND = 50
FILL = 13  # more than are kept
PATHS = ("/v1/chat/completions", "/v1/completions", "/v1/messages", "/tokenize", "/v1/models")
server = Server(sys.argv[1], sys.argv[3])


def body(rng, path, n_words, stream):
    text = f"{rng.random()} " + "abc def " * n_words
    common = {"stream": stream, "max_tokens": min(300, CONTEXT // 4), "temperature": 0}
    if path == "/v1/completions":
        return {"prompt": text, "ignore_eos": True, **common}
    if path == "/tokenize":
        return {"prompt": text}
    return {"messages": [{"role": "user", "content": text}], **common}


def request(rng):
    path = rng.choice(PATHS)
    if path == "/v1/models":
        return server.head("GET", path)
    data = server.post(path, body(rng, path, rng.choice((1, 30, CONTEXT // 13)), rng.random() < 0.7))
    return data.replace(b"HTTP/1.1", b"HTTP/1.0", 1) if rng.random() < 0.2 else data  # no chunks, the end is its end


def stay(connection, rng):
    """Until a phase drawn by chance: some bytes sent, perhaps all, some read, some time gone."""
    data = request(rng)
    n_sent = rng.randrange(len(data) + 1) if rng.random() < 0.4 else len(data)
    connection.sendall(data[:n_sent])
    if n_sent == len(data) and rng.random() < 0.6:
        left = int(10 ** rng.uniform(0, 4))
        while left > 0 and (more := connection.recv(left)):
            left -= len(more)
    time.sleep(rng.choice((0.0, 0.0, 0.005, 0.05, 0.3)))


def leave(connection, rng):
    how = rng.choice(("end", "reset", "half"))
    if how == "reset":
        return reset(connection)
    if how == "half":
        connection.shutdown(socket.SHUT_WR)
        time.sleep(0.01)
    return connection.close()


def parting(i):
    rng = random.Random(SEED * 1_000_003 + i)
    connection = server.connect()
    connection.settimeout(0.5)  # of a long answer that comes at its end, as of any other, it waits only so long
    try:
        stay(connection, rng)
    except TimeoutError:
        pass
    leave(connection, rng)


def fill(first):
    """Texts as long as a sequence may be, until none but such are kept: the pages in use are then a whole number of
    texts', and one page that nobody has given back would show."""
    for i in range(FILL):
        prompt = [97 + (first + i) % 26] * (CONTEXT - 100)
        found = status_of(server.exchange(
            server.post("/v1/completions", {"prompt": prompt, "max_tokens": 90, "ignore_eos": True}), timeout=120))
        check(found == 200, "a request of the greatest length", found)
    now = server.rest(1 << 20)
    check(now["prefix_cache_evicted_total"] > 0, "nothing was given up:", FILL, "texts fit", now)
    return now


before = fill(0)
descriptors = server.n_descriptors()
with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
    for first in range(0, N, ROUND):
        list(pool.map(parting, range(first, min(first + ROUND, N))))
        server.rest(descriptors)
after = fill(13)
server.rest(descriptors)  # of the last answer, too
print({name: after[name] - before[name] for name in sorted(before)})
for name in ("kv_cache_usage_perc", "kv_cache_reserved_perc", "prefix_cache_texts"):
    check(after[name] == before[name], name, before[name], after[name])
check(after["request_cancelled_total"] > before["request_cancelled_total"] + 3, "few left in the middle", after)
