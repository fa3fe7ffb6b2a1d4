"""Two clients with long texts, one behind the other: each is answered, and half of them scored, to the bit as the first one
was while the store was empty.

   full_pieces.py URL
"""

import random

from at_once import failures, post, run

N_CLIENTS, N_TEXTS, N_TOKENS = 2, 6, 10000


def ask(text, scores):
    body = {"prompt": text, "max_tokens": 4, "temperature": 0, "echo": scores, "logprobs": 0 if scores else None}
    answer = post("/v1/completions", body)
    if not answer:
        return None
    choice = answer["choices"][0]
    return choice["logprobs"]["token_logprobs"] if scores else choice["text"]


def ask_all(seed):
    draw = random.Random(seed)
    texts = ["".join(draw.choice("abcdefgh ") for _ in range(N_TOKENS)) for _ in range(N_TEXTS)]
    first = ask(texts[0], True)
    for i, text in enumerate(texts[1:]):
        ask(text, i % 2 == 1)
    if not failures and (ask(texts[0], True) != first or len(first) < N_TOKENS + 4):
        failures.append(("scores differ",))


run(N_CLIENTS, ask_all)
