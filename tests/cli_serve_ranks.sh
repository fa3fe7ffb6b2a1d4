#!/bin/sh
# serve -tp 2: the answers of one rank; and where a rank is lost, under load, frozen or while nothing is
# under way, every stream ends with an error event that names it, its host and the step, the exit code is
# 6, no process stays, and what was prefilled is found by the next server. A rank that waits for work sleeps.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/help_cli.sh
. tests/help_serve.sh

make_needle_model
common="-m $work/model -c 64k --max-num-seqs 2 --threads 1"

# the process of rank 1
other_rank() {
    child=$(cat "/proc/$server_pid/task/$server_pid/children")
    child=${child%% *}
    [ -n "$child" ] || fail 'there is no second process'
}

# CPU time of rank 1 so far, in ticks of 10 ms
ticks() {
    cut -d ' ' -f 14,15 "/proc/$child/stat" | tr ' ' '+' | xargs -I{} sh -c 'echo $(({}))'
}

# await_loss WHAT: the server ends by itself
await_loss() {
    tries=0
    while kill -0 "$server_pid" 2>/dev/null && ! grep -qs '^State:.Z' "/proc/$server_pid/status"; do
        tries=$((tries + 1))
        [ $tries -lt 300 ] || { cat "$work/server.err" && fail "the server goes on, $1"; }
        sleep 0.1
    done
    wait "$server_pid"
    rc=$?
    server_pid=
    shown="serve -tp 2, $1"
    [ "$rc" -eq 6 ] || { cat "$work/server.err" && fail "exit $rc, not 6"; }
    grep -q "^glm1m: .*rank 1 on $(uname -n) is .*step [0-9]" "$work/server.err" ||
        { cat "$work/server.err" && fail 'another message'; }
    tries=0
    while [ -e "/proc/$child" ]; do
        tries=$((tries + 1))
        [ $tries -lt 50 ] || fail 'a rank stays'
        sleep 0.1
    done
}

# shellcheck disable=SC2086 # words of options
start_server $common
client ranks.py "$server_pid" answers "$work/alone"
stop_server

# shellcheck disable=SC2086
start_server $common -tp 2 --kv-disk-dir "$work/kv/%r"
client ranks.py "$server_pid" answers "$work/together"
cmp "$work/alone" "$work/together" || fail 'two ranks answer something else'
other_rank
client ranks.py "$server_pid" loses "$child"
await_loss 'a rank is killed under load'

# shellcheck disable=SC2086
start_server $common -tp 2 --kv-disk-dir "$work/kv/%r"
client ranks.py "$server_pid" reuses 4096
other_rank
before=$(ticks)
sleep 1
n_ticks=$(($(ticks) - before))
[ $n_ticks -lt 30 ] || fail "a rank that waits for work computes for $n_ticks of 100 ticks"
kill -9 "$child"
await_loss 'a rank is killed while nothing is under way'

[ -z "${GLM_TEST_FAST:-}" ] || exit 0
# shellcheck disable=SC2086
start_server $common -tp 2
other_rank
client ranks.py "$server_pid" freezes "$child"
await_loss 'a rank is frozen'
