#!/bin/sh
# What may not be read is named with the reason, and is not taken for something that is not there: a model's directory, a
# file of it, the directory of books, the place of the embedded model.
#
# Method: root's own files, away from a user without rights.
. tests/help_cli.sh
if [ "$(id -u)" -ne 0 ] || ! setpriv --reuid 65534 --regid 65534 --clear-groups true 2>/dev/null; then
    printf 'skipped: nobody to be but ourselves\n'
    exit 77
fi
make_needle_model
cp "$GLM1M" "$work/glm1m" # nobody may look into a build directory
chmod 755 "$work"

# nobody RC ARGS...
nobody() {
    wanted=$1
    shift
    shown="$*, of nobody"
    setpriv --reuid 65534 --regid 65534 --clear-groups "$work/glm1m" "$@" >"$work/out" 2>"$work/err"
    rc=$?
    [ "$rc" -eq "$wanted" ] || fail "exit $rc, wanted $wanted"
}
nobody 0 complete -m "$work/model" -p x -n 1

chmod 700 "$work/model"
nobody 1 complete -m "$work/model" -p x -n 1
says err "$work/model/config.json: Permission denied"
nobody 2 complete -m "$work/model/inside" -p x -n 1
says err "$work/model/inside: Permission denied"
chmod 755 "$work/model"
chmod 600 "$work/model/tokenizer.model"
nobody 1 complete -m "$work/model" -p x -n 1
says err "$work/model/tokenizer.model: Permission denied"
chmod 644 "$work/model/tokenizer.model"

nobody 1 needle --lengths 1k --depths 50
says err 'Permission denied'
says err 'XDG_CACHE_HOME names another place, -m DIR another model'

printf 'A short text.' >"$work/text"
expect 0 prefill -m "$work/model" "$work/text" --book short --kv-disk-dir "$work/kv"
# Where nobody chose: how to choose.
mkdir -m 555 "$work/home"
(
    unset XDG_CACHE_HOME
    nobody 1 prefill -m "$work/model" "$work/text" --book short
    says err "cannot make the directory $HOME/.cache"
    says err '(--kv-disk-dir DIR names another place than our own)'
    nobody 0 ask -m "$work/model" "$work/text" -q x -n 1
    says err 'nothing is kept on disk: '
    says err '(--kv-disk-dir DIR names another place than our own)'
) || exit 1
for mode in 700 711; do
    chmod $mode "$work/kv/vault/books"
    nobody 1 book ls --kv-disk-dir "$work/kv"
    says err "$work/kv/vault/books: Permission denied"
done
chmod 700 "$work/kv"
nobody 1 book ls --kv-disk-dir "$work/kv"
says err "$work/kv"
says err 'Permission denied'
nobody 1 complete -m "$work/model" --book short -p x -n 1 --kv-disk-dir "$work/kv"
says err 'Permission denied'
