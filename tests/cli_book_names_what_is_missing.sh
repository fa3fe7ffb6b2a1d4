#!/bin/sh
# A book that is not whole is refused with the file that is missing, or damaged, and exit code 5; nothing is answered.
#
# Method: a book on two drives; without one of them, without a file, and with a damaged header.
. tests/help_cli.sh
make_small_model 5
yes 'All work and no play makes Jack a dull boy.' | head -c 17000 >"$work/text"
drives="--kv-disk-dir $work/a --kv-disk-dir $work/b"
# shellcheck disable=SC2086 # words of options
expect 0 prefill -m "$work/model" "$work/text" --book jack $drives --no-progress
cp -r "$work/a" "$work/a_whole" && cp -r "$work/b" "$work/b_whole"

# refuses WORDS
refuses() {
    # shellcheck disable=SC2086
    expect 5 complete -m "$work/model" --book jack $drives -p x -n 1
    says_nothing out
    says err 'kvstore: book jack: segment '
    says err "$1"
    rm -rf "$work/a" "$work/b"
    cp -r "$work/a_whole" "$work/a" && cp -r "$work/b_whole" "$work/b"
}

some=$(find "$work/a" "$work/b" -name '*.kvs' | sort | head -n 1)
rm "$some"
refuses " of 5 is missing: there is no $some, nor is it in the other directories"
printf 'damage' | dd of="$some" bs=1 seek=100 conv=notrunc 2>/dev/null
refuses " of 5 was damaged and is put aside as $some.bad"
mkdir -p "$some.bad/in the way" # as on a drive that is only read: it cannot be put aside
printf 'damage' | dd of="$some" bs=1 seek=100 conv=notrunc 2>/dev/null
refuses " of 5 is damaged, and could not be put aside: $some;"
drive=$work/b # the other has the manifest
[ -n "$(find "$drive" -name '*.kvs')" ] || fail 'the second drive holds nothing'
rm -rf "$drive"
refuses " of 5 is missing: there is no $drive/vault/"
