#!/bin/sh
# Prompts that share: an identical one joins the prefill under way, one whose client left is not paid for
# twice, with a disk not even after a restart; a short one is answered in the middle of a long one.
#
# GLM_TEST_SERVE_TOKENS: the length of the long prompts; 48000 is that of a book.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/help_cli.sh
. tests/help_serve.sh

n_tokens=${GLM_TEST_SERVE_TOKENS:-8000}
make_needle_model
start_server -m "$work/model" -c 64k -b 128 --max-num-seqs 4
client schedule.py "$server_pid" memory "$n_tokens"
stop_server

start_server -m "$work/model" -c 64k -b 128 --max-num-seqs 4 --kv-disk-dir "$work/kv"
client schedule.py "$server_pid" keep 9000
stop_server
start_server -m "$work/model" -c 64k -b 128 --max-num-seqs 4 --kv-disk-dir "$work/kv"
client schedule.py "$server_pid" find 9000
stop_server
