#!/bin/sh
# A book that has lost segments is whole again after the next question: what is missing is computed
# again and kept again, and the answer is the same. A damaged byte never reaches an answer.
set -u
. tests/help_cli.sh

make_needle_model
model="-m $work/model --kv-disk-dir $work/kv --no-progress"

ids() {
    tr -d '\n' <"$work/out" | sed 's/.*"ids": *\[\([^]]*\)\].*/\1/'
}

# More than one segment of 4096 bytes, or than two.
n_lines=260 damages="1 2 3"
[ -z "${GLM_TEST_FAST:-}" ] || { n_lines=105 && damages=1; }
awk -v n=$n_lines 'BEGIN { for (i = 0; i < n; i++) print "line " i ", of a text long enough for segments" }' \
    >"$work/text"
# shellcheck disable=SC2086 # words of options
expect 0 prefill $model --book b "$work/text"
# shellcheck disable=SC2086
expect 0 complete $model --book b -p 'line 7' -n 8 --json
before=$(ids)
# shellcheck disable=SC2086
expect 0 complete $model --book b -p '' -n 8 --json
alone=$(ids)
n_segments=$(find "$work/kv" -name '*.kvs' | wc -l)
[ "$n_segments" -ge 2 ] || fail "only $n_segments segments"

for i in $damages; do
    segment=$(find "$work/kv" -name '*.kvs' | sort | sed -n "${i}p")
    size=$(stat -c %s "$segment")
    printf 'damage' | dd of="$segment" bs=1 seek=$((size / 2)) conv=notrunc 2>/dev/null
    # shellcheck disable=SC2086
    expect 0 complete $model --book b -p 'line 7' -n 8 --json
    [ "$(ids)" = "$before" ] || fail "another answer over a damaged book"
    expect 0 book verify b --kv-disk-dir "$work/kv"
done
[ "$(find "$work/kv" -name '*.bad' | wc -l)" -eq "${damages##* }" ] || fail "not every damaged file was set aside"

# With nothing behind the book there is nothing left to compute.
damage() {
    segment=$(find "$work/kv" -name '*.kvs' | sort | head -n 1)
    printf 'damage' | dd of="$segment" bs=1 seek=$(($(stat -c %s "$segment") / 2)) conv=notrunc 2>/dev/null
}
damage
# shellcheck disable=SC2086
expect 0 complete $model --book b -p '' -n 8 --json
[ "$(ids)" = "$alone" ] || fail 'another answer over a damaged book alone'
damage
printf 'line 7\n' >"$work/turns"
# shellcheck disable=SC2086
"$GLM1M" chat $model --book b -n 1 <"$work/turns" >"$work/out" 2>"$work/err" || fail 'no conversation over a damaged book'
expect 0 book verify b --kv-disk-dir "$work/kv"
