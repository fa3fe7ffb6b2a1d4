#!/bin/sh
# plan needs no weights: of a directory with a config.json alone it says what it says of the whole model.
#
# Method: plan a model, take its weights away, plan again, and compare all numbers but the measured ones; likewise with some
# of the files of a download.
. tests/help_cli.sh
make_needle_model

# planned OUT: the plan without what is measured anew each time
planned() {
    expect 0 plan -m "$work/model" -c 4k -b 1K --threads 1 --host-kv-space 64M --linear own --json
    grep -v '"machine_flops"\|"attention_flops"\|"prefill_s"\|"decode_tps"\|"limit_bytes"\|"kv_disk_limit_bytes"\|"has_weights"' "$work/out" >"$work/$1"
    grep -q '"weights_bytes": [1-9]' "$work/$1" || fail "no weights in the plan"
}
# shard: model.safetensors becomes a shard of an index
shard() {
    python3 - "$work/model" <<'END'
import json, os, struct, sys
single = sys.argv[1] + "/model.safetensors"
with open(single, "rb") as file:
    header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
names = [name for name in header if name != "__metadata__"]
json.dump({"weight_map": dict.fromkeys(names, "model-00001-of-00001.safetensors")}, open(single + ".index.json", "w"))
os.rename(single, sys.argv[1] + "/model-00001-of-00001.safetensors")
END
}
# A whole checkpoint in shards: nothing of it is missing.
shard
expect 0 plan -m "$work/model" -c 4k
grep -q 'as config.json describes them' "$work/out" && fail 'a whole checkpoint in shards is told to be missing'
expect 0 plan -m "$work/model" -c 4k --json
says out '"has_weights": true'

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

# Half a download, too; what is missing is told, and nothing else is done with it.
: >"$work/model/model-00001-of-00002.safetensors"
planned half
cmp -s "$work/whole" "$work/half" || fail 'a shard without an index changes the plan'
says out '"has_weights": false'
expect 0 plan -m "$work/model" -c 4k
says out 'neither model.safetensors nor an index'
expect 4 complete -m "$work/model" -p x -n 1
says err 'holds no weights'
index=$work/model/model.safetensors.index.json
echo '{"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}' >"$index"
ln -s nowhere "$work/model/model-00002-of-00002.safetensors"
planned half
cmp -s "$work/whole" "$work/half" || fail 'half of the shards change the plan'
expect 0 plan -m "$work/model" -c 4k
tr -s ' \n' ' ' <"$work/out" >"$work/words"
grep -q '1 of 2 files of weights are missing, the first is model-00002-of-00002.safetensors' "$work/words" ||
    fail 'what is missing is not told'
expect 4 complete -m "$work/model" -p x -n 1
says err 'IDX_MISSING_SHARD'

# What is there is judged: a file that was cut off, an index that is none.
rm "$work/model/model-00002-of-00002.safetensors" && : >"$work/model/model-00002-of-00002.safetensors"
expect 4 plan -m "$work/model" -c 4k
says err 'model-00001-of-00002.safetensors'
echo '{"weight_map": 7}' >"$index"
expect 4 plan -m "$work/model" -c 4k
says err 'IDX_TYPE'
rm "$work/model/"*.safetensors*

if [ -f "${GLM_TEST_DATA:-}/glm-4-9b-chat-1m/config.json" ]; then
    mkdir "$work/9b" && cp "$GLM_TEST_DATA/glm-4-9b-chat-1m/"*.json "$work/9b/"
    "$GLM1M" plan -m "$work/9b" -c 4k --threads 1 --json >"$work/out" 2>"$work/err"
    case $? in 0 | 3) ;; *) fail "the published config: $(cat "$work/err")" ;; esac
    grep -q '"weights_bytes": 1[89][0-9]\{9\}' "$work/out" || fail "the published model has 17.7 GiB of weights"
fi
