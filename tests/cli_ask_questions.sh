#!/bin/sh
# ask --questions: each question has the answer that it has alone, however many are decoded together; a
# run that was cut off goes on behind its last whole line; what cannot be asked is named by its line.
#
# Method: planted facts and the embedded model, whose answers are known; a file of answers is cut in
# the middle of a line, as a crash would leave it.
. tests/help_cli.sh
make_needle_model
for city in Paris Oslo Rome; do
    awk -v city="$city" 'BEGIN { for (i = 0; i < 12; i++) printf "Line %d of %s has nothing to say.\n", i, city }'
    printf 'The special magic number for %s is: %d.\n' "$city" "$(printf '%s' "$city" | cksum | cut -c 1-7)"
done >"$work/text"
number() { printf '%s' "$1" | cksum | cut -c 1-7; }

# question ID CITY
question() {
    printf '{"id": %s, "question": "What?\\n>\\nThe special magic number for %s is:"}\n' "$1" "$2"
}
{
    question '"a"' Paris
    question 7 Oslo
    printf '\n{"question": 5}\nnonsense\n'
    question '"a"' Rome
    question '"r"' Rome
    printf '{"question": "What?\\n>\\nThe special magic number for Paris is:", "max_tokens": 9}\n'
} >"$work/q.jsonl"

# asks RC ARGS...
asks() {
    wanted=$1
    shift
    expect "$wanted" ask -m "$work/model" "$work/text" --questions "$work/q.jsonl" --kv-disk-dir "$work/kv" "$@"
}

asks 1 --no-progress
says err "$work/q.jsonl:4: \"question\" is no string, or an empty one"
says err "$work/q.jsonl:5: column 8: "
says err "$work/q.jsonl:6: the id is that of line 1"
says err '3 of 7 questions could not be asked; each is a line of its own, such as {"question": '
says out '"id": "a", "line": 6, "error": "the id is that of line 1"'
says out '"id": 4, "line": 4, "error": '
cp "$work/out" "$work/all"
answer_of() { grep "\"id\": $1, \"question\"" "$work/all" | sed 's/.*"answer": "\([^"]*\)".*/\1/'; }
for pair in '"a" Paris' '7 Oslo' '"r" Rome'; do
    id=${pair% *} city=${pair#* }
    [ "$(answer_of "$id")" = "The special magic number for $city is: $(number "$city")." ] ||
        fail "the answer to $id is $(answer_of "$id")"
done
[ "$(answer_of 8)" = "The spec" ] || fail 'max_tokens does not count'
grep -q '"id": 8, .*"finish_reason": "length"' "$work/all" || fail 'why it ended'

# As one question alone.
expect 0 ask -m "$work/model" "$work/text" --kv-disk-dir "$work/kv" --json \
    -q "$(printf 'What?\n>\nThe special magic number for Rome is:')"
says out '"answer": "'"$(answer_of '"r"')"'"'

# Cut off in the middle of a record, the run goes on: what was answered is not asked again.
asks 1 --out "$work/a.jsonl"
says_nothing out
grep -v '"error"' "$work/a.jsonl" | sed 's/"reused_tokens": [0-9]*/"reused_tokens": N/' | sort >"$work/whole"
{ grep '"id": 7, "question"' "$work/a.jsonl" && grep '"id": "a", "question"' "$work/a.jsonl" | head -c 300; } >"$work/b.jsonl"
asks 1 --out "$work/b.jsonl"
says err '1 of 7 questions are answered in'
says err 'answered 3 of 3'
grep -v '"error"' "$work/b.jsonl" | sed 's/"reused_tokens": [0-9]*/"reused_tokens": N/' | sort >"$work/resumed"
cmp -s "$work/whole" "$work/resumed" || fail 'the answers of a resumed run differ'
asks 1 --out "$work/b.jsonl"
says err '4 of 7 questions are answered in'
# What could not be asked has one record, however often; and its turn, once it can be.
[ "$(grep -c '"error"' "$work/b.jsonl")" -eq 3 ] || fail 'the records of what cannot be asked are not those of one run'
# Written anew by something else, without blanks and without the last line's end, they are the same answers.
grep -v '"error"' "$work/b.jsonl" | sed 's/^{"id": /{"id":/; s/, "\([a-z_0-9]*\)": /,"\1":/g' >"$work/compact"
printf '%s' "$(cat "$work/compact")" >"$work/e.jsonl"
! grep -q '^{"id": ' "$work/e.jsonl" || fail 'the test has no compact records'
asks 1 --out "$work/e.jsonl"
says err '4 of 7 questions are answered in'
head -n 4 "$work/e.jsonl" | cmp -s - "$work/compact" || fail 'compact records are not as they were'
[ "$(grep -c '^{"id": .*"error"' "$work/e.jsonl")" -eq 3 ] || fail 'what follows a record without an end is no line of its own'
ln -s b.jsonl "$work/link.jsonl"
sed -i 's/^{"question": 5}$/{"question": "What?\\n>\\nThe special magic number for Oslo is:"}/' "$work/q.jsonl"
asks 1 --out "$work/link.jsonl"
says err 'answered 1 of 1'
[ "$(grep -c '"error"' "$work/b.jsonl")" -eq 2 ] || fail 'what is answered now still has its error'
grep -q '"id": 4, "question".*Oslo is: '"$(number Oslo)" "$work/b.jsonl" || fail 'what failed before is not answered'

# Answers about another text are not mixed in.
printf 'x\n' >>"$work/text"
asks 2 --out "$work/b.jsonl"
says err "the answer to id 7 is of another run: its \"source_sha256\" differs"
printf 'no record\n' >"$work/c.jsonl"
asks 2 --out "$work/c.jsonl"
says err "$work/c.jsonl:1: no answer of an earlier run: column "

# Nor is a file that holds no answers taken for one, least of all the questions, or a line without its end.
no_answers() {
    # shellcheck disable=SC2059 # as a format, with its escapes
    printf "$1" >"$work/d.jsonl" && cp "$work/d.jsonl" "$work/before"
    asks 2 --out "$work/d.jsonl"
    says err "$work/d.jsonl:1: no answer of an earlier run: $2; name another file with --out"
    cmp -s "$work/d.jsonl" "$work/before" || fail 'a file that is none of ours is changed'
}
no_answers '{"id": 1, "question": "x"}\n' 'neither "answer" nor "error"'
no_answers 'the only notes' 'a line that does not begin as one'
for begun in '{"i' '\000\000\000'; do
    # shellcheck disable=SC2059
    printf "$begun" >"$work/d.jsonl"
    asks 1 --out "$work/d.jsonl"
    says err 'answered 5 of 5'
done

# As Windows writes it: a mark in front, other ends of lines; two bytes a character.
{ printf '\357\273\277' && question 1 Paris | tr '\n' '\r' && printf '\n'; } >"$work/q.jsonl"
asks 0 --no-progress
says out "The special magic number for Paris is: $(number Paris)."
iconv -f UTF-8 -t UTF-16LE "$work/q.jsonl" >"$work/q16.jsonl" && mv "$work/q16.jsonl" "$work/q.jsonl"
asks 0 --no-progress
says out "The special magic number for Paris is: $(number Paris)."

# Too long, of many: that one only.
{
    question 1 Paris
    printf '{"id": 2, "question": "%s"}\n' "$(head -c 3000 /dev/zero | tr '\0' x)"
} >"$work/q.jsonl"
asks 1 -c 3000 -n 60
says out '"id": 2, "line": 2, "error": "the text has '
says out "The special magic number for Paris is: $(number Paris)."
printf '\n' >"$work/q.jsonl"
asks 2
says err 'holds no questions'
