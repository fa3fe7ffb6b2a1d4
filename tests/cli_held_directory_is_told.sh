#!/bin/sh
# A command that waits for a directory of books, because another process has locked it, says so, and Ctrl-C ends the wait.
#
# Method: hold the lock, and give a command that opens the directory, and one that makes room in it, Ctrl-C when they say
# that they wait. Whoever does not listen waits for half a minute.
. tests/help_cli.sh
make_small_model 5
printf 'All work and no play' >"$work/text"
expect 0 prefill -m "$work/model" "$work/text" --book jack --kv-disk-dir "$work/kv" --no-progress

command -v flock >/dev/null || exit 77
exec 9<"$work/kv/vault/lock"
flock 9
"$GLM1M" complete -m "$work/model" -p x -n 1 --kv-disk-dir "$work/kv" >/dev/null 2>"$work/complete" 9<&- &
program_complete=$!
"$GLM1M" book gc --kv-disk-dir "$work/kv" >/dev/null 2>"$work/gc" 9<&- &
program_gc=$!
for name in complete gc; do
    tries=0
    until grep -q "waiting for $work/kv/vault/lock, which another process holds" "$work/$name"; do
        tries=$((tries + 1))
        [ $tries -lt 200 ] || { cat "$work/$name" && fail "$name does not say that it waits"; }
        sleep 0.1
    done
done
since=$(date +%s)
kill -INT $program_complete $program_gc
for name in complete gc; do
    eval "wait \$program_$name"
    rc=$?
    [ "$rc" -eq 130 ] || { cat "$work/$name" && fail "$name: exit $rc, wanted 130"; }
done
[ $(($(date +%s) - since)) -lt 20 ] || fail 'Ctrl-C does not end the wait'
