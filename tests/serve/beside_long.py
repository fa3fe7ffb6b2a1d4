"""An answer of N_ANSWER tokens, beside a prefill of N_ITEMS items."""

import sys
import time

from raw import Server, check, events

server = Server(sys.argv[1], sys.argv[3])
N_LONG, CHUNK, N_LAYERS, N_ANSWER = 20000, 2048, 3, 60
N_ITEMS = N_LONG // CHUNK * N_LAYERS


def ask(text, n_answer, **more):
    return server.post("/v1/chat/completions", {"messages": [{"role": "user", "content": text}],
                                                "max_tokens": n_answer, "ignore_eos": True, **more})


check(N_ANSWER > 2 * N_ITEMS)
long = server.connect()
long.sendall(ask("long " * (N_LONG // 5), 1, stream=True, return_progress=True))
told = events(long)
while next(told).get("prompt_progress", {}).get("processed", 0) < N_LONG // 4:
    pass
begun = time.time()
status = server.exchange(ask("short", N_ANSWER))[:15]
check(status == b"HTTP/1.1 200 OK", status)
long.setblocking(False)
check(all("prompt_progress" in event for event in told), "the long prompt was computed first")
print(f"{N_ANSWER} tokens in {time.time() - begun:.2f} s")
long.close()
