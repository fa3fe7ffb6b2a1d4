#!/bin/sh
# Where memory and disk are full of finished texts, what is under way takes their room: a fork for a second choice and
# the next token of an answer, too, not only a request that begins. Nobody is told that there is no room.
#
# Method: eight clients at once, of short and long prompts with one choice or two, in a store that holds a dozen texts.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/help_cli.sh
. tests/help_serve.sh

export GLM_DEVICE=cpu
expect 0 make-model random "$work/random" --seed 3
start_server -m "$work/random" -c 4k --kv-disk-dir "$work/kv" --host-kv-space 60M --kv-disk-space 200M
client full_store.py
stop_server
