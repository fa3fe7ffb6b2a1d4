#!/bin/sh
# A name that is not there: exit 2, and the nearest one that is.
#
# Method: misspell commands and flags, use a flag of another command, leave values out.
. tests/help_cli.sh

expect 2 complte
says err 'did you mean complete?'
expect 2 xylophone
says err 'glm1m --help lists them'
expect 2
says err 'which command?'

expect 2 complete --max-token 3
says err 'did you mean --max-tokens?'
expect 2 complete --stpo x
says err 'did you mean --stop?'
expect 2 complete --max-token=3
says err 'unknown flag --max-token; did you mean --max-tokens?'
expect 2 complete --frobnicate
says err 'glm1m complete --help'
expect 2 plan --max-model 4k
says err 'did you mean --max-model-len?'
expect 2 plan --kv 4k
says err 'glm1m plan --help'
expect 2 complete --tp 2
says err 'unknown flag --tp; did you mean -tp?'
expect 2 book -tp2
says err 'glm1m book --help'
expect 2 complete -tp2
says err 'did you mean -tp 2?'
expect 2 complete -ngl 99
says err 'unknown flag -ngl; glm1m complete --help lists what it takes'
expect 2 complete -m '' -p x
says err '-m: the name is empty'
GLM_MODEL='' expect 2 complete -p x
says err 'GLM_MODEL: the name is empty'
# Said before any work: the result could not be put anywhere.
for command in "perplexity -m nowhere text" "logits -m nowhere --tokens-file ids" needle; do
    # shellcheck disable=SC2086 # words
    expect 2 $command --out ''
    says err '--out: the name is empty'
done
expect 2 needle --haystack text ''
says err '--haystack: the name is empty'
expect 2 complete -m nowhere -p x --kv-disk-dir ''
says err '--kv-disk-dir: the name is empty'
expect 2 prefill -m nowhere '' --book b
says err 'prefill: an argument is empty, which names nothing'
expect 2 complete -z
says err 'unknown flag -z'

# One of two questions would be passed over; of other flags the last one counts.
expect 2 ask -m nowhere text -q one --question two
says err '--question is given twice'
expect 2 complete -m nowhere -p one -p two --seed 1 --seed 2
says err '-p is given twice'
expect 2 needle --lengths 1k --lengths 2k,4k
says err '--lengths is given twice; a list has both: --lengths 1k,2k,4k'
expect 2 needle --depths 0 --depths=50
says err '--depths is given twice; a list has both: --depths 0,50'
expect 2 needle --protocol lwm --protocol ruler:vt
says err '--protocol is given twice'
expect 2 logits -m nowhere --tokens-file ids --out o.npy --positions 1 --positions last
says err '--positions is given twice'

# The name of a flag that other commands take.
expect 2 complete --positions last
says err 'complete does not take --positions; it belongs to: logits'

expect 2 complete -m
says err '-m needs a value'
expect 2 complete -m --quiet
says err 'and --quiet is a flag'
expect 2 complete -p text surplus
says err 'unexpected "surplus"'
expect 2 complete -p text
says err 'complete needs --model DIR'
expect 2 plan -m . --device gpu
says err '"gpu" is none of auto|cpu|cuda'
says_nothing out

# A file whose name begins with a dash.
cd "$work" && printf x >-q.txt || exit 1
expect 2 ask -m . -q.txt -q x
says err 'unknown flag -q.txt; the file of that name is ./-q.txt'
