#!/bin/sh
# Needles, question and answers of one's own: they are in the prompt, as --save-prompts shows it,
# with the chat template or without; the results say what was asked, and other needles do not
# continue them.
. tests/help_cli.sh

grid="needle --lengths 1k --depths 50 --rounds 2 --no-progress --save-prompts --out $work/run"
# shellcheck disable=SC2086 # words of a command
expect 0 $grid --needle 'Ada hid the key in the oven.' --needle 'Bob took the map to Rome.' \
    --question 'Where is the key?' --answer oven
says out 'needle: own, exact mode'
says out 'found 2 of 2; 95 % interval 34 to 100 %'
says err 'answer "oven."'
grep -q '"own_task": "Ada hid the key in the oven. | Bob took the map to Rome.; Where is the key?; oven"' \
    "$work/run/results.json" || fail 'the results do not say what was asked'
for round in 0 1; do
    prompt="$work/run/prompts/1000_50_$round.txt"
    [ "$(head -c 20 "$prompt")" = '[gMASK]<sop><|user|>' ] || fail 'no chat template'
    [ "$(grep -cx 'Ada hid the key in the oven.' "$prompt")" -eq 1 ] || fail 'not one needle'
    [ "$(grep -cx 'Bob took the map to Rome.' "$prompt")" -eq 1 ] || fail 'not one further needle'
    grep -q '^Where is the key?<|assistant|>$' "$prompt" || fail 'no question'
    [ "$(tail -n 1 "$prompt")" = 'Ada hid the key in the ' ] || fail 'the answer is not begun'
done
! cmp -s "$work/run/prompts/1000_50_0.txt" "$prompt" || fail 'two rounds have one prompt'
[ "$(grep -o '"prompt_sha256": "[0-9a-f]\{64\}"' "$work/run/results.json" | sort -u | wc -l)" -eq 2 ] ||
    fail 'two prompts have not two hashes'

# shellcheck disable=SC2086
expect 2 $grid --needle 'Eve hid the key in the oven.' --question 'Where is the key?' --answer oven
says err 'own_task "Ada hid'
expect 2 needle --needle 'Ada hid the key.' --question 'Where is the key?'
says err 'there is no --answer'
expect 2 needle --protocol lwm --question 'Where is the key?'
says err '--question: --protocol lwm has a needle of its own'
expect 2 needle --save-prompts
says err 'give --out DIR as well'

expect 0 needle --protocol gkamradt --template none --lengths 1k --depths 50 --rounds 2 --no-progress \
    --save-prompts --out "$work/plain"
says out 'found 2 of 2'
says out 'exact mode, no chat template, 2 rounds'
grep -q 'no chat' "$work/plain/heatmap.svg" || fail 'the picture does not say that there was no chat template'
prompt="$work/plain/prompts/1000_50_0.txt"
! grep -q '<|' "$prompt" || fail 'a chat template where none was wanted'
[ "$(tail -n 1 "$prompt")" = 'The best thing to do in San Francisco is ' ] || fail 'the answer is not begun'
! cmp -s "$work/plain/prompts/1000_50_1.txt" "$prompt" || fail 'two rounds of gkamradt have one prompt'
