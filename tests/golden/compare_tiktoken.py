"""The ids of `glm1m tokenize` against those of tiktoken, over megabytes of mixed text; and, with the
same tokens written as a tokenizer.json, against those of the tokenizers library.

    GLM_TEST_DATA=DIR python3 tests/golden/compare_tiktoken.py [--seed S] [--megabytes N]

Run by hand, not by the tests: it makes a virtual environment in build/tiktoken-venv (pinned in
requirements-tiktoken.txt, from PyPI) the first time. The encoding is built here, from the published
tokenizer.model and tokenizer_config.json of DIR/glm-4-9b-chat-1m and the pattern of the reference
implementation. GLM1M is the program (default build/glm1m). Every text is made from the seed; N is
the size of each kind (default 2). Shows the first difference of each kind; exits 1 if there is one.
"""
import argparse
import base64
import json
import os
import random
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
VENV = os.path.join(HERE, "..", "..", "build", "tiktoken-venv")
PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
           r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")

# Letters by language: what its words are made of, how long they are, what stands between them.
# Ranges are "first-last"; a language without spaces has an empty separator.
LANGUAGES = {
    "Arabic": ("\u0621-\u064a \u064b-\u0652", 5, " "),
    "Bengali": ("\u0985-\u0994 \u0995-\u09b9 \u09be-\u09cd", 5, " "),
    "Chinese": ("\u4e00-\u9fff", 6, ""),
    "Czech": ("a-z áčďéěíňóřšťúůýž", 6, " "),
    "Dutch": ("a-z éëïóöü", 6, " "),
    "English": ("a-z", 5, " "),
    "French": ("a-z àâæçéèêëîïôœùûüÿ", 6, " "),
    "German": ("a-z äöüß A-Z", 8, " "),
    "Greek": ("\u03b1-\u03c9 άέήίόύώϊϋ", 6, " "),
    "Hebrew": ("\u05d0-\u05ea \u05b0-\u05bc", 4, " "),
    "Hindi": ("\u0905-\u0914 \u0915-\u0939 \u093e-\u094d", 5, " "),
    "Indonesian": ("a-z", 7, " "),
    "Italian": ("a-z àèéìíòóùú", 6, " "),
    "Japanese": ("\u3041-\u3096 \u30a1-\u30fa \u4e00-\u9fff ー々", 7, ""),
    "Korean": ("\uac00-\ud7a3", 4, " "),
    "Persian": ("\u0621-\u064a پچژگکی \u200c", 5, " "),
    "Polish": ("a-z ąćęłńóśźż", 6, " "),
    "Portuguese": ("a-z ãáàâçéêíóôõú", 6, " "),
    "Russian": ("\u0430-\u044f ё \u0410-\u042f", 7, " "),
    "Spanish": ("a-z ñáéíóúü", 6, " "),
    "Swedish": ("a-z åäö", 6, " "),
    "Tamil": ("\u0b85-\u0b8a \u0b95-\u0b95 \u0ba8-\u0bb9 \u0bbe-\u0bcd", 6, " "),
    "Thai": ("\u0e01-\u0e3a \u0e40-\u0e4e", 9, ""),
    "Turkish": ("a-z çğıİöşü", 7, " "),
    "Ukrainian": ("\u0430-\u044f ґєії'", 7, " "),
    "Vietnamese": ("a-z ăâđêôơư \u1ea1-\u1ef9", 4, " "),
}
PUNCTUATION = [". ", ", ", "; ", ": ", "! ", "? ", "...", " - ", " — ", "\n", "\n\n", "\r\n", "。",
               "，", "！", "「", "」", "؟", "।", "\t", "  ", "\u3000", "\u00a0", "'", "\"", " (", ") "]
ODDMENTS = ["'s", "'S", "'re", "'LL", "'ſ", "don't", "1", "12", "123", "1234567", "３４５６", "½", "Ⅳ", "٣٤٥",
            "x = y[3] + 0x1F;\n", "    return None\n", "https://example.org/?q=1&r=%20", "👍🏽", "👨‍👩‍👧‍👦", "🇮🇹",
            "e\u0301", "\u200b", "\ufeff", "\u2028", "\x0b", "\x85", "\x00", "^^^^^", "-----", "<|user|>",
            "[gMASK]", "<sop>", "   \n  \n ", " \t \r\n\t", "\u180e", "𝕳𝖊𝖑𝖑𝖔", "𠀀𠀁", "ﬁ", "ǅ", "ʰ", "ª"]


def into_venv():
    """Start again inside the virtual environment, made first where there is none."""
    python = os.path.join(VENV, "bin", "python")
    if os.path.realpath(sys.prefix) == os.path.realpath(VENV):
        return
    if not os.path.exists(python):
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", "-r",
                    os.path.join(HERE, "requirements-tiktoken.txt")], check=True)
    os.execv(python, [python, os.path.abspath(__file__)] + sys.argv[1:])


def reference(directory):
    import tiktoken
    ranks = {}
    with open(os.path.join(directory, "tokenizer.model"), "rb") as lines:
        for line in lines:
            token, rank = line.split()
            ranks[base64.b64decode(token)] = int(rank)
    with open(os.path.join(directory, "tokenizer_config.json")) as file:
        added = json.load(file)["added_tokens_decoder"]
    specials = {token["content"]: int(id) for id, token in added.items()}
    return tiktoken.Encoding("glm-4", pat_str=PATTERN, mergeable_ranks=ranks,
                             special_tokens=specials), ranks


def byte_alphabet():
    """GPT-2's characters for the 256 bytes."""
    printable = [*range(0x21, 0x7f), *range(0xa1, 0xad), *range(0xae, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {**{byte: chr(byte) for byte in printable},
            **{byte: chr(0x100 + i) for i, byte in enumerate(others)}}


def write_json(directory, ranks, specials, ignore_merges):
    """tokenizer.json as transformers' TikTokenConverter makes it: every merge there is, by rank."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
    alphabet = byte_alphabet()
    text = {token: "".join(alphabet[byte] for byte in token) for token in ranks}
    merges = []
    for token in ranks:
        splits = [(token[:i], token[i:]) for i in range(1, len(token))
                  if token[:i] in ranks and token[i:] in ranks]
        splits.sort(key=lambda split: (ranks[split[0]], ranks[split[1]]))
        merges += [(text[left], text[right]) for left, right in splits]
    tokenizer = Tokenizer(models.BPE({text[token]: rank for token, rank in ranks.items()}, merges,
                                     ignore_merges=ignore_merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(PATTERN), behavior="isolated", invert=False),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(name, normalized=False) for name in specials])
    tokenizer.save(os.path.join(directory, "tokenizer.json"))
    return tokenizer


def letters_of(spec):
    letters = []
    for part in spec.split(" "):
        if len(part) == 3 and part[1] == "-":
            letters += [chr(c) for c in range(ord(part[0]), ord(part[2]) + 1)]
        else:
            letters += part
    return letters


def language_text(rng, language, n_bytes):
    spec, length, separator = LANGUAGES[language]
    letters = letters_of(spec)
    # Words repeat, as they do in a language: half are drawn from a list.
    known = ["".join(rng.choices(letters, k=max(1, round(rng.gauss(length, 2))))) for _ in range(3000)]
    parts, size = [], 0
    while size < n_bytes:
        word = rng.choice(known) if rng.random() < 0.5 else \
            "".join(rng.choices(letters, k=max(1, round(rng.gauss(length, 2)))))
        style = rng.random()
        word = word.capitalize() if style < 0.1 else word.upper() if style < 0.13 else word
        tail = rng.random()
        word += rng.choice(PUNCTUATION) if tail < 0.15 else \
            separator + rng.choice(ODDMENTS) + separator if tail < 0.18 else separator
        parts.append(word)
        size += len(word.encode())
    return "".join(parts)


def vocabulary_text(rng, ranks, n_bytes):
    """Real words of every language the vocabulary knows, run into one another."""
    words = []
    for token in ranks:
        try:
            words.append(token.decode())
        except UnicodeDecodeError:
            pass
    parts, size = [], 0
    while size < n_bytes:
        parts.append(rng.choice(words))
        size += len(parts[-1].encode())
    return "".join(parts)


def code_points_text():
    """Every code point alone, twice, after a letter, a space, an apostrophe, and before."""
    parts = []
    for c in range(0x110000):
        if 0xd800 <= c < 0xe000:
            continue
        parts.append(f"{chr(c)} a{chr(c)}1 {chr(c)}{chr(c)}'{chr(c)}x\n{chr(c)}\n")
    return "".join(parts)


def oddments_text(rng, n_bytes):
    parts, size = [], 0
    while size < n_bytes:
        parts.append(rng.choice(ODDMENTS) * rng.choice([1, 1, 1, 2, 30]) +
                     rng.choice(PUNCTUATION) * rng.choice([0, 1, 2, 9]))
        size += len(parts[-1].encode())
    return "".join(parts)


def texts(rng, ranks, n_bytes, books):
    """(kind, text, whether special tokens spelled out count)"""
    for language in LANGUAGES:
        yield language, language_text(rng, language, n_bytes), False
    mixed = [language_text(rng, rng.choice(list(LANGUAGES)), 400) for _ in range(n_bytes // 400)]
    yield "26 languages, mixed", "".join(mixed), False
    yield "the same, with special tokens", "".join(mixed), True
    yield "tokens of the vocabulary", vocabulary_text(rng, ranks, n_bytes), False
    yield "oddments and punctuation", oddments_text(rng, n_bytes), False
    yield "every code point", code_points_text(), False
    noise = rng.randbytes(n_bytes)
    yield "random bytes read as UTF-8", noise.decode("utf-8", "replace"), False
    points = [chr(c) for c in (rng.randrange(1, 0x30000) for _ in range(n_bytes // 4))
              if not 0xd800 <= c < 0xe000]
    yield "random code points", "".join(points), False
    for name in sorted(os.listdir(books)):
        with open(os.path.join(books, name), encoding="utf-8", newline="") as file:
            yield name, file.read(), False


def ours(program, directory, text, with_special):
    with tempfile.NamedTemporaryFile(suffix=".txt") as file:
        file.write(text.encode())
        file.flush()
        command = [program, "tokenize", "-m", directory, "-f", file.name]
        if with_special:
            command.append("--special-in-text")
        out = subprocess.run(command, check=True, capture_output=True).stdout
    return [int(id) for id in out.split()]


class Comparison:
    def __init__(self, encoding, program):
        self.encoding, self.program = encoding, program
        self.n_bytes, self.n_ids, self.n_different = 0, 0, 0

    def compare(self, kind, theirs, directory, text, with_special=False):
        mine = ours(self.program, directory, text, with_special)
        n_bytes = len(text.encode())
        is_same = theirs == mine
        print(f"{kind:32} {n_bytes:9} bytes {len(theirs):9} ids  {'same' if is_same else 'DIFFERENT'}",
              flush=True)
        if not is_same:
            show_difference(self.encoding, theirs, mine)
        self.n_bytes += n_bytes
        self.n_ids += len(theirs)
        self.n_different += not is_same


def compare_json(comparison, ranks, ignore_merges, kinds):
    specials = list(comparison.encoding._special_tokens)
    with tempfile.TemporaryDirectory() as directory:
        tokenizer = write_json(directory, ranks, specials, ignore_merges)
        for kind, text in kinds:
            # This library always recognises special tokens that the text spells out.
            theirs = tokenizer.encode(text, add_special_tokens=False).ids
            comparison.compare(f"{kind}, {'true' if ignore_merges else 'false'}", theirs, directory,
                               text, with_special=True)


def show_difference(encoding, theirs, mine):
    at = next((i for i, (a, b) in enumerate(zip(theirs, mine)) if a != b), min(len(theirs), len(mine)))
    start = max(0, at - 5)
    print(f"  first difference at id {at}, after {encoding.decode_bytes(theirs[start:at])!r}")
    for name, ids in (("tiktoken", theirs), ("glm1m", mine)):
        print(f"  {name:9} {ids[at:at + 8]} {encoding.decode_bytes(ids[at:at + 8])!r}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--megabytes", type=float, default=2)
    options = parser.parse_args()
    data = os.environ.get("GLM_TEST_DATA")
    if not data:
        sys.exit("GLM_TEST_DATA is not set")
    into_venv()
    program = os.environ.get("GLM1M", os.path.join(HERE, "..", "..", "build", "glm1m"))
    directory = os.path.join(data, "glm-4-9b-chat-1m")
    encoding, ranks = reference(directory)
    rng = random.Random(options.seed)
    comparison, started = Comparison(encoding, program), time.time()
    n_bytes = int(options.megabytes * 1e6)
    for kind, text, with_special in texts(rng, ranks, n_bytes, os.path.join(data, "books")):
        theirs = encoding.encode(text, allowed_special="all") if with_special else \
            encoding.encode_ordinary(text)
        comparison.compare(kind, theirs, directory, text, with_special)

    kinds = [("json, vocabulary", vocabulary_text(rng, ranks, n_bytes)),
             ("json, Chinese", language_text(rng, "Chinese", n_bytes)),
             ("json, oddments", oddments_text(rng, n_bytes))]
    for ignore_merges in (True, False):
        compare_json(comparison, ranks, ignore_merges, kinds)
    print(f"seed {options.seed}: {comparison.n_bytes} bytes, {comparison.n_ids} ids, "
          f"{comparison.n_different} kinds different, {time.time() - started:.0f} s")
    sys.exit(1 if comparison.n_different else 0)


if __name__ == "__main__":
    main()
