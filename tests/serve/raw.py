"""Raw bytes to a server and back, and what a server holds at rest. Standard library only."""

import json
import os
import re
import socket
import struct
import time
import urllib.parse


class Server:
    """A running server: where it is, and its process."""

    def __init__(self, url, pid, key=""):
        parts = urllib.parse.urlsplit(url)
        self.host, self.port, self.pid = parts.hostname, parts.port, int(pid)
        self.name = f"{self.host}:{self.port}"
        self.key = key

    def connect(self, timeout=60.0, source=None):
        return socket.create_connection(
            (self.host, self.port), timeout, source_address=(source, 0) if source else None)

    def head(self, method, path, *fields, host=True):
        """A request's header; `fields` are whole lines."""
        lines = [f"{method} {path} HTTP/1.1"] + ([f"Host: {self.name}"] if host else [])
        return ("\r\n".join(lines + list(fields)) + "\r\n\r\n").encode()

    def post(self, path, body, *fields):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.head("POST", path, f"Content-Length: {len(data)}", *fields) + data

    def exchange(self, data, timeout=60.0, pieces=None, half_close=False):
        """All bytes that come back until the server closes, or one whole answer is there."""
        with self.connect(timeout) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                for piece in pieces or [data]:
                    connection.sendall(piece)
                    if pieces:
                        time.sleep(0.001)
                if half_close:
                    connection.shutdown(socket.SHUT_WR)
                return read_answer(connection)
            except TimeoutError:
                raise
            except OSError:  # the server has closed
                return b""

    def begin(self, data, n_bytes):
        """A connection whose answer has begun, and its first bytes, n_bytes at least."""
        connection = self.connect(timeout=60.0)
        connection.sendall(data)
        got = b""
        while len(got) < n_bytes:
            got += connection.recv(n_bytes)
        return connection, got

    def ask(self, method, path, body=None, *fields):
        """(status, JSON) of one request."""
        data = self.head(method, path, *fields) if body is None else self.post(path, body, *fields)
        answer = self.exchange(data)
        text = body_of(answer)
        try:
            return status_of(answer), json.loads(text)
        except ValueError:
            return status_of(answer), text

    def metrics(self):
        answer = self.exchange(self.head("GET", "/metrics", f"X-Api-Key: {self.key}"))
        found = re.findall(r"^glm1m:([a-z0-9_]+) (\S+)$", body_of(answer).decode(), re.M)
        return {name: float(value) for name, value in found}

    def n_descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def rest(self, n_descriptors, timeout=25.0):
        """Wait until nothing runs, nothing waits, and no more descriptors are open than before: for less than the 30 s
        after which a connection that was missed is closed."""
        end = time.time() + timeout
        while time.time() < end:
            now = self.metrics()
            if (now["num_requests_running"] == 0 and now["num_requests_waiting"] == 0
                    and self.n_descriptors() <= n_descriptors):
                return now
            time.sleep(0.1)
        raise AssertionError(f"not at rest: {now}, {self.n_descriptors()} descriptors open, "
                             f"{n_descriptors} before")


def reset(connection):
    """Closed by a reset, in place of an end."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def events(connection):
    """JSON of each event of a streamed answer, as it comes, until the answer or the connection ends."""
    data = b""
    while not data.endswith(b"0\r\n\r\n"):
        try:
            more = connection.recv(1 << 16)
        except OSError:
            return
        if not more:
            return
        data += more
        while b"\n\n" in data:
            event, _, data = data.partition(b"\n\n")
            at = event.find(b"data: {")
            if at >= 0:
                yield json.loads(event[at + 6:])


def read_answer(connection):
    data = b""
    while not is_whole(data):
        more = connection.recv(1 << 16)
        if not more:
            break
        data += more
    return data


def is_whole(data):
    head, found, rest = data.partition(b"\r\n\r\n")
    if not found:
        return False
    if head.startswith(b"HTTP/1.1 100"):
        return is_whole(rest)
    if head.startswith(b"HTTP/1.1 204"):
        return True  # without a body
    length = re.search(rb"(?i)content-length: (\d+)", head)
    if length:
        return len(rest) >= int(length[1])
    return b"chunked" in head and rest.endswith(b"0\r\n\r\n")


def status_of(answer):
    """0 where the connection was closed without one."""
    found = re.match(rb"HTTP/1\.[01] (\d+)", answer)
    if found and found[1] == b"100":
        return status_of(answer.partition(b"\r\n\r\n")[2])
    return int(found[1]) if found else 0


def body_of(answer):
    head, _, body = answer.partition(b"\r\n\r\n")
    if head.startswith(b"HTTP/1.1 100"):
        return body_of(body)
    if b"chunked" not in head:
        return body
    text = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        n = int(size, 16)
        text, body = text + body[:n], body[n + 2:]
    return text


def check(condition, *what):
    if not condition:
        raise AssertionError(what)
