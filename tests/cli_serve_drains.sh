#!/bin/sh
# SIGTERM: what is under way is answered to its end, what is new is refused, and the exit code is 0. A
# second SIGTERM: every stream is told why it ends, and properly ended; the exit code is 0 as well.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/help_cli.sh
. tests/help_serve.sh

make_needle_model
for how in once twice waiting; do
    start_server -m "$work/model" -c 16k --max-num-seqs 2
    client drains.py "$server_pid" "$how"
    await_server
done
