#!/bin/sh
# mpirun -n N glm1m ...: the same bits as -tp N, rank 0 alone speaks, commands without an engine need
# no ranks, and a rank that is killed ends the run with a message that names it, its host and the step.
#
# Method: a random model with 8 query heads over 4 KV heads, run both ways; a prefill that is
# interrupted by SIGKILL of rank 1, found by its environment.
. tests/help_cli.sh

command -v mpirun >/dev/null || { echo 'skipped: there is no mpirun here' && exit 77; }
[ -e "$(dirname "$GLM1M")/glm1m_mpi.so" ] || { echo 'skipped: the MPI plug-in was not built' && exit 77; }
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
export OMPI_MCA_hwloc_base_binding_policy=none
# What MPI's libraries keep and how they lock is not ours.
export ASAN_OPTIONS=detect_leaks=0 TSAN_OPTIONS=detect_deadlocks=0

# ranks N ARGS...: under mpirun; leaves $rc, $work/out and $work/err
ranks() {
    n=$1
    shift
    shown="(mpirun -n $n) $*"
    mpirun -n "$n" "$GLM1M" "$@" >"$work/out" 2>"$work/err" </dev/null
    rc=$?
}

sed 's/"ffn_hidden_size": 115/"ffn_hidden_size": 128/; s/"seq_length": 4096/"seq_length": 65536/' tests/golden/native_bf16_kv4/config.json \
    >"$work/config.json"
expect 0 make-model random "$work/model" --config "$work/config.json" --seed 5
awk 'BEGIN { for (i = 0; i < 300; i++) print (i * 7919 + 13) % 256 }' >"$work/tokens"

# The same bits.
counts='2 4'
[ -z "${GLM_TEST_FAST:-}" ] || counts=2
for n in $counts; do
    expect 0 logits -m "$work/model" --tokens-file "$work/tokens" --out "$work/tp.npy" -tp "$n"
    ranks "$n" logits -m "$work/model" --tokens-file "$work/tokens" --out "$work/mpi.npy"
    [ "$rc" -eq 0 ] || fail "exit $rc under mpirun"
    cmp "$work/tp.npy" "$work/mpi.npy" || fail "$n ranks: -tp and mpirun differ"
done

# Rank 0 alone speaks, and reads.
expect 0 complete -m "$work/model" --tokens-file "$work/tokens" -n 4 -tp 2
cp "$work/out" "$work/alone"
ranks 2 complete -m "$work/model" --tokens-file "$work/tokens" -n 4
[ "$rc" -eq 0 ] || fail "exit $rc"
# The answer is control characters, and mpirun gives its processes a terminal: the bytes stay exact all the same.
cmp -s "$work/alone" "$work/out" || fail 'mpirun prints something else than -tp 2'

# What opens no engine ends all ranks: by itself, or because rank 0 says so.
ranks 2 --version
[ "$rc" -eq 0 ] && [ "$(grep -c "^glm1m " "$work/out")" -eq 1 ] || fail "--version is said by more than one"
ranks 2 needle --help
[ "$rc" -eq 0 ] || fail 'needle --help'
ranks 2 complete -m "$work/model" -tp 4 -p x
[ "$rc" -ne 0 ] || fail '-tp 4 with 2 processes'
says err '--tensor-parallel-size 4, but the launcher started 2 processes'

# A rank is killed while all prefill. mpirun ends all a second after it hears of it, and a busy rank 0 may need longer to
# say what it knows: ranks are children of what mpirun started, which stays until rank 0 has ended, and says in its
# environment which rank it is.
cat >"$work/parent" <<END
#!/bin/sh
"$GLM1M" "\$@"
rc=\$?
: >"$work/ended.\$OMPI_COMM_WORLD_RANK"
tries=0
until [ -e "$work/ended.0" ] || [ \$tries -ge 2000 ]; do
    tries=\$((tries + 1))
    sleep 0.05
done
exit \$rc
END
chmod +x "$work/parent"
rank_1() {
    for parent in $(cat "/proc/$mpirun_pid/task/"*/children 2>/dev/null); do
        ! grep -zqx 'OMPI_COMM_WORLD_RANK=1' "/proc/$parent/environ" ||
            cut -d ' ' -f 1 "/proc/$parent/task/$parent/children"
    done
}
awk 'BEGIN { for (i = 0; i < 60000; i++) print (i * 7919 + 13) % 256 }' >"$work/many"
shown='(mpirun -n 2) logits, rank 1 killed'
GLM_LOG=info mpirun -n 2 "$work/parent" logits -m "$work/model" -c 60000 --tokens-file "$work/many" \
    --out "$work/many.npy" --positions last >"$work/out" 2>"$work/err" </dev/null &
mpirun_pid=$!
until grep -q 'engine: open .*rank=1 ' "$work/err"; do
    kill -0 $mpirun_pid 2>/dev/null || fail 'it ended before rank 1 opened its engine'
    sleep 0.1
done
victim=$(rank_1)
kill -9 "$victim" || fail 'cannot kill rank 1'
begin=$(date +%s)
wait $mpirun_pid
rc=$?
[ $(($(date +%s) - begin)) -le 90 ] || fail 'the others go on'
[ "$rc" -ne 0 ] || fail 'exit 0 with a rank lost'
says err "rank 1 on $(uname -n) is gone (at step "
tries=0
while [ -e "/proc/$victim" ] && ! grep -qs '^State:.Z' "/proc/$victim/status"; do
    tries=$((tries + 1))
    [ $tries -lt 1000 ] || fail 'rank 1 is still there'
    sleep 0.1
done
[ ! -e "$work/many.npy" ] || fail 'there are logits'
exit 0
