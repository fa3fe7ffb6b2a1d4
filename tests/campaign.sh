#!/bin/sh
# What is too long for the suite: more seeds, more kills, every event instead of some.
#
#   sh tests/campaign.sh [--seed S] [--seconds N] [--bugs A,B] [--machine "in words"] [PART...]
#
#   PART       kills commands models histories crashes faults fuzz bodies ranks wired unlike mutants
#              mutants_cuda; all of them where none is named
#   --seed     the first one (default: the time); every seed is printed and written down
#   --seconds  how long each part goes on with further seeds (default 120)
#   --bugs     of mutants_cuda only the A-th to the B-th
#
# Needs build/ (Release). Appends a line for each part to tests/campaign_ledger.tsv: when, commit of build/, machine,
# part, first seed, seeds, what was done in all, outcome. The first failure of a part ends it and is
# written down with the command that repeats it. GLM_TEST_FAST must not be set.
set -u
cd "$(dirname "$0")/.." || exit 1
ledger=tests/campaign_ledger.tsv
seed=$(date +%s)
seconds=120
bugs='1,$'
machine=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)
machine="$machine, $(nproc) CPUs, $(uname -s) $(uname -r | cut -d. -f1-2)"
parts=
while [ $# -gt 0 ]; do
    case $1 in
    --seed) seed=$2 && shift ;;
    --seconds) seconds=$2 && shift ;;
    --bugs) bugs=$2 && shift ;;
    --machine) machine=$2 && shift ;;
    kills | commands | models | histories | crashes | faults | fuzz | bodies | ranks | wired | unlike | mutants | mutants_cuda) parts="$parts $1" ;;
    *) sed -n '2,15s/^# \{0,1\}//p' "$0" && exit 2 ;;
    esac
    shift
done
unset GLM_TEST_FAST
log=$(mktemp)
runs=$(mktemp)
trap 'rm -f "$log" "$runs"' EXIT
export GLM1M="$PWD/build/glm1m"
commit=$("$GLM1M" version | sed -n 's/^commit *//p') # what runs, whatever is committed meanwhile
[ -n "$commit" ] || { echo "$0: build/ is of no commit" >&2 && exit 2; }

# try COMMAND...: leaves $outcome other than ok when it fails
try() {
    "$@" >"$log" 2>&1 && return
    outcome="FAILED ($?): $*"
    grep -A 1 '^FAIL' "$log"
    tail -n 5 "$log"
}

add() { n=$((n + ${1:-0})); } # a test that failed says no number

# One seed's worth of a part; adds to $n what $unit says.
kills() {
    unit='kill -9 of a prefill or of a process that shares a vault'
    try sh tests/cli_kill_loses_a_span.sh 20 "$1"
    try build/tests/test_kvstore_vault_two_processes 30
    n=$((n + 50))
}
commands() {
    unit='kill -9 of ask, chat (with a book, without), needle, perplexity and serve, a sixth of it each'
    try python3 tests/campaign_kills.py "$GLM1M" 20 "$1"
    n=$((n + 120))
}
models() {
    unit='runs of a model test'
    try build/tests/test_kvstore_model "$1"
    try build/tests/test_kvstore_overflow_model "$1"
    n=$((n + 2))
}
# Walks over the engine's calls: eight on the CPU, one on what plays a GPU.
histories() {
    unit="steps of walks over the engine's calls, every logit as in a plain run"
    try build/tests/test_runtime_any_history_gives_the_same_logits $((8 * $1)) 150 8
    add "$(sed -n 's/^seeds .*: \([0-9]*\) steps.*/\1/p' "$log")"
    [ "$outcome" = ok ] || return
    try build/tests/test_engine_cuda_histories "$1" 60
    add "$(sed -n 's/^seeds .*: \([0-9]*\) steps.*/\1/p' "$log")"
}
crashes() {
    unit='disks after a crash'
    try build/tests/test_kvstore_known_crash "$1" 40
    try build/tests/test_kvstore_vault_crash "$1" 75
    add "$(sed -n 's/^seed .*: \([0-9]*\) disks$/\1/p' "$log")"
}
faults() { # nothing in them is random: once is all
    unit='runs with a fault'
    for test in test_kvstore_overflow_faults 'test_kvstore_kept_faults 1' test_kvstore_io_faults; do
        # shellcheck disable=SC2086 # a word and its argument
        try build/tests/$test
        add "$(sed -n 's/^\([0-9]*\) runs.*/\1/p' "$log")"
    done
    ends_at=0
}
fuzz() {
    unit='mutated inputs'
    for target in book codec segment; do
        try "build/tests/test_kvstore_${target}_fuzz" "$1" 200000
        n=$((n + 200000))
    done
}
bodies() {
    unit='bodies of requests, under ASan and UBSan'
    [ "$n" -gt 0 ] || try cmake -B build-asan -DGLM_CUDA=OFF -DGLM_WERROR=OFF '-DGLM_SANITIZE=address;undefined'
    [ "$n" -gt 0 ] || try cmake --build build-asan -j "$(nproc)" --target test_runtime_fuzz_server_body
    try build-asan/tests/test_runtime_fuzz_server_body "$1" 1000000
    n=$((n + 1000000))
}
# faults_of_ranks N SEED [tcp|mpi]: $points and $steps of all runs so far; longest times until all other ranks
# knew, $dead of ranks that died and $frozen of ranks that froze.
faults_of_ranks() {
    # shellcheck disable=SC2086 # a word or none
    try build/tests/test_runtime_faults_of_ranks ${3:-} campaign "$1" "$2"
    add "$(sed -n 's/^\([0-9]*\) runs, .* bad$/\1/p' "$log")"
    cat "$log" >>"$runs"
    dead=$(awk '$1 ~ /^(kill|exit0|exit1)$/ && $2 == "runs" && $9 > m { m = $9 } END { print m }' "$runs")
    frozen=$(awk '$1 == "stop" && $2 == "runs" && $9 > m { m = $9 } END { print m }' "$runs")
    points=$(sed -n 's/^ok   \([a-z]*, \)*[a-z0-9]* *rank [0-9] of \([24]\) at *\([0-9]*\) (.*/\1\2 \3/p' "$runs" |
        sort -u | wc -l)
    steps=$(sed -n 's/.* at *[0-9]* (\(.*\)): exit.*/\1/p' "$runs" | grep -v '^-$' | sort -u | wc -l)
    unit="runs with a fault of a rank at $points points of $steps steps (dead ones noticed in $dead s, frozen ones in $frozen s)"
}
ranks() {
    : >"$runs"
    faults_of_ranks 520 "$1"
}
# Rank 0 frozen, too, and nobody's child; and serve, which has clients then.
wired() {
    : >"$runs"
    for transport in tcp mpi; do
        [ "$outcome" != ok ] || faults_of_ranks 60 "$1" $transport
    done
    [ "$outcome" != ok ] || try sh tests/cli_serve_ranks.sh full
    [ "$outcome" != ok ] || add 9
    unit="by TCP and mpirun, and of serve: $unit"
    ends_at=0
}
unlike() { # once is all, too
    unit='groups with a rank of another build, config, weights, options or size'
    try sh tests/cli_ranks_that_differ.sh full
    add "$(sed -n 's/^\([0-9]*\) groups$/\1/p' "$log")"
    ends_at=0
}
# Each kind of test fails when the checksum of stored runs is not looked at, or it could not fail at all: faults of a
# drive, crashes, flipped bits, damaged files, kill -9, limits of a machine, a book on the command line. Each passes
# when it is.
mutants() {
    unit='tests, of every kind, that pass, and fail when checksums of runs are not read'
    set -- test_kvstore_overflow_faults test_kvstore_vault_crash test_kvstore_codec_damage test_kvstore_vault_bad_files \
        test_runtime_overflow_survives_damage test_runtime_kill_on_a_lying_drive test_kvstore_vault_full_disk
    try cmake -B build-mutant -DCMAKE_BUILD_TYPE=Release -DGLM_CUDA=OFF -DGLM_MUTANT=ON
    try cmake --build build-mutant -j "$(nproc)" --target glm1m "$@"
    for test in "$@" cli_book_mends; do
        [ "$outcome" = ok ] || break
        for build in build build-mutant; do
            case $test in
            cli_*) GLM1M="$PWD/$build/glm1m" sh "tests/$test.sh" >"$log" 2>&1 ;;
            *) "$build/tests/$test" >"$log" 2>&1 ;;
            esac
            rc=$?
            [ $build != build ] || [ $rc -eq 0 ] || outcome="FAILED ($rc): $test"
            [ $build = build ] || [ $rc -ne 0 ] || outcome="FAILED: $test passes though checksums are not read"
            [ $build = build ] || printf '    %s: %s\n' "$test" "$(grep -a -m 1 -E 'not so|FAIL' "$log")"
        done
        n=$((n + 1))
    done
    ends_at=0
}

# Each line of tests/campaign_mutants.txt breaks a file of the CUDA engine, and its test, which passes when nothing is
# broken, fails then. Its kernels are emulated: what nvcc makes of them is in none of these tests. Flags and places are as in
# build/, so that a compiler's cache has all but the broken file; what nothing needs there any more is no error.
builds() { try cmake --build $copy/build -j "$(nproc)" --target "test_engine_cuda_$test"; }
passes() { STANDIN_CUDA_PLAIN=1 "$copy/build/tests/test_engine_cuda_$test" </dev/null; }
is_whole() {
    case "$whole " in *" $test "*) return ;; esac
    builds
    [ "$outcome" != ok ] || try passes
    whole="$whole $test"
}
mutants_cuda() {
    unit="bugs planted in the CUDA engine's host code, each noticed by its test"
    copy=build-mutant-cuda
    grep -v '^#' tests/campaign_mutants.txt | sed -n "${bugs}p" >"$runs"
    [ "$bugs" = '1,$' ] || unit="$unit: the $bugs of $(grep -vc '^#' tests/campaign_mutants.txt)"
    rm -rf $copy && mkdir $copy
    git ls-files -z | tar --null -T - -cf - | tar -xf - -C $copy
    try cmake -S $copy -B $copy/build -DCMAKE_BUILD_TYPE=Release -DGLM_CUDA=OFF
    whole=
    while [ "$outcome" = ok ] && read -r file test change; do
        is_whole
        [ "$outcome" = ok ] || break
        sed "$change" "runtime/$file.c" >$copy/runtime/$file.c
        ! cmp -s runtime/$file.c $copy/runtime/$file.c || outcome="FAILED: $file: no change: $change"
        for left in unused unused-parameter empty-body; do
            sed -i "1i #pragma GCC diagnostic ignored \"-W$left\"" $copy/runtime/$file.c
        done
        builds
        [ "$outcome" = ok ] || break
        ! passes >"$log" 2>&1 || outcome="FAILED: test_engine_cuda_$test passes with $file: $change"
        printf '    %s: %s: %s\n' "$file" "$test" "$(grep -a -m 1 -E 'not so|FAIL|bug|standin' "$log")"
        cp runtime/$file.c $copy/runtime/$file.c
        add 1
    done <"$runs"
    ends_at=0
}

[ -s "$ledger" ] || printf 'date\tcommit\tmachine\tpart\tfirst_seed\tseeds\tdone\toutcome\n' >"$ledger"
failed=0
for part in ${parts:-kills commands models histories crashes faults fuzz bodies ranks wired unlike mutants mutants_cuda}; do
    n=0
    n_seeds=0
    outcome=ok
    ends_at=$(($(date +%s) + seconds))
    while [ "$outcome" = ok ]; do
        printf '%s: seed %s\n' "$part" $((seed + n_seeds))
        $part $((seed + n_seeds))
        n_seeds=$((n_seeds + 1))
        [ "$(date +%s)" -lt "$ends_at" ] || break
    done
    [ "$outcome" = ok ] || failed=1
    printf '%s\t%s\t%s\t%s\t%s\t%s\t%s %s\t%s\n' "$(date -u +%F)" "$commit" \
        "$machine" "$part" "$seed" "$n_seeds" "$n" "$unit" "$outcome" | tee -a "$ledger"
done
exit $failed
