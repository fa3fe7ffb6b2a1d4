#!/bin/sh
# The web page in a headless Chromium: it asks for the key, shows a file's tokens and the plan, the prefill
# and the answer, jumps to the line that is cited, stops, and draws a needle evaluation.
#
# Method: the embedded model completes the question's last line from the text; the fact is on line 77.
# GLM_TEST_PICTURES: a directory for screenshots.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/help_cli.sh
. tests/help_serve.sh

if ! command -v chromium >/dev/null; then
    echo 'SKIPPED: chromium is not installed'
    exit 77
fi
# It needs user namespaces.
if ! PYTHONDONTWRITEBYTECODE=1 python3 tests/serve/chromium.py; then
    echo 'SKIPPED: chromium does not start here'
    exit 77
fi
chmod 755 "$work" # chromium is another user

# prose FROM TO: lines without facts
prose() {
    awk -v from="$1" -v to="$2" 'BEGIN { for (i = from; i <= to; i++) printf "Line %d has nothing to say about %d.\n", i, i * i }'
}

n_lines=250
[ -z "${GLM_TEST_FAST:-}" ] || n_lines=80
{ prose 1 76 && printf 'The special magic number for Paris is: 4831759.\n' && prose 78 $n_lines; } >"$work/book.txt"
prose 1 1300 >"$work/long.txt"
expect 0 needle --lengths 500,700 --depths 0,100 --out "$work/needle" --no-progress

make_needle_model
start_server -m "$work/model" --served-model-name needle -c 64K --max-num-seqs 2 --api-key secret
client page.py "$server_pid" "$work/book.txt" "$work/long.txt" "$work/needle/results.json" \
    ${GLM_TEST_PICTURES:+"$GLM_TEST_PICTURES"}
stop_server
