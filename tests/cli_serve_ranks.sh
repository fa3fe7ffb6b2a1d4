#!/bin/sh
# serve of two ranks, by -tp, by TCP and under mpirun: the answers of one rank; and where a rank is lost,
# under load, frozen or while nothing is under way, every stream ends with an error event that names it, its
# host and the step, the exit code is 6 (not 0 under mpirun), no process stays, and what was prefilled is found
# by the next server. A rank that waits for work sleeps. Where rank 0 itself freezes the other one says so;
# what started them ends it or lets it go on, and then its streams end so, too.
#
# Method: without an argument a part of it; "full": every way, each with a rank killed and frozen, and with
# rank 0 frozen. By TCP the test stands for torchrun: it ends what froze.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/help_cli.sh
. tests/help_serve.sh
. tests/help_port.sh

make_needle_model
common="-m $work/model -c 64k --max-num-seqs 2 --threads 1"
is_full=
[ "${1:-}" = full ] && is_full=yes
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
export OMPI_MCA_hwloc_base_binding_policy=none

# start_ranks tp|tcp|mpi ARGS...: a server of two; leaves $child, the process of rank 1, and $zero, of rank 0
start_ranks() {
    way=$1
    shift
    case $way in
    tp) start_server "$@" -tp 2 ;;
    tcp)
        hold_port
        export WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT="$port"
        RANK=1 "$GLM1M" serve --port 0 "$@" 2>"$work/other.err" &
        child=$!
        RANK=0 start_server "$@"
        unset WORLD_SIZE MASTER_ADDR MASTER_PORT
        ;;
    mpi)
        printf '#!/bin/sh\nexec mpirun -n 2 "%s" "$@" </dev/null\n' "$GLM1M" >"$work/mpi"
        chmod +x "$work/mpi"
        program=$GLM1M
        GLM1M=$work/mpi
        start_server "$@"
        GLM1M=$program
        ;;
    esac
    zero=$server_pid
    [ $way != mpi ] || zero=$(mpi_rank 0)
    [ $way != mpi ] || child=$(mpi_rank 1)
    [ $way != tp ] || child=$(cut -d ' ' -f 1 "/proc/$server_pid/task/$server_pid/children")
    [ -n "$child" ] && [ -n "$zero" ] || fail 'there is no second process'
}

mpi_rank() {
    for process in $(cat "/proc/$server_pid/task/"*/children); do
        grep -zqx "OMPI_COMM_WORLD_RANK=$1" "/proc/$process/environ" && printf '%s' "$process"
    done
}

# CPU time of rank 1 so far, in ticks of 10 ms
ticks() {
    cut -d ' ' -f 14,15 "/proc/$child/stat" | tr ' ' '+' | xargs -I{} sh -c 'echo $(({}))'
}

now_ms() { echo $(($(date +%s%N) / 1000000)); }

is_gone() { ! kill -0 "$1" 2>/dev/null || grep -qs '^State:.Z' "/proc/$1/status"; }

# await_end PID WHAT
await_end() {
    tries=0
    until is_gone "$1"; do
        tries=$((tries + 1))
        [ $tries -lt 1000 ] || { cat "$work/server.err" && fail "$2"; }
        sleep 0.1
    done
}

# await_loss WHAT: the server ends by itself, and all of it
await_loss() {
    await_end "$server_pid" "the server goes on, $1"
    wait "$server_pid"
    rc=$?
    server_pid=
    shown="serve, by $way, $1"
    if [ $way = mpi ]; then
        [ "$rc" -ne 0 ] || { cat "$work/server.err" && fail 'exit 0'; }
    else
        [ "$rc" -eq 6 ] || { cat "$work/server.err" && fail "exit $rc, not 6"; }
    fi
    grep -q " glm1m: .*rank 1 on $(uname -n) is .*step [0-9]" "$work/server.err" ||
        { cat "$work/server.err" && fail 'another message'; }
    [ $way != tcp ] || kill -9 "$child" 2>/dev/null
    await_end "$child" 'a rank stays'
    await_end "$zero" 'rank 0 stays'
}

# shellcheck disable=SC2086 # words of options
start_server $common
client ranks.py "$server_pid" answers "$work/alone"
stop_server

# shellcheck disable=SC2086
start_ranks tp $common --kv-disk-dir "$work/kv/%r"
client ranks.py "$server_pid" answers "$work/together"
cmp "$work/alone" "$work/together" || fail 'two ranks answer something else'
client ranks.py "$server_pid" loses "$child"
await_loss 'a rank is killed under load'

# shellcheck disable=SC2086
start_ranks tp $common --kv-disk-dir "$work/kv/%r"
client ranks.py "$server_pid" reuses 4096
before=$(ticks)
begin_ms=$(now_ms)
sleep 1
n_ticks=$(($(ticks) - before))
n_passed=$((($(now_ms) - begin_ms) / 10))
[ $((n_ticks * 10)) -lt $((n_passed * 3)) ] ||
    fail "a rank that waits for work computes for $n_ticks of $n_passed ticks"
kill -9 "$child"
await_loss 'a rank is killed while nothing is under way'

[ -z "${GLM_TEST_FAST:-}" ] || exit 0

# loses WAY DEED: killed under load, or frozen
loses() {
    # shellcheck disable=SC2086
    start_ranks "$1" $common
    client ranks.py "$server_pid" "$2" "$child"
    await_loss "a rank is lost: $2"
}

# freezes_0 WAY: rank 1 says so, and by TCP, where nobody ends rank 0, it is let go on
freezes_0() {
    # shellcheck disable=SC2086
    start_ranks "$1" $common
    said=$work/server.err
    ended=ended
    [ "$1" = mpi ] || { said=$work/other.err && ended=; }
    client ranks.py "$server_pid" freezes_0 "$zero" "$child" $ended
    grep -q "^glm1m: .*rank 0 on $(uname -n) is frozen.*step [0-9]" "$said" ||
        { cat "$said" && fail "by $1: rank 1 does not say that rank 0 froze"; }
    await_end "$server_pid" "by $1: rank 0 goes on"
    wait "$server_pid"
    rc=$?
    server_pid=
    [ "$rc" -ne 0 ] || fail "by $1: exit 0 though rank 0 froze"
    [ "$1" = mpi ] || [ "$rc" -eq 6 ] || fail "by $1: exit $rc, not 6"
    await_end "$child" 'rank 1 stays'
    await_end "$zero" 'rank 0 stays'
}

loses tcp freezes
[ -n "$is_full" ] || exit 0
loses tcp loses
freezes_0 tcp
loses tp freezes
command -v mpirun >/dev/null && [ -e "$(dirname "$GLM1M")/glm1m_mpi.so" ] ||
    { echo 'skipped: mpirun, or the plug-in for it, is not there' && exit 0; }
loses mpi loses
loses mpi freezes
freezes_0 mpi
