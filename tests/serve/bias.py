"""Penalties and biases change the logits by which an answer's tokens are chosen, as OpenAI says; logprobs stay the model's own.

   bias.py URL SCRIPT PID
"""

import concurrent.futures
import sys

from raw import Server, check

server = Server(sys.argv[1], sys.argv[3])
CHAT = "/v1/chat/completions"
GREEDY = {"messages": [{"role": "user", "content": "hello"}], "temperature": 0, "max_tokens": 60, "ignore_eos": True}


def ask(**more):
    """The choices: of each its tokens, as bytes, and beside each the likeliest ones and their logprobs."""
    status, answer = server.ask("POST", CHAT, {**GREEDY, "logprobs": True, "top_logprobs": 20, **more})
    check(status == 200, more, answer)
    return [[(tuple(token["bytes"] or [-1]), token["logprob"],
              [(tuple(top["bytes"] or [-1]), top["logprob"]) for top in token["top_logprobs"]])
             for token in choice["logprobs"]["content"]] for choice in answer["choices"]]


def tokens(choice):
    return [token for token, _, _ in choice]


def penalised(choice, presence, frequency):
    """Each token is the likeliest one, less what the tokens before it cost. Of those that are not shown none is likelier than
    the last one that is; special tokens, which have no bytes, are not told apart."""
    seen = {}
    n_told = 0
    for token, logprob, top in choice:
        scores = {other: value - presence * (other in seen) - frequency * seen.get(other, 0) for other, value in top if other != (-1,)}
        best = max(scores.values())
        own = logprob - presence * (token in seen) - frequency * seen.get(token, 0)
        if token != (-1,) and best > top[-1][1]:
            check(own >= best - 1e-4, token, own, best, seen)
            n_told += 1
        seen[token] = seen.get(token, 0) + 1
    check(n_told > 5, n_told, choice)


plain, = ask()
check(max(tokens(plain).count(token) for token in tokens(plain)) > 2, "nothing is repeated", plain)
for presence, frequency in ((1.5, 0), (0, 0.05), (0.3, 0.1), (0, 2), (2, 2)):
    choice, = ask(presence_penalty=presence, frequency_penalty=frequency)
    penalised(choice, presence, frequency)
    check(tokens(choice) != tokens(plain), presence, frequency)
check(len(set(tokens(choice))) > len(set(tokens(plain))), choice)
loving, = ask(frequency_penalty=-2)
check(len(set(tokens(loving))) < len(set(tokens(choice))), loving)

# A great repetition_penalty leaves nothing that the prompt or the answer has.
fresh, = ask(repetition_penalty=100)
prompt = {(ord(letter),) for letter in GREEDY["messages"][0]["content"]}
check(len(set(tokens(fresh))) == len(fresh) and not prompt & set(tokens(fresh)), fresh)
check(len(set(tokens(ask(repetition_penalty=0.01)[0]))) < len(set(tokens(plain))), "no liking of what is there")

# Each choice and each request counts for itself; beside each other, too.
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    together = list(pool.map(lambda more: ask(**more), [{"frequency_penalty": 2, "presence_penalty": 2, "n": 2}, {},
                                                       {"frequency_penalty": -2}, {"frequency_penalty": 0.1, "presence_penalty": 0.3}]))
check([tokens(c) for c in together[0]] == [tokens(choice)] * 2, together[0])
check(tokens(together[1][0]) == tokens(plain) and tokens(together[2][0]) == tokens(loving), together)
drawn = [ask(temperature=1, seed=7, frequency_penalty=1) for _ in range(2)]
check(drawn[0] == drawn[1] != ask(temperature=1, seed=7), drawn)

# Ids. The last word is the greater bias; none passes what a form forbids.
text = "ab"
ids = server.ask("POST", "/tokenize", {"prompt": text, "add_special_tokens": False})[1]["tokens"]
check(len(ids) == 2, ids)
a, b = (str(i) for i in ids)
check(tokens(ask(logit_bias={a: 100})[0]) == [(97,)] * 60)
check(tokens(ask(logit_bias={a: 50, b: 100})[0]) == [(98,)] * 60)
alternating, = ask(logit_bias={a: 60, b: 60}, frequency_penalty=2)
check(abs(tokens(alternating).count((97,)) - tokens(alternating).count((98,))) <= 4, alternating)
common = max(((t, tokens(plain).count(t)) for t in tokens(plain) if len(t) == 1 and 32 < t[0] < 127), key=lambda pair: pair[1])[0]
banned = server.ask("POST", "/tokenize", {"prompt": chr(common[0]), "add_special_tokens": False})[1]["tokens"]
check(common not in tokens(ask(logit_bias={str(banned[0]): -100})[0]), common)
bound, = ask(logit_bias={a: 100}, response_format={"type": "json_object"})
check(tokens(bound)[0] != (97,), bound)

# Neutral values, and what is refused.
for more in ({"logit_bias": {}}, {"logit_bias": []}, {"logit_bias": None}, {"logit_bias": {a: 0}}, {"presence_penalty": 0, "frequency_penalty": None},
             {"repetition_penalty": 1}, {"repetition_penalty": 1.0}):
    check(tokens(ask(**more)[0]) == tokens(plain), more)
for name, value in (("presence_penalty", 2.1), ("frequency_penalty", -2.1), ("repetition_penalty", 0), ("repetition_penalty", -1),
                    ("presence_penalty", "1"), ("logit_bias", {"-1": 1}),
                    ("logit_bias", {"": 1}), ("logit_bias", {"99999999": 1}), ("logit_bias", {"99999999999": 1}), ("logit_bias", {"5x": 1}),
                    ("logit_bias", {"a": 1}), ("logit_bias", {a: 100.5}), ("logit_bias", {a: "1"}), ("logit_bias", {a: None}),
                    ("logit_bias", [[5, -100]]), ("logit_bias", 5), ("logit_bias", {"0" * i + "1": 1 for i in range(1025)})):
    status, answer = server.ask("POST", CHAT, {**GREEDY, name: value})
    check(status == 400 and answer["error"]["param"] == name, name, value, answer)
