#!/bin/sh
# Prompts that share: an identical one joins the prefill under way, one whose client left is not paid for
# twice, with a disk not even after a restart; a short one is answered in the middle of a long one.
#
# GLM_TEST_SERVE_TOKENS: the length of the long prompts; 48000 is that of a book.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/help_cli.sh
. tests/help_serve.sh

n_tokens=8000
n_kept=9000
if [ "${GLM_TEST_FAST:-0}" = 1 ]; then n_tokens=2000 n_kept=4500; fi
n_tokens=${GLM_TEST_SERVE_TOKENS:-$n_tokens}
make_needle_model
start_server -m "$work/model" -c 64k -b 128 --max-num-seqs 4
client schedule.py "$server_pid" memory "$n_tokens"
stop_server

start_server -m "$work/model" -c 64k -b 128 --max-num-seqs 4 --kv-disk-dir "$work/kv"
client schedule.py "$server_pid" keep "$n_kept"
stop_server
start_server -m "$work/model" -c 64k -b 128 --max-num-seqs 4 --kv-disk-dir "$work/kv"
client schedule.py "$server_pid" find "$n_kept"
stop_server
