"""Clients at once, each of which asks one thing after the other."""

import http.client
import json
import sys
import threading
import urllib.parse

failures = []


def post(path, body):
    """The answer to a POST, or None: then what came instead is a failure."""
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(sys.argv[1]).netloc, timeout=300)
    connection.request("POST", path, json.dumps(body))
    answer = connection.getresponse()
    said = answer.read()
    connection.close()
    if answer.status == 200:
        return json.loads(said)
    failures.append((answer.status, said[:300]))
    return None


def run(n, ask_all):
    """ask_all(i) of n clients. Prints the failures, and exits."""
    clients = [threading.Thread(target=ask_all, args=(i,)) for i in range(n)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    for failure in failures:
        print(*failure)
    sys.exit(len(failures) > 0)
