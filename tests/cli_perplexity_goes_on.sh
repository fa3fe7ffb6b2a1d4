#!/bin/sh
# perplexity goes on where it was stopped: after Ctrl-C in the middle of a span, and after kill -9 from the last span that
# was finished, the same command ends with the same scores, bit for bit; also where the scores were lost on the way.
#
# Method: a random model of bytes; --out of a run that nobody stopped beside that of one that was. The plan's time
# is that of all of it: what is left of it is said beside what was found.
. tests/help_cli.sh
make_byte_model
seq 1 3000 | head -c 9000 >"$work/text"
expect 0 perplexity -m "$work/random" "$work/text" --out "$work/whole.npy" --quiet

# begin TEXT: in the background, with what is kept
begin() {
    shown="perplexity of $1"
    GLM_LOG=info "$GLM1M" perplexity -m "$work/random" "$work/$1" --span 4096 --threads 1 --kv-disk-dir "$work/kv" \
        --out "$work/scores.npy" >"$work/out" 2>"$work/err" &
    pid=$!
}

# stopped SIGNAL COMMAND: a run in the middle, once COMMAND succeeds; where this shell was too late for that it runs
# again, from what was kept before it. Leaves $rc.
stopped() {
    mkdir -p "$work/kv"
    cp -r "$work/kv" "$work/before"
    for _ in $(seq 20); do
        begin text
        until eval "$2" || ! kill -0 $pid 2>/dev/null; do sleep 0.02; done
        kill "-$1" $pid 2>/dev/null
        wait $pid 2>/dev/null
        rc=$?
        [ $rc -eq 0 ] || break
        rm -r "$work/kv" "$work/scores.npy"
        cp -r "$work/before" "$work/kv"
    done
    rm -r "$work/before"
}

# Killed when the first span is on disk.
stopped KILL '[ -n "$(find "$work/kv" -name "*.kvs")" ]'
[ $rc -eq 137 ] || fail "exit $rc, wanted 137"
[ -n "$(find "$work/kv" -name '*.state')" ] || fail 'no scores are kept'
[ -z "$(find "$work" -name 'scores.npy*')" ] || fail 'a file was left behind'

# Stopped once it has begun again.
stopped INT 'grep -q "^on disk already" "$work/err"'
[ $rc -eq 130 ] || fail "exit $rc, wanted 130"
says err 'on disk already: '
grep -q '^on disk already: \(4096\|8192\) of 9002 tokens, about .* for the others; no segment after' "$work/err" ||
    fail 'no time is said for the others'
says err '; the same command goes on from there'
says out 'all until then'
cp -r "$work/kv" "$work/stopped"
found=$(sed -n 's/^on disk already: \([0-9]*\) .*/\1/p' "$work/err")
at=$(sed -n 's/.* at token \([0-9]*\) of .*/\1/p' "$work/err")

begin text
wait $pid
rc=$?
[ $rc -eq 0 ] || fail "exit $rc, wanted 0"
# A stop may come before the first step.
[ "$at" -eq "$found" ] || says err "goes on at token $at of 9002, where it was stopped"
cmp -s "$work/whole.npy" "$work/scores.npy" || fail 'other scores'

# The scores were lost, what a stopped span has left is there: all of it again.
rm -r "$work/kv"
mv "$work/stopped" "$work/kv"
# shellcheck disable=SC2044 # names without spaces
for state in $(find "$work/kv" -name '*.state'); do
    printf x | dd of="$state" bs=1 seek=4180 conv=notrunc 2>/dev/null
done
begin text
wait $pid
rc=$?
[ $rc -eq 0 ] || fail "exit $rc, wanted 0"
cmp -s "$work/whole.npy" "$work/scores.npy" || fail 'other scores after the first were damaged'

# Another text is another text.
seq 2 3000 | head -c 9000 >"$work/other"
begin other
wait $pid
expect 0 perplexity -m "$work/random" "$work/other" --out "$work/whole.npy" --quiet
cmp -s "$work/whole.npy" "$work/scores.npy" || fail 'scores of another text'
