#!/bin/sh
# Token ids that NumPy has saved are a tokens file: of any integer type and byte order, of one dimension or a row of two. What
# is something else is told, with the item and its value, or its type or shape.
#
# Method: files made as numpy.lib.format describes them; the ids 258 260 72 105 in decimal are what they are compared with.
. tests/help_cli.sh
make_needle_model

# npy DESCR SHAPE BYTES [VERSION]: $work/ids.npy; BYTES are printf's
npy() {
    header="{'descr': $1, 'fortran_order': False, 'shape': $2, }"
    if [ "${4:-1}" -eq 1 ]; then
        {
            printf '\223NUMPY\001\000\166\000%-117s\n' "$header"
            printf '%b' "$3"
        } >"$work/ids.npy"
    else
        {
            printf '\223NUMPY\003\000\164\000\000\000%-115s\n' "$header"
            printf '%b' "$3"
        } >"$work/ids.npy"
    fi
}
logits() {
    run logits -m "$work/model" --tokens-file "$work/ids.npy" --out "$work/logits.npy" --quiet
}
printf '258 260 72 105' >"$work/ids"
expect 0 logits -m "$work/model" --tokens-file "$work/ids" --out "$work/first.npy" --quiet
same() {
    logits
    [ "$rc" -eq 0 ] || fail "exit $rc, wanted 0"
    cmp -s "$work/logits.npy" "$work/first.npy" || fail "$1: other logits"
}
two='\002\001\004\001H\000i\000'
npy "'<i2'" '(4,)' "$two" && same int16
npy "'<u2'" '(1, 4)' "$two" && same 'a row of uint16'
npy "'<u2'" '(4,)' "$two" 3 && same 'version 3'
npy "'>i4'" '(4,)' '\000\000\001\002\000\000\001\004\000\000\000H\000\000\000i' && same 'big-endian int32'
z='\000\000\000\000\000\000'
npy "'<i8'" '(4,)' "\002\001$z\004\001${z}H\000${z}i\000$z" && same int64
expect 0 detokenize -m "$work/model" -f "$work/ids.npy"
[ "$(cat "$work/out")" = '[gMASK]<sop>Hi' ] || fail 'another text'
expect 0 perplexity -m "$work/model" --tokens-file "$work/ids.npy" --json --quiet
says out '"n_tokens": 2,'
expect 0 complete -m "$work/model" --tokens-file - -n 1 --quiet <"$work/ids.npy"

wrong() {
    logits
    [ "$rc" -eq 2 ] || fail "exit $rc, wanted 2"
    says err "$1"
}
npy "'<i2'" '(2,)' '\002\001\020\001' && wrong '[1], 272, is not a token id from 0 to 271'
npy "'|i1'" '(2,)' 'H\377' && wrong '[1], -1, is not a token id'
npy "'<u8'" '(1,)' '\377\377\377\377\377\377\377\377' && wrong '[0], 18446744073709551615, is not'
npy "'<f4'" '(1,)' "$two" && wrong "its items are '<f4', not integers: ids.astype('int32')"
npy "[('a', '<i4')]" '(1,)' "$two" && wrong "not integers"
npy "'<i2'" '(2, 2)' "$two" && wrong 'its shape is (2, 2), not that of one row of ids'
npy "'<i2'" '(1, 2, 2)' "$two" && wrong 'its shape is (1, 2, 2), not'
npy "'<i2'" '()' "$two" && wrong 'its shape is (), not'
npy "'<i2'" '(-1,)' "$two" && wrong 'its shape is (-1,), not'
npy "'<i2'" '(5,)' "$two" && wrong 'a NumPy file that is not whole'
npy "'<i8'" '(922337203685477580,)' "$two" && wrong 'a NumPy file that is not whole'
npy "'<i8'" '(9223372036854775808,)' "$two" && wrong 'its shape is'
npy "'<i2'" '(0,)' '' && wrong 'holds no token id'
printf '\223NUMPY' >"$work/ids.npy" && wrong 'a NumPy file that is not whole'
printf '\223NUMPY\001\000\377\377{' >"$work/ids.npy" && wrong 'a NumPy file that is not whole'
printf '\223NUMPY\003\000\377\377\377\377{' >"$work/ids.npy" && wrong 'a NumPy file that is not whole'
