#!/bin/sh
# Once cuBLASLt has refused a product of a server that runs, the system_fingerprint of what is asked for after that says so, and none
# before.
#
# Method: what plays cuBLASLt (tests/standin) refuses products of as many rows as the second of two prompts has tokens.
GLM1M=$(dirname "$GLM1M")/tests/glm1m_standin
[ -x "$GLM1M" ] || { echo "no program with a stand-in here: TSan, or no headers of cuBLASLt" && exit 77; }
. tests/help_cli.sh
. tests/help_serve.sh
make_needle_model

# fingerprint PROMPT: of its answer
fingerprint() {
    curl -s -m 120 "$url/v1/completions" -d "{\"prompt\": \"$1\", \"max_tokens\": 1}" >"$work/answer"
    sed -n 's/.*"system_fingerprint": *"\([^"]*\)".*/\1/p' "$work/answer"
}

export STANDIN_CUDA_PLAIN=1 STANDIN_CUDA_REFUSED_PRODUCTS=14 # 12 bytes, behind [gMASK]<sop>
start_server -m "$work/model" --device cuda -c 256 --max-num-seqs 2
before=$(fingerprint 'something else')
refused=$(fingerprint 'what is this')
[ -n "$before" ] || { cat "$work/answer" && fail "no fingerprint"; }
[ "$refused" = "$before" ] || fail "before a product was refused '$refused'"
tries=0
until after=$(fingerprint 'something else') && [ "$after" = "$before, bits by rows" ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 20 ] || fail "after a product was refused still '$after'"
    sleep 0.1 # what the server counts is published when it has nothing else to do
done
stop_server
