#!/bin/sh
# The model is listed, and found by its name, in the shape of the API that asks: Anthropic's where the request has its header; and
# so by each of several names.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/help_cli.sh
. tests/help_serve.sh

make_small_model 3
start_server -m "$work/model" -c 1000
client models.py "$server_pid" model 1000
stop_server
start_server -m "$work/model" -c 1000 --served-model-name glm --served-model-name org/gpt-4o
client models.py "$server_pid" glm 1000 org/gpt-4o
stop_server
expect 2 serve -m "$work/model" --port 0 --served-model-name glm --served-model-name ''
says err '--served-model-name: the name is empty'
