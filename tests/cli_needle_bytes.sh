#!/bin/sh
# Bytes that are no text: a haystack of them is refused, with the file and the byte; names of files and
# directories may be any, and the results are JSON all the same; needles must be UTF-8, and so must the beginning of an
# answer, of which nothing is cut off.
. tests/help_cli.sh

grid='needle --lengths 500 --depths 50 --no-progress'
printf 'Caf\351. ' >"$work/latin.txt"
printf 'A\0B. ' >"$work/zero.txt"
# shellcheck disable=SC2086 # words of a command
expect 2 $grid --haystack "$work/latin.txt"
says err 'latin.txt is no text: not UTF-8 from byte 3 on'
# shellcheck disable=SC2086
expect 2 $grid --haystack "$work/zero.txt"
says err 'zero.txt is no text: binary from byte 1 on'

odd="$work/$(printf 'h\351')"
mkdir "$odd"
yes 'All work and no play makes Jack a dull boy.' | head -c 5000 >"$odd/a.txt"
# shellcheck disable=SC2086
expect 0 $grid --haystack "$odd" --out "$work/run"
grep -q '"haystack_source": ".*/h?"' "$work/run/results.json" || fail 'no name in the results'
# shellcheck disable=SC2086
expect 0 $grid --haystack "$odd" --out "$work/run"
says err 'continuing: 1 cells'

# shellcheck disable=SC2086
expect 2 $grid --needle "$(printf 'caf\351')" --question q --answer a
says err '--needle: not UTF-8 from byte 3 on'
# shellcheck disable=SC2086
expect 2 $grid --answer-prefix "$(printf '\351')"
says err '--answer-prefix: not UTF-8 from byte 0 on'
# shellcheck disable=SC2086
expect 2 $grid --answer-prefix "$(printf '%512s' x)"
says err '--answer-prefix: 512 bytes; at most 511 are taken'
