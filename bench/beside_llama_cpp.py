"""What bench/beside_llama_cpp.sh measures and prints; it says what the options mean.

Every run is a process of its own (help_one_prompt.h), kept as a line of DIR/runs.jsonl: what stands there is not run
again, so that a measurement can be cut into pieces, and the table is made of all of it. A timed run beside more
other work than --others allows is void: it stands there, too, but counts for nothing and is run again the next time.
"""
import argparse
import json
import mmap
import os
import resource
import shlex
import statistics
import subprocess
import sys
import time

import numpy as np

ANSWER, LOGITS_ANSWER, QUESTION = 32, 8, 2048
# Name, program, model, variant, KV. What each leaves out is its own default.
OURS = [("glm1m", "bench_one_prompt", "model", None, None),
        ("glm1m --linear onednn", "bench_one_prompt", "model", "onednn", None)]
THEIRS = [("llama.cpp", "llama_cpp_one_prompt", "bf16.gguf", None, None),
          ("llama.cpp -fa off -ctk bf16 -ctv bf16", "llama_cpp_one_prompt", "bf16.gguf", "no-fa", "bf16"),
          ("llama.cpp -fa off", "llama_cpp_one_prompt", "bf16.gguf", "no-fa", None)]
REFERENCES = [("glm1m, float32", "bench_one_prompt", "model-f32", None, "f32"),
              ("llama.cpp, float32", "llama_cpp_one_prompt", "f32.gguf", "no-fa", "f32")]


def options():
    parser = argparse.ArgumentParser()
    parser.add_argument("--dir", required=True)
    parser.add_argument("--programs", required=True)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--lengths", default="2048,8192,16384")
    parser.add_argument("--deep", type=int, default=32768)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--by", default="")
    parser.add_argument("--others", type=float, default=0.15)
    parser.add_argument("--only", default="")
    parser.add_argument("--who", default="abcde")
    parser.add_argument("--about", default="")
    return parser.parse_args()


ARGS = options()
LENGTHS = [int(word) for word in ARGS.lengths.split(",")]
RUNS = os.path.join(ARGS.dir, "runs.jsonl")


def counts(line):
    return not line["is_timed"] or line["others"] <= ARGS.others


def read_runs():
    if not os.path.exists(RUNS):
        return {}
    with open(RUNS) as lines:
        return {run["key"]: run for run in map(json.loads, lines) if counts(run)}


def command(contender, lengths, answer, more):
    _, program, model, variant, kv = contender
    words = [os.path.join(ARGS.programs, program), "--model", os.path.join(ARGS.dir, model), "--threads",
             str(ARGS.threads), "--lengths", ",".join(map(str, lengths)), "--answer", str(answer)]
    for name, value in (("--variant", variant), ("--kv", kv)):
        words += [name, value] if value else []
    return words + more


def cpu_seconds():
    """(of all cores, not idle; of our finished children)"""
    with open("/proc/stat") as file:
        ticks = [int(word) for word in file.readline().split()[1:9]]
    ours = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK"), ours.ru_utime + ours.ru_stime


def prepare(contender):
    """Nobody waits for the disk, or for what a hypervisor took of idle memory: the model's files are in the page cache,
    and memory that is wanted was in use a moment ago."""
    model = os.path.join(ARGS.dir, contender[2])
    files = [model] if os.path.isfile(model) else [os.path.join(model, name) for name in os.listdir(model)]
    for path in files:
        with open(path, "rb", buffering=0) as file:
            while file.read(1 << 24):
                pass
    n_bytes = sum(map(os.path.getsize, files)) + (1 << 30)
    mmap.mmap(-1, n_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE).close()


def run(done, key, contender, lengths, answer, more=(), is_timed=True):
    """One process, unless its line is there and counts."""
    if key in done:
        return
    words = (shlex.split(ARGS.by) if is_timed else []) + command(contender, lengths, answer, list(more))
    if is_timed:
        prepare(contender)
    begun, (all_before, ours_before) = time.monotonic(), cpu_seconds()
    result = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if result.returncode != 0:
        sys.exit(f"{shlex.join(words)}: exit {result.returncode}\n{result.stderr}")
    seconds, (all_after, ours_after) = time.monotonic() - begun, cpu_seconds()
    line = {"key": key, "is_timed": is_timed, "lines": [json.loads(text) for text in result.stdout.splitlines()],
            "others": round((all_after - all_before - ours_after + ours_before) / seconds, 3)}
    with open(RUNS, "a") as file:
        print(json.dumps(line), file=file)
    print(f"{key}: {seconds:.1f} s, beside {line['others']:.2f} cores of other work"
          + ("" if counts(line) else ": void"), file=sys.stderr, flush=True)
    if counts(line):
        done[key] = line


def asked_for(contenders):
    """Those whose letters --who has."""
    return [c for c in contenders if chr(ord("a") + (OURS + THEIRS).index(c)) in ARGS.who]


def is_wanted(pass_name):
    return ARGS.only in ("", pass_name)


def measure_whole(done):
    """A prompt from nothing."""
    for turn in range(ARGS.turns):
        for length in LENGTHS:
            for contender in asked_for(OURS + THEIRS):
                run(done, f"whole {length} {turn} {contender[0]}", contender, [length], ANSWER)


def kept_place(contender):
    return os.path.join(ARGS.dir, "kept-" + contender[0].replace(" ", ""))


def measure_deep(done):
    """A restart: what was kept is read, a question of 2048 tokens is prefilled, answered."""
    kept = ARGS.deep - QUESTION
    for contender in asked_for(OURS + THEIRS[:2]):
        run(done, f"keeping {kept} {contender[0]}", contender, [kept + 1], 1,
            ["--kept", str(kept), "--in", kept_place(contender)], is_timed=False)
    for turn in range(ARGS.turns):
        for contender in asked_for(OURS + THEIRS[:2]):
            run(done, f"deep {ARGS.deep} {turn} {contender[0]}", contender, [ARGS.deep], ANSWER,
                ["--kept", str(kept), "--in", kept_place(contender)])


def measure_memory(done):
    """The deep prompt from nothing: how long it takes depends on what else runs, how much it takes does not."""
    for contender in asked_for(OURS + THEIRS[:2]):
        run(done, f"memory {ARGS.deep} {contender[0]}", contender, [ARGS.deep], 1, is_timed=False)


def logits_file(contender, length):
    return os.path.join(ARGS.dir, f"logits-{length}-{contender[0]}".replace(" ", ""))


def measure_logits(done):
    for length in LENGTHS[:2]:
        for contender in REFERENCES + OURS + THEIRS:
            run(done, f"logits {length} {contender[0]}", contender, [length], LOGITS_ANSWER,
                ["--logits", logits_file(contender, length)], is_timed=False)


# ---- the table -------------------------------------------------------------------------------------------------

def figures(done, pass_name, length, name, figure):
    lines = [done.get(f"{pass_name} {length} {turn} {name}") for turn in range(ARGS.turns)]
    return [figure(line) for line in lines if line]


def last(line):
    return line["lines"][-1]


FIGURES = [
    ("prefill", "tokens/s", max, lambda line, n: n / last(line)["prefill_s"]),
    ("decode behind it", "tokens/s", max, lambda line, n: ANSWER / last(line)["decode_s"]),
    ("first token after", "s", min, lambda line, n: last(line)["first_s"]),
    ("peak memory", "MiB", min, lambda line, n: last(line)["rss_mib"]),
]
DEEP_FIGURES = [
    ("prefill", "tokens/s", max, lambda line, n: QUESTION / last(line)["prefill_s"]),
    FIGURES[1],
    ("kept tokens there after", "s", min, lambda line, n: line["lines"][0]["restored_s"]),
]


def row(what, unit, better, values):
    """Ours by its default and by its best, beside the best that llama.cpp has for this figure."""
    shown = [f"{statistics.median(v):10.4g}" if v else f"{'-':>10}" for v in values.values()]
    best = {who: better((statistics.median(values[c[0]]) for c in group if values.get(c[0])), default=None)
            for who, group in (("ours", OURS[:1]), ("best", OURS), ("theirs", THEIRS))}
    ratios = [f"{best[who] / best['theirs']:8.2f}" if best[who] and best["theirs"] else f"{'-':>8}"
              for who in ("ours", "best")]
    print(f"{what:<36}{unit:<9}" + "".join(shown) + "  " + "".join(ratios))


def print_table(done):
    names = [contender[0] for contender in OURS + THEIRS]
    for i, name in enumerate(names):
        print(f"# {chr(ord('a') + i)}: {name}")
    others = [line["others"] for line in done.values() if line["is_timed"]]
    print(f"# timed runs were beside {statistics.median(others or [0]):.2f} cores of other work (median), "
          f"{max(others, default=0):.2f} at most")
    print(f"# medians of {ARGS.turns} turns; ratios: glm1m by default, and its better one, to llama.cpp's best")
    print(f"{'':<45}" + "".join(f"{chr(ord('a') + i):>10}" for i in range(len(names))) + "  "
          + f"{'a/best':>8}{'ab/best':>8}")
    for length in LENGTHS:
        for what, unit, better, figure in FIGURES:
            values = {n: figures(done, "whole", length, n, lambda line: figure(line, length)) for n in names}
            row(f"{length} tokens: {what}", unit, better, values)
    for what, unit, better, figure in DEEP_FIGURES:
        values = {n: figures(done, "deep", ARGS.deep, n, lambda line: figure(line, ARGS.deep)) for n in names}
        row(f"{ARGS.deep - QUESTION} kept: {what}", unit, better, values)
    memory = {n: [last(done[f"memory {ARGS.deep} {n}"])["rss_mib"]] if f"memory {ARGS.deep} {n}" in done else []
              for n in names}
    row(f"{ARGS.deep} tokens: peak memory", "MiB", min, memory)
    print_errors(done)


def relative_error(contender, reference, length):
    """The worst of a prompt's last row and its answer's."""
    with open(os.path.join(ARGS.dir, "model", "config.json")) as file:
        vocab = json.load(file)["padded_vocab_size"]
    rows, wanted = (np.fromfile(logits_file(c, length), np.float32).astype(np.float64).reshape(-1, vocab)
                    for c in (contender, reference))
    return (np.linalg.norm(rows - wanted, axis=1) / np.linalg.norm(wanted, axis=1)).max()


def print_errors(done):
    print(f"# logits: the worst relative error of {1 + LOGITS_ANSWER} rows; f: {REFERENCES[0][0]}, "
          f"g: {REFERENCES[1][0]}")
    for length in LENGTHS[:2]:
        if f"logits {length} {THEIRS[-1][0]}" not in done:
            continue
        print(f"{length} tokens: g against f {relative_error(REFERENCES[1], REFERENCES[0], length):.1e};  against g "
              + " ".join(f"{chr(ord('a') + i)} {relative_error(c, REFERENCES[1], length):.1e}"
                         for i, c in enumerate(OURS + THEIRS)))


def main():
    done = read_runs()
    for name, measure in (("whole", measure_whole), ("deep", measure_deep), ("memory", measure_memory),
                          ("logits", measure_logits)):
        if is_wanted(name):
            measure(done)
    print(f"# {time.strftime('%Y-%m-%d')}; {ARGS.about}; {ARGS.threads} threads")
    print_table(done)


main()
