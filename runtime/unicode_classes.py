#!/usr/bin/env python3
"""Write unicode_classes.c: the class of every code point, as the tokenizer's pattern sees it.

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install unicodedata2==16.0.0
    /tmp/venv/bin/python runtime/unicode_classes.py > runtime/unicode_classes.c

Unicode 16.0, because that is what the reference has: tiktoken 0.14.0 was asked for the class of
every code point and answers as this table does (tests/golden/compare_tiktoken.py asks again).
Classes: \\p{L} (general category L*), \\p{N} (N*), \\s (property White_Space, a closed list that
Unicode promises not to change lightly), and everything else.
"""
import unicodedata2

UNICODE = "16.0.0"
OTHER, LETTER, NUMBER, SPACE = range(4)
WHITE_SPACE = {*range(0x09, 0x0E), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028,
               0x2029, 0x202F, 0x205F, 0x3000}
BLOCK = 256  # code points a block


def class_of(code_point):
    if code_point in WHITE_SPACE:
        return SPACE
    category = unicodedata2.category(chr(code_point))[0]
    return {"L": LETTER, "N": NUMBER}.get(category, OTHER)


def packed_block(first):
    """Four code points a byte, the lowest two bits first."""
    classes = [class_of(c) for c in range(first, first + BLOCK)]
    return bytes(sum(classes[i + k] << (2 * k) for k in range(4)) for i in range(0, BLOCK, 4))


def rows(values):
    for i in range(0, len(values), 20):
        yield "        " + ", ".join(str(v) for v in values[i:i + 20]) + ","


def main():
    assert unicodedata2.unidata_version == UNICODE, unicodedata2.unidata_version
    blocks, index = [], []
    for first in range(0, 0x110000, BLOCK):
        block = packed_block(first)
        if block not in blocks:
            blocks.append(block)
        index.append(blocks.index(block))
    assert len(blocks) <= 256
    print(f"/* Unicode {UNICODE}. Made by unicode_classes.py; do not edit. */")
    print('#include "unicode_classes.h"\n')
    print("// clang-format off")
    print(f"const uint8_t glm_unicode_blocks[{len(index)}] = {{")
    print("\n".join(rows(index)) + "\n};\n")
    print(f"const uint8_t glm_unicode_packed[][{BLOCK // 4}] = {{")
    for block in blocks:
        print("    {\n" + "\n".join(rows(block)) + "\n    },")
    print("};")


if __name__ == "__main__":
    main()
