"""The answers to some prompts, one after another and two at once, to stdout; the counters of drafts must have moved, where
N is not 0, and not otherwise.

   drafts.py URL SCRIPT PID N TEXT
"""

import sys
import threading

from raw import Server

server = Server(sys.argv[1], sys.argv[3])
n_speculative = int(sys.argv[4])
text = sys.argv[5]


def ask(prompt, **settings):
    status, answer = server.ask("POST", "/v1/completions", {"prompt": prompt, **settings})
    assert status == 200, answer
    return answer["choices"][0]["text"], answer["choices"][0].get("logprobs")


print([ask(text, max_tokens=150, temperature=t, seed=3) for t in (0, 0.8)])
print(ask(text, max_tokens=90, logprobs=1, temperature=0), ask(text, stop=["four to"], temperature=0))

both = [None, None]


def ask_beside(i):
    both[i] = ask(text[i:], max_tokens=200 - 120 * i, temperature=0)


threads = [threading.Thread(target=ask_beside, args=(i,)) for i in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(both)

counts = server.metrics()
drafted = counts["spec_decode_num_draft_tokens_total"]
right = counts["spec_decode_num_accepted_tokens_total"]
assert (drafted > 100 and 100 < right <= drafted) if n_speculative else drafted == right == 0, (drafted, right)
