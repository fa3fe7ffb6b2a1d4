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

from raw import Server, body_of, check, read_answer, status_of

QUIET_S = 10.0  # after that white space comes; the server stands still meanwhile, so that nothing is done before
N_WELL = 2500
server = Server(sys.argv[1], sys.argv[3])


def ask(path, n_tokens):
    connection = server.connect()
    connection.sendall(server.post(path, {"messages": [{"role": "user", "content": "hello"}], "max_tokens": n_tokens,
                                          "ignore_eos": True, "temperature": 0}))
    return connection


paths = ("/v1/chat/completions", "/v1/messages")
well = ask(paths[0], N_WELL)
badly = [ask(path, 60000) for path in paths]
client = http.client.HTTPConnection(server.host, server.port, timeout=60)
client.request("POST", paths[0], json.dumps({"messages": [{"role": "user", "content": "hello"}], "max_tokens": 60000,
                                             "ignore_eos": True, "temperature": 0}))
while server.metrics()["num_requests_running"] < 4:
    pass
os.kill(server.pid, signal.SIGSTOP)
time.sleep(QUIET_S)
os.kill(server.pid, signal.SIGCONT)

answer = read_answer(well)
body = body_of(answer)
check(answer.endswith(b"\r\n0\r\n\r\n") and status_of(answer) == 200 and body[:1] == b"\n", answer[:200])
check(json.loads(body)["usage"]["completion_tokens"] == N_WELL, body)

os.kill(server.pid, signal.SIGTERM)
while server.ask("GET", "/health")[0] != 503:
    pass
os.kill(server.pid, signal.SIGINT)
for path, connection in zip(paths, badly):
    answer = read_answer(connection)
    check(status_of(answer) == 200 and not answer.endswith(b"0\r\n\r\n"), path, answer)
    error = json.loads(body_of(answer))["error"]
    check("shutting down" in error["message"], path, error)
try:
    check(False, "taken for an answer", client.getresponse().read())
except http.client.IncompleteRead as cut:
    check(b"shutting down" in cut.partial, cut.partial)
