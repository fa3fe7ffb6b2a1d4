#!/bin/sh
# Drafted tokens (--num-speculative-tokens) change no answer of complete, ask, chat or serve, greedy or drawn, whatever
# ends it; that there were some, and how many were right, is said.
#
# Method: the embedded model on texts that repeat themselves, with drafts and without; a server with one answer under
# way, and two.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/help_cli.sh
. tests/help_serve.sh
make_needle_model
m=$work/model

# same COMMAND...: stdout without drafts, and with them; both, on stderr, whether any were right
same() {
    expect 0 "$@" --num-speculative-tokens 0
    cp "$work/out" "$work/plain"
    ! grep -q drafted "$work/err" || fail "there are drafts with --num-speculative-tokens 0"
    expect 0 "$@"
    cmp "$work/plain" "$work/out" || fail "other answers"
    says err ' drafted tokens right'
}
text='One for the money, two for the show, three to get ready, and four to go. One for the money, two'
same complete -m "$m" -p "$text" -n 200
same complete -m "$m" -p "$text" -n 200 --temperature 0.7 --seed 5
same complete -m "$m" -p "$text" -n 200 --kv-cache-dtype int8
same complete -m "$m" -p "$text" --stop 'four to'
expect 0 complete -m "$m" -p "$text" -n 100 --json
grep -q '"n_drafted": [1-9][0-9]*, "n_drafted_right": [1-9]' "$work/out" || fail "--json does not count drafts"
seq 1 400 >"$work/numbers.txt"
same ask -m "$m" "$work/numbers.txt" --kv-disk-dir "$work/kv" -q '>
391
392' -n 30
printf '%s\n' "$text" "$text" >"$work/turns"
"$GLM1M" chat -m "$m" --num-speculative-tokens 0 -n 90 <"$work/turns" >"$work/plain" 2>"$work/err" || fail "chat"
"$GLM1M" chat -m "$m" -n 90 <"$work/turns" >"$work/out" 2>"$work/err" || fail "chat"
cmp "$work/plain" "$work/out" || fail "another conversation"
says err ' drafted tokens right'

expect 2 complete -m "$m" -p "$text" --num-speculative-tokens 16
says err '15'

for n in 0 15; do
    start_server -m "$m" -c 2k --num-speculative-tokens $n
    client drafts.py "$server_pid" "$n" "$text" >"$work/answers.$n"
    stop_server
done
cmp "$work/answers.0" "$work/answers.15" || fail "the server answers otherwise"
