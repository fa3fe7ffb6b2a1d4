#!/bin/sh
# Two runs of ask --questions with one --out: the second is refused while the first one writes there, as it would take what
# the first has written of a record for half of one, and replace the file under it; when the first has ended it goes on.
#
# Method: a run that is stopped in the middle of its answers, with half a record at the end of its file; one that had a
# record with an error, for which resuming replaces the file, is stopped, too.
. tests/help_cli.sh
make_small_model 3
printf 'Line one.\nLine two.\n' >"$work/text"
n=200
[ -z "${GLM_TEST_FAST:-}" ] || n=100 # of which 32 are answered together
for i in $(seq $n); do printf '{"id": %d, "question": "Number %d?"}\n' "$i" "$i"; done >"$work/q.jsonl"
asks() {
    printf '%s\n' "ask -m $work/model $work/text --questions $work/q.jsonl --out $work/a.jsonl -n 300 --threads 1"
}

n_lines() { cat "$work/a.jsonl" 2>/dev/null | wc -l; }

# begin WHAT: a run that is stopped once its file has grown
begin() {
    before=$(n_lines)
    # shellcheck disable=SC2046 # words of a command
    "$GLM1M" $(asks) >/dev/null 2>"$work/first" &
    program=$!
    tries=0
    until [ "$(n_lines)" -gt "$before" ]; do
        tries=$((tries + 1))
        [ $tries -lt 3000 ] || fail 'no answers after a minute'
        sleep 0.02
    done
    kill -STOP $program
    [ -d /proc/$program ] || fail 'it ended too soon'
    cp "$work/a.jsonl" "$work/held"
    # shellcheck disable=SC2046
    expect 1 $(asks)
    says err "another glm1m ask is writing into $work/a.jsonl"
    cmp -s "$work/held" "$work/a.jsonl" || fail "a file that $1 was changed"
    kill -9 $program
    wait $program
}
begin 'another run writes'
printf '{"id": %d, "line": %d, "error": "there is no \\"question\\""}\n{"id": 9, "quest' $n $n >>"$work/a.jsonl"
begin 'another run has replaced'
# shellcheck disable=SC2046
expect 0 $(asks)
[ "$(grep -c '"answer"' "$work/a.jsonl")" -eq $n ] || fail "$(grep -c '"answer"' "$work/a.jsonl") answers, wanted $n"
exit 0
