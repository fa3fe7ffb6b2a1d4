#!/bin/sh
# Where a model is asked for and a GGUF file is there, that is said, and what is wanted instead.
#
# Method: a directory with such files only, one with all of a checkpoint but its weights, the file itself; and a checkpoint
# beside such a file, which is read.
. tests/help_cli.sh
make_needle_model

mkdir "$work/alone"
printf 'GGUF' >"$work/alone/b-Q8_0.GGUF"
printf 'GGUF' >"$work/alone/a-Q4_K_M.gguf"
for command in 'complete -p x' 'ask README.md -q x' plan doctor tokenize chat; do
    # shellcheck disable=SC2086 # words
    expect 4 $command -m "$work/alone"
    says err "$work/alone holds a-Q4_K_M.gguf and no checkpoint: a GGUF file is for llama.cpp"
    says err 'hf download zai-org/glm-4-9b-chat-1m'
done
expect 2 complete -m "$work/alone/b-Q8_0.GGUF" -p x
says err 'a GGUF file is for llama.cpp'

cp "$work/alone/a-Q4_K_M.gguf" "$work/model"
expect 0 complete -m "$work/model" -p x -n 1 --quiet
says_nothing err
rm "$work"/model/*.safetensors
expect 4 complete -m "$work/model" -p x -n 1
says err "$work/model holds a-Q4_K_M.gguf and no checkpoint"
