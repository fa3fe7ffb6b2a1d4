"""Clients that ask at once for texts of either length, with one choice or two, each of which comes.

   full_store.py URL
"""

import http.client
import json
import os
import random
import sys
import threading
import urllib.parse

N_CLIENTS, N_REQUESTS = 8, 3 if os.environ.get("GLM_TEST_FAST") else 9
host = urllib.parse.urlsplit(sys.argv[1]).netloc
failures = []


def ask(draw):
    prompt = "".join(draw.choice("abcdefgh ") for _ in range(draw.choice([1500, 300])))
    body = {"messages": [{"role": "user", "content": prompt}], "n": draw.choice([1, 2]), "max_tokens": 40, "temperature": 1}
    connection = http.client.HTTPConnection(host, timeout=300)
    connection.request("POST", "/v1/chat/completions", json.dumps(body))
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    if answer.status != 200:
        failures.append((len(prompt), body["n"], answer.status, text[:300]))


def ask_all(seed):
    draw = random.Random(seed)
    for _ in range(N_REQUESTS):
        ask(draw)


clients = [threading.Thread(target=ask_all, args=(seed,)) for seed in range(N_CLIENTS)]
for client in clients:
    client.start()
for client in clients:
    client.join()
for failure in failures:
    print(*failure)
sys.exit(len(failures) > 0)
