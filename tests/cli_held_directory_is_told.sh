#!/bin/sh
# A command that waits for a directory of books, because another process has locked it, says so, and Ctrl-C ends the wait. Where the
# system tells which process that is it is named, and that it is stopped; when it goes on so does the command.
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

# A prefill that has something to keep waits for some seconds more.
yes 'All work and no play makes Jack a dull boy.' | head -c 40000 >"$work/long"
exec 9<&-
"$GLM1M" prefill -m "$work/model" "$work/long" --book b --kv-disk-dir "$work/kv" --no-progress --threads 1 --span 4096 \
    >/dev/null 2>"$work/prefill" &
program=$!
tries=0
until [ -n "$(find "$work/kv" -name '*.tmp' -exec cat {} + 2>/dev/null | tr -d '\000' | head -c 1)" ]; do
    tries=$((tries + 1))
    [ $tries -lt 3000 ] && kill -0 $program 2>/dev/null || { cat "$work/prefill" && fail 'it does not begin a span'; }
    sleep 0.02
done
exec 9<"$work/kv/vault/lock"
flock 9
tries=0
until grep -q "waiting for $work/kv/vault/lock" "$work/prefill"; do
    tries=$((tries + 1))
    [ $tries -lt 200 ] || { cat "$work/prefill" && fail 'the prefill does not say that it waits'; }
    sleep 0.1
done
since=$(date +%s)
kill -INT $program
wait $program # 130, or 1: its book cannot be kept
[ $(($(date +%s) - since)) -lt 20 ] || fail 'the prefill waits as if nobody had asked it to stop'

# A process that still has what it locked.
exec 9<&-
lock=$work/kv/vault/lock
flock -F "$lock" sleep 600 &
holder=$!
while flock -n "$lock" true; do sleep 0.01; done
kill -STOP $holder
device=$(stat -c %d "$lock")
numbers=$(printf '%02x:%02x:%d' $((device >> 8 & 0xfff)) $((device & 0xff | device >> 12 & 0xfff00)) "$(stat -c %i "$lock")")
"$GLM1M" complete -m "$work/model" -f "$work/long" -n 1 --kv-disk-dir "$work/kv" >/dev/null 2>"$work/stopped" &
program=$!
until grep -q "waiting for $lock" "$work/stopped"; do
    kill -0 $program 2>/dev/null || fail "it does not wait: $(cat "$work/stopped")"
    sleep 0.1
done
! grep -q "FLOCK .* $holder $numbers " /proc/locks ||
    grep -q "waiting for $lock, which process $holder on $(uname -n) holds; it is stopped: kill -CONT $holder lets it go on" "$work/stopped" ||
    fail "it is not told who holds it: $(cat "$work/stopped")"
kill -KILL $holder
wait $program || fail "it does not go on: $(cat "$work/stopped")"
! grep -q 'not kept' "$work/stopped" || fail "it is not kept: $(cat "$work/stopped")"
