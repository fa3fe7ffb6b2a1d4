#!/bin/sh
# Every test: the release build, then the suite under ASan + UBSan and under TSan.
#
#   sh tests/run.sh [--no-install] [--release] [NAME...]
#
#   --release  only the release build
#   NAME       only these tests, as test_kvstore_fork or cli_help
#
# A test exits 0 for pass, 77 for skip, anything else for fail. tests/skips lists the skips that are
# allowed; any other is a failure. The last line is "N passed, N failed, N skipped".
#
# TSan looks for races between threads. A test that started no thread in the release suite of the same
# run, in any of its processes, is left out there (tests/mark_threads.c watches that).
#
# In the release suite what waits for somebody who may be lost runs alone, first; the sanitizers' builds take the time
# that is left. The sanitized suites are one list. What takes longest begins first (tests/longest).
#
# GLM_TEST_DATA   published tokenizers and books (default ../shared/data where that exists)
# GLM_TEST_FAST   set to 1 for the sanitizers' runs: tests may then use smaller sizes
# JOBS            compilers at once (default: every core); of tests one or two more, as many only wait
set -u
cd "$(dirname "$0")/.." || exit 1
. bench/setup.sh

# The tokenizer's scanner is compared with PCRE2; nothing else needs it. Ranks on several machines need
# an MPI; a build without one is whole.
PACKAGES="$PACKAGES libpcre2-dev libopenmpi-dev openmpi-bin python3 python3-venv"
PACKAGES_WHY="$PACKAGES_WHY; regular expressions, to test against; MPI; Python, for HTTP clients"

TIMEOUT_S=600
# Tests of peers and children that are given up after some seconds.
WAITING='_ranks|_mpi_|_nccl_|_tcp_|interrupt|bounded'

# Commands start no threads (tests/layers.sh), but for engines, servers and ranks, and those of engines and stores are
# raced by C tests. TSan has one command of each kind that has any: complete, ask, chat and needle as they are interrupted
# or keep what they computed (the others of a kind run the same threads); ranks by every way in which they find each other, by
# -tp, TCP and mpirun, and those of a server; of servers what makes their threads meet: clients on every route, in
# numbers, that leave, send nonsense or stop reading, answers that share a prompt or a prefill, queues, jobs, files that
# programs read, and ends by signals. What a request is refused for, how its answer is shown or bound to a form, and the
# page ask nothing more of the same threads.
RACED='interrupt|streams$|needle_book$|cli_ranks$|_mpi_ranks$|two_hosts$'
RACED="$RACED|cli_serve_(choices|clients|crowd|drains|hostile|jobs|late_error|leave|queue|ranks|read|schedule|suspends)\$"

# Running one test: run_one SUITE NAME appends "result seconds suite/name" to $RESULTS.

seconds_since() {
    printf '%s %s' "$(date +%s.%N)" "$1" | awk '{ printf "%.1f", $1 - $2 }'
}

# Why a skip is allowed here; nothing when it is not. Lines of tests/skips: NAME WHEN REASON.
allowed_skip() {
    while read -r name when reason; do
        [ "$name" = "$2" ] || continue
        case $when in
        always) printf '%s' "$reason" ;;
        no-nccl) ldconfig -p 2>/dev/null | grep -q 'libnccl\.so\.2' || printf '%s' "$reason" ;;
        no-mpi) command -v mpirun >/dev/null || printf '%s' "$reason" ;;
        no-onednn)
            ldconfig -p 2>/dev/null | grep -q 'libdnnl\.so\.2' && grep -q avx512_bf16 /proc/cpuinfo ||
                printf '%s' "$reason"
            ;;
        no-amx)
            grep -q amx_bf16 /proc/cpuinfo &&
                echo 'void f(void) { __asm__("tdpbf16ps %tmm2, %tmm1, %tmm0"); }' |
                "${CC:-cc}" -mamx-bf16 -x c -c -o /dev/null - 2>/dev/null || printf '%s' "$reason"
            ;;
        no-data) [ -n "${GLM_TEST_DATA:-}" ] || printf '%s' "$reason" ;;
        sanitized) [ "$1" = release ] || printf '%s' "$reason" ;;
        esac
    done <tests/skips
}

command_for() {
    case $2 in
    test_*) printf 'build%s/tests/%s' "$(suffix "$1")" "$2" ;;
    *) printf 'sh tests/%s.sh' "$2" ;;
    esac
}

suffix() {
    [ "$1" = release ] || printf -- '-%s' "$1"
}

# TSan of GCC 12 cannot place its shadow when the kernel randomises mappings too much.
fixed_addresses() {
    if [ "$1" = tsan ] && setarch -R true 2>/dev/null; then printf 'setarch -R'; fi
}

# One process that maps and gives back the memory of many engines: of TSan's shadow most is then page faults. (A process that
# does little is slower with huge pages.)
prefers_huge_pages() {
    case $1 in
    tsan/test_runtime_*) ! printf '%s\n' "$1" | grep -qE "$WAITING" ;;
    *) false ;;
    esac
}

# The command that runs a test so that $THREADS/NAME says whether it starts threads.
watched() {
    if [ "$1" = release ] && [ -e "$PWD/build/tests/mark_threads.so" ]; then
        printf '?' >"$THREADS/$2"
        printf 'env LD_PRELOAD=%s MARK_THREADS=%s' "$PWD/build/tests/mark_threads.so" "$THREADS/$2"
    fi
}

starts_no_thread() {
    [ -e "$THREADS/$1" ] && [ "$(cat "$THREADS/$1")" = 0 ]
}

run_logged() {
    # shellcheck disable=SC2046 # words of commands
    $(fixed_addresses "$1") timeout $TIMEOUT_S $(watched "$1" "$2") $(command_for "$1" "$2")
}

run_one() {
    suite=$1
    name=$2
    log=build$(suffix "$suite")/tests/$name.log
    [ "$suite" = release ] || export GLM_TEST_FAST=1
    export LSAN_OPTIONS="suppressions=$PWD/tests/lsan_suppressions:print_suppressions=0"
    GLM1M=$PWD/build$(suffix "$suite")/glm1m
    export GLM1M
    prefers_huge_pages "$suite/$name" && export TSAN_OPTIONS="no_huge_pages_for_shadow=0${TSAN_OPTIONS:+:$TSAN_OPTIONS}"
    started=$(date +%s.%N)
    run_logged "$suite" "$name" >"$log" 2>&1
    rc=$?
    # gcc 12's leak checker crashes on some machines (a Xeon with AMX): the rest is asked without it.
    if [ $rc -ne 0 ] && grep -aq 'LeakSanitizer has encountered a fatal error' "$log"; then
        export ASAN_OPTIONS="detect_leaks=0${ASAN_OPTIONS:+:$ASAN_OPTIONS}"
        run_logged "$suite" "$name" >"$log" 2>&1
        rc=$?
    fi
    note=
    case $rc in
    0) result=pass ;;
    77)
        result=skip
        note=$(allowed_skip "$suite" "$name")
        [ -n "$note" ] || { result=FAIL && note="skipped, and tests/skips does not allow it here"; }
        ;;
    124) result=FAIL note="still running after $TIMEOUT_S s" ;;
    *) result=FAIL note="exit $rc, see $log" ;;
    esac
    line=$(printf '%s %7s s  %s/%s%s' "$result" "$(seconds_since "$started")" "$suite" "$name" \
        "${note:+  ($note)}")
    printf '%s\n' "$line" >>"$RESULTS"
    if [ "$result" = FAIL ]; then
        { printf '%s\n' "$line" && tail -n 40 "$log" | sed 's/^/    /'; }
    else
        printf '%s\n' "$line"
    fi
}

# build_suite SUITE [TEST...]: of TSan's no tests but these. In a subshell, since a build that fails ends it.
build_suite() (
    suite=$1
    shift
    case $suite in
    release) setup_build build all -DCMAKE_BUILD_TYPE=Release ;;
    asan) setup_build build-asan all -DCMAKE_BUILD_TYPE=Release -DGLM_WERROR=OFF \
        "-DGLM_SANITIZE=address;undefined" ;;
    tsan) setup_build build-tsan suite -DCMAKE_BUILD_TYPE=Release -DGLM_WERROR=OFF \
        -DGLM_SANITIZE=thread "-DGLM_SUITE=$(printf '%s;' "$@")" ;;
    esac
)

# build SUITE...: those that could be built are in $BUILT.
build() {
    for suite in "$@"; do
        if build_suite "$suite"; then
            printf '%s\n' "$suite" >>"$BUILT"
        else
            printf 'FAIL  %s/build\n' "$suite" | tee -a "$RESULTS"
        fi
    done
}

# Test names of a suite. The sanitizers leave out what tests no code of ours that runs, and TSan what starts no thread
# or none that is not raced elsewhere.
names_of() {
    for source in tests/test_*.c tests/test_*.cpp tests/cli_*.sh tests/layers.sh; do
        [ -e "$source" ] || continue
        name=$(basename "${source%.*}")
        # Emulated kernels: fibers on x86-64, which TSan does not follow; a whole GPU needs CUDA's headers besides.
        case $source in
        *.cpp | */test_engine_cuda_*) [ -e "build$(suffix "$1")/tests/$name" ] || continue ;;
        esac
        if [ "$name" = layers ] && [ "$1" != release ]; then continue; fi
        case $1/$name in
        tsan/cli_*) printf '%s\n' "$name" | grep -qE "$RACED" || continue ;;
        # Of attention what differs are numbers: its threads meet in the same way in these.
        tsan/test_attention_threads | tsan/test_attention_append | tsan/test_attention_shared_prefix | \
            tsan/test_attention_prefill_matches_reference) ;;
        tsan/test_attention_* | tsan/test_runtime_ops_match_definitions) continue ;;
        # So it is with an engine's: random walks over its calls, suspended prefills, forks, books and drives that fail stay.
        tsan/test_runtime_lossy_kv_is_independent | tsan/test_runtime_server_that_stops_says_what_is_kept | \
            tsan/test_runtime_copies_stand_in | tsan/test_runtime_identity_remembers_files | \
            tsan/test_runtime_drafts_change_no_bit | tsan/test_runtime_every_row_is_given_once | \
            tsan/test_runtime_given_rows_go_on | tsan/test_kvstore_vault_bad_files | \
            tsan/test_runtime_server_forks_all_where_the_disk_would_need_more) continue ;;
        # The waiting that cli_ask_another_goes_on_where_one_died has, by other commands.
        asan/cli_chat_and_books_wait | asan/cli_ask_waits_are_left_at_once) continue ;;
        asan/test_cuda_*_mutants | asan/test_cuda_*_tried) continue ;; # kernels with bugs that the emulation must notice, or not shipped
        esac
        printf '%s\n' "$name"
    done
}

without_single_threads() {
    n_left=0
    while read -r name; do
        if [ "$1" = tsan ] && starts_no_thread "$name"; then
            n_left=$((n_left + 1))
        else
            printf '%s\n' "$name"
        fi
    done
    [ "$n_left" -eq 0 ] || printf '%s tests start no thread: not run under TSan\n' "$n_left" >&2
}

# asked_for SUITE: those named on the command line that it has; one that is nowhere fails when it is run.
asked_for() {
    for asked in $only; do
        if [ -e "tests/$asked.sh" ] || [ -e "tests/$asked.c" ] || [ -e "tests/$asked.cpp" ] &&
            ! names_of "$1" | grep -qx "$asked"; then
            printf '%s is no test of %s\n' "$asked" "$1" >&2
        else
            printf '%s\n' "$asked"
        fi
    done
}

# tests_of SUITE: its tests, or those asked for, "SUITE NAME" a line.
tests_of() {
    if [ -n "$only" ]; then asked_for "$1"; else names_of "$1"; fi |
        without_single_threads "$1" | sed "s/^/$1 /"
}

# What TSan runs is known when the release suite has told what starts threads: until then what its tests need is built.
# tests_of_tsan: those, after building them; none if that fails.
tests_of_tsan() {
    tests=$(tests_of tsan)
    programs=$(printf '%s\n' "$tests" | sed -n 's/^tsan \(test_.*\)/\1/p' |
        while read -r name; do [ ! -e "tests/$name.c" ] || printf '%s\n' "$name"; done)
    # shellcheck disable=SC2086 # one word a test
    if build_suite tsan $programs; then
        printf '%s\n' "$tests"
    else
        printf 'FAIL  tsan/build\n' | tee -a "$RESULTS" >&2
    fi
}

# Those of tests/longest first, in its order. It is made from what a run printed:
# awk '$2 >= 6 { print $2, $4 }' OUTPUT | sort -rn | cut -d ' ' -f 2 | grep / | tr / ' '
longest_first() {
    awk 'FNR == NR { place[$0] = NR; next } { print ($0 in place) ? place[$0] : 1e6, $0 }' tests/longest - |
        sort -s -n -k 1,1 | cut -d ' ' -f 2-
}

# run_tests N: those on stdin, N at once. None is run twice, results come as they finish.
run_tests() {
    xargs -r -P "$1" -L 1 sh tests/run.sh --one
}

count() {
    grep -c "^$1 " "$RESULTS"
}

if [ "${1:-}" = --one ]; then
    run_one "$2" "$3"
    exit 0
elif [ "${1:-}" = --build ]; then
    shift
    build "$@"
    exit 0
fi

install=yes
sanitizers="asan tsan"
only=
for argument in "$@"; do
    case $argument in
    --no-install) install=no ;;
    --release) sanitizers= ;;
    -*) die "unknown argument $argument; usage: sh tests/run.sh [--no-install] [--release] [NAME...]" ;;
    *) only="$only $argument" ;;
    esac
done

if [ -z "${GLM_TEST_DATA:-}" ] && [ -d ../shared/data ]; then
    GLM_TEST_DATA=$(cd ../shared/data && pwd)
    export GLM_TEST_DATA
fi
RESULTS=$(mktemp) || exit 1
BUILT=$(mktemp) || exit 1
THREADS=$(mktemp -d) || exit 1
export RESULTS BUILT THREADS
trap 'rm -rf "$RESULTS" "$BUILT" "$THREADS"' EXIT

# What tests that were killed left in memory: names begin with the process.
for dir in /dev/shm/glm1m-test-*-*; do
    pid=${dir#/dev/shm/glm1m-test-}
    [ ! -d "$dir" ] || [ -d "/proc/${pid%%-*}" ] || rm -rf "$dir"
done

setup_packages "$install"
# Programs that tests use where they are there: it is no failure where one is not.
# want_program PROGRAM PACKAGE WHAT
want_program() {
    if [ "$install" = no ] || ! command -v dpkg >/dev/null || command -v "$1" >/dev/null; then return; fi
    say "Installing $2, for $3."
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        "$2" >&2 || say "$2 cannot be installed: $3 is not tested."
}
want_program chromium chromium "the web page" # 120 MB
want_program git git "what a .gitignore leaves out, beside git's own answer"
want_program pdftotext poppler-utils "reading PDFs"
want_program pandoc pandoc "reading Word files, EPUB and RTF"
want_program odt2txt odt2txt "reading OpenDocument files"
# Its headers, too, for the test that compares our declarations with them.
if [ "$install" = yes ] && command -v dpkg >/dev/null && ! [ -e /usr/include/oneapi/dnnl/dnnl.h ]; then
    say "Installing libdnnl-dev, for linear layers by oneDNN."
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        libdnnl-dev >&2 || say "libdnnl-dev cannot be installed: oneDNN is not tested."
fi

build release
# shellcheck disable=SC2086 # one word a suite
[ -z "$sanitizers" ] || nice -n 19 sh tests/run.sh --build $sanitizers &
if grep -qx release "$BUILT"; then
    tests_of release | grep -E "$WAITING" | run_tests 1
    tests_of release | grep -vE "$WAITING" | longest_first | run_tests $(($(n_jobs) + 1))
fi
wait
for suite in $sanitizers; do
    grep -qx "$suite" "$BUILT" || continue
    if [ "$suite" = tsan ]; then tests_of_tsan; else tests_of "$suite"; fi
done | longest_first | run_tests $(($(n_jobs) + 2))

failed=$(count FAIL)
grep '^FAIL ' "$RESULTS"
printf '%s passed, %s failed, %s skipped\n' "$(count pass)" "$failed" "$(count skip)"
[ "$failed" -eq 0 ] && [ "$(count pass)" -gt 0 ]
