#!/bin/sh
# bench_cuda_attention of several commits, or with a constant of a kernel changed, beside that of this tree: on one GPU, one
# warm machine, in turn.
#
#   sh bench/cuda_variants.sh build [NAME=COMMIT[:FILE:CONSTANT=VALUE]...]     git and nvcc, no GPU; after tests/gpu.sh --build-only
#   sh bench/cuda_variants.sh run [CASE...]                                    a GPU and build-gpu/
#
#   NAME  build-gpu/variants/NAME is built of COMMIT's attention/ and bench/, CONSTANT = VALUE in attention/FILE; default:
#           ran=19bf46b     prefill and decode of both architectures as they were in the first run of an H200
#           whole=HEAD:attn_prefill_sm90.cu:VALUES_FIRST=0         no weights before all of O is there
#           after=HEAD:attn_prefill_sm90.cu:KEYS_AHEAD=false       keys fetched behind the values of the page before
#           late=HEAD:attn_merge_sm90.cuh:MERGE_IS_EARLY=false     states merged by a kernel that begins when the one before is over
#           measured=d2d8f1c     e4m3 pages: as measured before tiles changed faster
#   CASE  what bench_cuda_attention is asked for, commas for spaces, of all that were built; by default of those
#           chunk,131072  causal,8192  causal,65536,  decode,1048576,1  decode,262144,8  decode,262144,16,  and of the last two
#           decode,1048576,8  decode,262144,1  decode,262144,4  decode,262144,8: of those that differ there
#
# Two rounds: this tree's, then the others'; one that fails, or is not over after 20 s, is asked no more. Prints a line for
# each that is timed: the rate by the best of its medians, of `now`, and of the others with what they are faster in percent.
set -u
cd "$(dirname "$0")/.." || exit 1
PATH=$PATH:/usr/local/cuda/bin
BUILD=build-gpu LIMIT=20
mode=${1:-}
[ $# -eq 0 ] || shift

# build_one NAME COMMIT FILE CONSTANT=VALUE: what the commit has, elsewhere
build_one() {
    tree=$(mktemp -d) || return 1
    git archive "$2" attention bench runtime | tar x -C "$tree" || return 1
    if [ -n "$3" ]; then
        file=$tree/attention/$3 name=${4%%=*}
        [ "$(grep -c "\\b$name = [a-z0-9]*," "$file")" -eq 1 ] || { echo "$name is not set once in attention/$3 of $2" && return 1; }
        sed -i "s/\\b$name = [a-z0-9]*,/$name = ${4#*=},/" "$file"
    fi
    architecture='-gencode arch=compute_90a,code=sm_90a'
    objects=
    # shellcheck disable=SC2086 # words of options
    for source in "$tree"/attention/attn_prefill_sm*.cu "$tree"/attention/attn_decode*.cu "$tree"/attention/attn_seal_fp8.cu "$tree"/attention/attn_cuda.c \
        "$tree"/attention/attn_fp8.c "$tree"/runtime/base/status.c "$tree"/bench/bench_cuda_attention.cpp; do
        object=$tree/$(basename "$source").o
        case $source in
        *.c) cc -std=gnu11 -O2 -D_GNU_SOURCE -I"$tree" -c "$source" -o "$object" || return 1 ;;
        *) nvcc -std=c++17 -O3 -x cu -I"$tree" -I"$tree/bench" $architecture -DHAS_SM90=1 -c "$source" -o "$object" || return 1 ;;
        esac
        objects="$objects $object"
    done
    # shellcheck disable=SC2086
    nvcc $architecture $objects -ldl -o "$BUILD/variants/$1" || return 1
    rm -rf "$tree"
}
build() {
    command -v nvcc >/dev/null || { echo 'no nvcc here' && exit 77; }
    [ -x $BUILD/bench_cuda_attention ] || { echo "sh tests/gpu.sh --build-only comes first: $BUILD has no bench_cuda_attention" && exit 1; }
    [ $# -gt 0 ] || set -- ran=19bf46b whole=HEAD:attn_prefill_sm90.cu:VALUES_FIRST=0 \
        after=HEAD:attn_prefill_sm90.cu:KEYS_AHEAD=false late=HEAD:attn_merge_sm90.cuh:MERGE_IS_EARLY=false \
        measured=d2d8f1c
    rm -rf $BUILD/variants && mkdir -p $BUILD/variants
    export NVCC_APPEND_FLAGS="${NVCC_APPEND_FLAGS:-} -Xfatbin=-compress-all"
    for variant in "$@"; do
        of=${variant#*=} file='' change=''
        case $of in *:*) change=${of##*:} file=${of%:*} && file=${file#*:} ;; esac
        echo "building ${variant%%=*}"
        build_one "${variant%%=*}" "${of%%:*}" "$file" "$change" || exit 1
    done
}

# in_turn VARIANTS CASE...
in_turn() {
    variants=$1 given_up=
    shift
    for round in 1 2; do
        for case in "$@"; do
            words=$(printf '%s' "$case" | tr , ' ')
            for variant in now $variants; do
                program=$BUILD/variants/$variant
                [ "$variant" != now ] || program=$BUILD/bench_cuda_attention
                case " $given_up " in *" $variant "*) continue ;; esac
                # shellcheck disable=SC2086 # words
                timeout --foreground -k 2 "$LIMIT" "$program" $words >$BUILD/variants.lines ||
                    { echo "# $variant is given up: exit $? of $case" >&2 && given_up="$given_up $variant"; }
                sed "s/^/$round $variant /" $BUILD/variants.lines | grep -v ' copy,\| product,\| kernel,'
            done
        done
    done | while IFS= read -r line; do printf '%s\n' "$line" >&2 && printf '%s\n' "$line"; done | judge "$variants"
}
run() {
    [ -d $BUILD/variants ] || { echo "no variants in $BUILD: sh bench/cuda_variants.sh build makes them" && exit 77; }
    if [ $# -gt 0 ]; then
        in_turn "$(ls -x $BUILD/variants)" "$@"
    else
        in_turn 'ran whole after' chunk,131072 causal,8192 causal,65536
        in_turn 'ran late' decode,1048576,1 decode,262144,8 decode,262144,16
        in_turn measured decode,1048576,8 decode,262144,1 decode,262144,4 decode,262144,8
    fi
}
# Of lines "ROUND VARIANT KERNEL,KEYS,QUERIES,BEST_MS,MEDIAN_MS,BEST,MEDIAN,UNIT,SHARE".
judge() {
    awk -v variants="$1" '
        $3 ~ /^[a-z]/ {
            split($3, c, ",")
            line = c[1] "," c[2] "," c[3]
            if (!(line in unit)) lines[++n_lines] = line
            unit[line] = c[8]
            at = line SUBSEP $2
            if (!(at in ms) || c[5] < ms[at]) { ms[at] = c[5]; rate[at] = c[7] }
        }
        END {
            n = split(variants, names, " ")
            for (i = 1; i <= n_lines; i++) {
                now = lines[i] SUBSEP "now"
                printf "# %s: now %s", lines[i], rate[now]
                for (k = 1; k <= n; k++) {
                    at = lines[i] SUBSEP names[k]
                    if (at in ms && now in ms) printf ", %s %s (%+.1f %%)", names[k], rate[at], 100 * (ms[now] / ms[at] - 1)
                }
                print " " unit[lines[i]]
            }
        }'
}

case $mode in
build) build "$@" ;;
run) run "$@" ;;
*) sed -n '2,20s/^# \{0,1\}//p' "$0" && exit 2 ;;
esac
