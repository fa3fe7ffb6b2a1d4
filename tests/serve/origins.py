"""What a browser is told for a page of another origin: that it may ask, and read every answer, where --allow-origin says so.

   origins.py URL SCRIPT PID KEY ALLOWED OTHER    OTHER: an origin that is not allowed; "": any is
"""

import base64
import json
import sys

from raw import Server, body_of, check, status_of

KEY, ALLOWED, OTHER = sys.argv[4:7]
server = Server(sys.argv[1], sys.argv[3], KEY)
CHAT = "/v1/chat/completions"
AUTH = f"Authorization: Bearer {KEY}"
BODY = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 2}
ASKED = "authorization,content-type,x-stainless-lang,x-stainless-os"


def fields(answer):
    """Names in small letters -> values."""
    lines = answer.split(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    return {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}


def preflight(origin, *more, path=CHAT, host=True):
    return server.exchange(server.head("OPTIONS", path, f"Origin: {origin}", "Access-Control-Request-Method: POST", *more, host=host))


def readable(answer, status, origin=ALLOWED):
    said = fields(answer)
    check(status_of(answer) == status, status, answer)
    check(said.get("access-control-allow-origin") == origin and said.get("vary") == "Origin", answer)
    check("access-control-allow-credentials" not in said, answer)
    return answer


# Before it asks, a browser asks whether it may: it has no key then.
answer = readable(preflight(ALLOWED, f"Access-Control-Request-Headers: {ASKED}"), 204)
said = fields(answer)
check(said["access-control-allow-headers"] == ASKED and not body_of(answer), answer)
check({"GET", "POST", "DELETE"} <= set(said["access-control-allow-methods"].split(", ")), answer)
check("access-control-allow-private-network" not in said, answer)
said = fields(readable(preflight(ALLOWED, "Access-Control-Request-Private-Network: true", path="/v1/models"), 204))
check(said["access-control-allow-private-network"] == "true" and "access-control-allow-headers" not in said, said)
readable(preflight(ALLOWED, path="/no/such/path"), 204)
check(status_of(preflight(ALLOWED, "Host: evil.example", host=False)) == 403, "a foreign Host")

for more, body in ((["Content-Length: 2"], b"{}"), (["Transfer-Encoding: chunked"], b"2\r\n{}\r\n0\r\n\r\n")):
    answer = server.exchange(server.head("OPTIONS", CHAT, f"Origin: {ALLOWED}", "Access-Control-Request-Method: POST", *more) + body)
    check(status_of(answer) == 401, more, answer)

# Every answer can be read: whole, streamed, errors of each kind.
ORIGIN = f"Origin: {ALLOWED}"
readable(server.exchange(server.post(CHAT, BODY, AUTH, ORIGIN)), 200)
readable(server.exchange(server.post(CHAT, {**BODY, "stream": True}, AUTH, ORIGIN)), 200)
readable(server.exchange(server.post(CHAT, {**BODY, "n": 0}, AUTH, ORIGIN)), 400)
readable(server.exchange(server.post(CHAT, BODY, ORIGIN)), 401)

# With a password that the browser may have added by itself only a page of the server's own asks.
BASIC = "Authorization: Basic " + base64.b64encode(f"me:{KEY}".encode()).decode()
readable(server.exchange(server.post(CHAT, BODY, BASIC, ORIGIN)), 403)
readable(server.exchange(server.post(CHAT, BODY, BASIC, ORIGIN, "Sec-Fetch-Site: cross-site")), 403)
readable(server.exchange(server.post(CHAT, BODY, BASIC, ORIGIN, "Sec-Fetch-Site: same-origin")), 200)

readable(server.exchange(server.post("/v1/nothing", BODY, AUTH, ORIGIN)), 404)
readable(server.exchange(server.head("GET", CHAT, AUTH, ORIGIN)), 405)
answer = readable(server.exchange(server.head("GET", "/health", ORIGIN)), 200)
check(fields(answer)["access-control-expose-headers"] == "Retry-After", answer)

# Two on one connection: the preflight leaves it open.
with server.connect() as connection:
    connection.sendall(server.head("OPTIONS", CHAT, ORIGIN, "Access-Control-Request-Method: POST")
                       + server.head("GET", "/v1/models", AUTH, ORIGIN, "Connection: close"))
    data = b""
    while more := connection.recv(65536):
        data += more
check(data.startswith(b"HTTP/1.1 204 ") and data.count(b"HTTP/1.1 200 ") == 1, data)

# Our own page, and programs, which tell no origin; without a method that is asked for it is no preflight.
for own in ([], [f"Origin: http://{server.name}"]):
    answer = server.exchange(server.head("GET", "/v1/models", AUTH, *own))
    check(status_of(answer) == 200 and fields(answer)["vary"] == "Origin", answer)
check(status_of(server.exchange(server.head("OPTIONS", CHAT, AUTH, ORIGIN))) == 405)

if OTHER:
    for other in (OTHER, ALLOWED + ".evil.example", ALLOWED + "0", "null", ALLOWED + "/"):
        for answer in (preflight(other), server.exchange(server.post(CHAT, BODY, AUTH, f"Origin: {other}"))):
            check(status_of(answer) == 403 and "access-control-allow-origin" not in fields(answer), other, answer)
    check("--allow-origin" in json.loads(body_of(answer))["error"]["message"], answer)
    twice = server.exchange(server.post(CHAT, BODY, AUTH, ORIGIN, f"Origin: {OTHER}"))
    check(status_of(twice) == 403, twice)
