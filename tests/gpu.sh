#!/bin/sh
# Everything that needs a GPU, in one command: the tests that the emulation runs everywhere, compiled by nvcc and run on
# the device, a hundred times for the same bits; the whole program, where the project's own build, build/glm1m, is;
# the benchmarks, and PyTorch's attention beside ours; rows beyond element 2^32; compute-sanitizer.
#
#   sh tests/gpu.sh [--build-only | --pack | --as-built] [--seconds N] [--out DIR] [--tar FILE] [--models DIR] [--capability X.Y] [PART...]
#
#   --build-only   compile for the GPU of --capability (9.0), run nothing: needs the toolkit, no GPU. Brings along a later
#                  compute-sanitizer, where a package index can be reached
#   --pack         make one file of what build-gpu/ holds, results aside, to be taken elsewhere: build-gpu-packed/build-gpu.tar.xz
#   --as-built     run what build-gpu/ holds, or where that is not there, what was packed, whatever it was made from
#   --seconds N    stop after so many (780); what matters most comes first, every part has a limit of its own
#   --out DIR      where results go as they come: summary, summary.tsv, and a log a part (build-gpu/results). What has a
#                  result there, of the same sources, is not run again; what did not fit into the time comes next
#   --tar FILE     DIR as one file, made anew behind each part or wave of them: for a machine that may be taken away
#   --models DIR   where the 9B's checkpoints (23 GB) are made, or were by an earlier call; they stay (default: in memory, for
#                  this call)
#   PART           only these, and again: test_cuda_decode, bench_cuda_attention, full:test_cuda_decode,
#                  memcheck:test_cuda_ops, 9b_million; "test_cuda_decode test_cuda_fp8", one argument, are run at once
#
# A line of summary.tsv is a part's, and one more for each figure of it that bench/foretold.tsv has a prediction of.
#
# Needs a driver, and the CUDA toolkit (12.4 or later) and a C compiler unless --build-only has been run on the same
# sources: then build-gpu/ is all that is needed. No network. A part that fails or takes too long stops no other; where a
# test of a kernel does not end, what runs that kernel is left out, for it would take its whole limit.
# Exits 0 when nothing failed, 1 when something failed, 77 where there is no GPU or nothing could be run.
set -u
cd "$(dirname "$0")/.." || exit 1
PATH=$PATH:/usr/local/cuda/bin
BUILD=build-gpu PACKED=build-gpu-packed/build-gpu.tar.xz
. tests/help_gpu_build.sh
. tests/help_gpu_races.sh

run_it=yes as_built=no pack=no seconds=780 out=$BUILD/results tar='' models='' capability=
while [ $# -gt 0 ]; do
    case $1 in
    --build-only) run_it=no ;;
    --pack) run_it=no as_built=yes pack=yes ;;
    --as-built) as_built=yes ;;
    --seconds) seconds=$2 && shift ;;
    --out) out=$2 && shift ;;
    --tar) tar=$2 && shift ;;
    --models) models=$2 && shift ;;
    --capability) capability=$2 && shift ;;
    -*) echo "unknown argument $1" && sed -n '6,23s/^# \{0,1\}//p' "$0" && exit 2 ;;
    *) break ;;
    esac
    shift
done
started=$(date +%s)

if [ $run_it = yes ]; then
    if nvidia-smi -L >/dev/null 2>&1; then
        found=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1)
        capability=${capability:-$found}
    elif ls /dev/nvidia[0-9]* >/dev/null 2>&1; then
        echo "nvidia-smi does not work here; capability ${capability:-9.0} is taken for granted"
    else
        echo "no GPU here: nvidia-smi sees none, and there is no /dev/nvidia0"
        exit 77
    fi
fi
capability=${capability:-9.0}
# Hopper's own instructions exist for exactly 9.0; anything later takes the kernels for sm_80.
case $capability in
9.0) architecture="-gencode arch=compute_90a,code=sm_90a" has_sm90=1 ;;
*) architecture="-gencode arch=compute_80,code=sm_80 -gencode arch=compute_80,code=compute_80" has_sm90=0 ;;
esac

# ---- what there is ----

# In the order of their worth, one a line.
tests() {
    printf 'test_cuda_%s\n' primitives barriers
    [ $has_sm90 = 0 ] || printf 'test_cuda_%s\n' primitives_sm90 barriers_sm90 prefill_sm90 decode_sm90 \
        prefill_sm90_lanes_tried decode_sm90_lanes_tried
    printf 'test_cuda_%s\n' prefill_sm80 decode fp8 append ops sample page_copy
}
benches() {
    printf 'bench_cuda_%s\n' attention layer decode linear
}
# Are all of them in the lists? One that is not would never run.
for source in tests/test_cuda_*.cpp bench/bench_cuda_*.cpp; do
    name=$(basename "$source" .cpp)
    case $name in *_mutants) continue ;; esac # those are about the emulation
    case $has_sm90$name in 0*sm90*) continue ;; esac
    { tests && benches; } | grep -qx "$name" || { echo "tests/gpu.sh does not know $name" && exit 1; }
done

# A wave runs at once, as far as the processors go: correctness does not ask for the GPU alone, and its minutes are
# dear. First whether it is right; then what says whether what is asked for is met (foretold.tsv), the shortest first; then
# what chooses between variants, and what completes the picture. In front of each the seconds that it takes, from what was
# seen on an H200 (bench/GPU.md): where fewer are left it waits for the next call.
waves() {
    echo "35 $(tests | tr '\n' ' ')logits chunks drafts engine ranks"
    echo 40 bench_cuda_attention
    echo 20 bench_cuda_layer
    [ $has_sm90 = 0 ] || [ -z "$(sanitizers)" ] || echo 30 races # before racecheck is asked about anything else
    sanitized 60 "$(tests | grep 'prefill\|decode\|fp8' | grep -v '_tried$')" # but of what is shipped alone
    echo 40 9b_windows
    echo 35 9b_weights
    echo 50 bench_cuda_sdpa
    echo 35 spill # 30 processes, each of which opens a GPU
    echo 70 9b_200K
    echo 80 variants
    echo 8 bench_cuda_decode
    echo 10 bench_cuda_linear
    # 35 GB of the GPU's memory and 20
    [ $has_sm90 = 0 ] || echo 8 full:test_cuda_prefill_sm90 full:test_cuda_decode_sm90
    echo 8 full:test_cuda_prefill_sm80 full:test_cuda_decode
    echo 30 9b_drafts
    sanitized 45 "$(tests | grep -v 'prefill\|decode\|fp8')"
    echo 640 9b_million
}
# sanitized SECONDS TESTS: all at once, those apart
sanitized() {
    [ -n "$(sanitizers)" ] || return
    printf '%s ' "$1"
    for tool in memcheck racecheck synccheck initcheck; do
        printf '%s\n' "$2" | sed "s/^/$tool:/" | grep -v '^racecheck:test_cuda_barriers_sm90' | tr '\n' ' '
    done
    echo
}

# The tests of the kernels that a part runs.
[ $has_sm90 = 0 ] && prefill=test_cuda_prefill_sm80 decode=test_cuda_decode
[ $has_sm90 = 0 ] || prefill=test_cuda_prefill_sm90 decode=test_cuda_decode_sm90
tests_of() {
    case $1 in
    spill | 9b_*) echo "$prefill" "$decode" test_cuda_fp8 test_cuda_append test_cuda_ops test_cuda_sample ;;
    bench_cuda_layer) echo "$prefill" test_cuda_append test_cuda_ops ;;
    bench_cuda_decode) echo "$decode" test_cuda_append test_cuda_ops test_cuda_sample ;;
    prefill_half) echo "$prefill" ;;
    decode_half) echo "$decode" test_cuda_fp8 ;;
    bench_cuda_attention) [ -z "$(endless prefill_half)" ] || tests_of decode_half ;; # one is enough
    full:* | *check:*) echo "${1#*:}" ;;
    esac
}

limit_of() {
    case $1 in
    bench_*) echo 100 ;;
    variants | 9b_weights | 9b_windows | 9b_drafts | spill) echo 150 ;;
    9b_200K) echo 180 ;;
    9b_million) echo 700 ;;
    logits | chunks | drafts | engine | ranks) echo 120 ;;
    *check:* | races) echo 90 ;;
    *) echo 60 ;;
    esac
}

# ---- building ----

is_built() {
    [ "$(cat $BUILD/stamp 2>/dev/null)" = "$(stamp)" ]
}
if [ $as_built = yes ]; then
    # A pack that came later than what lies here is what was meant; programs may have come without being executable.
    if [ -e $PACKED ] && { [ ! -e $BUILD/stamp ] || [ -n "$(find $PACKED -newer $BUILD/stamp)" ]; }; then
        unpack $PACKED . && touch $BUILD/stamp || { echo "$PACKED cannot be unpacked here" && exit 1; }
    fi
    [ ! -d $BUILD ] || find $BUILD -type f ! -name '*.*' ! -path '*/results/*' ! -perm -u+x -exec chmod u+x {} +
    [ -e $BUILD/stamp ] || { echo "$BUILD is not complete: nothing to run" && exit 1; }
    is_built || echo "$BUILD is of other sources than these"
elif is_built; then
    echo "$BUILD is of these sources: nothing to compile"
else
    build
fi
if [ $pack = yes ]; then
    mkdir -p "${PACKED%/*}" && tar -cJf $PACKED --exclude=$BUILD/results --exclude=$BUILD/sanitizer $BUILD || exit 1
    echo "$PACKED: $(du -h $PACKED | cut -f1)"
    exit 0
fi
if [ $run_it = no ]; then
    echo "built for $capability, $(du -sh $BUILD | cut -f1); nothing was run"
    is_complete && is_as_written
    exit $?
fi

# ---- results ----

mkdir -p "$out" || exit 1
summary=$out/summary table=$out/summary.tsv
gpu=$(nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null | head -n 1)
sources=$(cut -d ' ' -f 1 <$BUILD/stamp 2>/dev/null)
[ -s "$table" ] || printf 'part\tseconds\tresult\tfigure\tvalue\tpredicted\tverdict\tgpu\tsources\n' >"$table"
left() {
    echo $((seconds - $(date +%s) + started))
}
note() {
    printf '%s\n' "$*" | tee -a "$summary"
}
machine_state() {
    note "# $(nvidia-smi --query-gpu=name,driver_version,clocks.sm,clocks.max.sm,power.draw,power.limit,temperature.gpu \
        --format=csv,noheader 2>&1 | head -n 1)"
}
# keep PART SECONDS RESULT [FIGURE VALUE PREDICTED VERDICT]
keep() {
    printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "${4:--}" "${5:--}" "${6:--}" "${7:--}" "$gpu" "$sources" >>"$table"
}
is_done() { # PART: whether there is a result of it
    awk -F '\t' -v part="$1" -v sources="$sources" '$1 == part && $NF == sources && $3 != "cut" && $3 != "refused" { found = 1 } END { exit !found }' "$table"
}
last_result() { # PART: the latest of these sources
    awk -F '\t' -v part="$1" -v sources="$sources" '$1 == part && $NF == sources && $4 == "-" { last = $3 } END { print last }' "$table"
}
# The first of those of a part's tests that does not end.
endless() { # PART
    for test in $(tests_of "$1"); do
        [ "$(last_result "$test")" != hung ] || { echo "$test" && return; }
    done
}
# What bench/foretold.tsv says of a part on this GPU, beside what its log has.
judge() { # PART LOG SECONDS RESULT
    awk -F '\t' -v part="$1" -v gpu="$gpu" '
        function number(pattern,   i) { # what follows the first match in the log
            for (i = 1; i <= n; i++)
                if (match(line[i], pattern)) return substr(line[i], RSTART + RLENGTH) + 0
            return ""
        }
        FILENAME == ARGV[1] { line[++n] = $0; next }
        /^#/ || $1 != part || ($2 != "any" && index(gpu, $2) == 0) { next }
        {
            value = number($4)
            if (value != "" && $5 != "-") value = number($5) > 0 ? value / number($5) : ""
            verdict = value == "" ? "unseen" : value < $6 && $6 != "-" ? "below" : value > $7 && $7 != "-" ? "above" : "met"
            range = $7 == "-" ? $6 " or more" : $6 == "-" ? $7 " or less" : $6 " to " $7
            printf "%s\t%s\t%s\t%s\n", $3, value == "" ? "-" : value, range, verdict
        }' "$2" bench/foretold.tsv >"$2.figures"
    while IFS='	' read -r figure value predicted verdict; do
        keep "$1" "$3" "$4" "$figure" "$value" "$predicted" "$verdict"
        said=predicted
        case $figure in asked:*) figure=${figure#asked: } && said=asked ;; esac
        printf '#   %s: %s, %s %s: %s\n' "$figure" "$value" $said "$predicted" "$verdict" | tee -a "$summary"
    done <"$2.figures"
    rm -f "$2.figures"
}

# ---- running ----

# sanitizer_command SIZE TOOL:TEST; sizes are tests/help_cuda_machine.h's. Tests themselves never exit with found_rc.
found_rc=9
sanitizer_command() {
    case $2 in
    racecheck:*) sanitizer=$(racechecker) && sanitizer=${sanitizer#* } ;;
    *) sanitizer=$(sanitizers | tail -n 1) ;;
    esac
    case $2 in racecheck:* | synccheck:*) options=$n_mbarriers ;; *) options= ;; esac
    [ -z "$sanitizer" ] || echo "env GLM_TEST_FAST=$1 $sanitizer --tool ${2%%:*} $options --error-exitcode $found_rc $BUILD/${2#*:}"
}
by_lines= # so that the log of what hangs ends where it does
! command -v stdbuf >/dev/null || by_lines='stdbuf -oL'
# The command of a part, or nothing where what it needs is missing.
command_of() {
    case $1 in
    logits | drafts) [ ! -x $BUILD/test_runtime_gpu_"$1" ] || echo "$BUILD/test_runtime_gpu_$1" ;;
    chunks) [ ! -x $BUILD/test_engine_gpu_chunk_changes_no_bit ] || echo "$BUILD/test_engine_gpu_chunk_changes_no_bit" ;;
    engine | spill | ranks) [ ! -x $BUILD/glm1m ] || echo "env GLM1M=$PWD/$BUILD/glm1m sh tests/gpu_$1.sh" ;;
    9b_drafts) [ ! -x $BUILD/bench_drafts ] || echo "$BUILD/bench_drafts -m $models/40 --device cuda" ;;
    9b_*) [ ! -x $BUILD/glm1m ] || echo "env GLM1M=$PWD/$BUILD/glm1m sh bench/gpu_9b.sh --dir $models $(cases_of "$1")" ;;
    variants) [ ! -d $BUILD/variants ] || echo "sh bench/cuda_variants.sh run" ;;
    bench_cuda_sdpa)
        ours=$out/bench_cuda_attention
        [ -s "$ours" ] || ours=
        command -v python3 >/dev/null && echo "python3 bench/bench_cuda_sdpa.py $ours" ;;
    full:*) echo "$by_lines $BUILD/${1#full:}" ;;
    races) [ ! -x $BUILD/test_cuda_barriers_sm90 ] || sanitizers | tr '\n' ' ' | sed "s|.|sh tests/gpu_races.sh $BUILD &|" ;;
    racecheck:*) sanitizer_command 2 "$1" ;;
    *check:*) sanitizer_command 1 "$1" ;;
    test_*) echo "env GLM_TEST_FAST=1 $by_lines $BUILD/$1" ;;
    bench_cuda_attention)
        if [ -n "$(endless prefill_half)" ]; then
            echo "$BUILD/$1 decode"
        elif [ -n "$(endless decode_half)" ]; then
            echo "$BUILD/$1 prefill"
        else
            echo "$BUILD/$1"
        fi ;;
    *) echo "$BUILD/$1" ;;
    esac
}
# With less on the GPU and, to be compared with, without. 16G of KV are what 40 GB leave beside the 9B's weights; the host
# holds the other 64.
cases_of() {
    case $1 in
    9b_weights) echo --answer 16 40:128K 40:128K:--device-weights-space,12G ;;
    9b_windows) echo 2:1M 2:1M:--device-kv-space,900M ;;
    9b_200K) echo --answer 16 40:200K 40:200K:--device-kv-space,4G ;;
    9b_million) echo --answer 4 40:1M:--device-kv-space,16G,--host-kv-space,66G ;;
    esac
}

# cuBLAS, where only PyTorch brings it.
for directory in $(python3 -c 'import importlib.util as u, glob, os
s = u.find_spec("nvidia")
print(*[d for p in (s.submodule_search_locations if s else []) for d in glob.glob(os.path.join(p, "*", "lib"))])' 2>/dev/null); do
    LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$directory
done
export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:-}:/usr/local/cuda/lib64"

# result_of RC LIMIT: of a part whose own limit that was, or not
result_of() {
    case $1 in
    0) echo pass ;;
    77) echo skip ;;
    124 | 137) [ "$2" -lt "$(limit_of "$part")" ] && echo cut || echo hung ;;
    *) echo FAIL ;;
    esac
}
log_of() { # PART
    echo "$out/$(printf '%s' "$1" | tr : _)"
}
run() {
    part=$1
    command=$(command_of "$part")
    [ -n "$command" ] || { note "skip  $part: what runs it is not there" && return; }
    limit=$(limit_of "$part")
    [ "$(left)" -ge "$limit" ] || limit=$(left)
    [ "$limit" -ge 5 ] || { note "later $part: no time left" && return; }
    log=$(log_of "$part")
    from=$(date +%s)
    # shellcheck disable=SC2086 # words of a command
    timeout -k 5 "$limit" $command >"$log" 2>&1 </dev/null
    rc=$?
    took=$(($(date +%s) - from))
    result=$(result_of $rc "$limit")
    case $part:$rc in
    racecheck:*:$found_rc)
        case $part in *_sm90) ask_further "$part" ;; esac
        result=$(result_of_hazards "$part") ;;
    esac
    case $part:$rc in *check:* | races:77) ! grep -q 'Device not supported' "$log" || result=refused ;; esac
    keep "$part" $took "$result"
    case $result:$rc in
    pass:*) note "pass  $part ($took s)" ;;
    skip:*) note "skip  $part: $(tail -n 1 "$log")" ;;
    wrong:*) note "wrong $part: hazards are reported where there are none (bench/results/2026-11-26_h100_racecheck.txt)" ;;
    unsure:*) note "unsure $part: $(why_unsure "$part")" ;;
    seen:*) note "seen  $part: hazards here, too" ;;
    refused:*) note "later $part: compute-sanitizer refuses this machine's GPU" ;;
    cut:*) note "later $part: not over after the $limit s that were left" ;;
    *:124 | *:137) note "FAIL  $part: not over after $limit s" ;;
    *) note "FAIL  $part: exit $rc ($took s)" ;;
    esac
    case $part$rc in
    bench_* | variants* | races* | 9b* | engine0 | spill0 | ranks0 | logits0 | drafts0 | chunks*) cat "$log" ;;
    *77 | *0) ;;
    *) tail -n 12 "$log" ;;
    esac
    [ $rc = 77 ] || judge "$part" "$log" $took "$result"
}

# Those of $parts that end, as far as is known.
leave_out_endless() {
    kept=
    for part in $parts; do
        because=$(endless "$part")
        if [ -z "$because" ]; then kept="$kept $part"; else note "later $part: $because does not end, and so would this"; fi
    done
    parts=$kept
}

# wave SECONDS PART...: at once; what they print does not mix
wave() {
    [ "$(left)" -ge "$1" ] || { note "later $(shift && echo "$*"): takes $1 s, $(left) s are left" && return; }
    shift
    if [ $# -eq 1 ]; then
        case $1 in bench_* | variants | 9b_*) machine_state ;; esac
        run "$1"
        return
    fi
    processes=
    for part in "$@"; do
        run "$part" >"$out/of_$part" 2>&1 &
        processes="$processes $!"
    done
    # shellcheck disable=SC2086 # words
    wait $processes
    for part in "$@"; do cat "$out/of_$part" && rm -f "$out/of_$part"; done
}

# The 9B's checkpoints are made beside the tests, in memory where there is room.
make_models() {
    if [ -z "$models" ]; then
        room=$(df --output=avail -B1G /dev/shm 2>/dev/null | tail -n 1)
        parent=/dev/shm
        [ "${room:-0}" -gt 30 ] || parent=${TMPDIR:-/tmp}
        models=$(mktemp -d "$parent/glm1m-9b.XXXXXX") || return
        trap 'rm -rf "$models"' EXIT
    fi
    [ -x $BUILD/glm1m ] || return
    GLM1M=$PWD/$BUILD/glm1m nice sh bench/gpu_9b.sh --dir "$models" --make-only 2:1M 40:1M >"$out/9b_models" 2>&1 &
}

# Waves of what has no result yet.
pending() {
    while read -r expected parts; do
        pending=
        for part in $parts; do is_done "$part" || pending="$pending $part"; done
        [ -z "$pending" ] || echo "$expected$pending"
    done
}

note "# $(git rev-parse --short HEAD 2>/dev/null || echo 'no git'), sources $sources, built for $capability, $seconds s"
machine_state
[ -n "$(sanitizers)" ] || note "# no compute-sanitizer here"
[ -x "$brought" ] || [ ! -e $BUILD/sanitizer.tar.xz ] || note "# $BUILD/sanitizer.tar.xz cannot be unpacked here"
if [ $# -gt 0 ]; then
    printf '5 %s\n' "$@" >"$out/waves"
else
    waves | pending >"$out/waves"
fi
begin=$(wc -l <"$summary")
making=
! grep -q ' 9b_' "$out/waves" || { make_models && making=$!; }
while read -r parts; do
    expected=${parts%% *} parts=${parts#* }
    [ $# -gt 0 ] || leave_out_endless
    [ -n "$parts" ] || continue
    case " $parts" in *' 9b_'*) wait $making ;; esac
    # shellcheck disable=SC2086 # words
    wave "$expected" $parts
    [ -z "$tar" ] || { tar -czf "$tar.part" -C "$(dirname "$out")" "$(basename "$out")" && mv "$tar.part" "$tar"; }
done <"$out/waves"
machine_state
counts() { sed "1,${begin}d" "$summary" | grep -c "^$1"; }
note "# $(counts pass) passed, $(counts FAIL) failed, $(counts skip) skipped, $(counts unsure) unsure, $(counts later) for the next call, $(($(date +%s) - started)) s"
[ "$(counts FAIL)" -eq 0 ] || exit 1
[ "$(counts pass)" -gt 0 ] || exit 77
