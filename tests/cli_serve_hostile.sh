#!/bin/sh
# Bytes that no client should send, named one by one, and a request cut at every byte; keys, hosts and
# origins; clients that leave. Each leaves the server alive and at rest.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/help_cli.sh
. tests/help_serve.sh

make_needle_model
start_server -m "$work/model" -c 16k --api-key a-key-of-the-test
client hostile.py "$server_pid" a-key-of-the-test
stop_server
