"""The published chat templates' text of the conversations in chat/cases.json, and its token ids.

    python3 -m venv VENV && VENV/bin/pip install -r tests/golden/requirements_chat.txt
    GLM_TEST_DATA=DIR VENV/bin/python tests/golden/make_chat_goldens.py

DIR holds the published glm-4-9b-chat-1m/ and glm-4-9b-chat/. Each template is rendered twice: as
transformers' apply_chat_template does it (trim_blocks and lstrip_blocks on), which leaves one
newline before each tool, and with both off, which leaves the two that the template is written with.
A private character stands for every '<' and '[' of a message while the template runs, so that the
control tokens of the result are the template's own.
"""
import base64
import json
import os

import jinja2
import tiktoken
from jinja2.sandbox import ImmutableSandboxedEnvironment

HERE = os.path.dirname(os.path.abspath(__file__))
DATA = os.environ["GLM_TEST_DATA"]
PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
           r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
VARIANTS = [("glm-4-9b-chat-1m", False), ("glm-4-9b-chat-1m", True), ("glm-4-9b-chat", True)]
HIDDEN = {"<": "\ue000", "[": "\ue001"}


def tojson(value, indent=None):
    """As transformers defines the filter: no HTML escapes, no ASCII escapes, keys as they come."""
    return json.dumps(value, ensure_ascii=False, indent=indent)


def load_template(model, one_newline):
    environment = ImmutableSandboxedEnvironment(trim_blocks=one_newline, lstrip_blocks=one_newline)
    environment.filters["tojson"] = tojson
    with open(os.path.join(DATA, model, "tokenizer_config.json"), encoding="utf-8") as file:
        return environment.from_string(json.load(file)["chat_template"])


def load_tokenizer():
    with open(os.path.join(DATA, "glm-4-9b-chat-1m", "tokenizer.model"), "rb") as file:
        ranks = {base64.b64decode(t): int(r) for t, r in (line.split() for line in file)}
    with open(os.path.join(DATA, "glm-4-9b-chat-1m", "tokenizer_config.json")) as file:
        added = json.load(file)["added_tokens_decoder"]
    specials = {token["content"]: int(i) for i, token in added.items()}
    return tiktoken.Encoding("glm4", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens=specials)


def map_text(value, table):
    if isinstance(value, str):
        for old, new in table.items():
            value = value.replace(old, new)
        return value
    if isinstance(value, list):
        return [map_text(item, table) for item in value]
    if isinstance(value, dict):
        return {map_text(k, table): map_text(v, table) for k, v in value.items()}
    return value


def messages_of(case):
    """As the template takes them: tools in a message, one message a call."""
    messages = [{"role": "system", "content": "", "tools": case["tools"]}] if "tools" in case else []
    for message in case["messages"]:
        given = {"role": message["role"], "content": message["content"],
                 "metadata": message.get("metadata", "")}
        if "tools" in message:
            given["tools"] = message["tools"]
        messages.append(given)
        for call in message.get("calls", []):
            messages.append({"role": "assistant", "metadata": call["name"],
                             "content": call["arguments"]})
    return messages


def split_specials(text, specials):
    """[control token, the text after it, control token, ...]"""
    parts = []
    while text:
        token = next(t for t in specials if text.startswith(t))
        text = text[len(token):]
        ends = [text.find(t) for t in specials if t in text]
        end = min(ends) if ends else len(text)
        parts += [token, text[:end]]
        text = text[end:]
    return parts


def encode(parts, tokenizer):
    """The first line after a role and the rest apart, as the published code builds its prompts."""
    ids = []
    for token, text in zip(parts[::2], parts[1::2]):
        ids.append(tokenizer.encode_single_token(token))
        line, newline, rest = text.partition("\n")
        ids += tokenizer.encode_ordinary(line + newline) + tokenizer.encode_ordinary(rest)
    return ids


def main():
    with open(os.path.join(HERE, "chat", "cases.json"), encoding="utf-8") as file:
        cases = json.load(file)
    tokenizer = load_tokenizer()
    specials = sorted(tokenizer.special_tokens_set, key=len, reverse=True)
    goldens = []
    for model, one_newline in VARIANTS:
        template = load_template(model, one_newline)
        for case in cases:
            messages = map_text(messages_of(case), HIDDEN)
            text = template.render(messages=messages, add_generation_prompt=True)
            shown = {new: old for old, new in HIDDEN.items()}
            parts = [map_text(part, shown) for part in split_specials(text, specials)]
            goldens.append({"case": case["name"], "model": model, "one_newline": one_newline,
                            "parts": parts, "ids": encode(parts, tokenizer)})
    with open(os.path.join(HERE, "chat", "goldens.json"), "w", encoding="utf-8") as out:
        lines = (json.dumps(golden, ensure_ascii=False) for golden in goldens)
        out.write("[\n" + ",\n".join(lines) + "\n]\n")
    print(f"{len(goldens)} goldens; jinja2 {jinja2.__version__}, tiktoken {tiktoken.__version__}")


if __name__ == "__main__":
    main()
