#!/bin/sh
# A stream whose client asks for continuous_usage_stats has the usage in each chunk.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/help_cli.sh
. tests/help_serve.sh

make_small_model 3
start_server -m "$work/model" -c 1k
client running_usage.py "$server_pid"
stop_server
