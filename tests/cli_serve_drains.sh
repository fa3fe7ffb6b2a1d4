#!/bin/sh
# SIGTERM: what is under way is answered to its end, what is new is refused, and the exit code is 0. A
# second SIGTERM: every stream is told why it ends, and properly ended; the exit code is 0 as well. The server's own output
# says which signal came, and what was under way: SIGHUP, too, of somebody who wanted other logs, ends it.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/help_cli.sh
. tests/help_serve.sh

make_needle_model
for how in once twice waiting; do
    [ $how = waiting ] && waiting=1 || waiting=0
    start_server -m "$work/model" -c 16k --max-num-seqs 2
    client drains.py "$server_pid" "$how"
    await_server
    grep -q " warn serve: SIGTERM: no more requests are taken.* running=2 waiting=$waiting\$" "$work/server.err" ||
        { cat "$work/server.err" && fail "the server does not say why it ends"; }
done
start_server -m "$work/model" -c 16k
kill -HUP "$server_pid"
await_server
grep -q ' warn serve: SIGHUP: .* running=0 waiting=0$' "$work/server.err" || fail 'nor at SIGHUP'
