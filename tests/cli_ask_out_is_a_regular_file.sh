#!/bin/sh
# ask --questions refuses an --out that cannot be a file of answers, before it computes one, and does not wait for a pipe's
# reader.
#
# Method: a pipe that nobody reads, a device and a directory; who waits is killed.
. tests/help_cli.sh
make_small_model 3
printf 'Line one.\nLine two.\n' >"$work/text"
printf '{"id": 1, "question": "Number 1?"}\n' >"$work/q.jsonl"
mkfifo "$work/pipe"
mkdir "$work/directory"
for out in "$work/pipe" /dev/null "$work/directory"; do
    shown="ask --out $out"
    timeout -s KILL 30 "$GLM1M" ask -m "$work/model" "$work/text" --questions "$work/q.jsonl" --out "$out" -n 3 --threads 1 \
        >"$work/out" 2>"$work/err"
    rc=$?
    [ "$rc" -eq 2 ] || fail "exit $rc, wanted 2"
    says err "--out: $out is not a regular file"
    says_nothing out
done
exit 0
