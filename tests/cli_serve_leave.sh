#!/bin/sh
# Clients that leave in any phase of a request, by end, reset or half of an end: descriptors, slots and pages are
# those of before. GLM_TEST_LEAVES (default 200; 1000 take minutes) and GLM_TEST_SEED change what is drawn.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/help_cli.sh
. tests/help_serve.sh

n=${GLM_TEST_LEAVES:-200} context=2000
[ -z "${GLM_TEST_FAST:-}" ] || n=40 context=400
make_needle_model
start_server -m "$work/model" -c "$context" -b 128 --max-num-seqs 4
client leave.py "$server_pid" "$n" "${GLM_TEST_SEED:-1}" "$context"
stop_server
