#!/bin/sh
# Ranks on two hosts, each with a disk of its own: a book of 2 ranks opens with 2 and with 4 where every
# rank finds its part on its host; where one does not, the error names the KV heads, the rank and the
# host that have them and the directory, and the exit code is 5. Text without a name is computed again,
# and why is said.
#
# Method: two namespaces of this machine (help_hosts.sh) that do not see each other's directory; the
# embedded model, 2 KV heads.
. tests/help_cli.sh
. tests/help_hosts.sh
make_needle_model
mkdir -p "$work/kv/r0" "$work/kv/r1" "$work/kv/r2" "$work/kv/r3"
yes 'The special magic number for kate is: 7654321.' | head -n 20 >"$work/text"
kv="--kv-disk-dir $work/kv/r%r"
ask="complete -m $work/model --book b $kv -p x -n 1 --json --threads 1"

# What a host does not see.
unseen_on_ada="$work/kv/r1"
unseen_on_bob="$work/kv/r0"

# group N ARGS...: N ranks, the first half on ada, the others on bob; leaves $rc of rank 0, which all
# others share, $work/out and $work/err
group() {
    n=$1
    shift
    shown="($n ranks on two hosts) $*"
    others=
    for r in $(seq $((n - 1))); do
        if [ "$r" -lt $((n / 2)) ]; then where=ada unseen=$unseen_on_ada; else where=bob unseen=$unseen_on_bob; fi
        on $where "$r" "$n" "$unseen" "$@" >"$work/out$r" 2>"$work/err$r" &
        others="$others $!"
    done
    on ada 0 "$n" "$unseen_on_ada" "$@" >"$work/out" 2>"$work/err"
    rc=$?
    for pid in $others; do wait "$pid" || [ "$rc" -ne 0 ] || fail 'another rank fails'; done
}

# refuses N WORDS: the book, and not by computing it again
refuses() {
    # shellcheck disable=SC2086 # words of options
    group "$1" $ask
    [ "$rc" -eq 5 ] || fail "exit $rc, not 5"
    says err "$2"
}

# shellcheck disable=SC2086
group 2 prefill -m "$work/model" "$work/text" --book b $kv --quiet --threads 1
[ "$rc" -eq 0 ] || fail 'no book is written'
cp -r "$work/kv" "$work/made"
for n in 2 4; do
    # shellcheck disable=SC2086
    group $n $ask
    [ "$rc" -eq 0 ] || fail 'the book is not opened'
    says out '"reuse_reason": ""'
done

# bob has lost his disk: rank 1, whose it was, or ranks 2 and 3.
rm -rf "$work/kv" && cp -r "$work/made" "$work/kv"
rm -r "$work/kv/r1/vault"
refuses 2 "rank 1 on bob: the book's KV heads 1 to 1 of 2 are with rank 1 on bob in $work/kv/r1, which"
refuses 4 "rank 2 on bob: the book's KV heads 1 to 1 of 2 are with rank 1 on bob in $work/kv/r1, which"

# Of one rank, on ada: bob sees nothing of it.
rm -rf "$work/kv" && mkdir -p "$work/kv/r0" "$work/kv/r1"
# shellcheck disable=SC2086
expect 0 prefill -m "$work/model" "$work/text" --book b $kv --quiet --threads 1
refuses 2 "rank 1 on bob: the book's KV heads 0 to 1 of 2 are with rank 0 on ada in $work/kv/r0, which"

# shellcheck disable=SC2086
group 2 complete -m "$work/model" -f "$work/text" $kv -n 1 --json --threads 1
[ "$rc" -eq 0 ] || fail 'text without a name'
says out '"reused_tokens": 0'
says out 'rank 1 on bob holds only the first 0 tokens: nothing stored for this model'
