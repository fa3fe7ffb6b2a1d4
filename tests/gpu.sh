#!/bin/sh
# Everything that needs a GPU, in one command: the tests that the emulation runs everywhere, compiled by nvcc and run on
# the device, a hundred times for the same bits; the whole program, where the project's own build, build/glm1m, is;
# the benchmarks, and PyTorch's attention beside ours; rows beyond element 2^32; compute-sanitizer.
#
#   sh tests/gpu.sh [--build-only] [--seconds N] [--out DIR] [--capability X.Y] [PART...]
#
#   --build-only   compile for the GPU of --capability (9.0), run nothing: needs the toolkit, no GPU
#   --seconds N    stop after so many (780); what matters most comes first, every part has a limit of its own
#   --out DIR      where results go as they come: summary, and a log a part (build-gpu/results)
#   PART           only these, as test_cuda_decode, bench_cuda_attention, full:test_cuda_decode, memcheck:test_cuda_ops
#
# Needs a driver, and the CUDA toolkit (12.4 or later) and a C compiler unless --build-only has been run on the same
# sources: then build-gpu/ is all that is needed. No network. A part that fails or takes too long stops no other.
# Exits 0 when everything passed, 1 when something failed, 77 where there is no GPU or nothing could be run.
set -u
cd "$(dirname "$0")/.." || exit 1
PATH=$PATH:/usr/local/cuda/bin
BUILD=build-gpu

run_it=yes seconds=780 out=$BUILD/results capability=
while [ $# -gt 0 ]; do
    case $1 in
    --build-only) run_it=no ;;
    --seconds) seconds=$2 && shift ;;
    --out) out=$2 && shift ;;
    --capability) capability=$2 && shift ;;
    -*) echo "unknown argument $1; usage: sh tests/gpu.sh [--build-only] [--seconds N] [--out DIR] [--capability X.Y] [PART...]" && exit 2 ;;
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

# In the order of their worth.
tests() {
    echo test_cuda_primitives test_cuda_barriers
    [ $has_sm90 = 0 ] || echo test_cuda_primitives_sm90 test_cuda_barriers_sm90 test_cuda_prefill_sm90 test_cuda_decode_sm90
    echo test_cuda_prefill_sm80 test_cuda_decode test_cuda_fp8 test_cuda_append test_cuda_ops test_cuda_sample test_cuda_page_copy
}
benches() {
    echo bench_cuda_attention bench_cuda_layer bench_cuda_decode
}
# Are all of them in the lists? One that is not would never run.
for source in tests/test_cuda_*.cpp bench/bench_cuda_*.cpp; do
    name=$(basename "$source" .cpp)
    case $name in *_mutants) continue ;; esac # those are about the emulation
    case $has_sm90$name in 0*sm90*) continue ;; esac
    { tests && benches; } | tr ' ' '\n' | grep -qx "$name" || { echo "tests/gpu.sh does not know $name" && exit 1; }
done

# A wave runs at once, as far as the processors go: correctness does not ask for the GPU alone, and its minutes are
# dear. First whether it is right, then how fast, one after the other, then what takes longest.
waves() {
    echo "$(tests | tr '\n' ' ')logits engine ranks"
    echo spill # 25 processes: each is opened in a second or two where it is alone, in several beside the tests
    for name in bench_cuda_attention 9b bench_cuda_decode bench_cuda_layer bench_cuda_sdpa; do echo "$name"; done
    if command -v compute-sanitizer >/dev/null; then
        for tool in memcheck racecheck synccheck initcheck; do
            tests | tr ' ' '\n' | sed "s/^/$tool:/" | tr '\n' ' ' && echo
        done
    fi
    # 35 GB of the GPU's memory and 20
    [ $has_sm90 = 0 ] || echo full:test_cuda_prefill_sm90 full:test_cuda_decode_sm90
    echo full:test_cuda_prefill_sm80 full:test_cuda_decode
}

limit_of() {
    case $1 in
    bench_*) echo 150 ;;
    9b) echo 270 ;;
    spill) echo 150 ;;
    engine | ranks | *check:*) echo 120 ;;
    *) echo 60 ;;
    esac
}

# ---- building ----

# What the programs in build-gpu/ were made from.
stamp() {
    { echo "$capability" && find CMakeLists.txt attention kvstore parallel runtime tests bench -name '*.[ch]' -o -name '*.cu*' \
        -o -name '*.cpp' -o -name CMakeLists.txt | LC_ALL=C sort | xargs cat; } | cksum
}

# The whole program and its logits' test, with the libraries they are linked to beside them: where the GPU is, there
# need be none of them, and nothing to fetch them from.
build_program() {
    command -v cmake >/dev/null || { echo 'no cmake here: the program itself is left out' && return 0; }
    # shellcheck disable=SC2016 # $ORIGIN is the linker's
    cmake -S . -B $BUILD-program -DCMAKE_BUILD_TYPE=Release -DGLM_CUDA=ON -DGLM_MPI=OFF -DCMAKE_BUILD_WITH_INSTALL_RPATH=ON \
        '-DCMAKE_INSTALL_RPATH=$ORIGIN/lib' -DCMAKE_EXE_LINKER_FLAGS=-Wl,--disable-new-dtags >/dev/null &&
        cmake --build $BUILD-program -j "$(nproc)" --target glm1m test_runtime_gpu_logits >/dev/null || return 1
    cp $BUILD-program/glm1m $BUILD-program/tests/test_runtime_gpu_logits $BUILD && mkdir -p $BUILD/lib || return 1
    strip --strip-debug $BUILD/glm1m $BUILD/test_runtime_gpu_logits
    ldd $BUILD-program/glm1m $BUILD-program/tests/test_runtime_gpu_logits | sed -n 's/.* => \(\/[^ ]*\) .*/\1/p' | sort -u |
        grep -v '/lib\(c\|m\|dl\|rt\|pthread\)\.so' | xargs -I{} cp -L {} $BUILD/lib
}

# compile SOURCE NAME; a benchmark links the kernels, a test contains the one it tests
# shellcheck disable=SC2086 # words of options
compile() {
    kernels=
    case $2 in
    bench_*)
        for kernel in attention/*.cu runtime/*.cu; do
            object=$BUILD/kernel_$(basename "$kernel" .cu).o
            case $kernel in *_sm90.cu) [ "$capability" = 9.0 ] || continue ;; esac
            [ -e "$object" ] || nvcc -std=c++17 -O3 -lineinfo -I. $architecture -c "$kernel" -o "$object" || return 1
            kernels="$kernels $object"
        done
        [ "$2" != bench_cuda_decode ] || kernels="$kernels $linear"
        ;;
    esac
    nvcc -std=c++17 -O2 -lineinfo -x cu -I. -Itests -Ibench $architecture -DHAS_SM90=$has_sm90 -c "$1" -o "$BUILD/$2.o" &&
        nvcc $architecture "$BUILD/$2.o" $kernels $BUILD/attn_cuda.o $BUILD/attn_fp8.o $BUILD/attn_ref.o $BUILD/status.o -ldl \
            -o "$BUILD/$2" && rm -f "$BUILD/$2.o"
}

build() {
    command -v nvcc >/dev/null || { echo "no nvcc here: the CUDA toolkit is needed, or build-gpu/ from --build-only on the same sources" && exit 77; }
    rm -rf $BUILD && mkdir -p $BUILD
    linear= # products as the program has them, for a benchmark
    for source in attention/attn_cuda.c attention/attn_fp8.c attention/attn_ref.c runtime/base/status.c \
        runtime/linear_cuda.c runtime/device_cuda.c runtime/base/memory.c runtime/base/proc_text.c runtime/base/size.c; do
        object=$BUILD/$(basename "$source" .c).o
        cc -std=gnu11 -O2 -g -D_GNU_SOURCE -I. -Iruntime -isystem "$(dirname "$(command -v nvcc)")/../include" \
            -c "$source" -o "$object" || exit 1
        case $source in */linear_* | */device_* | */memory.c | */proc_text.c | */size.c) linear="$linear $object" ;; esac
    done
    for name in $(tests) $(benches); do
        source=tests/$name.cpp
        [ -e "$source" ] || source=bench/$name.cpp
        echo "compiling $name"
        compile "$source" "$name" || echo "FAIL  $name does not compile"
    done
    echo 'compiling glm1m'
    build_program || echo 'FAIL  glm1m does not compile'
    rm -f $BUILD/*.o
    ! is_complete || stamp >$BUILD/stamp
}
is_complete() {
    for name in $(tests) $(benches); do [ -x "$BUILD/$name" ] || return 1; done
}

if [ "$(cat $BUILD/stamp 2>/dev/null)" = "$(stamp)" ]; then
    echo "$BUILD is of these sources: nothing to compile"
else
    build
fi
if [ $run_it = no ]; then
    echo "built for $capability, $(du -sh $BUILD | cut -f1); nothing was run"
    is_complete
    exit $?
fi

# ---- running ----

mkdir -p "$out" || exit 1
summary=$out/summary
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

# sanitizer_command SIZE TOOL:TEST; sizes are tests/help_cuda_machine.h's. Tests themselves never exit with found_rc.
found_rc=9
sanitizer_command() {
    command -v compute-sanitizer >/dev/null &&
        echo "env GLM_TEST_FAST=$1 compute-sanitizer --tool ${2%%:*} --error-exitcode $found_rc $BUILD/${2#*:}"
}
# The command of a part, or nothing where what it needs is missing.
command_of() {
    case $1 in
    logits) [ ! -x $BUILD/test_runtime_gpu_logits ] || echo "$BUILD/test_runtime_gpu_logits" ;;
    engine | spill | ranks) [ ! -x $BUILD/glm1m ] || echo "env GLM1M=$PWD/$BUILD/glm1m sh tests/gpu_$1.sh" ;;
    9b) [ ! -x $BUILD/glm1m ] || echo "env GLM1M=$PWD/$BUILD/glm1m sh bench/gpu_9b.sh --dir $models" ;;
    bench_cuda_sdpa) command -v python3 >/dev/null && echo "python3 bench/bench_cuda_sdpa.py" ;;
    full:*) echo "$BUILD/${1#full:}" ;;
    racecheck:*) sanitizer_command 2 "$1" ;;
    *check:*) sanitizer_command 1 "$1" ;;
    test_*) echo "env GLM_TEST_FAST=1 $BUILD/$1" ;;
    *) echo "$BUILD/$1" ;;
    esac
}

# cuBLAS, where only PyTorch brings it.
for directory in $(python3 -c 'import importlib.util as u, glob, os
s = u.find_spec("nvidia")
print(*[d for p in (s.submodule_search_locations if s else []) for d in glob.glob(os.path.join(p, "*", "lib"))])' 2>/dev/null); do
    LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$directory
done
export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:-}:/usr/local/cuda/lib64"

run() {
    part=$1
    command=$(command_of "$part")
    [ -n "$command" ] || { note "skip  $part: what runs it is not there" && return; }
    limit=$(limit_of "$part")
    [ "$(left)" -ge "$limit" ] || limit=$(left)
    [ "$limit" -ge 5 ] || { note "skip  $part: no time left" && return; }
    log=$out/$(printf '%s' "$part" | tr : _)
    from=$(date +%s)
    # shellcheck disable=SC2086 # words of a command
    timeout -k 5 "$limit" $command >"$log" 2>&1
    rc=$?
    took="$(($(date +%s) - from)) s"
    case $part:$rc in
    racecheck:test_cuda_barriers*:$found_rc) # what is right by definition: a fault of the tool's
        note "wrong $part: hazards are reported where there are none (bench/GPU.md, What racecheck takes for a race)" && return ;;
    esac
    case $rc in
    0) note "pass  $part ($took)" ;;
    77) note "skip  $part: $(tail -n 1 "$log")" ;;
    124 | 137) note "FAIL  $part: not over after $limit s" ;;
    *) note "FAIL  $part: exit $rc ($took)" ;;
    esac
    case $part$rc in
    bench_* | 9b* | engine0 | spill0 | ranks0 | logits0) cat "$log" ;;
    *77 | *0) ;;
    *) tail -n 12 "$log" ;;
    esac
}

# wave PART...: at once; what they print does not mix
wave() {
    if [ $# -eq 1 ]; then
        case $1 in bench_* | 9b) machine_state ;; esac
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
    room=$(df --output=avail -B1G /dev/shm 2>/dev/null | tail -n 1)
    parent=/dev/shm
    [ "${room:-0}" -gt 30 ] || parent=${TMPDIR:-/tmp}
    models=$(mktemp -d "$parent/glm1m-9b.XXXXXX") || return
    trap 'rm -rf "$models"' EXIT
    [ -x $BUILD/glm1m ] || return
    GLM1M=$PWD/$BUILD/glm1m nice sh bench/gpu_9b.sh --dir "$models" --make-only >"$out/9b_models" 2>&1 &
}

: >"$summary"
note "# $(git rev-parse --short HEAD 2>/dev/null || echo 'no git'), built for $capability, $seconds s"
machine_state
command -v compute-sanitizer >/dev/null || note "# no compute-sanitizer here"
if [ $# -gt 0 ]; then
    printf '%s\n' "$@" >"$out/waves"
else
    waves >"$out/waves"
fi
making=
! grep -qw 9b "$out/waves" || { make_models && making=$!; }
while read -r parts; do
    case $parts in 9b) wait $making ;; esac
    # shellcheck disable=SC2086 # words
    wave $parts
done <"$out/waves"
machine_state
note "# $(grep -c '^pass' "$summary") passed, $(grep -c '^FAIL' "$summary") failed, $(grep -c '^skip' "$summary") skipped, $(($(date +%s) - started)) s"
! grep -q '^FAIL' "$summary" || exit 1
grep -q '^pass' "$summary" || exit 77
