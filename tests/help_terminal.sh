# shellcheck shell=sh
# A command on a terminal of its own, and somebody who types. After help_cli.sh.

mkfifo "$work/keys" || exit 1

# on_terminal COMMAND: a line of sh, whose screen is in $work/out, and the process id of that sh in $work/pid
on_terminal() {
    shown="$1 (on a terminal)"
    rc=none
    : >"$work/out"
    TERM=xterm script -q -e -f -c "echo \$\$ >'$work/pid'; $1" /dev/null <"$work/keys" >"$work/out" 2>&1 &
    pid=$!
    trap 'kill $pid 2>/dev/null; rm -rf "$work"' EXIT
    exec 3>"$work/keys"
}

# await TEXT [TIMES]: until the screen holds it so often, on so many lines
await() {
    for _ in $(seq 5000); do
        [ "$(grep -cF -- "$1" "$work/out")" -lt "${2:-1}" ] || return 0
        sleep 0.05
    done
    fail "waited for: $1"
}

# press KEYS: with escapes as printf(1) knows them
press() {
    printf '%b' "$1" >&3
}

# leaves RC
leaves() {
    for _ in $(seq 5000); do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.05 # the shell learns meanwhile of a child that has ended
    done
    ! kill -0 "$pid" 2>/dev/null || fail 'it does not leave'
    wait "$pid"
    rc=$?
    exec 3>&-
    [ "$rc" -eq "$1" ] || fail "exit $rc, wanted $1"
}
