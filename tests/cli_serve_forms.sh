#!/bin/sh
# Answers that are bound: response_format json_object gives a JSON object, Anthropic's output_config one of its schema,
# tool_choice required (and Anthropic's any) a call of one of the tools, and a named function's arguments are a JSON
# object; whatever the model is.
#
# Method: a model of random weights, which would never write JSON by itself, drawn at a high temperature.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/help_cli.sh
. tests/help_serve.sh

make_small_model 5
start_server -m "$work/model" -c 4k -b 128 --max-num-seqs 8
client forms.py "$server_pid"
stop_server
