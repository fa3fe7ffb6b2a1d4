"""Conversations that begin with one system text, of two turns each.

   conversations.py URL SCRIPT PID FILE talk|again|all|pages N_SYSTEM N_CONVERSATIONS N_TURN [N_FOUND...]

"talk": from their first turn on, one conversation after the other. "again": only the last turn of each, as after a restart,
of which no whole segment must be computed; but of those for which N_FOUND is given all that is behind it may be. "all": of
which only the last token is computed; "pages": what is behind the last whole page of 128. FILE holds
what was answered by whoever talked first: all others must get the same tokens, with the same scores. Another name of it means
other questions.
"""

import json
import os
import random
import sys

from raw import Server, check

server = Server(sys.argv[1], sys.argv[3])
FILE, HOW = sys.argv[4], sys.argv[5]
N_SYSTEM, N_CONVERSATIONS, N_TURN = (int(word) for word in sys.argv[6:9])
N_FOUND = [int(word) for word in sys.argv[9:]]
SEGMENT, PAGE = 4096, 128
NAME = os.path.basename(FILE)


def text(seed, n_bytes):
    draw = random.Random(seed)
    return "".join(draw.choice("abcdefgh ") for _ in range(n_bytes))


def ask(messages):
    """The answer's text, its tokens with their scores, and how many of the prompt's tokens there were and were there."""
    status, answer = server.ask("POST", "/v1/chat/completions", {
        "messages": messages, "max_tokens": 8, "temperature": 0, "logprobs": True})
    check(status == 200, answer)
    choice, usage = answer["choices"][0], answer["usage"]
    scores = [[one["token"], one["logprob"]] for one in choice["logprobs"]["content"]]
    return (choice["message"]["content"], scores, usage["prompt_tokens"],
            usage["prompt_tokens_details"]["cached_tokens"])


def turns(number, first_answer):
    """The messages of a conversation up to its first question, and up to its second one."""
    first = [{"role": "system", "content": text("system", N_SYSTEM)},
             {"role": "user", "content": text(f"{NAME} {number} a", N_TURN)}]
    return first, first + [{"role": "assistant", "content": first_answer},
                           {"role": "user", "content": text(f"{NAME} {number} b", N_TURN)}]


told = []
if os.path.exists(FILE):
    with open(FILE, encoding="utf-8") as file:
        told = json.load(file)
for number in range(N_CONVERSATIONS):
    if HOW == "talk":
        answer, scores, _, _ = ask(turns(number, "")[0])
        before = [answer, scores]
    else:
        before = told[number][0]
    answer, scores, n_prompt, n_cached = ask(turns(number, before[0])[1])
    print(f"conversation {number}: {n_cached} of {n_prompt} tokens were there")
    if HOW == "again":
        wanted = N_FOUND[number] if number < len(N_FOUND) else n_prompt // SEGMENT * SEGMENT
    elif HOW in ("all", "pages"):
        wanted = n_prompt - 1 if HOW == "all" else (n_prompt - 1) // PAGE * PAGE
    if HOW != "talk":
        check(n_cached >= wanted, "computed again", number, n_cached, wanted)
    if len(told) > number:
        check([before, [answer, scores]] == told[number], "another answer", number, answer)
    else:
        told.append([before, [answer, scores]])
with open(FILE, "w", encoding="utf-8") as file:
    json.dump(told, file)
