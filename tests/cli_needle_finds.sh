#!/bin/sh
# Every protocol finds its needles with the embedded model, which is made in the cache and used without -m; and where a
# number is the answer it is all of it: the model ends there, and so does the cell.
. tests/help_cli.sh

length=1500
depths=0,50,100
n=3
if [ -n "${GLM_TEST_FAST:-}" ]; then length=700 depths=50 n=1; fi
for protocol in lwm gkamradt ruler:single_1 ruler:single_2 ruler:single_3 ruler:multikey_1 \
    ruler:multikey_2 ruler:multikey_3; do
    expect 0 needle --protocol $protocol --lengths $length --depths $depths --no-progress --out "$work/$protocol"
    says out "found $n of $n"
    case $protocol in gkamradt | *_3) continue ;; esac # a sentence, or a UUID, behind which this model may go on
    sed -n 's/^ *"response": "\(.*\)",$/\1/p' "$work/$protocol/results.json" | sed 's/\\n$//; s/\.$//' >"$work/responses"
    sed -n 's/^ *"answer": "\(.*\)",$/\1/p' "$work/$protocol/results.json" >"$work/answers"
    [ -s "$work/answers" ] && cmp -s "$work/answers" "$work/responses" ||
        fail "$protocol: it goes on: $(cat "$work/responses")"
done
[ -s "$work/cache/glm1m/needle-model-v1/model.safetensors" ] || fail 'no model in the cache'
