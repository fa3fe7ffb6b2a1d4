#!/bin/sh
# What the benchmarks of products are linked with for a GPU's machine (tests/help_gpu_build.sh) is all that it calls of ours.
#
# Method: nvcc takes minutes for the whole; here the C of it is compiled, and what is undefined held against what is defined.
[ -z "${GLM_TEST_FAST:-}" ] || { echo 'of a script alone: the release suite has run it' && exit 77; }
command -v nvcc >/dev/null || { echo 'no nvcc here: CUDA is optional' && exit 77; }
. tests/help_gpu_build.sh
BUILD=$(mktemp -d) || exit 1
trap 'rm -rf "$BUILD"' EXIT
for source in $(kernels_c) $(products_c); do compile_c "$source" >/dev/null || exit 1; done
nm "$BUILD"/*.o | awk '$2 ~ /^[TDBRC]$/ { print $3 }' | sort -u >"$BUILD/defined"
nm -u "$BUILD"/*.o | awk '$1 == "U" && $2 ~ /^(rt|glm|attn|cublaslt)_/ { print $2 }' | sort -u >"$BUILD/called"
[ -s "$BUILD/called" ] || { echo 'nothing calls anything' && exit 1; }
missing=$(comm -13 "$BUILD/defined" "$BUILD/called")
[ -z "$missing" ] || { echo "FAILED: called, and in none of them: $missing" && exit 1; }
