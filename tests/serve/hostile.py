"""Requests that no client should send: each is refused or served as it says, and leaves the server
alive, with the descriptors, slots and pages of before.

   hostile.py URL SCRIPT PID KEY
"""

import base64
import concurrent.futures
import json
import os
import re
import socket
import sys
import time

from raw import Server, body_of, check, reset, status_of

KEY = sys.argv[4]
FAST = os.environ.get("GLM_TEST_FAST") == "1"
server = Server(sys.argv[1], sys.argv[3], KEY)
AUTH = f"Authorization: Bearer {KEY}"
CHAT = "/v1/chat/completions"
BODY = b'{"messages":[{"role":"user","content":"hello"}],"max_tokens":2,"temperature":0}'
REFUSED = {0, 400, 413, 414, 431, 501, 505}


def post(*fields, body=BODY, length=True):
    lines = ([f"Content-Length: {len(body)}"] if length else []) + [AUTH]
    return server.head("POST", CHAT, *lines, *fields) + body


def chunked(data, *fields):
    return server.head("POST", CHAT, AUTH, "Transfer-Encoding: chunked", *fields) + data


ONE_CHUNK = b"%x\r\n%s\r\n" % (len(BODY), BODY)
GET = server.head("GET", "/v1/models", AUTH)

FRAMING = {
    "well-formed": (post(), {200}),
    "chunked": (chunked(ONE_CHUNK + b"0\r\n\r\n"), {200}),
    "a chunk a byte": (chunked(b"".join(b"1\r\n%c\r\n" % byte for byte in BODY) + b"0\r\n\r\n"), {200}),
    "no length": (server.head("POST", CHAT, AUTH), {400}),
    "two lengths": (post(f"Content-Length: {len(BODY)}"), {400}),
    "two different lengths": (post("Content-Length: 3"), {400}),
    "negative length": (post("Content-Length: -1", length=False), {0, 400}),
    "length +5": (post("Content-Length: +5", length=False), {0, 400}),
    "length 0x10": (post("Content-Length: 0x10", length=False), {0, 400}),
    "length of 20 digits": (post("Content-Length: 99999999999999999999", length=False), {0, 400, 413}),
    "length of 2^63": (post("Content-Length: 9223372036854775808", length=False), {0, 400, 413}),
    "length of 1 TB": (post("Content-Length: 1000000000000", length=False), {413}),
    "length and chunked": (chunked(ONE_CHUNK + b"0\r\n\r\n", f"Content-Length: {len(BODY)}"), {400}),
    "chunked twice": (chunked(ONE_CHUNK + b"0\r\n\r\n", "Transfer-Encoding: chunked"), {400}),
    "chunked, identity": (server.head("POST", CHAT, AUTH, "Transfer-Encoding: chunked, identity")
                          + ONE_CHUNK, {0, 400}),
    "coding gzip": (server.head("POST", CHAT, AUTH, "Transfer-Encoding: gzip") + BODY, {0, 400}),
    "packed body": (post("Content-Encoding: gzip"), {415}),
    "packed twice": (post("Content-Encoding: identity, gzip"), {415}),
    "packed, in two fields": (post("Content-Encoding: gzip", "Content-Encoding: identity"), {415}),
    "packed by what is no text": (post("Content-Encoding: XX").replace(b"XX", b"\xff\x80"), {415}),
    "packed not at all": (post("Content-Encoding: Identity"), {200}),
    "chunk size -2": (chunked(b"-2\r\nxx\r\n0\r\n\r\n"), REFUSED),
    "chunk size of 17 digits": (chunked(b"11111111111111111\r\nxx\r\n"), REFUSED),
    "chunk size g": (chunked(b"g\r\nxx\r\n"), REFUSED),
    "chunk without its end": (chunked(b"2\r\nxxyy\r\n0\r\n\r\n"), REFUSED),
    "huge chunk extension": (chunked(b"2;" + b"x" * 40000 + b"\r\nxx\r\n0\r\n\r\n"),
                             REFUSED | {500}),  # the library, out of its 32 KiB
    "flood of trailers": (chunked(ONE_CHUNK + b"0\r\n" + b"a: b\r\n" * 9000 + b"\r\n"), REFUSED | {200}),
    "bare line feeds": (GET.replace(b"\r\n", b"\n"), REFUSED | {200}),
    "bare carriage returns": (GET.replace(b"\r\n", b"\r"), REFUSED | {200}),
    "folded field": (server.head("GET", "/v1/models", AUTH, "X-A: b", " c"), REFUSED | {200}),
    "NUL in a field": (server.head("GET", "/v1/models", AUTH, "X-A: b\0c"), REFUSED | {200}),
    "space before a colon": (server.head("GET", "/v1/models", AUTH, "X-A : b"), REFUSED | {200}),
    "field without a name": (server.head("GET", "/v1/models", AUTH, ": b"), REFUSED | {200}),
    "field without a colon": (server.head("GET", "/v1/models", AUTH, "nonsense"), REFUSED | {200}),
    "64 fields": (server.head("GET", "/v1/models", AUTH, *[f"X-{i}: b" for i in range(62)]), {200}),
    "65 fields": (server.head("GET", "/v1/models", AUTH, *[f"X-{i}: b" for i in range(63)]), {431}),
    "target of 8193 bytes": (server.head("GET", "/" + "x" * 8192, AUTH), {414}),
    "header of 40 KB": (server.head("GET", "/v1/models", AUTH, "X-A: " + "b" * 40000), REFUSED),
    "HTTP/0.9": (b"GET /v1/models\r\n\r\n", REFUSED),
    "HTTP/1.0": (GET.replace(b"HTTP/1.1", b"HTTP/1.0"), {200}),
    "HTTP/1.2": (GET.replace(b"HTTP/1.1", b"HTTP/1.2"), REFUSED),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", REFUSED),
    "TLS hello": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x5a" * 500, REFUSED),
    "random bytes": (bytes(range(256)) * 4, REFUSED),
    "absolute target": (server.head("GET", f"http://{server.name}/v1/models", AUTH), {200}),
    "absolute target, upper case": (server.head("GET", f"HTTP://{server.name}/v1/models?x", AUTH), {200}),
    "absolute target without a path": (server.head("HEAD", f"http://{server.name}", AUTH, "Connection: close"), {200}),
    "absolute target, foreign Host": (server.head("GET", f"http://{server.name}/v1/models", AUTH, "Host: evil.example", host=False), {403}),
    "absolute target without the key": (server.head("GET", f"http://{server.name}/v1/models"), {401}),
    "other scheme": (server.head("GET", f"ftp://{server.name}/v1/models", AUTH), {404}),
    "authority target": (server.head("CONNECT", server.name, AUTH), {0, 400, 404, 405}),
    "%00 in the path": (server.head("GET", "/v1/models%00/x", AUTH), {400, 404}),
    "dots in the path": (server.head("GET", "/v1/jobs/%2e%2e/%2e%2e/etc/passwd", AUTH), {404}),
    "dots as a job": (server.head("GET", "/v1/jobs/..", AUTH), {404}),
    "dots encoded twice": (server.head("GET", "/v1/jobs/%252e%252e", AUTH), {404}),
    "method of 1 KB": (server.head("X" * 1024, "/v1/models", AUTH), {405}),
    "other method": (server.head("PATCH", "/v1/models", AUTH), {405}),
    "HEAD": (server.head("HEAD", "/health", "Connection: close"), {200}),
    "upgrade": (server.head("GET", "/v1/models", AUTH, "Upgrade: h2c", "Connection: Upgrade"), {200}),
    "Expect: 100-continue": (post("Expect: 100-continue"), {200}),
    "user agent of 20 KB": (server.head("GET", "/v1/models", AUTH, "User-Agent: \x1b[2J%n" + "x" * 20000), {200}),
    "no Host": (server.head("GET", "/v1/models", AUTH, host=False), {400}),
    "two Hosts": (server.head("GET", "/v1/models", AUTH, f"Host: {server.name}"), {0, 400}),
    "foreign Host": (server.head("GET", "/v1/models", AUTH, "Host: evil.example", host=False), {403}),
    "Host like a loopback's": (server.head(
        "GET", "/v1/models", AUTH, "Host: 127.0.0.1.evil.example", host=False), {403}),
    "Host localhost": (server.head("GET", "/v1/models", AUTH, "Host: LOCALHOST:1", host=False), {200}),
    "own Origin": (post(f"Origin: http://{server.name}"), {200}),
    "own Origin, by TLS of a proxy": (post(f"Origin: https://{server.name}"), {200}),
    "foreign Origin": (post("Origin: http://evil.example"), {403}),
    "foreign Origin, by TLS": (post("Origin: https://evil.example"), {403}),
    "Origin that begins as ours": (post(f"Origin: https://{server.name}.evil.example"), {403}),
    "Origin null": (post("Origin: null"), {403}),
    "Origin of another port": (post(f"Origin: http://{server.host}:1"), {403}),
    "preflight": (server.head("OPTIONS", CHAT, "Origin: http://evil.example",
                              "Access-Control-Request-Method: POST"), {403}),
}


def framed(case):
    name, (data, wanted) = case
    try:
        status = status_of(server.exchange(data, timeout=25.0, half_close=0 in wanted))
    except TimeoutError:
        status = "no answer"
    check(status in wanted, name, status, wanted)


def framing():
    """All at once: those that end in the middle are closed after the 10 s that a header has."""
    with concurrent.futures.ThreadPoolExecutor(len(FRAMING)) as pool:
        list(pool.map(framed, FRAMING.items()))


def boundaries():
    """A request that comes in two parts, cut anywhere, is the same request."""
    for data in (post(), chunked(ONE_CHUNK + b"0\r\n\r\n")):
        for cut in range(1, len(data)):
            answer = server.exchange(None, pieces=[data[:cut], data[cut:]])
            check(status_of(answer) == 200, cut, answer[:200])


def methods():
    """A method that a path has not: those that it has, in the header too, and in the API's own shape."""
    answer = server.exchange(server.head("GET", "/v1/messages", AUTH))
    check(b"\r\nAllow: POST\r\n" in answer, answer)
    error = json.loads(body_of(answer))
    check(error["type"] == "error" and error["error"]["message"] == "this path takes POST", error)
    answer = server.exchange(server.head("DELETE", "/v1/jobs", AUTH))
    check(b"\r\nAllow: POST, GET, HEAD\r\n" in answer, answer)
    check("code" in json.loads(body_of(answer))["error"], answer)
    for path, shown in (("/chat/completions", "/chat/completions"), ("/v1/%ff%00x", "/v1/")):
        answer = server.exchange(server.head("POST", path, AUTH, "Content-Length: 2") + b"{}")
        error = json.loads(body_of(answer))["error"]
        check(status_of(answer) == 404 and error["message"].startswith(f"there is no path {shown}"), error)
        check("OpenAI's clients are given ends in /v1" in error["message"], error)
    answer = server.exchange(server.post("/v1/read", b"a text", AUTH))
    check(b"a file is sent to /v1/read?name=NAME" in answer, answer)


def pipelined():
    """Two requests in one segment are answered in order; requests on one connection are bounded."""
    answer = server.exchange(GET + server.head("GET", "/version", AUTH, "Connection: close"))
    with server.connect() as connection:
        connection.sendall(GET + server.head("GET", "/version", AUTH, "Connection: close"))
        answer = b""
        while more := connection.recv(65536):
            answer += more
    check(answer.count(b"HTTP/1.1 200") == 2, answer)
    check(answer.index(b'"list"') < answer.index(b'"version"'), answer)


def bodies():
    """JSON that is none, too deep, too large, or of the wrong types."""
    def status(body):
        return status_of(server.exchange(server.post(CHAT, body, AUTH)))

    def with_field(text):
        return BODY[:-1].replace(b',"max_tokens":2', b"") + b"," + text + b"}"
    hello = b'{"role":"user","content":"hello"}'
    bad = {
        "empty": b"", "null": b"null", "array": b"[]", "number": b"1", "cut": BODY[:-1],
        "trailing": BODY + b"x", "two": BODY + BODY, "BOM": b"\xef\xbb\xbf" + BODY,
        "NUL behind": BODY + b"\0", "NUL before": b"\0" + BODY,
        "NUL in a string": BODY.replace(b"hello", b"a\\u0000b"),
        "raw NUL in a string": BODY.replace(b"hello", b"a\0b"),
        "single quotes": BODY.replace(b'"', b"'"), "comment": BODY[:-1] + b"/* */}",
        "trailing comma": BODY[:-1] + b",}", "NaN": with_field(b'"max_tokens":NaN'),
        "key twice": with_field(b'"messages":[]'),
        "lone surrogate": BODY.replace(b"hello", b"\\ud800"),
        "overlong UTF-8": BODY.replace(b"hello", b"\xc0\x80"),
        "surrogate in UTF-8": BODY.replace(b"hello", b"\xed\xa0\x80"),
        "invalid UTF-8": BODY.replace(b"hello", b"\xff"),
        "invalid UTF-8 in a key": BODY.replace(b"max_tokens", b"max_\xfftokens"),
        "depth 33": with_field(b'"x":' + b"[" * 33 + b"]" * 33),
        "depth 100000": with_field(b'"x":' + b"[" * 100000),
        "70000 values": with_field(b'"x":[' + b",".join([b'""'] * 70000) + b"]"),
        "2.2 million numbers": with_field(b'"x":[' + b",".join([b"1"] * 2200000) + b"]"),
        "number of 400 digits": with_field(b'"max_tokens":' + b"9" * 400),
        "1e309": BODY.replace(b'"temperature":0', b'"temperature":1e309'),
        "messages null": BODY.replace(b"[" + hello + b"]", b"null"),
        "messages text": BODY.replace(b"[" + hello + b"]", b'"hi"'),
        "messages empty": BODY.replace(hello, b""),
        "message text": BODY.replace(hello, b'"hi"'),
        "4097 messages": BODY.replace(hello, b",".join([hello] * 4097)),
        "no role": BODY.replace(b'"role":"user",', b""),
        "wrong role": BODY.replace(b'"user"', b'"root"'),
        "role number": BODY.replace(b'"user"', b"1"),
        "content number": BODY.replace(b'"hello"', b"1"),
        "content of an image": BODY.replace(b'"hello"', b'[{"type":"image_url","image_url":"x"}]'),
        "content null": BODY.replace(b'"hello"', b"null"),
        "tools text": with_field(b'"tools":"x"'),
        "tool without a name": with_field(b'"tools":[{"type":"function","function":{}}]'),
        "129 tools": with_field(b'"tools":[' + b",".join([b"1"] * 129) + b"]"),
    }
    for value in (b"-2", b"0", b"2147483648", b"1e99", b"1.5", b'"8"', b"true", b"[]"):
        bad["max_tokens " + value.decode()] = with_field(b'"max_tokens":' + value)
    for value in (b"-1", b"1e39", b'"hot"', b"2.01"):
        bad["temperature " + value.decode()] = BODY.replace(
            b'"temperature":0', b'"temperature":' + value)
    for field in (b'"stream":"true"', b'"stop":["a",1]', b'"stop":{}', b'"seed":1.5', b'"seed":9223372036854775808',
                  b'"stop":[' + b",".join([b'"x"'] * 10000) + b"]", b'"logprobs":5',
                  b'"top_logprobs":21,"logprobs":true', b'"stream_options":1', b'"model":1',
                  b'"stop_token_ids":[99999999]', b'"response_format":3', b'"top_p":-0.1',
                  b'"stop":"' + b"x" * 1025 + b'"'):
        bad[field[:40].decode()] = with_field(field)
    for name, body in bad.items():
        answer = server.exchange(server.post(CHAT, body, AUTH))
        check(status_of(answer) == 400, name, answer)
        message = json.loads(body_of(answer))["error"]["message"]
        check(not re.search("[A-Z]_[A-Z]", message), "a library's word", name, message)
        check(("byte order mark" in message) == (name == "BOM"), name, message)
        # JSON, and beyond what is taken of it.
        beyond = ("NUL in a string", "key twice", "1e309", '"seed":9223372036854775808')
        check(("body is refused: " in message) == (name in beyond), name, message)
    good = {
        "-0": BODY.replace(b'"temperature":0', b'"temperature":-0'),
        "unknown fields": BODY[:-1] + b',"user":"x","metadata":{"a":[null,1e5]},"store":false}',
        "depth 32": BODY[:-1] + b',"x":' + b"[" * 31 + b"]" * 31 + b"}",
        "token texts": BODY.replace(b"hello", b"<|user|><|endoftext|>[gMASK]<sop><|observation|>"),
        "max_tokens null": BODY.replace(b'"max_tokens":2', b'"max_tokens":2,"top_p":null'),
        "white space": b" \r\n\t" + BODY + b"\n ",
    }
    for name, body in good.items():
        found = status(body)
        check(found == 200, name, found)
    too_large = b" " * (16 << 20) + BODY
    check(status(too_large) in (0, 413), "body of 16 MiB and more")
    parts = b"".join(b"%x\r\n%s\r\n" % (1 << 20, b" " * (1 << 20)) for _ in range(17))
    found = status_of(server.exchange(chunked(parts + b"0\r\n\r\n")))
    check(found in (0, 413), "chunks of 17 MiB", found)


def basic(text):
    return "Authorization: Basic " + base64.b64encode(text.encode()).decode()


def keys():
    """No route but /health is served without the key, whatever the method."""
    wrong = {"none": [], "wrong": ["Authorization: Bearer x"], "scheme": [f"Authorization: Digest {KEY}"],
             "no base64": [f"Authorization: Basic {KEY}"], "no name": [basic(KEY)], "other password": [basic(f"{KEY}:x")],
             "Basic, empty": ["Authorization: Basic "], "Basic, long": [basic("x:" + "k" * 2000)],
             "two": [AUTH, AUTH], "two others": [f"X-Api-Key: {KEY}"] * 2, "one right": [AUTH, "X-Api-Key: x"],
             "other right": ["Authorization: Bearer x", f"X-Api-Key: {KEY}"], "beginning": [AUTH[:-1]],
             "more": [AUTH + "x"], "case": [AUTH.replace(KEY, KEY.upper())], "bare": [f"Authorization: {KEY}"],
             "long": ["Authorization: Bearer " + "k" * 20000], "empty": ["X-Api-Key: "]}
    for name, fields in wrong.items():
        status = status_of(server.exchange(server.head("GET", "/v1/models", *fields)))
        check(status == 401, name, status)
    check(status_of(server.exchange(server.head("GET", "/v1/models", f"X-Api-Key: {KEY}"))) == 200)
    check(status_of(server.exchange(server.head("GET", "/v1/models", f"X-Api-Key: {KEY}", AUTH))) == 200)
    check(status_of(server.exchange(server.head("GET", "/v1/models", f"Authorization: bearer   {KEY}"))) == 200)
    check(status_of(server.exchange(server.head("GET", "/v1/models", basic(f"any:{KEY}")))) == 200)
    for site, wanted in (("same-origin", 200), ("none", 200), ("cross-site", 403), ("same-site", 403)):
        fields = basic(f"any:{KEY}"), f"Sec-Fetch-Site: {site}"
        check(status_of(server.exchange(server.head("GET", "/v1/models", *fields))) == wanted, site)
        check(status_of(server.exchange(server.head("GET", "/", *fields))) == 200, site)
        check(status_of(server.exchange(server.head("GET", "/v1/models", AUTH, fields[1]))) == 200, site)
    paths = ("/", "/v1/read", "/v1/ask", "/v1/cite", "/v1/models", "/v1/models/model", CHAT, "/v1/completions", "/v1/messages",
             "/v1/messages/count_tokens", "/v1/jobs", "/v1/jobs/job_0", "/tokenize", "/detokenize",
             "/metrics", "/version", "/nowhere", "/health/x", "/health/../version", "/health/..", "/%68ealth/", "/health%2F", "/HEALTH",
             "/%2Fhealth", "//version//", "/./health", "/health%00", "/health;/", "\\health", "http://x/health/../metrics",
             f"http://{server.name}//metrics/", f"http://{server.name}?/health", "http:/health/", "https://x/health", "*")
    for path in paths:
        for method in ("GET", "POST", "DELETE", "PUT", "HEAD", "TRACE"):
            status = status_of(server.exchange(server.head(method, path, "Content-Length: 0")))
            check(status == 401, method, path, status)
    for path in ("/health", "//health", "/health/", "///health//?x=/metrics", f"http://{server.name}/health", "http:///health"):
        answer = server.exchange(server.head("GET", path))
        check(status_of(answer) == 200 and json.loads(body_of(answer))["status"] == "ok", path, answer)
    refused = server.exchange(server.head("GET", "/"))
    check(b"\r\nWWW-Authenticate: Basic realm=" in refused, refused)


def partings():
    """A client that leaves at any point."""
    def asked(n_answer):
        text = b"abc def " * (100 if FAST else 500)
        return server.post(CHAT, b'{"messages":[{"role":"user","content":"%s"}],"stream":true,"max_tokens":%d,'
                           b'"ignore_eos":true,"temperature":0}' % (text, n_answer), AUTH)
    stream = asked(2000)
    n_bytes = (0, 1, 20, 200, len(stream) // 2, len(stream) - 1, len(stream))
    for n in n_bytes:
        for leave in (socket.socket.close, reset):
            for wait in (0.0, 0.02):
                connection = server.connect()
                connection.sendall(stream[:n])
                time.sleep(wait)
                leave(connection)
    for n_read in (1, 200, 400, 2000):
        for leave in (socket.socket.close, reset):
            connection = server.connect()
            connection.sendall(stream)
            got = 0
            while got < n_read:
                got += len(connection.recv(n_read - got))
            leave(connection)
    status_of(server.exchange(asked(100), half_close=True))


check(status_of(server.exchange(post())) == 200)  # the first request opens what stays open
time.sleep(0.5)
before = server.n_descriptors()
for group in (framing, boundaries, methods, pipelined, bodies, keys, partings):
    started = time.time()
    group()
    server.rest(before)
    print(f"{group.__name__}: {time.time() - started:.2f} s")
