#!/bin/sh
# A GPU whose memory does not hold the KV, the whole program: what leaves for pinned memory of the host, and from there
# for the disk, and comes back, changes no token and no bit of a logit, in prefill, in decode of one and of several
# sequences, with bf16 and with fp8 pages, in a server; a prefill that Ctrl-C stopped goes on to the same tokens.
#
# Method: each command with all of the GPU's memory and with less (--device-kv-space, --host-kv-space). The model is a
# random one, which attends to all it has read: one damaged row changes what follows. Every plan is asked for before
# anything runs; each part says how many seconds it took, and one that fails stops no other. tests/gpu.sh runs it with
# build/glm1m.
#
#   GLM1M=build/glm1m sh tests/gpu_spill.sh [small|plans] [PART...]
#
# small: 4250 tokens instead of 40000, through a model of 2 layers and 2 heads: for what plays a GPU (build/tests/glm1m_standin,
# some 5 minutes). plans: nothing but the plans, for 16 threads. PART: tokens, logits, stop, server, questions, needles.
. tests/help_cli.sh
. tests/help_serve.sh
mode=
case ${1:-} in small | plans) mode=$1 && shift ;; esac
n=40000 answer=24 chunk=2K hidden=256 layers=4 heads=8 kv_heads=2
[ "$mode" != small ] || { n=4250 && answer=4 && hidden=64 && layers=2 && heads=2 && kv_heads=1; }
[ "$mode" != plans ] || export GLM_THREADS=16

cat >"$work/config.json" <<END
{"architectures": ["GlmForCausalLM"], "model_type": "glm", "attention_bias": true, "hidden_act": "silu",
 "hidden_size": $hidden, "intermediate_size": $((2 * hidden)), "num_hidden_layers": $layers, "num_attention_heads": $heads,
 "num_key_value_heads": $kv_heads, "head_dim": 128, "partial_rotary_factor": 0.5, "rope_theta": 1000000.0,
 "max_position_embeddings": 1048576, "rms_norm_eps": 1.5625e-07, "tie_word_embeddings": false,
 "vocab_size": 512, "torch_dtype": "bfloat16", "pad_token_id": 509, "eos_token_id": [509, 510, 511]}
END
expect 0 make-model random "$work/random" --config "$work/config.json" --seed 1 --quiet
run plan -m "$work/random" --device cuda --json -c 4K
[ "$rc" -eq 0 ] || { cat "$work/err" && exit 77; }
# A byte is a token; [gMASK]<sop> and the answer find room.
text() { # TOKENS
    awk -v n=$(($1 - 40)) 'BEGIN { srand(7); while (n > 0) { s = sprintf("%d lines of %d, ", rand() * 1e6, rand() * 1e4)
        s = substr(s, 1, n); printf "%s", s; n -= length(s) } }'
}
text "$n" >"$work/text"

# An extent is 4 MiB of a layer, of fp8 2. Beside what a layer is at work with, the GPU keeps an unfinished one of each layer. The
# first way has windows of several extents, and the host holds all that leaves; the second one's are of one, and the
# host holds a few.
wide='--device-kv-space 96M' narrow='--device-kv-space 48M --host-kv-space 24M' of_fp8='--device-kv-space 24M'
if [ "$mode" = small ]; then # 2 MiB, and 1
    wide='--device-kv-space 7M' narrow='--device-kv-space 5M --host-kv-space 2M' of_fp8='--device-kv-space 4M'
fi
host_fp8=6M
[ "$mode" != small ] || host_fp8=2M
ways_of() {
    case $1 in
    bf16) printf '%s\n' "$wide" "$narrow" ;;
    fp8) printf '%s\n' "$of_fp8" "$of_fp8 --host-kv-space $host_fp8" ;;
    esac
}

# The disk of a command.
fresh_disk() { rm -rf "$work/kv"; }
kept="--kv-disk-dir $work/kv"
json() { grep -o "\"$1\": [^]]*" "$work/out" | head -n 1; }
number() { json "$1" | sed 's/^[^:]*: \([0-9.]*\).*/\1/'; }
started=$(date +%s)
part() { # TEXT: it is over
    now=$(date +%s)
    echo "$1 ($((now - started)) s)"
    started=$now
}

# ---- what would not fit ----

overflows() { # TOKENS FLAGS...: does it?
    length=$1
    shift
    expect 0 plan --device cuda -c "$length" --json "$@"
    [ "$(number kv_pinned_tokens)" -lt "$length" ] || fail "the GPU's memory holds all $length tokens"
}
stopped_at=$((n / 2)) needles='--lengths 16K,32K --depths 0,50,100' needle_tokens=34816 needle_space='--device-kv-space 24M --host-kv-space 8M'
if [ "$mode" = small ]; then
    stopped_at=$n needles='--lengths 5K --depths 50' needle_tokens=5800 needle_space='--device-kv-space 12M --host-kv-space 4M'
fi
make_needle_model
for dtype in bf16 fp8; do
    ways_of $dtype >"$work/ways"
    while read -r way; do
        for tokens in "$n" $((n + n)); do # of a server, of questions
            # shellcheck disable=SC2086 # words
            overflows "$tokens" -m "$work/random" -b $chunk --kv-cache-dtype $dtype $kept $way
        done
    done <"$work/ways"
    # shellcheck disable=SC2086
    overflows $needle_tokens -m "$work/model" --kv-cache-dtype $dtype --kv-disk-dir "$work/kv" $needle_space
done
# shellcheck disable=SC2086
overflows $stopped_at -m "$work/random" -b 128 --span 4096 $kept $narrow
rm -rf "$work/kv"
part 'every plan fits, and overflows'
[ "$mode" != plans ] || exit 0

# ---- one sequence ----

complete() { # FLAGS...: the ids of an answer, in $ids
    fresh_disk
    # shellcheck disable=SC2086
    expect 0 complete -m "$work/random" --device cuda -c "$n" -b $chunk -f "$work/text" -n $answer --json --no-progress $kept "$@"
    ids=$(json ids)
    [ -n "$ids" ] || fail 'no ids'
}
same_tokens() {
    for dtype in bf16 fp8; do
        complete --kv-cache-dtype $dtype
        all=$ids
        ways_of $dtype >"$work/ways"
        while read -r way; do
            # shellcheck disable=SC2086
            GLM_LOG=info complete --kv-cache-dtype $dtype $way
            [ "$ids" = "$all" ] || fail "other tokens with $way, $dtype: $ids, wanted $all"
            part "$dtype, $way: the same tokens, $(number prefill_tps) and $(number decode_tps) tokens/s"
            grep -o 'graphs of a decode step, one a layer.*' "$work/err" || echo 'no step was a graph a layer'
        done <"$work/ways"
    done
}

logits() { # NAME FLAGS...
    name=$1
    shift
    fresh_disk
    # shellcheck disable=SC2086
    expect 0 logits -m "$work/random" --device cuda -c "$n" -b $chunk --tokens-file "$work/ids" --out "$work/$name.npy" \
        --positions "99,4095,4096,$(((4096 + n) / 2)),$((n - 50))" $kept --quiet "$@"
}
same_logits() {
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
        part "$dtype: the same bits of logits at 5 positions"
    done
}

# ---- Ctrl-C ----

# Chunks of a page, so that a signal comes in time.
slow() { # SIGNAL or ''
    # shellcheck disable=SC2086
    set -- "$1" complete -m "$work/random" --device cuda -c $stopped_at -b 128 --span 4096 -f "$work/text-stopped" -n $answer --json \
        --no-progress $kept $narrow
    signal=$1
    shift
    if [ -z "$signal" ]; then
        GLM_LOG=info expect 0 "$@"
        return
    fi
    shown="complete, then SIG$signal"
    GLM_LOG=info "$GLM1M" "$@" >"$work/out" 2>"$work/err" &
    program=$!
    tries=0
    until is_in_the_middle; do
        tries=$((tries + 1))
        [ $tries -lt 6000 ] || fail 'the prefill does not begin'
        kill -0 $program 2>/dev/null || fail 'over before it was in the middle'
        sleep 0.01
    done
    kill "-$signal" $program
    wait $program
    rc=$?
}
# A segment is kept: of a prefill that has more before it.
is_in_the_middle() { find "$work/kv" -name '*.kvs' 2>/dev/null | grep -q .; }
same_after_stop() {
    text $stopped_at >"$work/text-stopped"
    fresh_disk
    slow ''
    all=$(json ids)
    fresh_disk
    slow INT
    [ "$rc" -eq 130 ] || fail "exit $rc, wanted 130"
    says err 'the same command goes on from there'
    at=$(grep -o 'at token [0-9]* of [0-9]*' "$work/err")
    slow ''
    says err 'resumed begin='
    [ "$(json ids)" = "$all" ] || fail "other tokens after Ctrl-C: $(json ids), wanted $all"
    part "stopped $at, and gone on with: the same tokens, $(number reused_tokens) of them reused"
}

# ---- a server ----

same_by_server() {
    command -v python3 >/dev/null || { echo 'a server: left out, no python3 here' && return; }
    trap '[ -z "$server_pid" ] || kill -9 "$server_pid" 2>/dev/null' EXIT
    # shellcheck disable=SC2086
    complete $narrow
    cp "$work/out" "$work/narrow"
    fresh_disk
    # shellcheck disable=SC2086
    start_server -m "$work/random" --device cuda -c $((n + n)) -b $chunk --max-num-seqs 2 $kept $narrow
    python3 - "$url" "$work/text" "$work/narrow" $answer <<'END' || fail 'the server says something else'
import json, sys, urllib.request
url, text, wanted, n = sys.argv[1:]
body = json.dumps({"prompt": open(text).read(), "max_tokens": int(n), "temperature": 0}).encode()
answer = json.load(urllib.request.urlopen(url + "/v1/completions", body, timeout=100))["choices"][0]["text"]
wanted = json.load(open(wanted))["text"]
if answer != wanted:
    sys.exit("the server answers %r, wanted %r" % (answer, wanted))
END
    stop_server
    part 'a server: the same text'
}

# ---- several sequences ----

ask() { # NAME FLAGS...
    name=$1
    shift
    fresh_disk
    # shellcheck disable=SC2086
    expect 0 ask -m "$work/random" --device cuda -c $((n + n)) -b $chunk "$work/text" --questions "$work/questions" -n $((answer / 3 + 2)) --quiet \
        --out "$work/$name" $kept "$@"
    grep -o '"id": "[^"]*"\|"answer": "[^"]*"' "$work/$name" | paste - - | sort >"$work/$name.answers"
    [ "$(wc -l <"$work/$name.answers")" -eq 4 ] || fail "answers to 4 questions: $(cat "$work/$name")"
}
same_answers() {
    for i in 1 2 3 4; do echo "{\"id\": \"q$i\", \"question\": \"Which line is number $i?\"}"; done >"$work/questions"
    ask all
    for way in "$wide" "$narrow"; do
        # shellcheck disable=SC2086
        ask less $way
        cmp -s "$work/all.answers" "$work/less.answers" || fail "other answers with $way"
        rm -f "$work/less"
    done
    part 'four questions on one text, together: the same answers'
}

# ---- needles ----

# The embedded model finds what it attends to, and nothing else.
find_needles() {
    for dtype in bf16 fp8; do
        fresh_disk
        # shellcheck disable=SC2086
        expect 0 needle --device cuda $needles --quiet --min-accuracy 1 --kv-cache-dtype $dtype $needle_space $kept
        cat "$work/out"
        part "needles, $dtype"
    done
}

# A part that fails leaves its subshell.
failed=0
[ $# -gt 0 ] || set -- tokens logits stop server questions needles
for name in "$@"; do
    case $name in
    tokens) (same_tokens) ;;
    logits) (same_logits) ;;
    stop) (same_after_stop) ;;
    server) (same_by_server) ;;
    questions) (same_answers) ;;
    needles) (find_needles) ;;
    *) echo "no part is named $name" && exit 2 ;;
    esac || failed=1
    started=$(date +%s)
done
exit $failed
