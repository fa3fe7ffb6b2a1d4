#!/bin/sh
# What tests/gpu.sh --build-only has made is one file after --pack, results aside, from which --as-built runs elsewhere: a
# machine with a GPU may take little, and it is 90 MB. A later pack is what is run then.
#
# Method: a tree whose programs are scripts, and an nvidia-smi that names a GPU.
[ -z "${GLM_TEST_FAST:-}" ] || { echo 'of a script alone: the release suite has run it' && exit 77; }
. tests/help_cli.sh
here=$work/here there=$work/there
for tree in "$here" "$there"; do
    mkdir -p "$tree/tests" "$tree/bench" "$tree/bin" || exit 1
    cp tests/gpu.sh tests/help_gpu_*.sh "$tree/tests" && cp bench/foretold.tsv "$tree/bench" || exit 1
    for name in tests/test_cuda_* bench/bench_cuda_*; do : >"$tree/$name"; done
    printf '#!/bin/sh\ncase "$*" in *compute_cap*) echo 9.0 ;; *) echo "NVIDIA H100 80GB HBM3" ;; esac\n' >"$tree/bin/nvidia-smi"
    chmod +x "$tree/bin/nvidia-smi"
done
mkdir -p "$here/build-gpu/lib" "$here/build-gpu/results" || exit 1
echo of-another >"$here/build-gpu/results/summary.tsv"
echo word >"$here/build-gpu/lib/library"
printf '#!/bin/sh\ncat build-gpu/lib/library && test ! -e build-gpu/results/summary.tsv\n' >"$here/build-gpu/test_cuda_ops"
chmod +x "$here/build-gpu/test_cuda_ops"

# gpu TREE ARGS...: leaves $rc and $work/out
gpu() {
    tree=$1
    shift
    shown="(tests/gpu.sh $*)"
    (cd "$tree" && PATH=$tree/bin:$PATH sh tests/gpu.sh "$@") >"$work/out" 2>"$work/err"
    rc=$?
}
gpu "$here" --pack
[ "$rc" -eq 1 ] || fail "exit $rc of a build that is not complete"
echo '123 456' >"$here/build-gpu/stamp"
gpu "$here" --pack
[ "$rc" -eq 0 ] || fail "exit $rc"
mv "$here/build-gpu-packed" "$there" || fail 'there is nothing to take along'
gpu "$there" --as-built --out "$work/results" test_cuda_ops
[ "$rc" -eq 0 ] || fail "exit $rc of what was packed"
says out 'pass  test_cuda_ops'
grep -qx word "$work/results/test_cuda_ops" || fail 'a library is not where its program looks'

# A later pack takes the place of what an earlier one has left there; a program that was brought without being executable is run.
sleep 0.1
echo '124 457' >"$here/build-gpu/stamp"
echo other >"$here/build-gpu/lib/library"
rm -rf "$there/build-gpu-packed"
gpu "$here" --pack
mv "$here/build-gpu-packed" "$there" || fail 'there is nothing to take along'
gpu "$there" --as-built --out "$work/results" test_cuda_ops
grep -qx other "$work/results/test_cuda_ops" || fail 'what an earlier pack has left was run'
chmod -x "$there/build-gpu/test_cuda_ops"
gpu "$there" --as-built --out "$work/results" test_cuda_ops
[ "$rc" -eq 0 ] || fail "exit $rc of what is not executable"
