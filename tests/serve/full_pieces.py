"""Two clients with long texts, one behind the other: each is answered, and half of them scored, to the bit as the first one
was while the store was empty.

   full_pieces.py URL
"""

import http.client
import json
import random
import sys
import threading
import urllib.parse

N_CLIENTS, N_TEXTS, N_TOKENS = 2, 6, 10000
host = urllib.parse.urlsplit(sys.argv[1]).netloc
failures = []


def ask(text, scores):
    body = {"prompt": text, "max_tokens": 4, "temperature": 0, "echo": scores, "logprobs": 0 if scores else None}
    connection = http.client.HTTPConnection(host, timeout=300)
    connection.request("POST", "/v1/completions", json.dumps(body))
    answer = connection.getresponse()
    said = answer.read()
    connection.close()
    if answer.status != 200:
        failures.append((answer.status, said[:300]))
        return None
    choice = json.loads(said)["choices"][0]
    return choice["logprobs"]["token_logprobs"] if scores else choice["text"]


def ask_all(seed):
    draw = random.Random(seed)
    texts = ["".join(draw.choice("abcdefgh ") for _ in range(N_TOKENS)) for _ in range(N_TEXTS)]
    first = ask(texts[0], True)
    for i, text in enumerate(texts[1:]):
        ask(text, i % 2 == 1)
    if not failures and (ask(texts[0], True) != first or len(first) < N_TOKENS + 4):
        failures.append(("scores differ",))


clients = [threading.Thread(target=ask_all, args=(seed,)) for seed in range(N_CLIENTS)]
for client in clients:
    client.start()
for client in clients:
    client.join()
for failure in failures:
    print(*failure)
sys.exit(len(failures) > 0)
