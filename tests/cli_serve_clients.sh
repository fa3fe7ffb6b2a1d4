#!/bin/sh
# The published openai and anthropic clients drive every route: streaming and not, tools, logprobs,
# errors. The embedded model answers, so that what is said is known beforehand.
#
# Method: the clients, pinned, in a virtual environment that is made once below the build directory;
# where the package index cannot be reached there is nothing to test with: 77.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/help_cli.sh
. tests/help_serve.sh

# make_clients DIR: the environment, unless it is there with the same versions
make_clients() {
    cmp -s tests/serve/requirements.txt "$1/requirements.txt" && return
    rm -rf "$1"
    python3 -m venv "$1" && "$1/bin/pip" install -q --disable-pip-version-check \
        --only-binary :all: -r tests/serve/requirements.txt &&
        cp tests/serve/requirements.txt "$1/requirements.txt"
}

clients=${GLM_TEST_CLIENTS:-build/tests/clients}
if ! make_clients "$clients" >"$work/out" 2>"$work/err"; then
    echo "SKIPPED: the clients cannot be installed: $(tail -n 1 "$work/err")"
    exit 77
fi
python=$clients/bin/python

make_needle_model
start_server -m "$work/model" -c 16k --api-key secret
client clients.py
stop_server
