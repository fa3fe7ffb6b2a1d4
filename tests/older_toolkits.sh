#!/bin/sh
# What an older CUDA toolkit would make of the sources: the backend's C against the headers of CUDA 12.4, the oldest that
# is taken, and what it calls of CUDA's runtime against that version's library; the kernels' PTX, as the nvcc that is
# here writes it, by the ptxas of 12.4, 12.6, 12.8 and 12.9, for Ampere and Hopper.
#
#   sh tests/older_toolkits.sh DIR        needs build/; fetches headers and ptxas from PyPI into DIR (500 MB), or finds them there
#
# A line for each version: kernels, and which of them spill registers, with how many bytes. Exit 1: something is refused,
# wgmma is serialised, or a kernel spills more than SPILLED_MOST bytes. What it can't see is 12.4's own nvcc, of which PyPI
# has no front end. Exit 77: no nvcc, no build/, no pip, or no PyPI.
set -u
cd "$(dirname "$0")/.." || exit 1
[ $# -eq 1 ] || { sed -n '2,11s/^# \{0,1\}//p' "$0" && exit 2; }
dir=$1
SPILLED_MOST=64
PATH=$PATH:/usr/local/cuda/bin
command -v nvcc >/dev/null && ls build/cuda/*.o >/dev/null 2>&1 || { echo "no nvcc here, or no build/" && exit 77; }
mkdir -p "$dir" || exit 1

# get PACKAGE VERSION: unpacks it as $dir/PACKAGE-VERSION
get() {
    [ ! -d "$dir/$1-$2" ] || return 0
    python3 -m pip download --quiet --no-deps -d "$dir/wheels" "$1==$2" || { echo "no $1 $2 from PyPI" && exit 77; }
    python3 -m zipfile -e "$dir"/wheels/"$(echo "$1" | tr - _)-$2"-*.whl "$dir/$1-$2.part" &&
        mv "$dir/$1-$2.part" "$dir/$1-$2" || exit 1
}

# ---- the backend's C ----
get nvidia-cuda-runtime-cu12 12.4.127
get nvidia-cuda-nvcc-cu12 12.4.131
get nvidia-cublas-cu12 12.4.5.8
runtime=$dir/nvidia-cuda-runtime-cu12-12.4.127/nvidia/cuda_runtime
for source in runtime/*_cuda.c runtime/backend.c; do
    ${CC:-cc} -std=c11 -D_GNU_SOURCE -DGLM_WITH_CUDA -Wall -Wextra -Werror -I. -isystem "$runtime/include" \
        -isystem "$dir/nvidia-cuda-nvcc-cu12-12.4.131/nvidia/cuda_nvcc/include" \
        -isystem "$dir/nvidia-cublas-cu12-12.4.5.8/nvidia/cublas/include" \
        -c "$source" -o "$dir/$(basename "$source" .c).o" || exit 1
done
nm -D --defined-only "$runtime/lib/libcudart.so.12" | sed 's/^[^ ]* . //; s/@.*//' | sort -u >"$dir/offered"
nm -u "$dir"/*_cuda.o "$dir/backend.o" build/cuda/*.o | grep -oE '\b(__)?cuda[A-Z][A-Za-z0-9_]*' | sort -u >"$dir/called"
[ -s "$dir/called" ] || { echo "no call of CUDA found" && exit 1; }
missing=$(comm -23 "$dir/called" "$dir/offered")
[ -z "$missing" ] || { echo "not in CUDA 12.4:" $missing && exit 1; }
echo "12.4: the backend's C compiles; $(wc -l <"$dir/called") calls, all of them there"

# ---- the kernels ----
for source in attention/*.cu runtime/*.cu; do
    for architecture in 80 90a; do
        case $source$architecture in *_sm90.cu80) continue ;; esac
        nvcc -std=c++17 -O3 -I. -gencode arch=compute_$architecture,code=compute_$architecture -ptx "$source" \
            -o "$dir/$(basename "$source" .cu).$architecture.ptx" || exit 1
    done
done
wrong=0
while read -r version ptx; do
    get nvidia-cuda-nvcc-cu12 "$version"
    ptxas=$dir/nvidia-cuda-nvcc-cu12-$version/nvidia/cuda_nvcc/bin/ptxas
    chmod +x "$ptxas"
    : >"$dir/report"
    for source in "$dir"/*.ptx; do
        architecture=${source%.ptx}
        sed "s/^\.version .*/.version $ptx/" "$source" >"$dir/now"
        "$ptxas" -v -O3 -arch="sm_${architecture##*.}" "$dir/now" -o "$dir/cubin" >>"$dir/report" 2>&1 || {
            echo "$version refuses $(basename "$source"):" && tail -n 3 "$dir/report" && wrong=1
        }
    done
    grep 'C75[0-9][0-9]' "$dir/report" && wrong=1
    awk -v version="$version" -v most=$SPILLED_MOST '
        /Compiling entry function/ { split($0, part, "\047"); kernel = part[2] " for " part[4]; n++ }
        /bytes spill stores/ && $5 > 0 { spilled = spilled "\n    " kernel ": " $5 " bytes"; if ($5 > most) bad = 1 }
        END { print version ": " n " kernels; spilled registers:" (spilled ? spilled : " none"); exit bad || n == 0 }' \
        "$dir/report" || wrong=1
done <<'END'
12.4.131 8.4
12.6.85 8.5
12.8.93 8.7
12.9.86 8.8
END
exit $wrong
