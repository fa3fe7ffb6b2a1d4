"""A stream whose prefill takes minutes: how long it is silent, and how soon the server knows that its client has left.

   clock.py URL SCRIPT PID
"""

import sys
import time

from raw import Server, check

server = Server(sys.argv[1], sys.argv[3])


def running():
    return server.metrics()["num_requests_running"]


connection = server.connect(timeout=30.0)
connection.sendall(server.post("/v1/chat/completions", {
    "messages": [{"role": "user", "content": "The grass is green.\n" * 3000}], "max_tokens": 8, "stream": True}))
silent_s, begun = 0.0, time.monotonic()
while silent_s < 1.0:  # what the answer begins with comes at once
    check(connection.recv(65536), "the stream is cut off")
    silent_s, begun = time.monotonic() - begun, time.monotonic()
check(silent_s < 15.0, "silent for", silent_s)
check(running() == 1, "nothing runs")
connection.close()
left = time.monotonic()
while running():
    check(time.monotonic() - left < 20.0, "it goes on without its client")
    time.sleep(0.1)
print(f"silent for {silent_s:.2f} s, the end noticed after {time.monotonic() - left:.2f} s")
