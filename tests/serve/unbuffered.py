"""The headers of answers that come in pieces.

   unbuffered.py URL SCRIPT PID
"""

import sys

from raw import Server, check, status_of

server = Server(sys.argv[1], sys.argv[3])
TURN = [{"role": "user", "content": "hello"}]
for path, more in (("/v1/chat/completions", {"messages": TURN}), ("/v1/messages", {"messages": TURN}),
                   ("/v1/completions", {"prompt": "hello"})):
    for stream in (True, False):
        answer = server.exchange(server.post(path, {"max_tokens": 4, "stream": stream} | more))
        headers = answer.split(b"\r\n\r\n")[0]
        check(status_of(answer) == 200, answer)
        check(not stream or b"\r\nX-Accel-Buffering: no" in headers, path, headers)
