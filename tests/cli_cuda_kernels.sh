#!/bin/sh
# What ptxas says about the kernels: no stack frames, no spilled registers, nothing about wgmma being
# serialised or repaired, for every architecture. Where a disassembler is installed: Hopper's kernels
# really use HGMMA and UBLKCP.
#
# Method: read the reports that the build left in cuda/*.ptxas. First a planted report in which each
# rule is broken once, so that a reader gone blind is noticed.
set -u
cd "$(dirname "$0")/.." || exit 1

# Print what is wrong in the reports given.
complaints() {
    awk '
    /Compiling entry function/ { split($0, part, "\047"); kernel = part[2] " for " part[4] }
    /bytes stack frame/ && !/ 0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads/ {
        print FILENAME ": " kernel ": " $0
    }
    /C75[0-9][0-9]/ { print FILENAME ": " $0 }' "$@"
}

planted=$(mktemp -d) || exit 1
trap 'rm -rf "$planted"' EXIT
cat >"$planted/bad.ptxas" <<'END'
ptxas info    : Compiling entry function 'right' for 'sm_80'
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Compiling entry function 'framed' for 'sm_80'
    8 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Compiling entry function 'spilling' for 'sm_90a'
    0 bytes stack frame, 4 bytes spill stores, 0 bytes spill loads
ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized
END
[ "$(complaints "$planted/bad.ptxas" | wc -l)" -eq 3 ] || { echo "the reader is blind" && exit 1; }

build=$(dirname "$GLM1M")
if ! ls "$build"/cuda/*.ptxas >/dev/null 2>&1; then
    echo "no CUDA toolkit here: no kernels to look at"
    exit 77
fi
awk '/Compiling entry function/ { split($0, part, "\047"); kernel = part[2] " " part[4] }
    /Used [0-9]+ registers/ { print kernel ": " $5 " registers" }' "$build"/cuda/*.ptxas | sort
for source in attention/*.cu runtime/*.cu; do
    report=$build/cuda/$(basename "$source" .cu).ptxas
    [ -e "$report" ] || { echo "no report of $source" && exit 1; }
    grep -q "bytes stack frame" "$report" || { echo "$report names no kernel" && exit 1; }
done
found=$(complaints "$build"/cuda/*.ptxas)
[ -z "$found" ] || { printf '%s\n' "$found" && exit 1; }

command -v cuobjdump >/dev/null || { echo "no cuobjdump here: the machine code is not looked at" && exit 0; }
for object in "$build"/cuda/*_sm90.o; do
    [ -e "$object" ] || continue
    cuobjdump -sass "$object" >"$planted/sass" || exit 1
    for instruction in HGMMA UBLKCP; do
        grep -q "$instruction" "$planted/sass" || { echo "$object: no $instruction" && exit 1; }
    done
done
