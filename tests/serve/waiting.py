"""A queue that is full, and what a client hears while it waits.

   waiting.py URL SCRIPT PID full|heartbeats
"""

import json
import re
import sys
import time

from raw import Server, body_of, check, read_answer, status_of

server = Server(sys.argv[1], sys.argv[3])
CHAT = "/v1/chat/completions"
N_WAITING, N_CONTEXTS, N_JOBS, HEARTBEAT_S = 64, 4, 256, 5.0  # of --limits
CONTEXT = 32000  # of the server that is full


def body(text="hello", n_answer=1, **more):
    return {"messages": [{"role": "user", "content": text}], "max_tokens": n_answer, "temperature": 0, **more}


def begin(request):
    """A connection that has asked."""
    connection = server.connect(timeout=120.0)
    connection.sendall(server.post(CHAT, request))
    return connection


def occupy():
    """A stream that takes the only slot; its header is there."""
    connection = begin(body("talk", CONTEXT - 100, ignore_eos=True, stream=True))
    check(connection.recv(100).startswith(b"HTTP/1.1 200"))
    wait_for("num_requests_running", 1)
    return connection


def refused(answer, code):
    check(status_of(answer) == 429, answer)
    check(int(re.search(rb"\r\nRetry-After: (\d+)\r\n", answer)[1]) > 0, answer)
    error = json.loads(body_of(answer))["error"]
    check(error["code"] == code and error["type"] == "rate_limit_error", error)


def wait_for(gauge, n):
    while server.metrics()[gauge] != n:
        time.sleep(0.01)


def beside(case):
    """A case while the slot is taken, by a stream that is given up then."""
    connection = occupy()
    result = case()
    check(server.metrics()["num_requests_running"] == 1, "the stream beside it is too short", case.__name__)
    connection.close()
    return result


def too_many():
    """The 65th that waits."""
    waiting = [begin(body(f"wait {i}")) for i in range(N_WAITING)]
    wait_for("num_requests_waiting", N_WAITING)
    refusal = server.exchange(server.post(CHAT, body("one more")))
    anthropic = server.exchange(server.post("/v1/messages", body("one more")))
    for connection in waiting:
        connection.close()
    return refusal, anthropic


def too_much():
    """The prompt that exceeds four contexts."""
    waiting = [begin(body("x" * (CONTEXT - 200) + f" {i}")) for i in range(N_CONTEXTS)]
    wait_for("num_requests_waiting", N_CONTEXTS)
    refusal = server.exchange(server.post(CHAT, body("y" * (CONTEXT // 2))))
    short = begin(body("short"))  # there is room for this one
    wait_for("num_requests_waiting", N_CONTEXTS + 1)
    for connection in waiting + [short]:
        connection.close()
    return refusal


def too_many_jobs():
    """Jobs that are under way keep their places: those that are done give them up."""
    for i in range(N_JOBS + 10):
        job = {"endpoint": CHAT, "body": body(f"job {i}")}
        status, answer = server.ask("POST", "/v1/jobs", job)
        while status == 429:
            check(answer["error"]["code"] == "queue_full", answer)
            time.sleep(0.01)
            status, answer = server.ask("POST", "/v1/jobs", job)
        check(status == 202, status, answer)
    status, answer = server.ask("GET", "/v1/jobs")
    check(status == 200 and len(answer["data"]) == N_JOBS, len(answer["data"]))


def full():
    refusal, anthropic = beside(too_many)
    refused(refusal, "queue_full")
    check(status_of(anthropic) == 429 and json.loads(body_of(anthropic))["error"]["type"] == "rate_limit_error")
    server.rest(before)
    refused(beside(too_much), "queue_full")
    server.rest(before)
    too_many_jobs()
    server.rest(before)  # some still wait
    check(server.ask("POST", CHAT, body("after all"))[0] == 200)


# ---- heartbeats ------------------------------------------------------------------------------------


class Events:
    """The events of a stream, as they come."""

    def __init__(self, request):
        self.connection = begin(request)
        self.data = b""

    def next(self, timeout):
        """One event's JSON; None: there was none in this time."""
        end = time.time() + timeout
        while b"\n\n" not in self.data:
            self.connection.settimeout(max(end - time.time(), 0.001))
            try:
                more = self.connection.recv(1 << 16)
            except TimeoutError:
                return None
            check(more, "the stream has ended", self.data)
            self.data += more
        event, _, self.data = self.data.partition(b"\n\n")
        return json.loads(event[event.index(b"data: ") + len(b"data: "):])

    def progress(self):
        """What has come by now, and then the next to come."""
        while (event := self.next(0.01)) is not None:
            if "prompt_progress" in event:
                yield event["prompt_progress"]
        while "prompt_progress" not in (event := self.next(60)):
            pass
        yield event["prompt_progress"]


def is_heartbeat(event):
    return event["choices"][0]["delta"] == {} and "prompt_progress" not in event


def shown_prefill():
    """(request, done, total) of the running prefill, or None."""
    text = body_of(server.exchange(server.head("GET", "/metrics"))).decode()
    done = re.search(r'^glm1m:prefill_tokens_done\{request="(.+)"\} (\d+)$', text, re.M)
    total = re.search(r'^glm1m:prefill_tokens_total\{request="(.+)"\} (\d+)$', text, re.M)
    check((done is None) == (total is None), text)
    if done:
        check(done[1] == total[1], done[1], total[1])
    return (done[1], int(done[2]), int(total[2])) if done else None


def beats():
    """Of a prefill without progress, and of a request that waits for it: nothing but data every 5 s.
    A second one may come 10 s after the request, whenever the first was read."""
    begun = time.time()
    long = Events(body("a" * 250000, stream=True))
    check(long.next(60)["choices"][0]["delta"]["role"] == "assistant")
    waiting = Events(body("b", stream=True))
    check(waiting.next(60)["choices"][0]["delta"]["role"] == "assistant")
    events = [stream.next(HEARTBEAT_S + 3.0) for stream in (long, waiting)]
    second = long.next(HEARTBEAT_S - 2.0)
    is_early = second is not None and time.time() - begun < 2 * HEARTBEAT_S
    long.connection.close()
    waiting.connection.close()
    check(not is_early, second)
    check(all(event is None or is_heartbeat(event) for event in events), events)
    return all(events)


def heartbeats():
    """A machine that stood still for seconds is given another chance: twice."""
    check(any(beats() for _ in range(3)), "silence")


def progress():
    """Figures that only grow, and are those of /metrics."""
    long = Events(body("c" * 250000, stream=True, return_progress=True))
    name, last = long.next(60)["id"], {"processed": -1}
    for _ in range(8):
        shown = shown_prefill()
        for now in long.progress():
            check(last["processed"] < now["processed"] <= now["total"] and now["cache"] == 0, last, now)
            last = now
        if shown:
            check(shown[0] == name and shown[2] == last["total"], shown, last)
            check(shown[1] <= last["processed"], "metrics are ahead", shown, last)
    time.sleep(1.5)  # /metrics is at most half a second and one item behind
    first = next(long.progress())
    check(shown_prefill()[1] >= first["processed"], "metrics stay behind", first)
    long.connection.close()


server.ask("GET", "/health")
time.sleep(0.5)
before = server.n_descriptors()
if sys.argv[4] == "full":
    full()
else:
    for case in (progress, heartbeats):
        started = time.time()
        case()
        server.rest(before, timeout=60)
        print(f"{case.__name__}: {time.time() - started:.2f} s", flush=True)
server.rest(before)
