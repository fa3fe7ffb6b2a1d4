#!/bin/sh
# -tp N on one machine: the same answers, books that move between numbers of ranks, numbers that cannot
# be are refused with the reason; a rank that is killed ends all with exit 6 and a message, Ctrl-C with
# 130, and no process stays.
#
# Method: the embedded model, 4 query heads over as many KV heads: needles are found by 1, 2 and 4 ranks;
# a book of 2 is asked by 1. Children are found by their parent's number.
. tests/help_cli.sh
make_needle_model

for n in 1 2 4; do
    shown="needle -tp $n"
    "$GLM1M" needle -m "$work/model" --lengths 1k --depths 0,100 --quiet -tp $n >"$work/out" 2>"$work/err" ||
        fail "exit $?"
    says out 'found 2 of 2'
done

shown='plan -tp 4 of 2 KV heads'
"$GLM1M" make-model random "$work/random" --quiet 2>"$work/err" || fail "exit $?"
"$GLM1M" plan -m "$work/random" -c 1k -tp 4 >"$work/out" 2>"$work/err" || fail "exit $?"
join_rows
says out '2 hold the same KV, as much as with 2 ranks'

shown='complete -tp 3'
"$GLM1M" complete -m "$work/model" -p x -n 1 -tp 3 >"$work/out" 2>"$work/err"
[ $? -eq 2 ] || fail 'three ranks were not refused'
says err '3 ranks cannot share 4 query heads'
says err 'possible here: 1, 2, 4'

yes 'The special magic number for kate is: 7654321.' | head -n 20 >"$work/text"
shown='a book of 2 ranks, asked by 1 and 4'
"$GLM1M" prefill -m "$work/model" "$work/text" --book b --kv-disk-dir "$work/kv/r%r" -tp 2 --quiet \
    2>"$work/err" || fail "exit $?"
"$GLM1M" book show b --kv-disk-dir "$work/kv/r%r" >"$work/out" 2>"$work/err" || fail "book show: exit $?"
says out 'rank=1'
for n in 1 4; do
    "$GLM1M" complete -m "$work/model" --book b --kv-disk-dir "$work/kv/r%r" -p 'x' -n 1 --json -tp $n \
        >"$work/out" 2>"$work/err" || fail "exit $?"
    says out '"reuse_reason": ""'
done

# begin: a long run of two ranks; leaves $program and $child once it works
begin() {
    shown=$1
    rm -f "$work/err"
    yes 'All work and no play makes Jack a dull boy.' | head -c 300000 >"$work/long"
    "$GLM1M" complete -m "$work/model" -f "$work/long" -n 1 -tp 2 --threads 1 >"$work/out" \
        2>"$work/err" &
    program=$!
    until grep -qs prefill "$work/err"; do
        kill -0 $program 2>/dev/null || fail 'it ended before it began'
        sleep 0.1
    done
    child=$(cat "/proc/$program/task/$program/children")
    child=${child%% *}
    [ -n "$child" ] || fail 'no second process'
}
is_gone() { ! kill -0 "$1" 2>/dev/null || grep -q '^State:.Z' "/proc/$1/status"; }

begin 'a rank is killed'
kill -9 "$child"
wait $program
[ $? -eq 6 ] || fail 'another exit code than 6'
grep -q 'rank 1 on .* is gone.*at step [0-9]*, prefill' "$work/err" || fail 'another message'

begin 'Ctrl-C'
kill -INT $program
wait $program
[ $? -eq 130 ] || fail 'another exit code than 130'
is_gone "$child" || fail 'a rank stays behind'

begin 'rank 0 is killed'
kill -9 $program
wait $program 2>/dev/null
tries=0
until is_gone "$child"; do
    tries=$((tries + 1))
    [ $tries -lt 1000 ] || fail 'a rank outlives rank 0'
    sleep 0.1
done
