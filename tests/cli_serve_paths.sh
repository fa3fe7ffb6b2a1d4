#!/bin/sh
# A path that is not there (/v1/embeddings, /v1/responses, ...) is answered with those that are, a model whose name has
# a slash is found by it at /v1/models/, and of slashes in a row, as base URLs with a slash make them, one counts.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/help_cli.sh
. tests/help_serve.sh

make_needle_model
start_server -m "$work/model" -c 1k --served-model-name org/needle
client paths.py "$server_pid" org/needle
stop_server
