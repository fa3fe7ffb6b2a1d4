#!/bin/sh
# A stored segment whose header is damaged is named when a command comes across it, and put aside; what it held is computed
# again, and the next command has nothing to say.
#
# Method: prefill a text of two segments, overwrite bytes in the header of each in turn, and prefill the text again.
. tests/help_cli.sh
make_needle_model
yes 'All work and no play makes Jack a dull boy.' | head -c 5000 >"$work/text"
prefill() {
    expect 0 prefill -m "$work/model" "$work/text" --book jack --kv-disk-dir "$work/kv" --no-progress
}

prefill
[ "$(find "$work/kv" -name '*.kvs' | wc -l)" -eq 2 ] || fail 'not two segments'
for segment in $(find "$work/kv" -name '*.kvs'); do
    printf 'damage' | dd of="$segment" bs=1 seek=100 conv=notrunc 2>/dev/null
    prefill
    says err 'warn kvstore: damaged files=1 were put aside as .bad; the last: '
    says err "$segment: "
    [ -e "$segment.bad" ] || fail "$segment is not put aside"
    prefill
    ! grep -q 'damaged' "$work/err" || fail 'said again, though all is well'
    says err 'on disk already: 5001 of 5002 tokens'
done
