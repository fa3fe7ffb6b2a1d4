#!/bin/sh
# logits --positions: any choice of rows is those rows of "all", bit for bit; the file is .npy.
#
# Method: compare byte ranges of the files. The embedded model's rows are 272 x 4 bytes behind a
# header of 128. All rows are written as the prefill has them, some of them when it is over.
. tests/help_cli.sh
make_needle_model
row_bytes=1088
n=4002 # tokens
[ -z "${GLM_TEST_FAST:-}" ] || n=802

row() { # FILE INDEX
    tail -c +$((129 + $2 * row_bytes)) "$1" | head -c $row_bytes
}
logits() { # POSITIONS FILE
    expect 0 logits -m "$work/model" --tokens-file "$work/ids" --positions "$1" --out "$2" --quiet
    says_nothing err
}

{ echo 258 260 && seq 1 $((n - 2)) | awk '{ print ($1 * 7919) % 256 }'; } >"$work/ids"
logits all "$work/all.npy"
head -c 8 "$work/all.npy" | od -An -tx1 | grep -q '93 4e 55 4d 50 59 01 00' || fail "not .npy 1.0"
head -c 128 "$work/all.npy" | grep -aqF "'descr': '<f4', 'fortran_order': False, 'shape': ($n, 272)" ||
    fail "the header says something else"
[ "$(wc -c <"$work/all.npy")" -eq $((128 + n * row_bytes)) ] || fail "the size is wrong"

logits last "$work/last.npy"
row "$work/all.npy" $((n - 1)) >"$work/row"
row "$work/last.npy" 0 | cmp -s - "$work/row" || fail "last differs from the last row of all"

logits 0,127,128,700 "$work/some.npy"
i=0
for position in 0 127 128 700; do
    row "$work/all.npy" $position >"$work/row"
    row "$work/some.npy" $i | cmp -s - "$work/row" || fail "row $position differs from that of all"
    i=$((i + 1))
done

for wrong in $n 5,4 3,3 x ''; do
    expect 2 logits -m "$work/model" --tokens-file "$work/ids" "--positions=$wrong" --out "$work/no.npy"
    [ ! -e "$work/no.npy" ] || fail "a file appeared although --positions was wrong"
done

expect 2 logits -m "$work/model" --tokens-file "$work/ids" --out -
says err '--out -: the result needs a name'

# Replaced as a whole or not at all, and nothing is left beside it.
mkdir "$work/readonly.npy"
expect 1 logits -m "$work/model" --tokens-file "$work/ids" --positions last --out "$work/readonly.npy"
mkfifo "$work/fifo"
expect 1 logits -m "$work/model" --tokens-file "$work/ids" --positions last --out "$work/fifo"
says err "$work/fifo is in the way: it is no regular file"
[ -p "$work/fifo" ] || fail 'a pipe was replaced by a file'
cp "$work/ids" "$work/before"
expect 2 logits -m "$work/model" --tokens-file "$work/ids" --positions last --out "$work/ids"
says err "$work/ids is in the way: it is no NumPy file, and would be lost"
cmp -s "$work/ids" "$work/before" || fail 'the ids are lost'
expect 0 logits -m "$work/model" --tokens-file "$work/ids" --positions last --out "$work/all.npy"
: >"$work/empty"
expect 0 logits -m "$work/model" --tokens-file "$work/ids" --positions last --out "$work/empty"
cmp -s "$work/all.npy" "$work/last.npy" && cmp -s "$work/empty" "$work/last.npy" || fail 'what may be replaced is not'
ln -s empty "$work/link"
: >"$work/empty"
expect 0 logits -m "$work/model" --tokens-file "$work/ids" --positions last --out "$work/link"
[ -L "$work/link" ] && cmp -s "$work/empty" "$work/last.npy" || fail 'a link is not one any more'
ln -s nothing "$work/dangling"
expect 1 logits -m "$work/model" --tokens-file "$work/ids" --positions last --out "$work/dangling"
says err "$work/dangling is in the way: a link to no file"
ln -s /proc/self/fd/1 "$work/stdout" # as /dev/stdout is; the output of `expect` goes to an empty file
expect 1 logits -m "$work/model" --tokens-file "$work/ids" --positions last --out "$work/stdout"
says err "$work/stdout is in the way: it is standard output"
[ "$(readlink "$work/stdout")" = /proc/self/fd/1 ] || fail 'the link to standard output was replaced by a file'
[ -z "$(find "$work" -name '*.tmp')" ] || fail "a temporary file was left behind"
