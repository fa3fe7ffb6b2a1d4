#!/bin/sh
# Books that somebody else keeps, or that lie on a disk that is mounted read-only, are read: every token is reused, answers
# are the same, nothing is written there, and making one there is refused before any work.
#
# Method: root's books for nobody, and a read-only mount of them; a book of two ranks, of whose directories one is mounted
# read-only.
. tests/help_cli.sh
if [ "$(id -u)" -ne 0 ] || ! setpriv --reuid 65534 --regid 65534 --clear-groups true 2>/dev/null; then
    printf 'skipped: nobody to be but ourselves\n'
    exit 77
fi
make_needle_model
cp "$GLM1M" "$work/glm1m" # nobody may look into a build directory
yes 'All work and no play makes Jack a dull boy.' | head -c 4500 >"$work/text"
expect 0 prefill -m "$work/model" "$work/text" --book jack --kv-disk-dir "$work/kv"
go_on="complete -m $work/model --book jack -p And -n 8 --json --kv-disk-dir $work/kv"
# shellcheck disable=SC2086 # words
expect 0 $go_on
ids() { grep -o '"ids": [^]]*' "$1"; }
ids "$work/out" >"$work/expected"

check() {
    [ $rc -eq 0 ] || fail "exit $rc, wanted 0"
    says err 'what is kept on disk is read, and nothing is added to it'
    says out '"reused_tokens": 4502,'
    ids "$work/out" >"$work/answer"
    cmp -s "$work/expected" "$work/answer" || fail 'another answer'
    find "$dir" | sort | cmp -s - "$work/before" || fail 'something was written'
}

dir=$work/kv
find "$dir" | sort >"$work/before"
chmod 755 "$work"
chmod -R go+rX "$work/kv"
shown="$go_on, of nobody"
# shellcheck disable=SC2086 # words
setpriv --reuid 65534 --regid 65534 --clear-groups "$work/glm1m" $go_on >"$work/out" 2>"$work/err"
rc=$?
check
setpriv --reuid 65534 --regid 65534 --clear-groups "$work/glm1m" prefill -m "$work/model" "$work/text" --book other \
    --kv-disk-dir "$work/kv" >"$work/out" 2>"$work/err"
rc=$?
[ $rc -eq 1 ] || fail "prefill, of nobody: exit $rc, wanted 1"
says err 'Permission denied'

# read_only COMMAND...: below a mount of its own
read_only() {
    unshare -m sh -c 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"' "$dir" "$@"
}
read_only true 2>/dev/null || exit 0
shown="$go_on, mounted read-only"
# shellcheck disable=SC2086 # words
read_only "$GLM1M" $go_on >"$work/out" 2>"$work/err"
rc=$?
check

# Where there are none yet, there is nothing to read: who named no book goes on without the disk.
mkdir "$work/new"
mv "$work/kv" "$work/old" && mv "$work/new" "$work/kv"
shown='complete, on an empty disk that is mounted read-only'
read_only "$GLM1M" complete -m "$work/model" -p And -n 1 --kv-disk-dir "$work/kv" >"$work/out" 2>"$work/err"
rc=$?
[ $rc -eq 0 ] || fail "exit $rc, wanted 0"
says err 'nothing is kept on disk'
shown="$go_on, of no book there"
# shellcheck disable=SC2086 # words
read_only "$GLM1M" $go_on >"$work/out" 2>"$work/err"
rc=$?
[ $rc -eq 2 ] || fail "exit $rc, wanted 2"
says err 'there is no book jack'

# Of two ranks; rank 0 says it, for both.
go_on="complete -m $work/model -tp 2 --book jack -p And -n 8 --json --kv-disk-dir $work/kv-%r"
expect 0 prefill -m "$work/model" -tp 2 "$work/text" --book jack --kv-disk-dir "$work/kv-%r"
dir=$work/kv-1
find "$dir" | sort >"$work/before"
shown="$go_on, rank 1's mounted read-only"
# shellcheck disable=SC2086 # words
read_only "$GLM1M" $go_on >"$work/out" 2>"$work/err"
rc=$?
check
[ "$(grep -c 'nothing is added' "$work/err")" -eq 1 ] || fail 'each rank says it'
