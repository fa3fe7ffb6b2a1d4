#!/bin/sh
# Every protocol finds its needles with the embedded model, which is made in the cache and used
# without -m.
. tests/help_cli.sh

length=1500
[ -z "${GLM_TEST_FAST:-}" ] || length=800
for protocol in lwm gkamradt ruler:single_1 ruler:single_2 ruler:single_3 ruler:multikey_1 \
    ruler:multikey_2 ruler:multikey_3; do
    expect 0 needle --protocol $protocol --lengths $length --depths 0,50,100 --no-progress
    says out 'found 3 of 3'
done
[ -s "$work/cache/glm1m/needle-model-v1/model.safetensors" ] || fail 'no model in the cache'
