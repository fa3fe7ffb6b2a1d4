"""Prompts that are kept on disk, in a directory that somebody removes, and then puts a file in its place.

   lost_directory.py URL SCRIPT DIRECTORY
"""

import pathlib
import shutil
import sys

from at_once import post
from raw import check

KV = pathlib.Path(sys.argv[3])
KEY_LINE = "The special magic number for Paris is:"


def ask(first):
    """A text that takes a segment, with a number in it, that is asked for."""
    line = f"{first}: the grass is green, the sky is blue, the sun is yellow, here we go.\n"
    filler = line * (4400 // len(line))
    prompt = (f"{filler}\n{KEY_LINE} {first}831759.\n{filler[:500]}\n"
              f"What is the special magic number for Paris?\n>\n{KEY_LINE}")
    body = {"messages": [{"role": "user", "content": prompt}], "max_tokens": 64, "temperature": 0}
    answer = post("/v1/chat/completions", body)
    check(f"{first}831759" in answer["choices"][0]["message"]["content"], answer)


def n_kept():
    return len(list(KV.rglob("*.kvs")))


ask(1)
check(n_kept() == 1, "nothing is kept")
shutil.rmtree(KV)
ask(1)
ask(2)
check(n_kept() == 1, "nothing is kept in a new one", n_kept())
shutil.rmtree(KV)
KV.write_text("in its place")
ask(3)
ask(4)
ask(5)
check(KV.read_text() == "in its place", "the file is gone")
