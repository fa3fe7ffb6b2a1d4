# shellcheck shell=sh
# What the tests of `glm1m serve` share; after help_cli.sh. $url is where it listens.

server_pid=
trap '[ -z "$server_pid" ] || kill -9 "$server_pid" 2>/dev/null; rm -rf "$work"' EXIT

# start_server ARGS...: on a free port; returns when it is ready
start_server() {
    rm -f "$work/server.err" && touch "$work/server.err"
    "$GLM1M" serve --port 0 "$@" >"$work/server.out" 2>"$work/server.err" &
    server_pid=$!
    tries=0
    until grep -q '^ready' "$work/server.err"; do
        tries=$((tries + 1))
        if [ "$tries" -gt 600 ] || ! kill -0 "$server_pid" 2>/dev/null; then
            cat "$work/server.err"
            fail "the server is not ready"
        fi
        sleep 0.1
    done
    url=$(sed -n 's/^listening on //p' "$work/server.err")
}

# stop_server: SIGTERM, and it must exit 0
stop_server() {
    kill -TERM "$server_pid"
    await_server
}

# await_server: somebody has sent the SIGTERM
await_server() {
    wait "$server_pid"
    rc=$?
    server_pid=
    [ "$rc" -eq 0 ] || { cat "$work/server.err" && fail "the server exits $rc after SIGTERM"; }
}

# client SCRIPT ARGS...: a Python program of tests/serve, which must exit 0
client() {
    PYTHONDONTWRITEBYTECODE=1 "${python:-python3}" "tests/serve/$1" "$url" "$@" ||
        { tail -n 20 "$work/server.err" && fail "$1"; }
}
