"""What is longer than the context: the words that clients look for, and the numbers that they read from them. In these words
Anthropic's API says it; LiteLLM, LangChain and Claude Code compare with them."""

import re
import sys

from raw import Server, check

server = Server(sys.argv[1], sys.argv[3])
CONTEXT = 1000
TOO_LONG = r"prompt is too long: (\d+) tokens > (\d+) maximum"
TOO_MUCH = r"input length and `max_tokens` exceed context limit: (\d+) \+ (\d+) > (\d+), decrease"


def bodies(text):
    """One of each API."""
    messages = [{"role": "user", "content": text}]
    yield "/v1/chat/completions", {"messages": messages}
    yield "/v1/messages", {"messages": messages}
    yield "/v1/completions", {"prompt": text}


def refused(path, body, pattern):
    """The numbers in the message."""
    status, answer = server.ask("POST", path, body)
    check(status == 400, status, answer)
    found = re.search(pattern, answer["error"]["message"])
    check(found, path, answer)
    check(path == "/v1/messages" or answer["error"]["code"] == "context_length_exceeded", answer)
    return [int(number) for number in found.groups()]


for path, body in bodies("x" * 1500):
    n_prompt, most = refused(path, {**body, "max_tokens": 1}, TOO_LONG)
    check(n_prompt > 1500 and most == CONTEXT - 1, n_prompt, most)
for path, body in bodies("x" * 980):
    n_prompt, n_answer, context = refused(path, {**body, "max_tokens": 500}, TOO_MUCH)
    check(n_answer == 500 and context == CONTEXT, n_answer, context)
    status, answer = server.ask("POST", path, {**body, "max_tokens": context - n_prompt})
    check(status == 200, path, answer)
