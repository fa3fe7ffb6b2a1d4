#!/bin/sh
# A test for a GPU whose wgmma ptxas serialises, or repairs, is named when it is built (tests/help_gpu_build.sh): it would run, but
# not what is written there.
#
# Method: an nvcc that says what the real one does. What is said of the tests as they are, `sh tests/gpu.sh --build-only` tells.
[ -z "${GLM_TEST_FAST:-}" ] || { echo 'of a script alone: the release suite has run it' && exit 77; }
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
BUILD=$work/build
# shellcheck disable=SC2034 # what the functions read
architecture='' has_sm90=1
mkdir -p "$BUILD" "$work/bin"
cat >"$work/bin/nvcc" <<'END'
#!/bin/sh
case $* in
*repaired.cpp*) echo "ptxas info    : (C7519) warpgroup.arrive is injected in around line 1989 by compiler" >&2 ;;
*spoiled.cpp*) echo "error: expected a ;" >&2 && exit 1 ;;
esac
for last in "$@"; do :; done
: >"$last"
END
chmod +x "$work/bin/nvcc"
PATH=$work/bin:$PATH
. tests/help_gpu_build.sh
fail() {
    echo "FAILED: $*" && exit 1
}

compile plain.cpp plain >"$work/out" || fail 'it does not compile'
is_as_written || fail 'what is as it should be'
! compile spoiled.cpp spoiled >"$work/out" || fail 'what does not compile does'
grep -q 'expected a ;' "$work/out" || fail 'why it does not compile is not said'
compile repaired.cpp repaired >"$work/out" || fail 'it does not compile'
grep -q C7519 "$work/out" || fail 'what ptxas said is not said'
! is_as_written >"$work/out" || fail 'a repaired test is let pass'
grep -q 'wgmma of: repaired $' "$work/out" || fail "what is said: $(cat "$work/out")"
