#!/bin/sh
# complete: text comes out while the model is still at work, in whole characters; Ctrl-C ends it with
# what there is, exit 130.
#
# Method: the embedded model copies a repeated text for ever; read what has come, then send the
# signal. Each byte is a token, so a limit by tokens cuts characters too.
. tests/help_cli.sh
make_needle_model

shown="complete of a text without end"
: >"$work/out"
"$GLM1M" complete -m "$work/model" -p '天地天地天地天地' -n 200k -c 300k >"$work/out" 2>"$work/err" &
pid=$!
rc=none
for _ in $(seq 5000); do
    [ "$(wc -c <"$work/out")" -lt 12 ] || break
    sleep 0.05
done
kill -0 "$pid" 2>/dev/null || fail "it ended before a text came"
kill -INT "$pid"
wait "$pid"
rc=$?
[ "$rc" -eq 130 ] || fail "exit $rc, wanted 130"
grep -q '^天地天地' "$work/out" || fail "the text did not come"
says err ', interrupted'
says err 'stopped by Ctrl-C'

# n tokens, n bytes: what is left of a character at the end is shown as U+FFFD, not as half of it.
for n in 6:6 7:9 8:9 9:9; do
    expect 0 complete -m "$work/model" -p '天地天地天地天地' -n "${n%:*}" --quiet
    iconv -f utf-8 -t utf-8 "$work/out" >"$work/whole" 2>/dev/null || fail "-n $n: not UTF-8"
    [ "$(wc -c <"$work/out")" -eq "${n#*:}" ] || fail "-n ${n%:*} gives not ${n#*:} bytes"
done

# Stop texts of several bytes, each a token of its own; one that the limit cuts is text.
expect 0 complete -m "$work/model" -p '天地天地天地天地' --stop 地 --json
says out '"text": "天"'
says out '"n_generated": 6,'
says out '"finish_reason": "stop"'
expect 0 complete -m "$work/model" -p '天地天地天地天地' --stop 地天x --stop 天地天地天 --json
says out '"text": ""'
says out '"n_generated": 15,'
expect 0 complete -m "$work/model" -p '天地天地天地天地' --stop 天地天地天 -n 12 --json
says out '"text": "天地天地"'
says out '"finish_reason": "length"'

# The stop text ends with the last token allowed.
expect 0 complete -m "$work/model" -p '天地天地天地天地' --stop 地 -n 6 --json
says out '"finish_reason": "stop"'
