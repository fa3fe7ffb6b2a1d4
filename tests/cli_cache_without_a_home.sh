#!/bin/sh
# Without a home the cache is /tmp/glm1m-UID, of this user alone; a name that somebody else took, or a link, is not used,
# and whoever needs none goes on without it.
#
# Method: a user whose number nobody has, so that the name is free; then the name as a link, as a directory that others may
# write to, and as another user's.
. tests/help_cli.sh
uid=$((400000 + $$))
own=/tmp/glm1m-$uid
if [ "$(id -u)" -ne 0 ] || [ -e "$own" ] || ! setpriv --reuid "$uid" --clear-groups true 2>/dev/null; then
    printf 'skipped: nobody to be but ourselves\n'
    exit 77
fi
trap 'rm -rf "$work" "$own"' EXIT
cp "$GLM1M" "$work/glm1m" # nobody may look into a build directory
chmod 755 "$work"

# homeless RC ARGS...
homeless() {
    wanted=$1
    shift
    shown="$*, without a home"
    env -u HOME -u XDG_CACHE_HOME setpriv --reuid "$uid" --regid "$uid" --clear-groups "$work/glm1m" "$@" \
        >"$work/out" 2>"$work/err"
    rc=$?
    [ "$rc" -eq "$wanted" ] || fail "exit $rc, wanted $wanted"
}
homeless 0 book ls
[ "$(stat -c '%a %u' "$own")" = "700 $uid" ] || fail "$own is $(stat -c '%a %u' "$own")"
homeless 0 book ls

refused() {
    homeless 1 book ls
    says err "the cache $own is not a directory of this user's alone"
    says err 'XDG_CACHE_HOME'
}
chmod 770 "$own" && refused
chmod 700 "$own" && chown 0 "$own" && refused
rmdir "$own" && mkdir "$work/elsewhere" && chown "$uid" "$work/elsewhere" && chmod 700 "$work/elsewhere"
ln -s "$work/elsewhere" "$own" && refused
rm "$own" && : >"$own" && refused
# Who took it stops nothing but what keeps books there: nor does a vault in it, which we may read, lead anybody into it.
make_needle_model
printf 'a b c' >"$work/text"
chmod -R a+rX "$work"
mkdir -m 777 "$work/disk"
homeless 0 plan -m "$work/model" -c 2k
homeless 0 complete -m "$work/model" -f "$work/text" -n 1
homeless 0 complete -m "$work/model" -f "$work/text" -n 1 --kv-disk-dir "$work/disk"
homeless 0 doctor
join_rows
says out "cache none: the cache $own is not a directory"
rm "$own" && mkdir -p -m 755 "$own/vault"
homeless 0 ask "$work/text" -q 'a?' -m "$work/model" -n 1
says err "nothing is kept on disk: the cache $own is not a directory of this user's alone"
homeless 1 ask "$work/text" -q 'a?' -m "$work/model" -n 1 --book b
XDG_CACHE_HOME=$work/elsewhere setpriv --reuid "$uid" --regid "$uid" --clear-groups "$work/glm1m" book ls \
    >"$work/out" 2>"$work/err" || fail 'another place is refused'
exit 0
