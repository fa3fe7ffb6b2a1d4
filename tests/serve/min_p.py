"""min_p: no token is drawn that has less than that share of the likeliest one's probability, at the temperature asked for.

   min_p.py URL SCRIPT PID
"""

import math
import sys

from raw import Server, check

server = Server(sys.argv[1], sys.argv[3])
TEMPERATURE = 2
BODY = {"prompt": "hello", "max_tokens": 60, "ignore_eos": True, "logprobs": 20}


def ask(**more):
    status, answer = server.ask("POST", "/v1/completions", {**BODY, "temperature": TEMPERATURE, **more})
    check(status == 200, more, answer)
    return answer["choices"][0]["logprobs"]


def shares(logprobs):
    """Of each token its probability at that temperature, the likeliest one's being 1."""
    return [math.exp((own - max(top.values())) / TEMPERATURE)
            for own, top in zip(logprobs["token_logprobs"], logprobs["top_logprobs"])]


for seed in range(5):
    check(min(shares(ask(seed=seed))) < 0.3, "without min_p nothing unlikely is drawn", seed)
    for min_p in (0.9, 0.6, 0.3):
        drawn = shares(ask(seed=seed, min_p=min_p))
        check(min_p - 1e-4 < min(drawn) < 1, seed, min_p, min(drawn))
    check(min(shares(ask(seed=seed, min_p=0.6, logit_bias={"0": -1}))) > 0.6 - 1e-4, "where the host chooses")
check(ask(min_p=1)["tokens"] == ask(temperature=0)["tokens"], "the likeliest alone")
check(ask(min_p=0, seed=1)["tokens"] == ask(seed=1)["tokens"], "0 is off")
for wrong in (-0.1, 1.1, "0.1", [0.1]):
    status, answer = server.ask("POST", "/v1/completions", {**BODY, "min_p": wrong})
    check(status == 400 and answer["error"]["param"] == "min_p", wrong, answer)
