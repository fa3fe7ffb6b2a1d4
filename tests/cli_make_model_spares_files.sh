#!/bin/sh
# make-model writes where nothing is, or over the very model it would write: never over anything else,
# above all not over a real checkpoint.
#
# Method: make each kind; again; then ask for another model there, and in directories of others.
. tests/help_cli.sh

# refused ARGS...: exit 2, and every file in $work/model as it was
refused() {
    before=$(cksum "$work"/model/*)
    expect 2 make-model "$@"
    says err 'name a new directory'
    [ "$before" = "$(cksum "$work"/model/*)" ] || fail "files were changed"
}

small=tests/golden/native_bf16_kv4/config.json
mkdir "$work/model" # an empty one is as good as a new one
expect 0 make-model random "$work/model" --config $small --seed 3
rm "$work/model/model.safetensors" # as if killed half-way
expect 0 make-model random "$work/model" --config $small --seed 3
[ -s "$work/model/model.safetensors" ] || fail "the same command did not finish the model"
refused random "$work/model" --config $small --seed 4
refused random "$work/model" --config $small
refused random "$work/model" --seed 3
refused needle "$work/model"

rm -r "$work/model"
expect 0 make-model needle "$work/model"
expect 0 make-model needle "$work/model"
refused random "$work/model"

# A checkpoint from elsewhere, even when its own config is asked for; and no checkpoint at all.
rm -r "$work/model"
mkdir "$work/model"
cp $small "$work/model/config.json"
printf weights >"$work/model/model.safetensors"
refused random "$work/model" --config "$work/model/config.json"
refused needle "$work/model"
rm "$work/model/config.json"
refused needle "$work/model"

# A config that cannot be used leaves no directory behind.
printf '{"model_type": "glm"}' >"$work/bad.json"
expect 4 make-model random "$work/new" --config "$work/bad.json"
says err "--config $work/bad.json"
[ ! -e "$work/new" ] || fail "an unusable config left $work/new"
expect 2 make-model random "$work/new" --config "$work/bad.json" --sead 1
expect 2 make-model needle "$work/new" --seed 1
expect 2 make-model needles "$work/new"
[ ! -e "$work/new" ] || fail "a refused command left $work/new"
exit 0
