#!/bin/sh
# Who may read and write what a command makes, the umask says and nobody else: a group that shares a directory, with umask
# 002, goes on with each other's runs; with 077 nobody else sees them.
. tests/help_cli.sh
make_needle_model
echo 1,2,3 >"$work/ids"

# modes WANTED_DIR WANTED_FILE: of what lies in $work/shared
modes() {
    for path in "$work/shared" "$work/shared/run" "$work/shared/model"; do
        [ "$(stat -c %a "$path")" = "$1" ] || fail "$path is $(stat -c %a "$path"), wanted $1"
    done
    for path in run/results.json run/results.csv run/heatmap.svg run/heatmap.png a.jsonl l.npy model/config.json \
        model/model.safetensors; do
        [ "$(stat -c %a "$work/shared/$path")" = "$2" ] || fail "$path is $(stat -c %a "$work/shared/$path"), wanted $2"
    done
}

for mask in 002 022 027 077; do
    rm -rf "$work/shared"
    umask $mask
    expect 0 needle -m "$work/model" --lengths 500 --depths 50 --out "$work/shared/run"
    echo '{"question": "Who?"}' >"$work/q.jsonl"
    expect 0 ask -m "$work/model" "$work/ids" --questions "$work/q.jsonl" -n 2 --out "$work/shared/a.jsonl"
    expect 0 logits -m "$work/model" --tokens-file "$work/ids" --out "$work/shared/l.npy"
    expect 0 make-model needle "$work/shared/model"
    case $mask in
    002) modes 775 664 ;;
    022) modes 755 644 ;;
    027) modes 750 640 ;;
    077) modes 700 600 ;;
    esac
done
