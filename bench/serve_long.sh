#!/bin/sh
# A long prefill in the server: its client leaves at half and asks again; all the while short requests come. How
# much is paid for twice, and when the short ones have their first token. Durably: kill it when you like, the
# same command finds on disk what is computed.
#
#   sh bench/serve_long.sh --dir DIR [--tokens 300000] [--shorts 16] [--result FILE]
#
#   DIR     where the KV is kept (300,000 tokens: 0.9 GB); remove it to begin anew
#   FILE    a line is appended when it is done (default bench/results/serve_long.tsv): when, commit, machine,
#           tokens, of them found on disk at the start, computed when the client left, found again, short
#           requests of 32 tokens, s to their first token: median and worst, most pieces of others that one waited
#           for, the longest piece's s, the bound on the wait: 2 of those, seconds of all
#
# Needs build/ (Release) and python3. Exit code 0: the answer is right, at most one piece was paid for twice, and
# no short request waited longer than for 2 pieces of the long one.
set -u
cd "$(dirname "$0")/.." || exit 1
. bench/options.sh
dir='' tokens=300000 shorts=16 result=bench/results/serve_long.tsv
options "dir tokens shorts result" "$@"
[ -n "$dir" ] || usage
mkdir -p "$dir" || exit 1
[ -d "$dir/model" ] || build/glm1m make-model needle "$dir/model" || exit 1

build/glm1m serve -m "$dir/model" --port 0 -c $((tokens + 4096)) --max-num-seqs 4 --kv-disk-dir "$dir/kv" \
    2>"$dir/server.log" &
server=$!
trap 'kill $server 2>/dev/null' EXIT INT TERM
until grep -q '^ready' "$dir/server.log"; do
    kill -0 $server 2>/dev/null || { cat "$dir/server.log" && exit 1; }
    sleep 0.2
done
url=$(sed -n 's/^listening on //p' "$dir/server.log")
machine=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | sort | uniq -c | sed 's/^ *//;s/ /x /' | head -n 1)
line=$(PYTHONDONTWRITEBYTECODE=1 python3 bench/serve_long.py "$url" "$server" "$tokens" "$shorts")
rc=$?
echo "$line"
[ -z "$line" ] || printf '%s\t%s\t%s\t%s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" \
    "$(git rev-parse --short HEAD 2>/dev/null || echo -)" "$machine" "$(printf '%s' "$line" | tail -n 1)" >>"$result"
exit $rc
