#!/bin/sh
# A GPU whose memory does not hold the KV, the whole program: what leaves for pinned memory of the host, and from there
# for the disk, and comes back, changes no token and no bit of a logit, in prefill, in decode of one and of several
# sequences, with bf16 and with fp8 pages, in a server; a prefill that Ctrl-C stopped goes on to the same tokens.
#
# Method: each command with all of the GPU's memory and with less (--device-kv-space, --host-kv-space). The model is a
# random one, which attends to all it has read: one damaged row changes what follows. tests/gpu.sh runs it with
# build/glm1m.
#
#   GLM1M=build/glm1m sh tests/gpu_spill.sh [TOKENS [primed]]
#
# primed: the CPU reads all of the text beforehand but what its last segment lacks, and --device cuda goes on from that: for
# what plays a GPU.
. tests/help_cli.sh
. tests/help_serve.sh
n=${1:-40000} primed=${2:-} answer=24
[ -z "$primed" ] || answer=2

cat >"$work/config.json" <<'END'
{"architectures": ["GlmForCausalLM"], "model_type": "glm", "attention_bias": true, "hidden_act": "silu",
 "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 4, "num_attention_heads": 8,
 "num_key_value_heads": 2, "head_dim": 128, "partial_rotary_factor": 0.5, "rope_theta": 1000000.0,
 "max_position_embeddings": 1048576, "rms_norm_eps": 1.5625e-07, "tie_word_embeddings": false,
 "vocab_size": 512, "torch_dtype": "bfloat16", "pad_token_id": 509, "eos_token_id": [509, 510, 511]}
END
expect 0 make-model random "$work/random" --config "$work/config.json" --seed 1 --quiet
run plan -m "$work/random" --device cuda --json -c 4K
[ "$rc" -eq 0 ] || { cat "$work/err" && exit 77; }
[ -n "$primed" ] || make_needle_model
# A byte is a token; [gMASK]<sop> and the answer find room.
awk -v n=$((n - 40)) 'BEGIN { srand(7); while (n > 0) { s = sprintf("%d lines of %d, ", rand() * 1e6, rand() * 1e4)
    s = substr(s, 1, n); printf "%s", s; n -= length(s) } }' >"$work/text"

# An extent is 4 MiB of a layer, of fp8 2: windows of some pass through the GPU's memory, the host's holds the rest, or a
# few. Of fp8 everything goes to the disk.
host='--device-kv-space 48M'
disk="--device-kv-space 48M --host-kv-space 24M"
[ -z "$primed" ] || disk="--device-kv-space 48M --host-kv-space 8M"
ways_of() {
    case $1 in
    bf16) printf '%s\n' "$host" "$disk" ;;
    fp8) echo '--device-kv-space 24M' ;;
    esac
}

# The disk of a command.
fresh_disk() {
    rm -rf "$work/kv"
    [ -z "$primed" ] || cp -r "$work/kept" "$work/kv"
}
kept="--kv-disk-dir $work/kv"
json() { grep -o "\"$1\": [^]]*" "$work/out" | head -n 1; }
number() { json "$1" | sed 's/^[^:]*: \([0-9]*\).*/\1/'; }
overflows() { # FLAGS...: does it?
    expect 0 plan -m "$work/random" --device cuda -c "$n" --json "$@"
    says out '"kv_overflows": true'
}

# ---- one sequence ----

complete() { # FLAGS...: the ids of an answer, in $ids
    fresh_disk
    # shellcheck disable=SC2086 # words
    expect 0 complete -m "$work/random" --device cuda -c "$n" -b 2K -f "$work/text" -n $answer --json --no-progress $kept "$@"
    ids=$(json ids)
    [ -n "$ids" ] || fail 'no ids'
}
for dtype in fp8 bf16; do # in this order: what is kept last serves below
    if [ -n "$primed" ]; then
        rm -rf "$work/kv"
        # shellcheck disable=SC2086
        expect 0 complete -m "$work/random" --device cpu -c "$n" -f "$work/text" -n 1 --json --no-progress \
            --kv-cache-dtype $dtype $kept
        rm -rf "$work/kept" && mv "$work/kv" "$work/kept"
    fi
    complete --kv-cache-dtype $dtype
    all=$ids
    ways_of $dtype >"$work/ways"
    while read -r way; do
        # shellcheck disable=SC2086
        overflows --kv-cache-dtype $dtype $way
        # shellcheck disable=SC2086
        complete --kv-cache-dtype $dtype $way
        [ "$ids" = "$all" ] || fail "other tokens with $way, $dtype: $ids, wanted $all"
        echo "$dtype, $way: the same tokens, $(number prefill_tps) and $(number decode_tps) tokens/s"
    done <"$work/ways"
done

logits() { # NAME FLAGS...
    name=$1
    shift
    expect 0 logits -m "$work/random" --device cuda -c "$n" -b 2K --tokens-file "$work/ids" --out "$work/$name.npy" \
        --positions "99,4095,4096,$((n / 2)),$((n - 50))" --kv-disk-dir "$work/of-logits" --quiet "$@"
}
if [ -z "$primed" ]; then
    expect 0 tokenize -m "$work/random" -f "$work/text"
    cp "$work/out" "$work/ids"
    for dtype in bf16 fp8; do
        logits all --kv-cache-dtype $dtype
        ways_of $dtype >"$work/ways"
        while read -r way; do
            # shellcheck disable=SC2086
            logits less --kv-cache-dtype $dtype $way
            cmp -s "$work/all.npy" "$work/less.npy" || fail "other logits with $way, $dtype"
        done <"$work/ways"
        echo "$dtype: the same bits of logits at 5 positions"
    done
    # The embedded model finds what it attends to, and nothing else.
    for dtype in bf16 fp8; do
        # shellcheck disable=SC2086
        expect 0 needle --device cuda --lengths 16K,32K --depths 0,50,100 --quiet --min-accuracy 1 --kv-cache-dtype $dtype \
            --device-kv-space 24M --host-kv-space 8M --kv-disk-dir "$work/of-needle"
        cat "$work/out"
    done
fi

# ---- several sequences ----

ask() { # NAME FLAGS...
    name=$1
    shift
    fresh_disk
    # shellcheck disable=SC2086
    expect 0 ask -m "$work/random" --device cuda -c $((n + n)) -b 2K "$work/text" --questions "$work/questions" -n 8 --quiet \
        --out "$work/$name" $kept "$@"
    grep -o '"id": "[^"]*"\|"answer": "[^"]*"' "$work/$name" | paste - - | sort >"$work/$name.answers"
    [ "$(wc -l <"$work/$name.answers")" -eq 4 ] || fail "answers to 4 questions: $(cat "$work/$name")"
}
if [ -z "$primed" ]; then
    for i in 1 2 3 4; do echo "{\"id\": \"q$i\", \"question\": \"Which line is number $i?\"}"; done >"$work/questions"
    ask all
    for way in "$host" "$disk"; do
        # shellcheck disable=SC2086
        ask less $way
        cmp -s "$work/all.answers" "$work/less.answers" || fail "other answers with $way"
        rm -f "$work/less"
    done
    echo 'four questions on one text, together: the same answers'
fi

# ---- a server ----

# shellcheck disable=SC2086
complete $disk
wanted=$(json text)
fresh_disk
# shellcheck disable=SC2086
start_server -m "$work/random" --device cuda -c $((n + n)) -b 2K --max-num-seqs 2 $kept $disk
python3 - "$work/text" $answer >"$work/body" <<'END'
import json, sys
print(json.dumps({"prompt": open(sys.argv[1]).read(), "max_tokens": int(sys.argv[2]), "temperature": 0}))
END
curl -s -m 60 "$url/v1/completions" -d @"$work/body" >"$work/answer"
stop_server
python3 - "$work/answer" "$work/out" <<'END' || fail "the server answers $(cat "$work/answer"), wanted $wanted"
import json, sys
answer, wanted = (json.load(open(path)) for path in sys.argv[1:])
sys.exit(answer["choices"][0]["text"] != wanted["text"])
END
echo 'a server: the same text'

# ---- Ctrl-C ----

if [ -z "$primed" ]; then
    slow() { # so that a signal comes in time: chunks of a page
        # shellcheck disable=SC2086
        set -- complete -m "$work/random" --device cuda -c "$n" -b 128 --span 4096 -f "$work/text" -n $answer --json \
            --no-progress $kept $disk
        if [ "$how" = whole ]; then
            GLM_LOG=info expect 0 "$@"
        else
            shown="complete, then SIGINT"
            GLM_LOG=info "$GLM1M" "$@" >"$work/out" 2>"$work/err" &
            program=$!
            tries=0
            until find "$work/kv" -name '*.kvs' 2>/dev/null | grep -q .; do
                tries=$((tries + 1))
                [ $tries -lt 2000 ] || fail 'nothing is kept'
                sleep 0.01
            done
            kill -INT $program
            wait $program
            rc=$?
        fi
    }
    fresh_disk
    how=whole slow
    wanted=$(json ids)
    fresh_disk
    how=stopped slow
    [ "$rc" -eq 130 ] || fail "exit $rc, wanted 130"
    says err 'the same command goes on from there'
    at=$(grep -o 'at token [0-9]* of [0-9]*' "$work/err")
    how=whole slow
    grep -q 'resumed begin=' "$work/err" || says out '"reused_tokens"'
    [ "$(json ids)" = "$wanted" ] || fail "other tokens after Ctrl-C: $(json ids), wanted $wanted"
    echo "stopped $at, and gone on with: the same tokens, $(number reused_tokens) of them reused"
fi
