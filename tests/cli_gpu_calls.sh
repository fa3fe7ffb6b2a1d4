#!/bin/sh
# tests/gpu.sh where a GPU's minutes are few: a part that fails or hangs stops no other; what has a result is not run again by
# the next call, what had no time left is, or what a sanitizer refuses; figures are held against bench/foretold.tsv. The log of a
# part that hangs ends where it does. Its parts, all of them, are known. Where the test of a kernel hangs, what runs that kernel is
# left out, of bench_cuda_attention that half; what there is is one file behind each wave (--tar). Hazards of racecheck in a kernel of
# Hopper's fail, unless it has reported such in a ring that has none, which it is asked about first.
#
# Method: a tree whose programs are scripts that say what the real ones do, and an nvidia-smi that names a GPU.
[ -z "${GLM_TEST_FAST:-}" ] || { echo 'scripts only: the release suite has run it' && exit 77; }
. tests/help_cli.sh
tree=$work/tree
mkdir -p "$tree/tests" "$tree/bench" "$tree/build-gpu" "$tree/bin" || exit 1
cp tests/gpu.sh tests/help_gpu_build.sh "$tree/tests" && cp bench/foretold.tsv "$tree/bench" || exit 1
for name in tests/test_cuda_* bench/bench_cuda_*; do : >"$tree/$name"; done
# program PATH COMMANDS
program() {
    printf '#!/bin/sh\n%s\n' "$2" >"$tree/$1" && chmod +x "$tree/$1"
}
program bin/nvidia-smi 'case "$*" in *compute_cap*) echo 9.0 ;; *) echo "NVIDIA H100 80GB HBM3" ;; esac'
program bin/compute-sanitizer 'exit 0'
for name in "$tree"/tests/test_cuda_*.cpp; do program "build-gpu/$(basename "$name" .cpp)" 'echo "$0" >>ran'; done
program build-gpu/test_cuda_ops 'echo wrong && exit 1'
linear=$(sed -n 's/.*printf("\(# linear,[^"]*\)".*/\1/p' bench/bench_cuda_layer.cpp | sed 's/%lld/%d/') # as it says it
# shellcheck disable=SC2059 # a format
printf "$linear" 135168 0.95 0.8 >"$tree/linear"
program build-gpu/bench_cuda_layer 'cat linear && echo "# derived: 2^20 tokens through 40 layers in 488.2 s = 40 x 12"'
program build-gpu/bench_cuda_attention 'echo decode_sm90,1048576,1,0.1,0.1,3000,3000,GB/s,1.030 && echo chunk_sm90,131072,8448,1,1,650.5,640,TFLOP/s,0.7'
program build-gpu/bench_cuda_decode 'echo attention,131072,16,0.16,0.16'
echo 'import sys; print("# ours/cudnn, dense, 131072 keys, 8448 queries: 1.07" if sys.argv[1:] == ["results/bench_cuda_attention"] else sys.argv)' \
    >"$tree/bench/bench_cuda_sdpa.py"
program build-gpu/bench_cuda_linear 'echo "# decode, 16 rows: 7.1 ms of products, by kernels for so many 7, times 1.014"'

results=results
# gpu ARGS...: leaves $rc and $work/out; $line is of summary.tsv
gpu() {
    shown="(tests/gpu.sh $*)"
    (cd "$tree" && PATH=$tree/bin:$PATH sh tests/gpu.sh --as-built --out $results "$@") >"$work/out" 2>"$work/err"
    rc=$?
}
result() { # PART [FIGURE]: its latest result, or the figure's latest value and verdict
    awk -F '\t' -v part="$1" -v figure="${2:--}" '$1 == part && $4 == figure { print figure == "-" ? $3 : $5 " " $7 }' \
        "$tree/$results/summary.tsv" | tail -n 1
}
is() { # WANTED PART [FIGURE]
    wanted=$1
    shift
    [ "$(result "$@")" = "$wanted" ] || { cat "$tree/$results/summary.tsv" && fail "$*: $(result "$@"), wanted $wanted"; }
}

gpu
[ "$rc" -eq 1 ] || fail "exit $rc of a build that is not complete"
says out 'is not complete'
echo '123 456' >"$tree/build-gpu/stamp"

# Enough for all but the 640 s of a million tokens.
gpu --seconds 500
[ "$rc" -eq 1 ] || fail "exit $rc, one part failed"
is FAIL test_cuda_ops
is pass test_cuda_decode
is pass bench_cuda_attention
is '1.03 met' bench_cuda_attention 'decode, 1M keys, 1 tokens, of the copy'
is '650.5 below' bench_cuda_attention 'chunk, 128K keys, TFLOP/s'
is '- unseen' bench_cuda_attention 'chunk, 1M keys, TFLOP/s'
is pass 'full:test_cuda_decode'
is '1.07 met' bench_cuda_sdpa "asked: prefill, a chunk behind 128K keys, times PyTorch's cudnn"
is '0.16 met' bench_cuda_decode 'attention of 16 forks, 128K, ms'
is '1.014 met' bench_cuda_linear 'decode, 16 rows, times a kernel for so many'
is '488.2 met' bench_cuda_layer '2^20 tokens through 40 layers, derived, s'
is '0.95 met' bench_cuda_layer 'asked: linear layers at 135K keys, of the best product in the same state'
for tool in memcheck racecheck synccheck initcheck; do is pass $tool:test_cuda_fp8; done
says out 'later 9b_million: takes 640 s'
says out 'logits: what runs it is not there'
n_ran=$(wc -l <"$tree/ran")

# Nothing of that is run again, and what is named is; what there was no time for comes next.
program build-gpu/test_cuda_ops 'exit 0'
mkdir "$tree/build-gpu/variants"
program bench/cuda_variants.sh 'sleep 60'
program build-gpu/test_cuda_append '{ echo "the first case" && exec sleep 60; } | sed s/case/cases/'
gpu --seconds 12 'variants test_cuda_append' test_cuda_ops
is cut variants
is cut test_cuda_append
grep -q 'the first cases' "$tree/results/test_cuda_append" || fail 'how far a part was that hung is lost'
program bench/cuda_variants.sh 'echo "# chunk_sm90,131072,8448: now 750.0, ran 692.0 (-7.7 %), whole 725.0 (-3.3 %) TFLOP/s"'
gpu --seconds 500
[ "$rc" -eq 0 ] || fail "exit $rc of a call without a failure"
is pass variants
is FAIL test_cuda_ops
is '-7.7 met' variants 'prefill as in the first run, chunk 128K, percent against now'
is '-3.3 met' variants 'no weights before all of O, chunk 128K, percent against now'
program build-gpu/bench_cuda_decode 'exit 1'
gpu --seconds 500 test_cuda_ops
is pass test_cuda_ops
program bin/compute-sanitizer 'echo "Error: Device not supported" && exit 1'
gpu memcheck:test_cuda_ops
is refused memcheck:test_cuda_ops
[ "$rc" -eq 77 ] || fail "exit $rc of a call in which nothing ran"
gpu
[ "$(wc -l <"$tree/ran")" -eq "$n_ran" ] || fail 'tests that have a result are run again'
[ "$rc" -eq 77 ] || fail "exit $rc where everything has a result"

# What racecheck says of Hopper's kernels is worth what it says of a ring without a race: of the same kinds of hazards.
ring=racecheck:test_cuda_barriers_sm90 kernel=racecheck:test_cuda_prefill_sm90
program build-gpu/test_cuda_append 'exit 0'
program build-gpu/bench_cuda_decode 'exit 0'
program bin/compute-sanitizer 'case "$*" in *racecheck*prefill*) said=hazards ;; *racecheck*barriers_sm90) said=ring ;; *) exit 0 ;; esac
cat $said && ! grep -q = $said || exit 9'
# hazard LINE FIRST LINE SECOND: as compute-sanitizer 2025.3 says it
hazard() {
    printf '========= Error: Race reported between %s access at ptx_x(unsigned int, int)+0x%d0 in ptx.cuh:%d\n' "$2" "$1" "$1"
    printf '=========     and %s access at <unnamed>::y(int)+0x%d0 in ptx.cuh:%d [%d hazards]\n========= \n' "$4" "$3" "$3" "$1"
}
hazard 59 Read 53 Write >"$tree/hazards"
{ hazard 135 Write 102 Read && hazard 59 Read 49 Write && hazard 59 Read 53 Write | sed 1d; } >"$tree/ring" # one with two others
results=asked_without
gpu $kernel
is FAIL $kernel
[ "$rc" -eq 1 ] || fail "exit $rc where hazards are reported"
results=asked_wrong
gpu --seconds 110 # the ring before the kernel, in one call
is wrong $ring
is unsure $kernel
is FAIL racecheck:test_cuda_prefill_sm80
is pass racecheck:test_cuda_decode_sm90
[ "$(grep -c "^$ring" "$tree/$results/summary.tsv")" -eq 1 ] || fail 'the ring is asked about twice'
says out "unsure $kernel: hazards, but only such as this racecheck reports in a ring that has none, too"
grep -q '1 failed, .* 1 unsure' "$work/out" || fail 'what is unsure is not counted, or as a failure'
gpu --seconds 110
! grep -q "$kernel\|$ring" "$work/out" || fail 'what is unsure or wrong is run again'
gpu $kernel
is unsure $kernel
[ "$rc" -eq 77 ] || fail "exit $rc of a call in which nothing passed and nothing failed"
for other in "$(hazard 53 Write 59 Read)" "$(hazard 59 Read 54 Write)" '= no hazard that is named'; do
    echo "$other" >"$tree/hazards"
    gpu $kernel
    is FAIL $kernel
done
hazard 59 Read 53 Write >"$tree/hazards"
echo '124 456' >"$tree/build-gpu/stamp" # of which the ring has no result
gpu $kernel
is FAIL $kernel
echo '123 456' >"$tree/build-gpu/stamp"
: >"$tree/ring"
gpu $ring
gpu $kernel
is FAIL $kernel
[ "$rc" -eq 1 ] || fail "exit $rc where hazards are reported and the ring is not"
results=results

# What is flat over the keys is so by the medians of what runs for seconds on end: 735 of 750, not 740 of 800.
program bin/nvidia-smi 'case "$*" in *compute_cap*) echo 9.0 ;; *) echo "NVIDIA H200" ;; esac'
program build-gpu/bench_cuda_attention 'echo dense_sm90,65536,8448,1,1,870,860,TFLOP/s,1 && echo dense_sm90,1048576,8448,1,1,770,760,TFLOP/s,1
echo steady_sm90,65536,8448,1,1,800,750,TFLOP/s,1 && echo steady_sm90,1048576,8448,1,1,740,735,TFLOP/s,1'
gpu bench_cuda_attention
is '0.98 met' bench_cuda_attention 'asked: flat, for seconds on end behind 1M keys, of 64K'
is '735 met' bench_cuda_attention 'asked: prefill for seconds on end, behind 1M keys, TFLOP/s'

# A kernel that does not end, met within its test's own limit; in a tree of its own results.
program build-gpu/test_cuda_prefill_sm90 'exec sleep 60'
program build-gpu/test_cuda_append 'exit 0'
program build-gpu/bench_cuda_attention 'echo "asked for $*"'
program build-gpu/bench_cuda_decode 'exit 0'
rm "$tree/bin/compute-sanitizer"
sed -i 's/\*) echo 60 ;;/*) echo 5 ;;/' "$tree/tests/gpu.sh"
shown='(tests/gpu.sh, prefill hangs)'
(cd "$tree" && PATH=$tree/bin:$PATH sh tests/gpu.sh --as-built --out hung --tar hung.tar.gz --seconds 500) >"$work/out" 2>"$work/err"
rc=$?
[ "$rc" -eq 1 ] || fail "exit $rc where a test hangs"
says out 'FAIL  test_cuda_prefill_sm90: not over after 5 s'
says out 'asked for decode'
says out 'later bench_cuda_layer: test_cuda_prefill_sm90 does not end, and so would this'
says out 'later full:test_cuda_prefill_sm90: test_cuda_prefill_sm90 does not end'
says out 'pass  bench_cuda_decode'
says out 'pass  full:test_cuda_decode_sm90'
[ "$(awk -F '\t' '$1 == "test_cuda_prefill_sm90" { print $3 }' "$tree/hung/summary.tsv")" = hung ] || fail 'what hung is not told'
tar -xzOf "$tree/hung.tar.gz" hung/summary | grep -q 'pass  bench_cuda_linear' || fail 'the file of results is behind'
