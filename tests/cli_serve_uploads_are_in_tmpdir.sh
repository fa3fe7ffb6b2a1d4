#!/bin/sh
# A file that a client sends to be read lies where TMPDIR says, as on a machine whose /tmp is small; without a name.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/help_cli.sh
. tests/help_serve.sh

make_needle_model
mkdir "$work/temporary"
python3 -c 'import os, sys; os.open(sys.argv[1], os.O_TMPFILE | os.O_RDWR)' "$work/temporary" 2>/dev/null || {
    printf 'skipped: no files without a name on this file system\n'
    exit 77
}
export TMPDIR="$work/temporary"
start_server -m "$work/model" -c 1k
client temporary.py "$server_pid" "$TMPDIR"
stop_server
