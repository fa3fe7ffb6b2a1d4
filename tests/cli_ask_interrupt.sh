#!/bin/sh
# ask, stopped: in the prefill of the text, in an answer, and killed among many questions. What is there is
# kept and said, with how to go on; and the same command ends with what an undisturbed one says.
#
# Method: signals as soon as the program says that it has come so far; planted facts and the embedded model.
. tests/help_cli.sh
make_needle_model
n_lines=40 n_lines_long=300
n_more=80 # tokens of each longer answer
[ -z "${GLM_TEST_FAST:-}" ] || { n_lines=10 && n_lines_long=140 && n_more=20; }
# text_of LINES: facts behind so many lines
text_of() {
    awk -v n="$1" 'BEGIN { for (i = 1; i < n; i++) printf "Line %d has nothing to say about %d,\n", i, i * i }'
    for city in Paris Oslo Rome Bern Kiev Lima; do
        printf 'The special magic number for %s is: %d.\n' "$city" "$(printf '%s' "$city" | cksum | cut -c 1-7)"
    done
}
text_of $n_lines >"$work/text"
text_of $n_lines_long >"$work/long"

# begins TEXT ARGS...: ask in the background, $program
begins() {
    shown="ask $*"
    asked=$work/$1
    shift
    rm -f "$work/out" "$work/err"
    : >"$work/out"
    : >"$work/err"
    "$GLM1M" ask -m "$work/model" "$asked" --kv-disk-dir "$work/kv" "$@" >"$work/out" 2>"$work/err" &
    program=$!
}
# awaits COMMAND: until it is true, while the program runs
awaits() {
    until eval "$1"; do
        kill -0 "$program" 2>/dev/null || fail "it ended before: $1"
        sleep 0.02
    done
}
ends() {
    wait "$program"
    rc=$?
    [ "$rc" -eq "$1" ] || fail "exit $rc, wanted $1"
}

# In the prefill, of which some is to come when its first span is on disk.
has_segment() { find "$work/kv" -name '*.kvs' 2>/dev/null | grep -q .; }
question=$(printf '>\nThe special magic number for Paris is:')
begins long --span 4096 --threads 1 -q "$question"
awaits has_segment
kill -INT "$program"
ends 130
says err 'stopped by Ctrl-C during prefill, at token '
says err '; the same command goes on from there'
says_nothing out
at=$(sed -n 's/.*during prefill, at token \([1-9][0-9]* of [0-9]*\);.*/\1/p' "$work/err")
begins long --span 4096 -q "$question"
ends 0
# Between two spans nothing is begun: they are found as what is on disk.
if [ $((${at%% *} % 4096)) -eq 0 ]; then
    says err " tokens, ${at%% *} of them reused, in "
else
    says err "goes on at token $at, where it was stopped"
fi
says out "The special magic number for Paris is: $(printf Paris | cksum | cut -c 1-7)."

# In an answer, which has no end by itself: what is there is shown, and its quotations are checked.
begins text -q 'Line' -n 5000
awaits '[ "$(wc -c <"$work/out")" -gt 40 ]'
kill -INT "$program"
ends 130
says out 'Sources:'
says err ', interrupted'
says err 'stopped by Ctrl-C in the answer; the text is kept: asked again, it is the answer alone that is computed'

# Killed among many questions: those that are answered are not asked again.
n_long=0
for city in Paris Oslo Rome Bern Kiev Lima; do
    n_long=$((n_long + n_more))
    printf '{"id": "%s", "question": "Which?\\n>\\nThe special magic number for %s is:"}\n' "$city" "$city"
    printf '{"id": "long %s", "question": "Line", "max_tokens": %d}\n' "$city" "$n_long"
done >"$work/q.jsonl"
begins text --questions "$work/q.jsonl" --out "$work/whole.jsonl"
ends 0
begins text --questions "$work/q.jsonl" --out "$work/a.jsonl"
awaits '[ -s "$work/a.jsonl" ]'
kill -KILL "$program"
wait "$program" 2>/dev/null
n=$(wc -l <"$work/a.jsonl")
[ "$n" -ge 1 ] && [ "$n" -lt 12 ] || fail "$n questions were answered when it was killed"
begins text --questions "$work/q.jsonl" --out "$work/a.jsonl"
awaits '[ "$(wc -l <"$work/a.jsonl")" -gt '"$n"' ]'
kill -INT "$program"
ends 130
says err ' of 12 questions are answered in '
says err ' of them are answered, and in '
begins text --questions "$work/q.jsonl" --out "$work/a.jsonl"
ends 0
for file in whole a; do sed 's/"reused_tokens": [0-9]*/"reused_tokens": N/' "$work/$file.jsonl" | sort >"$work/$file"; done
cmp -s "$work/whole" "$work/a" || fail 'the answers differ from those of an undisturbed run'
