"""A request for a whole answer that fails when white space has gone out already, with the status 200: what comes is cut
off behind the error, so that no client takes it for an answer. One that goes well is properly ended.

   late.py URL SCRIPT PID
"""

import http.client
import json
import os
import signal
import sys
import time

from raw import Server, body_of, check, read_answer, reset, status_of

QUIET_S = 10.0  # after that white space comes; the server stands still meanwhile, so that nothing is done before
N_WELL = 8
server = Server(sys.argv[1], sys.argv[3])


def body(n_tokens):
    return {"messages": [{"role": "user", "content": "hello"}], "max_tokens": n_tokens, "ignore_eos": True, "temperature": 0}


def ask(path, n_tokens):
    connection = server.connect()
    connection.sendall(server.post(path, body(n_tokens)))
    return connection


def wait_for(name, n):
    while server.metrics()[name] < n:
        time.sleep(0.02)


# All slots are taken by answers without end, as far as this is concerned: the short one waits until one of them is given up.
paths = ("/v1/chat/completions", "/v1/messages")
badly = [ask(path, 60000) for path in paths]
holder = ask(paths[0], 60000)
client = http.client.HTTPConnection(server.host, server.port, timeout=60)
client.request("POST", paths[0], json.dumps(body(60000)))
wait_for("num_requests_running", 4)
well = ask(paths[0], N_WELL)
wait_for("num_requests_waiting", 1)
os.kill(server.pid, signal.SIGSTOP)
time.sleep(QUIET_S)
os.kill(server.pid, signal.SIGCONT)

late = [connection.recv(1) for connection in badly + [well]]  # all have the status, and the white space
check(late == [b"H"] * 3, late)
reset(holder)
answer = late[2] + read_answer(well)
text = body_of(answer)
check(answer.endswith(b"\r\n0\r\n\r\n") and status_of(answer) == 200 and text[:1] == b"\n", answer[:200])
check(json.loads(text)["usage"]["completion_tokens"] == N_WELL, text)

os.kill(server.pid, signal.SIGTERM)
while server.ask("GET", "/health")[0] != 503:
    time.sleep(0.02)
os.kill(server.pid, signal.SIGINT)
for path, first, connection in zip(paths, late, badly):
    answer = first + read_answer(connection)
    check(status_of(answer) == 200 and not answer.endswith(b"0\r\n\r\n"), path, answer)
    error = json.loads(body_of(answer))["error"]
    check("shutting down" in error["message"], path, error)
try:
    check(False, "taken for an answer", client.getresponse().read())
except http.client.IncompleteRead as cut:
    check(b"shutting down" in cut.partial, cut.partial)
