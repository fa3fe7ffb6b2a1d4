#!/bin/sh
# RULER's questions come from one JSON file: a directory, lines of JSON, several files, or another text
# are refused before anything runs, and what is wanted is named.
. tests/help_cli.sh

printf '{"data": [{"paragraphs": [{"context": "Bees dance.", "qas": [{"question": "Who dances?",
"answers": [{"text": "Bees"}]}]}]}]}' >"$work/squad.json"
cp "$work/squad.json" "$work/squad.jsonl"
printf 'Bees dance.\n' >"$work/text"
mkdir "$work/squad"

# refuses WHY FILE...
refuses() {
    why=$1
    shift
    expect 2 needle --lengths 1k --protocol ruler:qa_1 --haystack "$@"
    says err "$why"
    says err 'SQuAD'
}
refuses 'and this is a directory' "$work/squad"
refuses 'and this is JSON line by line' "$work/squad.jsonl"
refuses 'and there are several' "$work/squad.json" "$work/squad.json"
refuses 'publishes it, is no JSON: line 1' "$work/text"
expect 2 needle --lengths 1k --protocol ruler:qa_2 --haystack "$work/squad"
says err 'as HotpotQA (hotpot_dev_distractor_v1.json) publishes it'
! grep -q SQuAD "$work/err" || fail 'another file is asked for'
expect 0 needle --lengths 1k --protocol ruler:qa_1 --haystack "$work/squad.json" --no-progress
says out 'all over'

# A list is not a range.
expect 2 needle --lengths 4k..64k
says err '--lengths, a list with commas: "4k..64k"'
expect 2 needle --lengths 4k --depths 0-50
says err '--depths, a list with commas: "0-50" is none in per cent, from 0 to 100, such as 50 or 12.5'
