"""Who has an answer finds it counted in /metrics.

   counted.py URL SCRIPT PID
"""

import sys

from raw import Server, check

server = Server(sys.argv[1], sys.argv[3])

for n in range(1, 201):
    status, answer = server.ask("POST", "/v1/completions", {"prompt": "x", "max_tokens": 1 + n % 3, "n": 1 + n % 2})
    check(status == 200, answer)
    found = server.metrics()
    check(found["request_success_total"] == n, n, found)
