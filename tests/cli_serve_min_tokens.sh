#!/bin/sh
# min_tokens of a request does what vLLM says of it: of so many tokens none ends the answer.
#
# Method: a small random model, in which a bias makes the end, or a letter that is to end it, the likeliest of all.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/help_cli.sh
. tests/help_serve.sh

make_small_model 3
eos=$(tr -d ' \n' <"$work/model/config.json" | sed 's/.*"eos_token_id":\[*\([0-9]*\).*/\1/')
start_server -m "$work/model" -c 1k
client min_tokens.py "$server_pid" "$eos"
stop_server
