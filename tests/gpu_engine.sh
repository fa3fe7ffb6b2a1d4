#!/bin/sh
# The whole program on a GPU, the embedded model: needles are found with --device cuda, and a book that one device
# wrote is opened by the other, nothing computed again. tests/gpu.sh runs it with build/glm1m.
#
#   GLM1M=build/glm1m sh tests/gpu_engine.sh [LENGTHS [LENGTH_OF_THE_BOOK]]
. tests/help_cli.sh
lengths=${1:-4K,16K,64K}
length=${2:-8K}

run doctor
cat "$work/out"
make_needle_model
run plan -m "$work/model" --device cuda --json -c 4K
[ "$rc" -eq 0 ] || { cat "$work/err" && exit 77; }
expect 0 needle --device cuda --lengths "$lengths" --depths 0,50,100 --quiet --min-accuracy 1
cat "$work/out"

of() { grep -o "\"$1\": [^,]*" "$work/$2/results.json"; }
for writer in cpu cuda; do
    [ $writer = cpu ] && reader=cuda || reader=cpu
    for device in $writer $reader; do
        expect 0 needle --device $device --lengths "$length" --depths 50 --quiet --book of-$writer \
            --kv-disk-dir "$work/kv" --out "$work/$writer-$device"
        says out 'found 1 of 1'
    done
    n=$(of reused_tokens $writer-$reader | grep -o '[0-9]*$')
    [ "$n" -gt 0 ] || fail "$reader computed again what $writer had written"
    echo "a book of $writer, opened by $reader: $n tokens reused, the needle found"
done
