#!/bin/sh
# ask: the right answer at the right line; the second question about the same files prefills nothing but
# itself; an edited tree is prefilled from the edit on, and where that is is said; what is too long is refused, or cut where
# that is asked for, and never in silence.
#
# Method: the embedded model's tokens are bytes, and it completes the question's last line from the
# text. Facts are planted at lines that are known here.
. tests/help_cli.sh
make_needle_model
n_lines=100
[ -z "${GLM_TEST_FAST:-}" ] || n_lines=12

# prose FROM TO: lines without facts
prose() {
    awk -v from="$1" -v to="$2" 'BEGIN { for (i = from; i <= to; i++) printf "Line %d has nothing to say about %d.\n", i, i * i }'
}
# about CITY: a question in the form that the model completes
about() {
    printf 'What is it?\n>\nThe special magic number for %s is:' "$1"
}
# asks ARGS...
asks() {
    expect 0 ask -m "$work/model" --kv-disk-dir "$work/kv" "$@"
}
# number KEY: of the record that was printed last
number() {
    sed -n "s/.*\"$1\": \([0-9]*\).*/\1/p" "$work/out"
}

mkdir "$work/tree"
{ prose 1 9 && printf 'The special magic number for Paris is: 4831759.\n' && prose 11 $n_lines; } >"$work/tree/a.txt"
{ prose 1 5 && printf 'The special magic number for\n  Oslo is: 1112131.\n' && prose 8 20; } >"$work/tree/b.md"
printf 'a\0b' >"$work/tree/c.bin"

# One file.
asks "$work/tree/a.txt" -q "$(about Paris)"
[ "$(head -n 1 "$work/out")" = 'The special magic number for Paris is: 4831759.' ] || fail 'the answer'
says out 'tree/a.txt, line 10 ['
says err ' 1 file, '
says err 'plan: span '
says err ', 0 of them reused, in '

# Another question about it: all of the prefix is found.
asks "$work/tree/a.txt" -q "$(about London)" --json --quiet
says_nothing err
n_reused=$(number reused_tokens)
[ "$n_reused" -gt 500 ] || fail "the second question finds $n_reused tokens"
asks "$work/tree/a.txt" -q "$(about Paris)" --json
[ "$(number reused_tokens)" -eq "$n_reused" ] || fail 'the prefix is not the same'
says err "on disk already: $n_reused of $n_reused tokens"
says out '"answer": "The special magic number for Paris is: 4831759."'
says out '"verified": true'
says out '"file": "'"$work"'/tree/a.txt"'
says out '"line": 10, "last_line": 10'
says out '"truncated": null'
says out "\"source_sha256\": \"$(sha256sum "$work/tree/a.txt" | cut -d ' ' -f 1)\""

# What the sources do not say is marked, whoever says it.
asks "$work/tree/a.txt" -q "$(printf '>\n"No such words" [77] The special magic number for Paris is:')"
says out 'UNVERIFIED "No such words": the sources do not say so'

# A tree, then with a file edited near its end: what is before the edit is found.
asks "$work/tree" -q "$(about Paris)" --json
says err 'skipped c.bin: binary'
says out '"file": "a.txt"'
asks "$work/tree" -q "$(about Oslo)"
says out 'b.md, lines 6-7 ['
# What most of it is, for who has to leave something out.
[ "$n_lines" -lt 100 ] || says err ' KiB of it a.txt'
before=$(sed -n 's/^text: \([0-9]*\) tokens.*/\1/p' "$work/err")
printf 'One more.\n' >>"$work/tree/b.md"
asks "$work/tree" -q "$(about Paris)" --json
[ "$(number reused_tokens)" -eq "$before" ] || fail "an appended line costs more than itself"
sed -i 's/Line 12 has/Line 12 HAS/' "$work/tree/b.md"
asks "$work/tree" -q "$(about Paris)" --json
n_edited=$(number reused_tokens)
line=$(grep -n 'Line 12' "$work/tree/b.md" | cut -d : -f 1)
said=$(sed -n 's/^the others begin at b\.md, line \([0-9]*\), or right behind it$/\1/p' "$work/err")
[ "${said:-0}" -le "$line" ] && [ "${said:-0}" -ge $((line - 30)) ] && [ -n "$said" ] ||
    fail "the edit is in line $line of b.md, and said to be in ${said:-none}"
at=$(grep -ob 'Line 12' "$work/tree/b.md" | cut -d : -f 1)
size=$(wc -c <"$work/tree/b.md")
total=$(sed -n 's/^text: \([0-9]*\) tokens.*/\1/p' "$work/err")
# Between the file's beginning and its end there are markers besides, of a dozen bytes each.
[ "$n_edited" -ge $((total - size + at - 12)) ] && [ "$n_edited" -le $((total - size + at + 24)) ] ||
    fail "$n_edited tokens are reused, of $total the edit is $((size - at)) from the end"

# A book of it is kept, by its name.
asks "$work/tree" -q "$(about Paris)" --book tree
expect 0 book ls --kv-disk-dir "$work/kv" --json
says out '"name": "tree"'
says out "\"source\": \"$work/tree\""

# It is asked about without its sources, and so is a text that prefill has kept.
mv "$work/tree" "$work/gone"
asks --book tree -q "$(about Oslo)"
says out 'b.md, lines 6-7 ['
says err "on disk already: $total of $total tokens"
asks --book tree -q "$(about Paris)" --json
says out '"file": "a.txt"'
says out '"line": 10, "last_line": 10'
expect 0 prefill -m "$work/model" "$work/gone/a.txt" --book a --kv-disk-dir "$work/kv" --quiet
asks --book a -q "$(about Paris)"
says out "/gone/a.txt, line 10"
expect 2 ask -m "$work/model" --book tre -q x --kv-disk-dir "$work/kv"
says err 'did you mean tree?'
expect 2 ask -m "$work/model" --book tree -q x --truncate middle --kv-disk-dir "$work/kv"
expect 2 ask -m "$work/model" -q x
says err 'ask takes SOURCE..., or --book NAME, or both'
mv "$work/gone" "$work/tree"

# The time is the text's, however long its answer may become.
asks "$work/tree/a.txt" -q "$(about Paris)" -n 200000
grep -q '; about [0-9.]* s for all of it$' "$work/err" || fail 'the time is that of the answer, too'

# An answer that is cut off says so.
asks "$work/tree/a.txt" -q "$(about Paris)" -n 9
says err 'the answer is cut off after 9 tokens: -n N allows more'

# Too long: by how much. With --truncate, what is left out is said and recorded.
room=$((total - 100))
expect 3 ask -m "$work/model" "$work/tree" -q "$(about Paris)" -c "$room" --kv-disk-dir "$work/kv"
says err " more than --max-model-len, $room; --truncate middle leaves out the text's middle"
asks "$work/tree" -q "$(about Paris)" -c "$total" -n 100 --truncate middle --json
says err ' tokens of the middle are left out, passages '
says out '"truncated": {"rule": "middle", "n_tokens": '
expect 3 ask -m "$work/model" "$work/tree" -q "$(about Paris)" -c 300 --truncate middle
says err 'nothing of the text is left'

# Usage.
expect 2 ask -m "$work/model" "$work/tree"
says err 'ask takes one of -q TEXT and --questions FILE'
expect 2 ask -m "$work/model" "$work/tree" -q ''
says err 'the question is empty'
expect 2 ask -m "$work/model" "$work/tree/c.bin" -q x
says err 'c.bin is no text: binary from byte 1 on'
expect 2 ask -m "$work/model" "$work/tree" -q x --truncate end
