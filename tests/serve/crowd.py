"""Connections in numbers, and slow ones.

   crowd.py URL SCRIPT PID
"""

import json
import os
import resource
import socket
import sys
import threading
import time

from raw import Server, body_of, check, read_answer, status_of

server = Server(sys.argv[1], sys.argv[3])
FAST = os.environ.get("GLM_TEST_FAST") == "1"
OTHER, ANOTHER = "127.0.0.2", "127.0.0.3"  # source addresses
N_OF_ADDRESS, N_IN_ALL = 256, 400 - 128
CHAT = "/v1/chat/completions"
HEALTH = server.head("GET", "/health")
N_STREAMS, N_TOKENS = 8, 100 if FAST else 400


def ask(n_tokens, **more):
    return server.post(CHAT, {"messages": [{"role": "user", "content": "hello"}], "temperature": 0,
                              "max_tokens": n_tokens, "ignore_eos": True, "stream": True,
                              "stream_options": {"include_usage": True}, **more})


def is_open(connection):
    """Whether the server has not closed it; what it said meanwhile is passed over."""
    connection.setblocking(False)
    try:
        while connection.recv(1 << 16):
            pass
        return False
    except BlockingIOError:
        return True
    except OSError:
        return False


def until(condition, *what, seconds=60):
    end = time.time() + seconds
    while not condition():
        check(time.time() < end, *what)
        time.sleep(0.05)


def refusal(source, status, code):
    """A connection that is not taken is told so, and when to come again."""
    with server.connect(source=source) as connection:
        try:
            connection.sendall(HEALTH)
        except OSError:
            pass  # told before it asked
        answer = read_answer(connection)
    check(status_of(answer) == status and b"\r\nRetry-After: " in answer, answer)
    check(json.loads(body_of(answer))["error"]["code"] == code, answer)


# ---- streams beside idle and dripping connections --------------------------------------------------


def drip(connection, data, stop):
    """A byte now and then, until the server has had enough; returns how many s that took."""
    started = time.time()
    for byte in data:
        try:
            connection.sendall(bytes([byte]))
        except OSError:
            break
        if stop.wait(0.5) or not is_open(connection):
            break
    return time.time() - started


class Beside(threading.Thread):
    """A thread whose failure is the test's."""

    def __init__(self, work, *arguments):
        super().__init__(daemon=True)
        self.work, self.arguments, self.fault = work, arguments, None
        self.start()

    def run(self):
        try:
            self.work(*self.arguments)
        except BaseException as fault:  # told by end()
            self.fault = fault

    def end(self):
        self.join()
        if self.fault:
            raise self.fault


def whole_stream():
    answer = server.exchange(ask(N_TOKENS), timeout=120.0)
    events = body_of(answer).decode().split("\n\n")
    check(events[-2] == "data: [DONE]", events[-3:])
    usage = json.loads(events[-3][len("data: "):])["usage"]
    check(usage["completion_tokens"] == N_TOKENS, usage)


def dripped(data):
    """A header, or a body, that comes a byte at a time is not waited for for ever."""
    with server.connect() as connection:
        seconds = drip(connection, data, threading.Event())
        check(not is_open(connection) and seconds > 9.0, data[:20], seconds)


def is_established(connection):
    """Whether the server's end of it is, too."""
    ports = f"{server.port:04X}", f"{connection.getsockname()[1]:04X}"
    with open("/proc/net/tcp", encoding="ascii") as file:
        fields = [line.split()[1:4] for line in file][1:]
    return [True for ours, theirs, state in fields
            if (ours[-4:], theirs[-4:]) == ports and state == "01"]


def stalled():
    """A client that stops reading is cut off after the 30 s, however much there is to send."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(60.0)
        connection.connect((server.host, server.port))
        connection.sendall(ask(10000, logprobs=True, top_logprobs=20))
        check(connection.recv(100).startswith(b"HTTP/1.1 200"))
        started = time.time()
        check(is_established(connection))
        until(lambda: not is_established(connection), "it is not cut off", seconds=120)
        check(time.time() - started > 25, "cut off early", time.time() - started)


def beside():
    """Streams beside idle connections, drips and a reader that has stopped."""
    slow = [Beside(stalled)]
    slow += [Beside(dripped, server.head("GET", "/health", "X: " + "y" * 200))]
    slow += [Beside(dripped, server.head("POST", CHAT, "Content-Length: 1000") + b"{" * 60)]
    idle = [server.connect(source=OTHER) for _ in range(60 if FAST else 200)]
    stop = threading.Event()
    drips = [server.connect(source=ANOTHER) for _ in range(20)]
    dripping = [Beside(drip, connection, HEALTH * 100, stop) for connection in drips]
    streams = [Beside(whole_stream) for _ in range(N_STREAMS)]
    check(server.ask("GET", "/health")[0] == 200)
    for stream in streams:
        stream.end()
    until(lambda: not any(is_open(connection) for connection in idle), "idle ones stay", seconds=30)
    stop.set()
    for thread in dripping + slow:
        thread.end()
    for connection in idle + drips:
        connection.close()


# ---- limits ----------------------------------------------------------------------------------------


def crowded():
    """Beyond the connections of an address, and of all: a refusal; later there is room again."""
    taken = [server.connect(source=OTHER) for _ in range(N_OF_ADDRESS)]
    refusal(OTHER, 429, "too_many_connections")
    taken += [server.connect(source=ANOTHER) for _ in range(N_IN_ALL - N_OF_ADDRESS)]
    refusal("127.0.0.4", 503, "too_many_connections")
    check(all(is_open(connection) for connection in taken))
    for connection in taken:
        connection.close()
    until(lambda: status_of(server.exchange(HEALTH)) == 200, "no room again")
    check(status_of(server.exchange(HEALTH)) == 200)


def cpu_s():
    with open(f"/proc/{server.pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def take_descriptors():
    """Connections, until there is no descriptor for one more."""
    taken = []
    while len(taken) < 100:
        connection = server.connect()
        connection.sendall(HEALTH)
        if status_of(read_answer(connection)) != 200:
            connection.close()
            return taken
        taken.append(connection)
    raise AssertionError("descriptors without end")


def without_descriptors():
    """No descriptor is left: a refusal, no spinning, and room again when there are some."""
    before = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (server.n_descriptors() + 4, before[1]))
    taken = take_descriptors()
    for _ in range(3):
        refusal(None, 503, "no_descriptors")
    started = cpu_s()
    time.sleep(1.0)
    check(cpu_s() - started < 0.5, "s of CPU time in a second", cpu_s() - started)
    taken[0].sendall(HEALTH)
    check(status_of(read_answer(taken[0])) == 200)
    taken.pop().close()
    until(lambda: status_of(server.exchange(HEALTH)) == 200, "a freed one is not used")
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, before)
    check(status_of(server.exchange(HEALTH)) == 200)
    for connection in taken:
        connection.close()


status_of(server.exchange(HEALTH))
time.sleep(0.5)
at_rest = server.n_descriptors()
for group in (crowded, without_descriptors, beside):
    started = time.time()
    group()
    server.rest(at_rest)
    print(f"{group.__name__}: {time.time() - started:.2f} s", flush=True)
