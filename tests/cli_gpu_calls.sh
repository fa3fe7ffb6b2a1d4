#!/bin/sh
# tests/gpu.sh where a GPU's minutes are few: a part that fails or hangs stops no other; what has a result is not run again by
# the next call, what had no time left is, or what a sanitizer refuses; figures are held against bench/foretold.tsv. The log of a
# part that hangs ends where it does. Its parts, all of them, are known. Where the test of a kernel hangs, what runs that kernel is
# left out, of bench_cuda_attention that half; what there is is one file behind each wave (--tar). Hazards of racecheck in a kernel of
# Hopper's fail, unless it reports such in rings that have none, which it is asked about first, and of several the one that is mistaken least.
#
# Method: a tree whose programs are scripts that say what the real ones do, and an nvidia-smi that names a GPU.
[ -z "${GLM_TEST_FAST:-}" ] || { echo 'scripts only: the release suite has run it' && exit 77; }
. tests/help_cli.sh
tree=$work/tree
mkdir -p "$tree/tests" "$tree/bench" "$tree/build-gpu" "$tree/bin" || exit 1
cp tests/gpu.sh tests/gpu_races.sh tests/help_gpu_*.sh tests/hazards.awk "$tree/tests" && cp bench/foretold.tsv "$tree/bench" || exit 1
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

# What racecheck says of Hopper's kernels is worth what it says of rings of which it is known whether they have a race.
kernel=racecheck:test_cuda_prefill_sm90
program build-gpu/test_cuda_append 'exit 0'
program build-gpu/bench_cuda_decode 'exit 0'
program build-gpu/test_cuda_barriers_sm90 '[ "${1:-}" = rings ] || exit 0
printf "%s\n" "pages one right" "pages each right" "pages each,behind right" "rows each right" "pages one,apart race" "pages each,read-early race"'
# A line of a compute-sanitizer's `reports` is a pattern of what it is asked about, and a file: what it says then.
program bin/compute-sanitizer 'case "$*" in *--version) echo "Version 2025.3.1.0 (build 1)" && exit 0 ;; esac
[ ! -e "$0.fails" ] || exit 255
while read -r about said; do case "$*" in *$about) cat "$said" && exit 9 ;; esac; done <"$0.reports"'
# hazard TYPE THREAD EARLIER LINE THREAD LATER LINE: as compute-sanitizer 2025.3 says it
hazard() {
    printf '========= Error: Potential %s hazard detected at __shared__ 0x410 in block (0,0,0) :\n' "$1"
    printf '=========     %s Thread (%d,0,0) at ptx_x(unsigned int, int)+0x%d0 in ptx.cuh:%d\n' "$3" "$2" "$4" "$4"
    printf '=========     %s Thread (%d,0,0) at <unnamed>::y<int>(int)+0x%d0 in ptx.cuh:%d\n=========     Current Value : 1\n========= \n' "$6" "$5" "$7" "$7"
}
hazard WAR 33 Read 59 128 Write 53 >"$tree/hazard"
hazard WAR 33 Read 59 128 Write 54 >"$tree/raced" # in a ring with a race alone
{ hazard RAW 128 Write 102 33 Read 135 && cat "$tree/hazard"; } >"$tree/hazards"
# reports PATTERN...: of the toolkit's
reports() {
    rm -f "$tree"/bin/compute-sanitizer.fails
    for about in "$@"; do
        case $about in read-early) said=raced ;; *) said=hazards ;; esac
        printf '%s %s\n' "$about" $said
    done >"$tree/bin/compute-sanitizer.reports"
}
races='pages?one,apart read-early' in_kernel='racecheck*prefill_sm90' in_twin='prefill_sm90_lanes_tried'
# Every case in results of its own.
asked() { # NAME PART...
    results=asked_$1
    shift
    gpu "$@"
}
# shellcheck disable=SC2086 # words, none of which is the name of a file
{
    reports $in_kernel
    asked without $kernel
    is FAIL $kernel
    [ "$rc" -eq 1 ] || fail "exit $rc where hazards are reported"

    # Where every lane arrives it is not mistaken.
    reports $races 'pages?one' $in_kernel 'racecheck*prefill_sm80' 'racecheck*test_cuda_barriers'
    asked lanes --seconds 140
    is pass races
    says out 'pages    one                right reported'
    says out 'RAW: Write ptx_x ptx.cuh:102, then Read <unnamed>::y<int> ptx.cuh:135: by lane 0 1, by others 0'
    is unsure $kernel
    is pass ${kernel}_lanes_tried
    is FAIL racecheck:test_cuda_prefill_sm80
    is pass racecheck:test_cuda_decode_sm90
    ! grep -q '^racecheck:test_cuda_barriers_sm90' "$tree/$results/summary.tsv" || fail 'the rings are asked about in two parts'
    says out "unsure $kernel: hazards, but none where every lane arrives"
    grep -q '1 failed, .* 1 unsure' "$work/out" || fail 'what is unsure is not counted, or as a failure'
    gpu --seconds 140
    ! grep -q "$kernel\|races" "$work/out" || fail 'what is unsure is run again'
    gpu racecheck:test_cuda_barriers
    is wrong racecheck:test_cuda_barriers
    gpu $kernel
    is unsure $kernel
    reports $races 'pages?one' $in_kernel $in_twin
    gpu $kernel
    is FAIL $kernel
    is seen ${kernel}_lanes_tried
    reports $races 'pages?one' $in_kernel
    echo '124 456' >"$tree/build-gpu/stamp" # of which the rings have no result
    gpu $kernel
    is FAIL $kernel
    echo '123 456' >"$tree/build-gpu/stamp"

    # It is mistaken there, too: unsure are kinds that it is mistaken about, too.
    reports $races 'pages?each,behind' $in_kernel
    asked mistaken_elsewhere races $kernel
    is unsure $kernel
    says out "unsure $kernel: hazards, but none where every lane arrives"
    reports $races 'pages?each,behind' $in_kernel $in_twin
    asked mistaken races $kernel
    is unsure $kernel
    says out "unsure $kernel: hazards, but only such"
    gpu $kernel
    [ "$rc" -eq 77 ] || fail "exit $rc of a call in which nothing passed and nothing failed"
    for other in "$(cat "$tree/raced")" "$(hazard WAR 128 Write 53 33 Read 59)" '= no hazard that is named' \
        "$(cat "$tree/hazard")
========= RACECHECK SUMMARY: 1 hazard displayed (2 errors, 0 warnings)"; do
        echo "$other" >"$tree/hazard"
        sed -i "s/^racecheck.*/$in_kernel hazard/" "$tree/bin/compute-sanitizer.reports"
        gpu $kernel
        is FAIL $kernel
        hazard WAR 33 Read 59 128 Write 53 >"$tree/hazard"
    done

    # Or about nothing, or it does not hear.
    reports $races $in_kernel
    asked believed races $kernel
    is FAIL $kernel
    reports 'pages?one,apart' 'pages?one' $in_kernel
    asked deaf races $kernel
    is FAIL $kernel

    # Another was brought, which is asked if it is mistaken less, and runs.
    mkdir "$tree/build-gpu/sanitizer" && cp "$tree/bin/compute-sanitizer" "$tree/build-gpu/sanitizer" || exit 1
    printf '%s hazards\n' $races >"$tree/build-gpu/sanitizer/compute-sanitizer.reports"
    reports $races 'pages?one' $in_kernel
    asked other races $kernel memcheck:test_cuda_decode
    is pass $kernel
    is pass memcheck:test_cuda_decode
    grep -q '^# worth: believed build-gpu/sanitizer/compute-sanitizer' "$tree/$results/races" || fail 'what was brought is not asked'
    : >"$tree/build-gpu/sanitizer/compute-sanitizer.fails"
    asked one_fails races $kernel
    is unsure $kernel
    : >"$tree/bin/compute-sanitizer.fails"
    asked both_fail races
    is skip races
}
rm -r "$tree/build-gpu/sanitizer"
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
