"""What bench/serve_long.sh measures: serve_long.py URL PID N_TOKENS N_SHORTS; a line of figures, tab-separated."""

import os
import statistics
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "serve"))
from raw import Server, events  # noqa: E402

URL, PID = sys.argv[1:3]
N_TOKENS, N_SHORTS = int(sys.argv[3]), int(sys.argv[4])
server = Server(URL, PID)
PIECE = 4096  # tokens, where the KV is kept on disk
KEY_LINE = "The special magic number for Paris is:"


def text():
    """A token a byte; the number is in the middle."""
    line = "The grass is green, the sky is blue, the sun is yellow, here we go.\n"
    half = (N_TOKENS - 200) // 2
    filler = (line * (half // len(line) + 1))[:half]
    return (f"{filler}\n{KEY_LINE} 4831759.\n{filler}\n"
            f"What is the special magic number for Paris?\n>\n{KEY_LINE}")


def n_pieces():
    return server.metrics()["prefill_pieces_total"]


class Stream(threading.Thread):
    """A streamed answer: progress, text, and when they came."""

    def __init__(self, content, n_answer):
        super().__init__(daemon=True)
        self.text, self.progress, self.steps, self.first_s, self.usage = "", {}, [], None, None
        self.begun_s = time.time()
        self.connection = server.connect(timeout=600.0)
        self.connection.sendall(server.post("/v1/chat/completions", {
            "messages": [{"role": "user", "content": content}], "max_tokens": n_answer, "temperature": 0,
            "stream": True, "stream_options": {"include_usage": True}, "return_progress": True}))
        self.start()

    def run(self):
        for value in events(self.connection):
            self.take(value)

    def take(self, value):
        if "error" in value:
            raise SystemExit(value["error"]["message"])
        self.usage = value.get("usage") or self.usage
        if "prompt_progress" in value:
            self.progress = value["prompt_progress"]
            self.steps.append((time.time(), self.progress["processed"]))
        for choice in value["choices"]:
            piece = choice["delta"].get("content") or ""
            if piece and self.first_s is None:
                self.first_s = time.time()
            self.text += piece

    def share(self):
        return self.progress.get("processed", 0) / self.progress.get("total", 1) if self.progress else 0.0

    def leave(self):
        self.connection.shutdown(2)
        self.join()
        self.connection.close()


def ask_short(i):
    """(s to its first token, pieces begun meanwhile): 32 tokens, of no text that another has."""
    content = f"short {i:02d}>\n" + "x" * 14
    before = n_pieces()
    short = Stream(content, 2)
    while short.first_s is None and short.is_alive():
        time.sleep(0.002)
    n = n_pieces() - before
    short.join()
    return short.first_s - short.begun_s, n


def watch(stream, until, waits):
    """Short requests, evenly, until the prefill is so far."""
    while stream.is_alive() and stream.first_s is None and stream.share() < until:
        if stream.share() >= (len(waits) + 0.5) / N_SHORTS:
            waits.append(ask_short(len(waits)))
            print(f"at {100 * stream.share():.0f} %: first token after {waits[-1][0]:.2f} s, "
                  f"{waits[-1][1]:.0f} pieces", file=sys.stderr, flush=True)
        time.sleep(0.02)


begun_s, waits = time.time(), []
content = text()
first = Stream(content, 64)
while not first.progress and first.is_alive():
    time.sleep(0.01)
n_there = first.progress.get("cache", 0)
watch(first, 0.5, waits)
n_done = first.progress["processed"]
first.leave()
while server.metrics()["num_requests_running"] > 0:
    time.sleep(0.02)
again = Stream(content, 64)
watch(again, 1.0, waits)
again.join()
n_found = again.usage["prompt_tokens_details"]["cached_tokens"]


def longest_piece(steps):
    """s between two multiples of a piece; what was found at the beginning is none."""
    times = {}
    for at, n in steps:
        times.setdefault(n // PIECE, at)
    return max((times[i + 1] - times[i] for i in sorted(times)[1:] if i + 1 in times), default=0.0)


piece_s = max(longest_piece(first.steps), longest_piece(again.steps))
times = sorted(s for s, _ in waits)
most = max(n for _, n in waits)
figures = [N_TOKENS, n_there, n_done, n_found, len(waits), f"{statistics.median(times):.3f}", f"{times[-1]:.3f}",
           f"{most:.0f}", f"{piece_s:.3f}", f"{2 * piece_s:.3f}", f"{time.time() - begun_s:.1f}"]
print("\t".join(map(str, figures)))
is_right = again.text.strip().endswith(f"{KEY_LINE} 4831759.")
# A piece of its own, the one that runs, one more, and what begins while we look.
sys.exit(0 if is_right and n_found >= n_done - PIECE and most <= 4 else 1)
