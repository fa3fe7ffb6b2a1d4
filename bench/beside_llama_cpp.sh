#!/bin/sh
# The same job by glm1m and by llama.cpp, on this machine, in turns, with the same weights: a random GLM-4 checkpoint of
# 166 million weights in bf16 (hidden 1024, 12 layers, 8 query heads over 2, ffn 3424, 4096 ids), and a GGUF file of it.
#
#   sh bench/beside_llama_cpp.sh --dir DIR [--turns 3] [--lengths 2048,8192,16384] [--deep 32768] [--threads N]
#                                [--config FILE] [--by COMMAND] [--others 0.15]
#                                [--only whole|deep|memory|logits|table] [--who abcde]
#
#   DIR        where llama.cpp is built, the models are made (2 GB, and 1.4 GB of kept keys and values) and results are
#              kept: the same command goes on where it was; remove DIR/runs.jsonl to measure anew
#   --lengths  prompts that are prefilled from nothing and answered, 32 tokens, each in a process of its own
#   --deep     a prompt all but the last 2048 tokens of which were kept on disk by a process before
#   --config   another model: a native config.json of bf16
#   --by       put in front of each run that is timed: 'taskset -c 0-7', or what keeps other jobs away
#   --others   cores of other work beside which a timed run counts for nothing, and is run again the next time
#   --only     one of: prompts from nothing; the deep prompt; its memory, from nothing; logits; the table alone
#   --who      of the timed runs only these, by their letters in the table
#
# llama.cpp is the one in the source of llama-cpp-python, from PyPI, built here for this very CPU, so libraries and
# compiler are the same as ours. Each row has what either has by default, and what else there is to choose; ratios are
# to the best that llama.cpp has in that row, whichever settings that takes. Needs build/ (Release), python3-venv,
# cmake and a C++ compiler; the first time takes minutes. Nothing of llama.cpp is in this repository.
set -u
cd "$(dirname "$0")/.." || exit 1
. bench/options.sh
die() { echo "$0: $*" >&2 && exit 1; }
dir='' config='' only='' threads=$(nproc) turns=3 lengths=2048,8192,16384 deep=32768 by='' others=0.15 who=abcde
options "dir turns lengths deep threads config by others who only" "$@"
[ -n "$dir" ] || usage
mkdir -p "$dir" || exit 1

if [ ! -x "$dir/venv/bin/python" ]; then
    python3 -m venv "$dir/venv" || exit 1
fi
python=$dir/venv/bin/python
"$python" -c 'import gguf' 2>/dev/null ||
    "$python" -m pip install --quiet gguf==0.19.0 numpy==2.4.6 || die "no gguf from PyPI"

release=llama_cpp_python-0.3.36
[ -d "$dir/$release" ] || {
    [ -e "$dir/$release.tar.gz" ] ||
        "$python" -m pip download --quiet --no-deps --no-binary :all: -d "$dir" llama-cpp-python==0.3.36 ||
        die "no source of llama-cpp-python from PyPI"
    tar -xzf "$dir/$release.tar.gz" -C "$dir" || exit 1
}
source=$dir/$release/vendor/llama.cpp
built=$dir/llama.cpp
if [ ! -e "$built/bin/libllama.so" ]; then
    echo "building llama.cpp ..." >&2
    cmake -S "$source" -B "$built" -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON -DLLAMA_CURL=OFF -DLLAMA_OPENSSL=OFF \
        -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF >"$dir/build.log" 2>&1 &&
        cmake --build "$built" --target llama -j "$(nproc)" >>"$dir/build.log" 2>&1 || die "see $dir/build.log"
fi
programs=$dir/programs
mkdir -p "$programs" && cp build/bench/bench_one_prompt "$programs/" ||
    die "build/ is needed: cmake -B build && cmake --build build"
rpath=$(cd "$built/bin" && pwd)
${CC:-cc} -std=c11 -O2 -D_GNU_SOURCE -o "$programs/llama_cpp_one_prompt" bench/llama_cpp_one_prompt.c \
    bench/help_one_prompt.c -I "$source/include" -I "$source/ggml/include" -L "$built/bin" -lllama -lggml -lggml-base \
    "-Wl,-rpath,$rpath" || exit 1

[ -n "$config" ] || {
    config=$dir/config.json
    cat >"$config" <<'EOF'
{"model_type": "chatglm", "architectures": ["ChatGLMModel"], "add_bias_linear": false, "add_qkv_bias": true,
 "multi_query_attention": true, "apply_residual_connection_post_layernorm": false, "kv_channels": 128,
 "layernorm_epsilon": 1.5625e-07, "rope_ratio": 10000, "original_rope": true, "padded_vocab_size": 4096,
 "post_layer_norm": true, "rmsnorm": true, "fp32_residual_connection": false, "seq_length": 1048576,
 "torch_dtype": "bfloat16", "tie_word_embeddings": false, "eos_token_id": [256], "pad_token_id": 256,
 "hidden_size": 1024, "ffn_hidden_size": 3424, "num_layers": 12, "num_hidden_layers": 12, "num_attention_heads": 8,
 "multi_query_group_num": 2}
EOF
}
build/glm1m make-model random "$dir/model" --config "$config" --quiet || exit 1
# convert OUT DTYPE: the checkpoint as a file of llama.cpp's, or, OUT being a directory, in float32, unless it is there
convert() {
    [ -e "$1" ] || "$python" bench/checkpoint_to_gguf.py "$dir/model" "$1" "$2" || exit 1
}
convert "$dir/bf16.gguf" bf16
case $only in '' | logits) convert "$dir/f32.gguf" f32 && convert "$dir/model-f32" f32 ;; esac

about="$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | sort | uniq -c | sed 's/^ *//;s/ /x /' | head -n 1), $(
    ${CC:-cc} --version | head -n 1); glm1m $(git rev-parse --short HEAD 2>/dev/null); llama.cpp $(
    sed -n 's/^llama.cpp version: //p;s/.*llama.cpp version: //p' "$dir/build.log" 2>/dev/null | head -n 1) of $release"
exec "$python" bench/beside_llama_cpp.py --dir "$dir" --programs "$programs" --turns "$turns" --lengths "$lengths" \
    --deep "$deep" --threads "$threads" --by "$by" --others "$others" --only "$only" --who "$who" --about "$about"
