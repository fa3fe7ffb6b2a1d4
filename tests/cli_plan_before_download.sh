#!/bin/sh
# plan needs no weights: of a directory with a config.json alone it says what it says of the whole model.
#
# Method: plan a model, take its weights away, plan again, and compare all numbers but the measured ones;
# a download that has begun is judged by what is there.
. tests/help_cli.sh
make_needle_model

# planned OUT: the plan without what is measured anew each time
planned() {
    expect 0 plan -m "$work/model" -c 4k -b 1K --threads 1 --host-kv-space 64M --linear own --json
    grep -v '"machine_flops"\|"prefill_s"\|"decode_tps"\|"limit_bytes"\|"kv_disk_limit_bytes"\|"has_weights"' "$work/out" >"$work/$1"
    grep -q '"weights_bytes": [1-9]' "$work/$1" || fail "no weights in the plan"
}
for dtype in bfloat16 float32; do
    sed "s/\"torch_dtype\": *\"[a-z0-9]*\"/\"torch_dtype\": \"$dtype\"/" "$work/model/config.json" >"$work/config.json"
    rm -rf "$work/model"
    expect 0 make-model random "$work/model" --config "$work/config.json"
    planned whole
    mv "$work/model"/*.safetensors "$work/"
    planned config
    cmp -s "$work/whole" "$work/config" || { diff "$work/whole" "$work/config"; fail "$dtype: plans differ"; }
    says out '"has_weights": false'
done
expect 0 plan -m "$work/model" -c 4k
says out 'no file of them is here'
expect 4 complete -m "$work/model" -p x -n 1
says err 'holds no weights'

# Half a download is no config alone.
: >"$work/model/model-00001-of-00002.safetensors"
expect 4 plan -m "$work/model" -c 4k
says err 'holds no weights'

if [ -f "${GLM_TEST_DATA:-}/glm-4-9b-chat-1m/config.json" ]; then
    mkdir "$work/9b" && cp "$GLM_TEST_DATA/glm-4-9b-chat-1m/"*.json "$work/9b/"
    "$GLM1M" plan -m "$work/9b" -c 4k --threads 1 --json >"$work/out" 2>"$work/err"
    case $? in 0 | 3) ;; *) fail "the published config: $(cat "$work/err")" ;; esac
    grep -q '"weights_bytes": 1[89][0-9]\{9\}' "$work/out" || fail "the published model has 17.7 GiB of weights"
fi
