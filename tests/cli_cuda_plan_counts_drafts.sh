#!/bin/sh
# The plan's bill is the engine's, with drafts and without: of a GPU's memory, on what plays one, and of the host's. A
# command that makes none has the bill without.
GLM1M=$(dirname "$GLM1M")/tests/glm1m_standin
[ -x "$GLM1M" ] || { echo "no program with a stand-in here: TSan, or no headers of cuBLASLt" && exit 77; }
. tests/help_cli.sh
make_needle_model
echo '84 104' >"$work/ids"
like="-m $work/model --device cuda -c 1000 --threads 2"
# shellcheck disable=SC2086 # words, here and below
set -- $like

# Of the host's and of the GPU's memory: what was planned; what the engine was opened with.
planned() {
    sed -n 's/.*"gpu_total_bytes": \([0-9]*\).*/\1/p; s/.*"total_bytes": \([0-9]*\).*/\1/p' "$work/out" | sort -n | tr '\n' ' '
}
opened() {
    sed -n 's/.* engine: open .* bytes=\([0-9]*\) gpu_bytes=\([0-9]*\) .*/\1 \2/p' "$work/err" | tr ' ' '\n' | sort -n | tr '\n' ' '
}

for n in 15 3 0; do
    expect 0 plan "$@" --num-speculative-tokens $n --json
    here=$(planned)
    GLM_LOG=info expect 0 complete "$@" --num-speculative-tokens $n --tokens-file "$work/ids" -n 1
    [ "$(opened)" = "$here" ] || fail "$n drafts: $(opened) bytes, planned $here"
    [ $n -ne 15 ] || with=$here
done
[ "$here" != "$with" ] || fail "drafts cost nothing"
expect 0 plan "$@" --json
[ "$(planned)" = "$with" ] || fail "plan does not count drafts unless it is told"
GLM_LOG=info expect 0 logits "$@" --positions last --tokens-file "$work/ids" --out "$work/logits.npy"
[ "$(opened)" = "$here" ] || fail "logits has another bill than without drafts"
