#!/bin/sh
# doctor says what is there, and why not where something is not; nothing is required.
#
# Method: run it alone, on the embedded model and, where they are found, on the published configs;
# look for every heading and value. The self-test, which only Chat-1M's own weights can pass, is
# refused for any other model and for one that merely claims its shape.
. tests/help_cli.sh
make_needle_model

expect 0 doctor
for heading in CPU 'instruction set' 'cores we may use' memory 'cgroup limit' GPU NCCL MPI \
    'disk I/O' cache; do
    says out "$heading"
done
says_nothing err

# By whose kernels attention runs: tiles of AMX where the instruction set is that, for all pages but f32.
attention() { awk -v section="$1" '/^[^ ]/ { now = $1 } now == section && $1 == "attention" { sub(/^ *attention +/, ""); print; exit }' "$work/out"; }
case $(sed -n 's/^ *instruction set *//p' "$work/out") in
amx) of_machine='tiles of AMX (all pages but f32), AVX-512 otherwise' of_tiled='tiles of AMX' of_f32=AVX-512 ;;
avx512) of_machine=AVX-512 of_tiled=AVX-512 of_f32=AVX-512 ;;
avx2) of_machine=AVX2 of_tiled=AVX2 of_f32=AVX2 ;;
*) of_machine='portable code' of_tiled='portable code' of_f32='portable code' ;;
esac
without_tiles='AVX-512; this build'"'"'s compiler had no AMX'
echo | ${CC:-cc} -mamx-bf16 -x c -c -o /dev/null - 2>/dev/null ||
    [ "$(attention machine)" != "$without_tiles" ] || of_machine=$without_tiles of_tiled=AVX-512
[ "$(attention machine)" = "$of_machine" ] || fail "attention by '$(attention machine)', not $of_machine"
for type in bf16 fp8 int8 int4 f32; do
    expect 0 doctor -m "$work/model" --kv-cache-dtype $type
    wanted=$([ $type = f32 ] && printf '%s' "$of_f32" || printf '%s' "$of_tiled")
    [ "$(attention plan)" = "$wanted" ] || fail "$type: attention by '$(attention plan)', not $wanted"
done

expect 0 doctor -m "$work/model"
says out 'no published shape'
says out '4 query, 2 KV, 128 wide'
says out 'stop ids             256, 263, 265'
says out 'fits'
for line in 'rotary               64 of 128 dimensions, pairs (2i, 2i + 1), base 1e+08' \
    'attention scale      1 / sqrt(128)' 'norms                eps 1.5625e-07' \
    'file                 tokenizer.model' 'ids                  0 to 265' \
    'padding rows         6, never chosen' 'prefix               [gMASK] 258, <sop> 260' \
    'roles                system 262, user 263, assistant 264, observation 265'; do
    says out "$line"
done

# Lines of at most 100 columns; what is longer goes on below itself. Two blanks of a name stay two.
name="$work/a  directory with a name that is longer than any line of this table can be, and then some"
cp -r "$work/model" "$name"
expect 0 doctor -m "$name"
awk 'length($0) > 100 { exit 1 }' "$work/out" || fail 'a line has more than 100 columns'
says out "  directory            $work/a  directory with"
grep -q '^ \{23\}[a-z].* then some$' "$work/out" || fail 'the name is not shown whole'

# A program that was copied without what lies beside it has not been built without an MPI for that.
mkdir "$work/alone"
cp "$GLM1M" "$work/alone/glm1m"
beside=$GLM1M
GLM1M=$work/alone/glm1m
expect 0 doctor
GLM1M=$beside
join_rows
says out 'no glm1m_mpi.so beside the program'
grep -qF 'this build found no MPI' "$work/out" && fail 'doctor names a cause that it does not know'

expect 2 doctor --self-test
says err 'self-test needs a model'
expect 2 doctor -m "$work/model" --self-test
says err 'published for GLM-4-9B-Chat-1M'
says err 'no published shape'
says out 'fits'

expect 0 doctor -m "$work/model" --json
says out '"fingerprint": "'

# A directory without weights: what the config says is still shown.
rm "$work/model/model.safetensors"
run doctor -m "$work/model"
[ "$rc" -ne 0 ] || fail "a checkpoint without weights is not healthy"
says out '4 query, 2 KV, 128 wide'
says err 'safetensors'

# No tokenizer is no illness, a broken one is.
make_needle_model
rm "$work/model/tokenizer.model"
expect 0 doctor -m "$work/model"
says out 'none: only token ids'
printf 'IQ== 1\n' >"$work/model/tokenizer.model"
expect 4 doctor -m "$work/model"
says err 'tokenizer.model:1'

# One of another model is: what else can be said is said.
rm -rf "$work/model"
make_needle_model
sed 's/"vocab_size": *272/"vocab_size": 256/; s/"padded_vocab_size": *272/"padded_vocab_size": 256/
     s/"\(eos\|pad\)_token_id": *\(\[[^]]*\]\|[0-9]*\)/"\1_token_id": 7/' "$work/model/config.json" >"$work/small.json"
cp "$work"/model/tokenizer* "$work"
rm -rf "$work/model"
expect 0 make-model random "$work/model" --config "$work/small.json"
cp "$work"/tokenizer* "$work/model"
expect 4 doctor -m "$work/model"
says out 'rows for 256 ids only'
says out 'fits'
says err 'the tokenizer has 266 ids, the model rows for 256'
rm -rf "$work/model"

# The published configs, without weights: everything that can be said is.
published() {
    [ -e "${GLM_TEST_DATA:-/nowhere}/$1/config.json" ] || return
    expect 4 doctor -m "$GLM_TEST_DATA/$1"
    shift
    for line; do says out "$line"; done
    grep -q 'differs from it' "$work/out" && fail 'a published config differs from itself'
    says err 'IDX_MISSING_SHARD'
}
stop='stop ids             151329, 151336, 151338'
published glm-4-9b-chat-1m 'variant              GLM-4-9B-Chat-1M' \
    'chat format          GLM-4' '32 query, 4 KV, 128 wide' \
    'base 1e+08' 'length               1048576 tokens' 'KV per token, bf16   80.00 KiB' "$stop" \
    'ids                  0 to 151342' 'padding rows         209, never chosen' \
    'prefix               [gMASK] 151331, <sop> 151333' 'temperature 0.8, top-p 0.8'
published glm-4-9b-chat 'variant              GLM-4-9B-Chat (128K)' '32 query, 2 KV, 128 wide' \
    'base 5e+06' 'length               131072 tokens' "$stop"
published glm-4-9b 'variant              GLM-4-9B (base, 8K)' 'base 10000' 'length               8192' \
    'chat format          none, a base model'

# Who talks with the base model is told so, before its weights are missed.
talks() {
    [ -e "${GLM_TEST_DATA:-/nowhere}/$1/config.json" ] || return
    rm -rf "$work/talks"
    expect 0 make-model needle "$work/talks"
    cat "$GLM_TEST_DATA/$1/config.json" >"$work/talks/config.json"
    expect 4 chat -m "$work/talks" </dev/null
    [ "$(grep -c 'was never taught to converse' "$work/err")" -eq "$2" ] || fail "told: not $2 times"
}
talks glm-4-9b 1
talks glm-4-9b-chat 0

# Chat-1M's config over another's weights: the tensors contradict it, whatever it claims.
if [ -e "${GLM_TEST_DATA:-/nowhere}/glm-4-9b-chat-1m/config.json" ]; then
    make_needle_model
    cat "$GLM_TEST_DATA/glm-4-9b-chat-1m/config.json" >"$work/model/config.json"
    expect 4 doctor -m "$work/model" --self-test
    says out 'variant              GLM-4-9B-Chat-1M'
    says err 'MODEL_'
fi
exit 0
