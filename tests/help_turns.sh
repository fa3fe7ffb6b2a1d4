# shellcheck shell=sh
# Several asks about one text, each in the background, one of which is stopped (SIGSTOP) in its prefill. Sourced behind help_cli.sh,
# with the embedded model made.
#
#   text_of LINES   a text that ends with a fact; $question asks for it, $fact is the answer's first line
#   begins I ARGS   ask number I, its process in $process, its output in $work/out.I and $work/err.I; --kv-disk-dir is $work/kv
#   n_kept          finished segments on disk
#   at PROCESS      tokens of its text that it has computed, once it has told so
question=$(printf '>\nThe special magic number for Paris is:')
fact='The special magic number for Paris is: 4831759.'
n_lines=300

text_of() {
    awk -v n="$1" 'BEGIN { for (i = 1; i < n; i++) printf "Line %d has nothing to say about %d,\n", i, i * i }'
    printf '%s\n' "$fact"
}

begins() {
    i=$1
    shift
    : >"$work/out.$i"
    : >"$work/err.$i"
    "$GLM1M" ask -m "$work/model" --kv-disk-dir "$work/kv" --threads 1 -q "$question" "$@" \
        >"$work/out.$i" 2>"$work/err.$i" &
    process=$!
}

n_kept() {
    find "$work/kv" -name '*.kvs' 2>/dev/null | wc -l
}

at() {
    [ -s "$work/kv/.prefills" ] || return
    tr '\0' '\n' <"$work/kv/.prefills" | awk -v process="$1" '$3 == process && $6 >= 0 { print $4 }' | sort -n | tail -n 1
}

# stops PROCESS N [CLIENT]: stop it in the middle of a span, when it has told of more than N tokens; its client waits meanwhile. It
# holds no lock of the vault then, in which others would wait for it elsewhere.
stops() {
    until [ "$(at "$1")" -gt "$2" ] 2>/dev/null; do
        kill -0 "$1" 2>/dev/null && kill -0 "${3:-$1}" 2>/dev/null || fail "it ended before token $2: $(cat "$work"/err.* 2>/dev/null)"
    done
    kill -STOP "$1"
}

# awaits I PROCESS TEXT: until ask number I, which runs, says it
awaits() {
    until grep -qF -- "$3" "$work/err.$1"; do
        kill -0 "$2" 2>/dev/null || fail "ask $1 ended without: $3: $(cat "$work/err.$1")"
        sleep 0.02
    done
}

# ends PROCESS RC
ends() {
    wait "$1"
    rc=$?
    [ "$rc" -eq "$2" ] || fail "exit $rc, wanted $2: $(tail -n 3 "$work"/err.*)"
}

# said I TEXT
said() {
    grep -qF -- "$2" "$work/err.$1" || fail "ask $1 does not say: $2: $(cat "$work/err.$1")"
}

answers() {
    for i; do [ "$(head -n 1 "$work/out.$i")" = "$fact" ] || fail "ask $i answers: $(cat "$work/out.$i")"; done
}

# Tokens of the text of ask number I, and how many of them it found on disk when it began to compute.
n_tokens() {
    sed -n 's/^text: \([0-9]*\) tokens.*/\1/p' "$work/err.$1"
}
n_found() {
    sed -n 's/^prompt [0-9]* tokens, \([0-9]*\) of them reused.*/\1/p' "$work/err.$1"
}
