#!/bin/sh
# A command whose text a server is prefilling in the same directory waits for the server, and finds what it has kept; a server
# answers all the same where a command is at its prompt.
#
# Method: the server is held (SIGSTOP) in the prompt's prefill until `complete`, which has the same ids, waits; then the other way
# round.
. tests/help_cli.sh
. tests/help_serve.sh
. tests/help_turns.sh
make_needle_model
text_of $n_lines >"$work/text"
python3 - "$work/text" >"$work/body" <<'END' || exit 1
import json, sys
print(json.dumps({"prompt": open(sys.argv[1]).read(), "max_tokens": 1, "temperature": 0}))
END
ask_server() {
    curl -sS -o "$work/answer" -w '%{http_code}' -H 'content-type: application/json' --data-binary @"$work/body" \
        "$url/v1/completions" >"$work/code" &
    client=$!
}
answered() {
    wait "$client" && [ "$(cat "$work/code")" = 200 ] || fail "the server answers $(cat "$work/code" "$work/answer")"
}
completes() {
    : >"$work/err.1"
    "$GLM1M" complete -m "$work/model" --kv-disk-dir "$work/kv" --threads 1 --span 4096 -f "$work/text" -n 1 >"$work/out.1" 2>"$work/err.1" &
    process=$!
}
serve_flags="-m $work/model -c 32k --threads 1 --kv-disk-dir $work/kv"
# shellcheck disable=SC2086 # words
start_server $serve_flags
ask_server
stops "$server_pid" 0 "$client"
completes
waits=$process
awaits 1 "$waits" "waiting for process $server_pid on "
kill -CONT "$server_pid"
ends "$waits" 0
answered
[ "$(n_found 1)" -ge 8192 ] || fail "it has found $(n_found 1) tokens: $(cat "$work/err.1")"

stop_server
rm -rf "$work/kv"
# shellcheck disable=SC2086 # words
start_server $serve_flags
completes
stops "$process" 0
ask_server
answered
kill -CONT "$process"
ends "$process" 0
stop_server
exit 0
