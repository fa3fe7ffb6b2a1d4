#!/bin/sh
# A job that is deleted while it is under way is cancelled, and one that is over is there no more.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/help_cli.sh
. tests/help_serve.sh

make_small_model 3
start_server -m "$work/model" -c 16k
client jobs.py "$server_pid"
stop_server
