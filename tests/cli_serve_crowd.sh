#!/bin/sh
# Many connections at once: idle ones, ones that drip, clients that stop reading, more than there is room or
# descriptors for. Each is answered, refused or closed as the table of --limits says; streams go on beside
# them, and what was refused is taken again later. Times decide nothing here: bench/bench_serve.c measures.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/help_cli.sh
. tests/help_serve.sh

make_needle_model
ulimit -n 400
start_server -m "$work/model" -c 16k --max-num-seqs 10
client crowd.py "$server_pid"
stop_server
