#!/bin/sh
# Whether racecheck can be believed of what goes to and fro by mbarriers: what it reports of rings without a race, and of rings
# with one (tests/test_cuda_barriers_sm90.cpp), of each compute-sanitizer given. A line a ring, with the kinds of hazards
# (tests/hazards.awk), and for each compute-sanitizer what it is worth:
#
#   believed   it reports each race, and nothing else
#   warps      so, but a missing __syncwarp
#   lanes      each race, and of rings without one only such in which a lane arrives for its warp, or before it copies
#   mistaken   each race, and other rings without one, too
#   deaf       not each race
#   unusable   it does not run here
#
#   sh tests/gpu_races.sh DIR COMPUTE-SANITIZER...     DIR has test_cuda_barriers_sm90
#
# Exits 0, or 1 where numbers of a ring without a race are wrong, 77 where no compute-sanitizer runs.
set -u
cd "$(dirname "$0")/.." || exit 1
AT_ONCE=16 LIMIT=25 FOUND=9

# one RINGS TOOL RING HAND_OVER right|race: what racecheck says
one() {
    log=$(mktemp) || exit 1
    timeout -k 2 $LIMIT "$2" --tool racecheck --racecheck-report hazard --show-backtrace no --print-limit 20000 \
        --num-cuda-barriers 64 --error-exitcode $FOUND "$1" "$3" "$4" >"$log" 2>&1
    rc=$?
    case $rc in
    0) said=silent ;;
    $FOUND) said=reported ;;
    *) said="broken: exit $rc: $(grep -v '^# \|^=* *$\|COMPUTE-SANITIZER$' "$log" | head -n 1)" ;;
    esac
    [ "$5:$rc" != right:1 ] || ! grep -q '^# wrong' "$log" || said='wrong numbers'
    printf '%-8s %-18s %-5s %s\n' "$3" "$4" "$5" "$said"
    [ $rc -ne $FOUND ] || awk -f tests/hazards.awk "$log" | sed 's/^/    /'
    rm -f "$log"
}
if [ "$1" = --one ]; then
    shift
    answer=$1
    shift
    one "$@" >"$answer"
    exit 0
fi

rings=$1/test_cuda_barriers_sm90
shift
# worth LINES: of a compute-sanitizer
worth() {
    awk '
    /^ / || $3 !~ /^(right|race)$/ { next }
    { n_asked++ }
    $3 == "right" && $4 ~ /^(broken:|wrong)$/ { broken++ }
    $3 == "race" && $4 == "silent" { if ($2 ~ /apart$/) apart++; else missed++ }
    $3 == "right" && $4 == "reported" {
        if ($2 ~ /^each,behind$/ || ($2 == "each" && $1 !~ /^(turns|pages)$/)) followed_not++
        else elected++
    }
    END { print broken || !n_asked ? "unusable" : missed ? "deaf" : followed_not ? "mistaken" : elected ? "lanes" : apart ? "warps" : "believed" }' "$1"
}

ask() {
    xargs -r -d '\n' -n 6 -P $AT_ONCE sh tests/gpu_races.sh --one
}

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
"$rings" rings >"$work/rings" || exit 1
rc=77
for tool in "$@"; do
    version=$("$tool" --version 2>/dev/null | sed -n 's/^Version \([^ ]*\).*/\1/p')
    echo "# compute-sanitizer ${version:-unknown}: $tool"
    rm -f "$work"/[0-9]*
    awk -v work="$work" -v rings="$rings" -v tool="$tool" '{ printf "%s/%03d\n%s\n%s\n%s\n%s\n%s\n", work, NR, rings, tool, $1, $2, $3 }' "$work/rings" >"$work/asked"
    head -n 6 "$work/asked" | ask # the others need not be asked about with what does not run
    grep -q ' broken: ' "$work"/[0-9]* || sed 1,6d "$work/asked" | ask
    cat "$work"/[0-9]* >"$work/said"
    cat "$work/said"
    ! grep -q 'wrong numbers$' "$work/said" || rc=1
    verdict=$(worth "$work/said")
    [ $rc -ne 77 ] || [ "$verdict" = unusable ] || rc=0
    echo "# worth: $verdict $tool"
done
exit $rc
