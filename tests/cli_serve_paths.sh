#!/bin/sh
# A path that is not there (/v1/embeddings, /v1/responses, ...) is answered with those that are, a model whose name has
# a slash, or is as long as one may be, is found by it at /v1/models/, and of slashes in a row, as base URLs with a slash make them, one counts.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/help_cli.sh
. tests/help_serve.sh

make_needle_model
for name in org/needle "org/needle:(1+2)@'~,;=!&\$*$(printf '%0229d' 0)"; do
    start_server -m "$work/model" -c 1k --served-model-name "$name"
    client paths.py "$server_pid" "$name"
    stop_server
done
