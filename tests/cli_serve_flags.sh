#!/bin/sh
# What `glm1m serve` refuses before it listens, and the table of its bounds.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/help_cli.sh
. tests/help_serve.sh

expect 0 serve --limits
for bound in 'request line +8192' 'header +32768' 'header fields +64' 'body +16777216' \
    "a new connection's whole header +10" 'JSON nesting +32' 'JSON values but numbers +65536' \
    'messages +4096' 'a JSON number +32' 'connections +10000' 'connections of an address +256' ' *of its answer the kernel keeps +262144' \
    'requests of a connection +1000' 'a client that reads nothing +30'; do
    grep -Eq "^$bound " "$work/out" || fail "--limits has no line: $bound"
done

make_needle_model
expect 2 serve
says err '-m'
expect 2 serve -m "$work/model" --host 0.0.0.0
says err '--api-key'
expect 2 serve -m "$work/model" --host ::
says err '--api-key'
expect 2 serve -m "$work/model" --api-key ''
says err 'empty'
expect 2 serve -m "$work/model" --port 0 --served-model-name ''
says err '--served-model-name: the name is empty'
expect 2 serve -m "$work/model" --port 0 --served-model-name "$(printf '%0256d' 0)"
says err '--served-model-name: the name is longer than 255 bytes'
expect 2 serve -m "$work/model" --port 0 --served-model-name "$(printf 'caf\351')"
says err '--served-model-name: not UTF-8 from byte 3 on'
expect 2 serve -m / --port 0
says err '-m without --served-model-name: the name is empty'
latin=$work/$(printf 'mod\350le')
mv "$work/model" "$latin"
expect 2 serve -m "$latin" --port 0
says err '-m without --served-model-name: not UTF-8 from byte 3 on'
mv "$latin" "$work/model"
expect 2 serve -m "$work/model" --host no.such.host.invalid
says err 'no.such.host.invalid'
expect 2 serve -m "$work/model" --port 65536
expect 2 serve -m "$work/model" --max-num-seqs 257
expect 2 serve -m "$work/model" --port 0 -c 1000M
says err "limit is 1048576 tokens"

# With a key another address is taken; the port of a server that runs is not.
GLM_API_KEY=secret start_server -m "$work/model" -c 4k --host 0.0.0.0
expect 1 serve -m "$work/model" -c 4k --port "${url##*:}" --host 0.0.0.0 --api-key secret
says err "port ${url##*:}"
stop_server
