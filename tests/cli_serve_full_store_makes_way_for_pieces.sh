#!/bin/sh
# Where the disk is full of finished texts, a piece of a prompt that finds no room takes theirs, and is computed once more:
# the request is answered, and the prompt's scores are those of a store that is empty.
#
# Method: two clients at once, each text three segments long, on a disk that keeps four; what is kept there no more goes to
# the cells that finished texts have.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/help_cli.sh
. tests/help_serve.sh

export GLM_DEVICE=cpu
make_byte_model
start_server -m "$work/random" -c 12k --max-num-seqs 2 --kv-disk-dir "$work/kv" --host-kv-space 8M --kv-disk-space 27M
client full_pieces.py
stop_server
