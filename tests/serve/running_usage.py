"""stream_options.continuous_usage_stats: each chunk has the usage, as it is by then.

   running_usage.py URL SCRIPT PID
"""

import sys

from raw import Server, check, events

server = Server(sys.argv[1], sys.argv[3])
N = 12
HOW = {"stream": True, "temperature": 0, "max_tokens": N, "ignore_eos": True}
BODIES = {"/v1/chat/completions": {"messages": [{"role": "user", "content": "hello"}]}, "/v1/completions": {"prompt": "hello"}}


def stream(path, options):
    connection, _ = server.begin(server.post(path, {**BODIES[path], **HOW, "stream_options": options}), 1)
    return list(events(connection))


for path in BODIES:
    chunks = stream(path, {"include_usage": True, "continuous_usage_stats": True})
    usages = [chunk["usage"] for chunk in chunks]
    counts = [usage["completion_tokens"] for usage in usages]
    check(len(chunks) > 3 and counts == sorted(counts) and counts[-1] == N, path, counts)
    check(all(one["total_tokens"] == one["prompt_tokens"] + one["completion_tokens"] for one in usages), path, usages)
    check(chunks[-1]["choices"] == [] and all(chunk["choices"] for chunk in chunks[:-1]), path, chunks)
    for options, n in (({"include_usage": True}, 1), ({"include_usage": True, "continuous_usage_stats": False}, 1),
                       ({"continuous_usage_stats": True}, 0)):
        check(sum("usage" in chunk for chunk in stream(path, options)) == n, path, options)
status, answer = server.ask("POST", "/v1/completions", {**BODIES["/v1/completions"], **HOW, "stream_options": {"continuous_usage_stats": 1}})
check(status == 400 and "continuous_usage_stats must be true or false" in answer["error"]["message"], answer)
