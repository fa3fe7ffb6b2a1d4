# For cli_serve_full_store_fails_nobody.sh: full_store.py URL
import http.client, json, random, sys, threading
host, failures = sys.argv[1].split("//")[1], []
def client(seed):
    draw = random.Random(seed)
    for _ in range(9):
        n_bytes, n_choices = draw.choice([1500, 300]), draw.choice([1, 2])
        prompt = "".join(draw.choice("abcdefgh ") for _ in range(n_bytes))
        connection = http.client.HTTPConnection(host, timeout=300)
        connection.request("POST", "/v1/chat/completions", json.dumps({"temperature": 1, "max_tokens": 40,
            "n": n_choices, "messages": [{"role": "user", "content": prompt}]}))
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            failures.append((n_bytes, n_choices, answer.status, body[:300]))
clients = [threading.Thread(target=client, args=(seed,)) for seed in range(8)]
for one in clients: one.start()
for one in clients: one.join()
for failure in failures: print(*failure)
sys.exit(len(failures) > 0)
