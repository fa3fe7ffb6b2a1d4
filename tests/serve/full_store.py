"""Clients that ask at once for texts of either length, with one choice or two, each of which comes.

   full_store.py URL
"""

import os
import random

from at_once import post, run

N_CLIENTS, N_REQUESTS = 8, 3 if os.environ.get("GLM_TEST_FAST") else 9


def ask_all(seed):
    draw = random.Random(seed)
    for _ in range(N_REQUESTS):
        prompt = "".join(draw.choice("abcdefgh ") for _ in range(draw.choice([1500, 300])))
        body = {"messages": [{"role": "user", "content": prompt}], "n": draw.choice([1, 2]), "max_tokens": 40, "temperature": 1}
        post("/v1/chat/completions", body)


run(N_CLIENTS, ask_all)
