#!/bin/sh
# The kernels on a GPU: the tests that the emulation runs everywhere, compiled by nvcc and run on the device,
# then under compute-sanitizer, then the benchmark of attention.
#
#   sh tests/gpu.sh [--build-only] [NAME...]
#
# Needs a driver, the CUDA toolkit (12.4 or later) and a C compiler; no network. NAME: only these, as
# test_cuda_decode. Exits 0 when everything passed, 77 where there is no GPU.
set -u
cd "$(dirname "$0")/.." || exit 1
PATH=$PATH:/usr/local/cuda/bin
BUILD=build-gpu

run_it=yes
[ "${1:-}" = --build-only ] && { run_it=no && shift; }
command -v nvcc >/dev/null || { echo "no nvcc here: the CUDA toolkit is needed" && exit 77; }
if [ $run_it = yes ]; then
    capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -n 1)
    [ -n "$capability" ] || { echo "no GPU here" && exit 77; }
    nvidia-smi --query-gpu=name,driver_version,clocks.max.sm --format=csv,noheader
else
    capability=9.0
fi
# Hopper's own instructions exist for exactly 9.0; anything later takes the kernels for sm_80.
case $capability in
9.0) architecture="-gencode arch=compute_90a,code=sm_90a" ;;
*) architecture="-gencode arch=compute_80,code=sm_80 -gencode arch=compute_80,code=compute_80" ;;
esac

rm -rf $BUILD && mkdir -p $BUILD
for source in attention/attn_cuda.c attention/attn_ref.c runtime/base/status.c; do
    cc -std=gnu11 -O2 -g -D_GNU_SOURCE -I. -c "$source" -o "$BUILD/$(basename "$source" .c).o" || exit 1
done

# compile SOURCE NAME; a benchmark links the kernels, a test contains the one it tests
# shellcheck disable=SC2086 # words of options
compile() {
    kernels=
    case $2 in
    bench_*)
        for kernel in attention/*.cu; do
            object=$BUILD/kernel_$(basename "$kernel" .cu).o
            case $kernel in *_sm90.cu) [ "$capability" = 9.0 ] || continue ;; esac
            [ -e "$object" ] || nvcc -std=c++17 -O3 -lineinfo -I. $architecture -c "$kernel" -o "$object" || return 1
            kernels="$kernels $object"
        done
        ;;
    esac
    nvcc -std=c++17 -O2 -lineinfo -x cu -I. -Itests $architecture "-DHAS_SM90=$([ "$capability" = 9.0 ] && echo 1 || echo 0)" \
        -c "$1" -o "$BUILD/$2.o" &&
        nvcc $architecture "$BUILD/$2.o" $kernels $BUILD/attn_cuda.o $BUILD/attn_ref.o $BUILD/status.o -o "$BUILD/$2"
}

names() {
    for source in tests/test_cuda_*.cpp bench/bench_cuda_*.cpp; do
        name=$(basename "$source" .cpp)
        case $name in
        *_mutants) continue ;; # those are about the emulation
        *sm90*) [ "$capability" = 9.0 ] || continue ;;
        esac
        printf '%s\n' "$name"
    done
}

failed=0
# report WHAT COMMAND...
report() {
    what=$1
    shift
    if "$@" >"$BUILD/log" 2>&1; then
        printf 'pass  %s\n' "$what"
    else
        printf 'FAIL  %s\n' "$what" && tail -n 20 "$BUILD/log" && failed=1
    fi
}

for name in ${*:-$(names)}; do
    source=tests/$name.cpp
    [ -e "$source" ] || source=bench/$name.cpp
    compile "$source" "$name" || exit 1
    [ $run_it = yes ] || continue
    case $name in
    bench_*) "$BUILD/$name" || failed=1 && continue ;;
    esac
    report "$name" "$BUILD/$name"
    command -v compute-sanitizer >/dev/null || continue
    for tool in memcheck racecheck initcheck synccheck; do
        report "$name, $tool" env GLM_TEST_FAST=1 compute-sanitizer --tool $tool --error-exitcode 1 "$BUILD/$name"
    done
done
[ $run_it = yes ] || { echo "built; nothing was run" && exit 0; }
exit $failed
