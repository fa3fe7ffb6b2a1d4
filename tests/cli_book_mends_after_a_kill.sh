#!/bin/sh
# A book whose damaged segment is put aside can be used all the same, and is whole again then: whoever put that aside may have been
# killed before it was computed again, or be about it.
#
# Method: put aside by `book verify`, which computes nothing.
. tests/help_cli.sh
make_small_model 5
yes 'All work and no play makes Jack a dull boy.' | head -c 9000 >"$work/text"
expect 0 prefill -m "$work/model" "$work/text" --book jack --kv-disk-dir "$work/kv" --no-progress
asks() {
    expect 0 complete -m "$work/model" --book jack --kv-disk-dir "$work/kv" -p x -n 8 --no-progress
}
asks
mv "$work/out" "$work/whole"
for i in 1 2 3; do
    file=$(find "$work/kv" -name '*.kvs' | sort | sed -n ${i}p)
    printf 'damage' | dd of="$file" bs=1 seek=$(($(stat -c %s "$file") / 2)) conv=notrunc 2>/dev/null
    expect 5 book verify jack --kv-disk-dir "$work/kv"
    [ -e "$file.bad" ] && [ ! -e "$file" ] || fail "it is not put aside: $(cat "$work/out" "$work/err")"
    asks
    cmp "$work/out" "$work/whole" || fail 'another answer'
    expect 0 book verify jack --kv-disk-dir "$work/kv"
done
