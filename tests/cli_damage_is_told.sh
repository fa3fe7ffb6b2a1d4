#!/bin/sh
# A stored segment whose header is damaged is named when a command comes across it, and put aside; what it held is computed
# again, and the next command has nothing to say. Where it cannot be put aside, that is what is said.
#
# Method: prefill a text of two segments, overwrite bytes in the header of each in turn, and prefill the text again; at last
# with a directory in the way of the other name, in the header and then in the tokens, which are looked at later, also
# of the first segment, without which there is nothing to say of what was found.
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

for segment in $(find "$work/kv" -name '*.kvs'); do
    for place in 100 5000; do
        rm -rf "$segment.bad" && mkdir -p "$segment.bad/in the way"
        printf 'damage' | dd of="$segment" bs=1 seek="$place" conv=notrunc 2>/dev/null
        prefill
        ! grep -qE 'were put aside|; put aside|quarantined' "$work/err" || fail 'said to be put aside'
        says err 'could not be put aside'
    done
done
