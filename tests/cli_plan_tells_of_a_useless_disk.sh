#!/bin/sh
# A --kv-disk-dir that a run could not write to is told by plan, and what would need it does not fit.
#
# Method: a directory that is a file, one below a file, one that only others may write; and those that are there or can be made.
. tests/help_cli.sh
make_needle_model
: >"$work/file"
mkdir "$work/here"

# plan_in RC DIR: what does not fit into memory
plan_in() {
    expect "$1" plan -m "$work/model" -c 32k --host-kv-space 64M --json --kv-disk-dir "$2"
}
for dir in here here/to/be/made; do
    plan_in 0 "$work/$dir"
    says out '"fits": true'
    says_nothing err
done
[ ! -e "$work/here/to" ] || fail 'plan has made a directory'
for dir in file file/below; do
    plan_in 3 "$work/$dir"
    says out '"fits": false'
    says err "nothing can be written in --kv-disk-dir $work/$dir: $work/file"
    says err '0 B may be taken'
    # What memory holds is computed all the same.
    expect 0 plan -m "$work/model" -c 1k --kv-disk-dir "$work/$dir"
    says err "nothing can be written in --kv-disk-dir $work/$dir"
done
: >"$work/kv-0"
plan_in 3 "$work/kv-%r"
expect 0 plan -m "$work/model" -c 32k --host-memory 4G --host-kv-space 64M --kv-disk-dir "$work/file" # of another machine

if [ "$(id -u)" -eq 0 ] && setpriv --reuid 65534 --regid 65534 --clear-groups true 2>/dev/null; then
    cp "$GLM1M" "$work/glm1m"
    chmod 755 "$work" "$work/here"
    shown="plan, of nobody"
    setpriv --reuid 65534 --regid 65534 --clear-groups "$work/glm1m" plan -m "$work/model" -c 32k --host-kv-space 64M \
        --kv-disk-dir "$work/here" >"$work/out" 2>"$work/err"
    rc=$?
    [ $rc -eq 3 ] || fail "exit $rc, wanted 3"
    says err "$work/here cannot be written: Permission denied"
fi
