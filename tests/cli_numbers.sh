#!/bin/sh
# Numbers: k is 1000 and K is 1024 for tokens, m a million and M 2^20, sizes are powers of 1024, limits are checked.
#
# Method: ask plan for contexts and read back what it understood; then nonsense.
. tests/help_cli.sh
make_needle_model

planned() {
    expect 0 plan -m "$work/model" --json -c "$1"
    says out "\"max_len\": $2,"
}
planned 1k 1000
planned 1K 1024
planned 1.5K 1536
planned 1m 1000000
planned 1M 1048576
planned 4096 4096
# Whole numbers, though binary fractions of them are not.
planned 8.1k 8100
planned 64.3k 64300

for nonsense in x 1x -5 1.5 1e99 ''; do
    expect 2 plan -m "$work/model" "--max-model-len=$nonsense"
    says err '--max-model-len'
done
expect 2 plan -m "$work/model" --host-kv-space 12Q
says err 'a size such as 512M or 12G'
expect 2 complete -m "$work/model" -p x --top-p 1.5
says err 'must be between 0 and 1'
expect 2 complete -m "$work/model" -p x --temperature warm
says err 'is not a number'
expect 2 complete -m "$work/model" -p x --seed 1.5
says err '--seed: "1.5" is not a whole number'
grep -q tokens "$work/err" && fail 'a seed is counted in tokens'
expect 2 plan -m "$work/model" -c 0
says err '-c 0: must be at least 1'
expect 2 complete -m "$work/model" -p x -n -5
says err '-n -5: must be at least 0'
# As it was typed.
expect 2 plan -m "$work/model" -c -1m
says err '-c -1m: must be at least 1'
expect 2 plan -m "$work/model" --host-kv-space=-2G
says err '--host-kv-space -2G: must be at least'
expect 2 complete -m "$work/model" -p x --top-k 4G
says err '--top-k 4G: must be between'
expect 2 complete -m "$work/model" -p x --temperature -1e9
says err '--temperature -1e9: must be between 0 and 100'
expect 2 plan -m "$work/model" -tp 65
says err '-tp 65: must be between 1 and 64'

expect 2 plan -m "$work/model" -c 8.0001k
says err '"8.0001k" is not a whole number'

# A chunk has room for no more than comes in one.
expect 0 plan -m "$work/model" -c 100k --span 8K -b 1G
says out '8192  tokens, of 1073741824 asked for'
expect 0 plan -m "$work/model" -c 1000 -b 1G --json
says out '"chunk": 1024,'

# For people: no exponents, no spaces at the end of a line.
expect 0 plan -m "$work/model" -c 4k
grep -Eq 'e[+][0-9]| $' "$work/out" && fail 'a number with an exponent, or a line with a space at its end'
says out 'FLOP/s'
# What is the most depends on where it may go.
expect 0 plan -m "$work/model" --host-kv-space 1M
says out 'the most that memory holds'
says out 'would in memory; with -c or --kv-disk-dir'
# A reason that is too long for a line goes on below itself.
fits_in_lines() {
    awk 'length($0) > 100 { exit 1 }' "$work/out" || fail 'a line has more than 100 columns'
}
fits_in_lines
grep -Eq '^ {31}[a-z]' "$work/out" || fail 'no reason goes on in a line of its own'
expect 0 plan -m "$work/model" -c 1M --host-kv-space 64M --kv-disk-dir "$work/kv"
fits_in_lines
says out 'KV, disk'
cd "$work" || exit 1
expect 2 plan -m needle
says err 'glm1m make-model needle needle'
expect 2 plan -m "$work/model/config.json"
says err 'a checkpoint is a directory'
