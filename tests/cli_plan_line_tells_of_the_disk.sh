#!/bin/sh
# How much of a disk a command may take, in its line "plan:": what it keeps; of what it does not keep that which memory does not
# hold; and nothing where the directory is none.
#
# Method: perplexity keeps nothing unless a directory is given; one below a file is none.
. tests/help_cli.sh
make_needle_model
awk 'BEGIN { for (i = 0; i < 400; i++) printf "Line %d has nothing to say.\n", i }' >"$work/text"

expect 0 perplexity -m "$work/model" "$work/text"
says err '; at most 0 B on disk; '
expect 0 perplexity -m "$work/model" "$work/text" --host-kv-space 15M --span 4096
says err 'of memory: all but the first '
grep -Eq '; at most [1-9][0-9.]* MiB on disk; ' "$work/err" || fail 'nothing is said of the disk that it streams from'
expect 0 ask -m "$work/model" "$work/text" -q x -n 1 --kv-disk-dir "$work/kv"
grep -Eq '; at most [1-9][0-9.]* MiB on disk; ' "$work/err" || fail 'nothing is said of the disk that it keeps the text on'
: >"$work/file"
expect 0 ask -m "$work/model" "$work/text" -q x -n 1 --kv-disk-dir "$work/file/kv"
says err 'nothing is kept on disk: '
says err '; at most 0 B on disk; '
