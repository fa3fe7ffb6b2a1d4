#!/bin/sh
# SIGTERM in the middle of a long prefill that is kept on disk: what is computed is written there to the last
# (layer, chunk), also of a prompt that is shorter than a segment of the store; the stream is told and properly
# ended, the exit code is 0, and the same request after a restart goes on from there. So of one that shares its beginning
# with another prompt.
#
# GLM_TEST_DRAIN=30: send one signal only, and let the 30 s of --limits pass.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/help_cli.sh
. tests/help_serve.sh

make_needle_model
how=twice
sizes='4000 14000'
[ "${GLM_TEST_FAST:-0}" != 1 ] || sizes=4000
if [ "${GLM_TEST_DRAIN:-}" = 30 ]; then how=once sizes=120000; fi
of_two=forked
[ "$how" = twice ] || of_two=
for way in $how $of_two; do for n_tokens in $sizes; do
    # Or it is over before a signal comes.
    chunk=32
    [ "$n_tokens" -gt 4096 ] || chunk=1
    [ "${GLM_TEST_FAST:-0}" != 1 ] || chunk=16
    [ "$how" = twice ] || chunk=128
    set -- -m "$work/model" -c 128k -b $chunk --max-num-seqs 2 --kv-disk-dir "$work/kv"
    GLM_LOG=info start_server "$@"
    client suspends.py "$server_pid" "$n_tokens" "$way" "$work/place"
    await_server
    GLM_LOG=info start_server "$@"
    client suspends.py "$server_pid" "$n_tokens" again "$work/place"
    stop_server
    # Between two pieces, which end where segments do, nothing is suspended.
    [ $(($(cat "$work/place") % 4096)) = 0 ] || grep -q 'resumed begin=' "$work/server.err" ||
        fail "$n_tokens tokens, $way: begun anew"
    rm -rf "$work/kv"
done; done

# One of two prompts that take turns is between its pieces: what it has is kept, and it is told so.
[ "$how" = twice ] && [ "${GLM_TEST_FAST:-0}" != 1 ] || exit 0
start_server -m "$work/model" -c 128k -b 32 --max-num-seqs 2 --kv-disk-dir "$work/kv"
client suspends.py "$server_pid" 14001 beside "$work/place"
await_server
