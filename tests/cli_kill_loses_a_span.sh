#!/bin/sh
# kill -9 at any moment of a prefill costs no more than a span, and nothing but time, which the next start says.
#
# Method: start `prefill --book`, kill it after a random while, start it again: 8 kills, the delays
# spread over the time that a whole prefill takes here. Tokens found at each start never become fewer;
# in the end the book is whole, verifies, and its logits are those of a run that was never stopped.
# `sh tests/cli_kill_loses_a_span.sh KILLS SEED` for more.
. tests/help_cli.sh
kills=${1:-8}
seed=${2:-1}
n_tokens=8302
[ -z "${GLM_TEST_FAST:-}" ] || { kills=1 && n_tokens=4302; }
n_segments=$((n_tokens / 4096 + 1))
make_needle_model
yes 'All work and no play makes Jack a dull boy.' | head -c $((n_tokens - 2)) >"$work/text"

# prefill DISK: in the background
prefill() {
    shown="prefill, to be killed: seed $seed, kill $n_kills"
    : >"$work/err" # of a run that is killed before it has one of its own
    "$GLM1M" prefill -m "$work/model" "$work/text" --book jack --span 4096 --threads 1 \
        --kv-disk-dir "$1" >"$work/out" 2>"$work/err" &
    program=$!
}
segments() { find "$1" -name '*.kvs' | sort; }

# The book is whole, and the same in every byte that was computed.
check_book() {
    expect 0 book verify jack --kv-disk-dir "$1"
    expect 0 book show jack --kv-disk-dir "$1"
    says out "$n_tokens"
    [ "$(segments "$1" | wc -l)" -eq $n_segments ] ||
        fail "$(segments "$1" | wc -l) segments, wanted $n_segments"
    expect 0 complete -m "$work/model" --book jack -p ' And so' -n 12 --json --kv-disk-dir "$1"
    says out "\"reused_tokens\": $n_tokens,"
    grep -o '"ids": [^]]*' "$work/out" >"$work/answer"
}

n_kills=0
started=$(date +%s%N)
prefill "$work/whole"
wait $program
rc=$?
[ $rc -eq 0 ] || fail "exit $rc, wanted 0"
whole_ms=$((($(date +%s%N) - started) / 1000000))
check_book "$work/whole"
mv "$work/answer" "$work/expected"

# Parts in a thousand of the time of a whole prefill; the generator is ours to be the same everywhere.
random=$seed
draw() { # below $1, to $drawn
    random=$(((random * 1103515245 + 12345) % 2147483648))
    drawn=$((random / 65536 % $1))
}
found=0
n_finished=0
n_resumed=0
while [ "$n_kills" -lt "$kills" ]; do
    prefill "$work/disk"
    draw 700
    sleep "$(awk "BEGIN { print $whole_ms * $drawn / 1e6 }")"
    kill -KILL $program 2>/dev/null
    wait $program 2>/dev/null
    rc=$?
    now=$(sed -n 's/^on disk already: \([0-9]*\) of .*/\1/p' "$work/err")
    [ -z "$now" ] || [ "$now" -ge "$found" ] || fail "$now tokens found, $found were there before"
    [ "${now:-0}" -ne 4096 ] || [ $n_tokens -lt 8192 ] || says err ' for the others'
    [ "${now:-0}" -eq 0 ] || n_resumed=$((n_resumed + 1))
    if [ $rc -eq 0 ]; then
        check_book "$work/disk"
        cmp -s "$work/expected" "$work/answer" || fail 'another answer'
        rm -r "$work/disk"
        found=0
        n_finished=$((n_finished + 1))
        continue
    fi
    [ $rc -eq 137 ] || fail "exit $rc, wanted 137"
    n_kills=$((n_kills + 1))
    # What was finished when it was killed is there at the next start: whole spans, and the rest.
    found=$(($(segments "$work/disk" 2>/dev/null | wc -l) * 4096))
    [ "$found" -lt "$n_tokens" ] || found=$((found - 4096))
done

prefill "$work/disk"
wait $program
rc=$?
[ $rc -eq 0 ] || fail "exit $rc, wanted 0"
check_book "$work/disk"
cmp -s "$work/expected" "$work/answer" || fail 'another answer'
printf 'seed %s: %s kills; %s starts went on, %s books were finished between them\n' \
    "$seed" "$n_kills" "$n_resumed" "$n_finished"
