#!/bin/sh
# Every command that computes does so with the ranks that a launcher started, and both end with 0; who waits for a rank
# that never comes stops when he is asked to.
#
# Method: the commands are those whose --help has --tensor-parallel-size, so that none is forgotten; two processes with
# RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT, as torchrun sets them.
. tests/help_cli.sh
. tests/help_port.sh

make_needle_model
printf 'a text of some words\n' >"$work/text"
printf '97 32 116' >"$work/ids"
hold_port
export WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT="$port" GLM_KV_DISK_DIR="$work/kv" GLM_THREADS=1

# launched RC ARGS...: two ranks with one command line; rank 0 must exit so, and the other one with 0
launched() {
    wanted=$1
    shift
    RANK=1 "$GLM1M" "$@" >"$work/other" 2>&1 </dev/null &
    other=$!
    shown=$*
    RANK=0 "$GLM1M" "$@" >"$work/out" 2>"$work/err" <"$work/text"
    rc=$?
    [ "$rc" -eq "$wanted" ] || fail "exit $rc, wanted $wanted"
    wait $other || fail "rank 1 exits $?: $(cat "$work/other")"
}

commands=$("$GLM1M" --help | sed -n 's/^  \([a-z-]*\)  .*/\1/p')
n=0
for command in $commands; do
    "$GLM1M" "$command" --help | grep -q -- '--tensor-parallel-size' || continue
    n=$((n + 1))
    case $command in
    needle) launched 0 needle -m "$work/model" --lengths 1k --depths 50 ;;
    ask) launched 0 ask -m "$work/model" "$work/text" -q 'a text' -n 1 ;;
    chat) launched 0 chat -m "$work/model" -n 1 ;;
    complete) launched 0 complete -m "$work/model" -p x -n 1 ;;
    prefill) launched 0 prefill -m "$work/model" "$work/text" --book b ;;
    perplexity) launched 0 perplexity -m "$work/model" "$work/text" ;;
    logits) launched 0 logits -m "$work/model" --tokens-file "$work/ids" --out "$work/l.npy" ;;
    plan) launched 0 plan -m "$work/model" ;;
    doctor)
        launched 0 doctor -m "$work/model"
        launched 2 doctor -m "$work/model" --self-test
        ;;
    serve) launched 2 serve -m "$work/model" --host 0.0.0.0 ;;
    *) fail "there is no case for $command" ;;
    esac
done
[ $n -ge 10 ] || fail "only $n commands were found: $commands"

# Alone: rank 0 takes a moment for those that do come; the other one ends as any program does.
for rank in 0 1; do
    shown="complete, rank $rank alone"
    began=$(date +%s)
    RANK=$rank timeout --preserve-status 0.3 "$GLM1M" complete -m "$work/model" -p x >"$work/out" 2>"$work/err"
    rc=$?
    [ "$rc" -eq 143 ] || fail "exit $rc"
    [ $(($(date +%s) - began)) -lt 60 ] || fail 'it went on waiting'
    [ $rank -eq 1 ] || says err 'stopped while rank 1 was waited for, on port'
done
