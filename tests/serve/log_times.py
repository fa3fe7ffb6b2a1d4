"""Lines of the server's log.

   log_times.py URL SCRIPT PID LOG BEGUN
"""

import re
import sys
import time

from raw import Server, check, events

server = Server(sys.argv[1], sys.argv[3])
LOG, BEGUN = sys.argv[4], sys.argv[5]
BODY = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 3, "ignore_eos": True}


def line_of(text):
    """The line that has it, once it has come."""
    for _ in range(600):
        with open(LOG) as log:
            found = [line for line in log if text in line]
        if found:
            return found[0]
        time.sleep(0.1)
    raise AssertionError(text)


status, answer = server.ask("POST", "/v1/chat/completions", BODY)
check(status == 200, answer)
end = line_of(answer["id"])
check(re.search(r" info serve: answered id=\S+ prompt_tokens=10 cached_tokens=0 answer_tokens=3 queued_ms=\S+ ms=\S+$",
                end), end)

connection = server.connect()
connection.sendall(server.post("/v1/chat/completions", {**BODY, "max_tokens": 3900, "stream": True}))
left = next(events(connection))["id"]
connection.close()
check(f" info serve: left by its client id={left} " in line_of(left), left)

now = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
with open(LOG) as log:
    for line in log:
        if line.startswith("listening on "):
            continue
        ready = re.fullmatch(r"ready: .*, (\S+)\n", line)
        found = re.match(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.\d{3}Z( (warn|info) [a-z]+: |$)", ready[1] if ready else line)
        check(found and BEGUN <= found[1] <= now, line)
