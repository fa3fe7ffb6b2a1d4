#!/bin/sh
# Several books are removed by one command, by name and by wildcards; with one name that is none, nothing is;
# of some that cannot be removed it says which, and the others are gone.
. tests/help_cli.sh
make_needle_model
printf 'A short text.' >"$work/text"
books=$work/kv/vault/books
expect 0 prefill -m "$work/model" "$work/text" --book draft-1 --kv-disk-dir "$work/kv"
for name in draft-2 draft-30 notes war; do # the vault's names are of files; what is in one does not matter here
    cp "$books/draft-1.book" "$books/$name.book"
done
there() { (cd "$books" && echo *.book) >"$work/there"; }
wanted() {
    there
    [ "$(cat "$work/there")" = "$1" ] || fail "there is $(cat "$work/there"), wanted $1"
}

expect 2 book rm war wor --kv-disk-dir "$work/kv"
says err 'did you mean war?'
expect 2 book rm war 'x*' --kv-disk-dir "$work/kv"
says err 'matches x*'
wanted 'draft-1.book draft-2.book draft-30.book notes.book war.book'
expect 0 book rm 'draft-?' notes --kv-disk-dir "$work/kv"
for name in draft-1 draft-2 notes; do says out "removed $name"; done
says out 'what no other book holds goes when room is needed'
wanted 'draft-30.book war.book'
expect 0 book rm war --json --kv-disk-dir "$work/kv"
says out '{"removed": "war"}'
expect 0 book rm '*' --json --kv-disk-dir "$work/kv"
says out '{"removed": ["draft-30"]}'
wanted '*.book'
expect 2 book show a b --kv-disk-dir "$work/kv"
says err 'takes one name'

for name in a c; do printf x >"$books/$name.book"; done
mkdir "$books/b.book" # which no unlink(2) removes
expect 1 book rm '*' --kv-disk-dir "$work/kv"
for name in a c; do says out "removed $name"; done
says err "b.book"
says err '1 of 3 books could not be removed: b'
! grep -q 'removed b' "$work/out" || fail 'b is there, and said to be gone'
wanted 'b.book'
printf x >"$books/a.book"
expect 1 book rm '*' --json --kv-disk-dir "$work/kv"
says out '{"removed": ["a"]}'
expect 1 book rm b --json --kv-disk-dir "$work/kv"
says_nothing out
