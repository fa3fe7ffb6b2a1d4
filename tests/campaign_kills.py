"""kill -9 of a command at a random moment, again and again, until it has come through.

   campaign_kills.py GLM1M KILLS SEED [COMMAND...]

For each command: once undisturbed; then KILLS kills of it, at moments spread over the time that it takes alone. The
same command is started again after each kill. Where one comes through, what it has printed and written must be what
the undisturbed one had; after `book gc` the same files are on disk, no temporary of anybody; and all begins anew.
Whatever has an output's name while it is killed is whole.
"""

import hashlib
import http.client
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

GLM1M, N_KILLS, SEED = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
WORK = tempfile.mkdtemp()
ENV = {k: v for k, v in os.environ.items() if not k.startswith("GLM_")}
ENV |= {"HOME": f"{WORK}/home", "XDG_CACHE_HOME": f"{WORK}/cache"}
KEY = "The special magic number for "
CONFIG = {
    "model_type": "glm", "architectures": ["GlmForCausalLM"], "hidden_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32, "intermediate_size": 96,
    "vocab_size": 272, "max_position_embeddings": 65536, "rope_theta": 10000, "partial_rotary_factor": 0.5,
    "rms_norm_eps": 1e-5, "attention_bias": True, "tie_word_embeddings": False, "torch_dtype": "bfloat16",
    "hidden_act": "silu", "eos_token_id": [257], "pad_token_id": 257}


def check(is_so, *what):
    if not is_so:
        print("not so:", *what)
        sys.exit(1)


def glm1m(*arguments, **how):
    done = subprocess.run([GLM1M, *arguments], env=ENV, capture_output=True, text=True, check=False, **how)
    check(done.returncode == 0, arguments, done.returncode, done.stderr[-2000:])
    return done.stdout


def make_inputs():
    glm1m("make-model", "needle", f"{WORK}/model")
    with open(f"{WORK}/config.json", "w", encoding="ascii") as file:
        json.dump(CONFIG, file)
    glm1m("make-model", "random", f"{WORK}/random", "--config", f"{WORK}/config.json", "--seed", "3")
    for name in os.listdir(f"{WORK}/model"):
        if name.startswith("tokenizer"):
            shutil.copy(f"{WORK}/model/{name}", f"{WORK}/random")
    cities = ["Paris", "Oslo", "Rome", "Bern", "Kiev", "Lima"]
    with open(f"{WORK}/text", "w", encoding="ascii") as file:
        for i in range(190):
            file.write(f"Line {i} has nothing to say about {i * i},\n")
            if i % 32 == 5:
                file.write(f"{KEY}{cities[i // 32]} is: {4831759 + i}.\n")
    with open(f"{WORK}/q.jsonl", "w", encoding="ascii") as file:
        for city in cities:
            file.write(json.dumps({"id": city, "question": f"Which?\n>\n{KEY}{city} is:"}) + "\n")
    with open(f"{WORK}/turns", "w", encoding="ascii") as file:
        for i in range(4):
            file.write(f"Line {i}: {KEY}Oslo is: 111213{i}. {KEY}Paris is: \n")
    with open(f"{WORK}/read", "w", encoding="ascii") as file:
        file.write(f"/read {WORK}/text\n{KEY}Paris is: \n/reset\n/read {WORK}/text\n{KEY}Rome is: \n")


def files_below(directory):
    return sorted(os.path.relpath(os.path.join(at, name), directory)
                  for at, _, names in os.walk(directory) for name in names)


def bytes_of(path):
    with open(path, "rb") as file:
        return file.read()


class Command:
    """A run of the program in a directory of its own, `here`."""

    arguments = []
    stdin = os.devnull

    def __init__(self, here):
        self.here, self.log = here, f"{WORK}/log"

    def prepare(self):
        os.makedirs(self.here)

    def start(self):
        arguments = [word.format(work=WORK, here=self.here) for word in self.arguments]
        with open(self.stdin.format(work=WORK), "rb") as stdin, open(self.log, "wb") as log, \
                open(f"{WORK}/out", "wb") as out:
            return subprocess.Popen([GLM1M, *arguments], env=ENV, stdin=stdin, stdout=out, stderr=log)

    def look_at_outputs(self):
        """After a kill: what has an output's name is whole."""

    def result(self):
        """What must be the same after any kills."""
        return bytes_of(f"{WORK}/out")

    def run(self, kill_after_s=None):
        """None when it was killed, else what it gave."""
        program = self.start()
        try:
            program.wait(kill_after_s)
        except subprocess.TimeoutExpired:
            program.send_signal(signal.SIGKILL)
        rc = program.wait()
        if rc == -signal.SIGKILL:
            return None
        check(rc == 0, type(self).__name__, "exit", rc, bytes_of(self.log)[-2000:].decode())
        return self.result()


class Ask(Command):
    arguments = ["ask", "-m", "{work}/model", "{work}/text", "--questions", "{work}/q.jsonl", "--out",
                 "{here}/a.jsonl", "--book", "b", "--kv-disk-dir", "{here}/kv", "--span", "4096", "--threads", "1"]

    def records(self):
        if not os.path.exists(f"{self.here}/a.jsonl"):
            return []
        *lines, _ = bytes_of(f"{self.here}/a.jsonl").decode().split("\n")
        return [json.loads(line) for line in lines]

    def look_at_outputs(self):
        self.records()

    def result(self):
        records = self.records()
        for record in records:
            del record["reused_tokens"]
        return sorted(json.dumps(record) for record in records)


class Chat(Command):
    arguments = ["chat", "-m", "{work}/model", "--book", "b", "--kv-disk-dir", "{here}/kv", "-c", "16k", "-n", "48",
                 "--threads", "1"]
    stdin = "{work}/turns"

    def prepare(self):
        super().prepare()
        glm1m("prefill", "-m", f"{WORK}/model", f"{WORK}/text", "--book", "b", "--kv-disk-dir", f"{self.here}/kv")


class ChatKept(Command):
    arguments = ["chat", "-m", "{work}/model", "--kv-disk-dir", "{here}/kv", "-c", "16k", "-n", "48", "--stop", ".",
                 "--threads", "1"]
    stdin = "{work}/read"


class Needle(Command):
    arguments = ["needle", "--lengths", "600,1k,4500", "--depths", "0,50,100", "--out", "{here}/run", "--book", "n",
                 "--kv-disk-dir", "{here}/kv", "--threads", "1", "--save-prompts"]

    def records(self):
        return json.loads(bytes_of(f"{self.here}/run/results.json"))

    def look_at_outputs(self):
        if os.path.exists(f"{self.here}/run/results.json"):
            self.records()
        if os.path.exists(f"{self.here}/run/heatmap.png"):
            check(bytes_of(f"{self.here}/run/heatmap.png").endswith(b"IEND\xaeB`\x82"), "half a picture")
        if os.path.exists(f"{self.here}/run/heatmap.svg"):
            check(bytes_of(f"{self.here}/run/heatmap.svg").endswith(b"</svg>\n"), "half a picture")

    def result(self):
        records = self.records()
        kept = [{key: value for key, value in record.items() if not re.search("_s$|_tps$|reused", key)}
                for record in records]
        return sorted(json.dumps(record) for record in kept), files_below(f"{self.here}/run")


class Perplexity(Command):
    arguments = ["perplexity", "-m", "{work}/random", "{work}/text", "{work}/turns", "--out", "{here}/s.npy",
                 "--span", "4096", "--kv-disk-dir", "{here}/kv", "--threads", "1"]

    def look_at_outputs(self):
        check("s.npy" not in os.listdir(self.here) or
              len(bytes_of(f"{self.here}/s.npy")) == self.n_bytes, "half a file of scores")

    def result(self):
        Perplexity.n_bytes = os.path.getsize(f"{self.here}/s.npy")
        return hashlib.sha256(bytes_of(f"{self.here}/s.npy")).hexdigest(), \
            [name for name in os.listdir(self.here) if name != "kv"]


class Serve(Command):
    """A stream and a job, of one long text and another; killed with both under way, or before, or after."""
    arguments = ["serve", "-m", "{work}/model", "--port", "0", "-c", "16k", "-b", "256", "--max-num-seqs", "2",
                 "--kv-disk-dir", "{here}/kv", "--threads", "1"]

    def ask(self, first):
        text = bytes_of(f"{WORK}/text").decode()
        content = f"{first}\n{text}\n>\n{KEY}Rome is:"
        return json.dumps({"messages": [{"role": "user", "content": content}], "max_tokens": 48,
                           "temperature": 0})

    def request(self, port, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
        connection.request(method, path, body)
        return json.loads(connection.getresponse().read())

    def talk(self, program):
        while b"\nready" not in bytes_of(self.log):
            check(program.poll() in (None, -9), bytes_of(self.log))
            if program.poll() is not None:
                return None
            time.sleep(0.02)
        port = int(re.search(rb"listening on http://[^:]*:(\d+)", bytes_of(self.log))[1])
        body = {"endpoint": "/v1/chat/completions", "body": json.loads(self.ask("a job"))}
        job = self.request(port, "POST", "/v1/jobs", json.dumps(body))
        check("id" in job, job)
        job = job["id"]
        answer = self.request(port, "POST", "/v1/chat/completions", self.ask("a request"))
        while (state := self.request(port, "GET", f"/v1/jobs/{job}"))["status"] in ("queued", "in_progress"):
            time.sleep(0.05)
        program.send_signal(signal.SIGTERM)
        check(state["status"] == "completed", state)
        return [reply["choices"][0]["message"]["content"] for reply in (answer, state["response"]["body"])]

    def run(self, kill_after_s=None):
        program = self.start()
        killer = kill_after_s and subprocess.Popen(["sh", "-c", f"sleep {kill_after_s}; kill -9 {program.pid}"])
        try:
            answers = self.talk(program)
        except (http.client.HTTPException, OSError):
            answers = None
        if killer and answers is not None:
            killer.kill()
        if killer:
            killer.wait()
        rc = program.wait()
        if rc == -signal.SIGKILL:
            return None
        check(rc == 0 and answers, "serve: exit", rc, answers, bytes_of(self.log)[-2000:].decode())
        return answers


def kept(here):
    """The names of what a vault holds when all that no book holds is gone; nothing else may be there."""
    if not os.path.exists(f"{here}/kv"):
        return []
    before = files_below(f"{here}/kv")
    glm1m("book", "verify", "--kv-disk-dir", f"{here}/kv", "--quiet")
    glm1m("book", "gc", "--kv-disk-dir", f"{here}/kv", "--quiet")
    names = files_below(f"{here}/kv")
    check(not [name for name in names if "tmp" in name], "temporaries", names, before)
    return sorted(re.sub("[0-9a-f]{64}", "*", re.sub("/[0-9a-f]{2}/", "/*/", name)) for name in names)


def campaign(kind, drawn):
    here = f"{WORK}/{kind.__name__}"
    command = kind(here)
    command.prepare()
    begun = time.monotonic()
    expected = command.run()
    alone_s = time.monotonic() - begun
    names = kept(here)
    n_kills, n_through, n_begun = 0, 0, 1
    shutil.rmtree(here)
    command.prepare()
    while n_kills < N_KILLS or n_through == 0:
        is_last = n_kills >= N_KILLS
        got = command.run(None if is_last else drawn.uniform(0, alone_s))
        if got is None:
            n_kills += 1
            command.look_at_outputs()
            continue
        check(got == expected, kind.__name__, "seed", SEED, "kill", n_kills, "gives", got, "not", expected)
        now = kept(here)
        check(now == names, kind.__name__, "seed", SEED, "kill", n_kills, "leaves", now, "not", names)
        litter = [name for name in os.listdir(WORK) if "tmp" in name]
        check(not litter, litter)
        n_through += 1
        shutil.rmtree(here)
        command.prepare()
        n_begun += 1
    print(f"{kind.__name__}: {n_kills} kills, {n_through} came through; {alone_s:.1f} s alone", flush=True)
    shutil.rmtree(here)


KINDS = [Ask, Chat, ChatKept, Serve, Needle, Perplexity]
make_inputs()
try:
    for one in KINDS:
        if len(sys.argv) == 4 or one.__name__ in sys.argv[4:]:
            campaign(one, random.Random(f"{SEED} {one.__name__}"))
finally:
    shutil.rmtree(WORK)
