#!/bin/sh
# Pages of the origins that --allow-origin names may ask, and read every answer; those of any other may not.
#
# Method: what browsers send, by hand; and what is no origin is refused before the server listens.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/help_cli.sh
. tests/help_serve.sh

make_small_model 3
for origin in localhost:3000 http:// http://localhost:3000/ http://a.example/path 'http://a b' ''; do
    expect 2 serve -m "$work/model" --port 0 --allow-origin "$origin"
    says err "--allow-origin $origin: an origin is a scheme, a host"
done
expect 2 serve -m "$work/model" --port 0 --allow-origin '*'
says err 'with no --api-key'

start_server -m "$work/model" -c 1k --api-key key --allow-origin https://chat.example --allow-origin http://localhost:3000
client origins.py "$server_pid" key http://localhost:3000 http://localhost:3001
client origins.py "$server_pid" key https://chat.example http://chat.example
stop_server

start_server -m "$work/model" -c 1k --api-key key --allow-origin '*'
client origins.py "$server_pid" key https://any.example ''
stop_server
