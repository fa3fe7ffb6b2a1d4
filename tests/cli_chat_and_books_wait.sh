#!/bin/sh
# A conversation that begins as another one which is being prefilled waits for that, by what a file brings into it or by a book that
# has lost something, as `complete` with that book does: one computes, the others find it. Ctrl-C takes the question back, and it can
# be asked again. `perplexity`, which needs the logits of every token, is waited for and waits for nobody.
#
# Method: the first of them is held (SIGSTOP) in its prefill, the first conversation behind a span that the second one, which is on
# a terminal, has restored when it waits.
. tests/help_cli.sh
. tests/help_terminal.sh
. tests/help_turns.sh
make_needle_model
text_of $n_lines >"$work/text"
text_of $((2 * n_lines)) >"$work/long"
last='The special magic number for Paris is:'

# starts I COMMAND ARGS: one of ours in the background, as `begins`
starts() {
    i=$1
    command=$2
    shift 2
    : >"$work/err.$i"
    "$GLM1M" "$command" -m "$work/model" --kv-disk-dir "$work/kv" --threads 1 "$@" </dev/null >"$work/out.$i" 2>"$work/err.$i" &
    process=$!
}

chats() {
    : >"$work/err.1"
    "$GLM1M" chat -m "$work/model" --kv-disk-dir "$work/kv" --threads 1 "$@" <"$work/turns" >"$work/out.1" 2>"$work/err.1" &
    process=$!
}

# screen_says PATTERN
screen_says() {
    grep -Eq -- "$1" "$work/out" || fail "the screen does not say: $1"
}

printf '/read %s\n%s\n' "$work/long" "$last" >"$work/turns"
chats --span 4096
first=$process
stops "$first" 4096
on_terminal "exec '$GLM1M' chat -m '$work/model' --kv-disk-dir '$work/kv' --threads 1 --no-progress"
for times in 1 2; do
    await '/help lists the commands'
    press "/read $work/long\\r"
    await "long: " $times
    press "$last\\r"
    await "waiting for process $first on " $times
    [ $times -eq 1 ] || break
    press '\0003'
    await 'the question and its files are taken back'
done
kill -CONT "$first"
ends "$first" 0
await 'answer '
screen_says 'prompt 2[4-8][0-9]{3} tokens, 24576 of them reused'
press '\0004'
leaves 0
grep -q 4831759 "$work/out.1" && screen_says 4831759 || fail 'the answers are not the fact'

# A book of which a segment is damaged: its ids are to be had, and whoever computes the rest may die.
rm -rf "$work/kv"
expect 0 prefill -m "$work/model" --kv-disk-dir "$work/kv" --book b --threads 1 "$work/text"
file=$(find "$work/kv" -name '*.kvs' | sort | head -n 1)
printf 'damage' | dd of="$file" bs=1 seek=$(($(stat -c %s "$file") / 2)) conv=notrunc 2>/dev/null
rm "$work/kv/.prefills"
starts 1 complete --book b -p x -n 8 --span 4096
first=$process
stops "$first" 0
starts 2 complete --book b -p x -n 8
second=$process
starts 3 chat --book b
third=$process
awaits 2 "$second" "waiting for process $first on "
awaits 3 "$third" "waiting for process $first on "
kill -KILL "$first"
wait "$first"
ends "$second" 0
ends "$third" 0
[ "$(cat "$work/err.2" "$work/err.3" | grep -c 'is at it no longer: this one goes on')" -eq 1 ] ||
    fail "not one of both goes on: $(cat "$work"/err.[23])"
expect 0 book verify b --kv-disk-dir "$work/kv"
expect 0 complete -m "$work/model" --kv-disk-dir "$work/kv" --book b -p x -n 8
cmp "$work/out" "$work/out.2" || fail 'another answer over a damaged book'

rm -rf "$work/kv"
starts 1 perplexity --span 4096 "$work/text"
first=$process
stops "$first" 0
starts 2 complete -f "$work/text" -n 1
second=$process
awaits 2 "$second" "waiting for process $first on "
kill -CONT "$first"
ends "$first" 0
ends "$second" 0
[ "$(n_found 2)" -ge 8192 ] || fail "complete found $(n_found 2) tokens"

rm -rf "$work/kv"
starts 2 complete -f "$work/text" -n 1 --span 4096
second=$process
stops "$second" 0
starts 1 perplexity "$work/text"
ends "$process" 0
! grep -q 'waiting for' "$work/err.1" || fail 'perplexity waits'
kill -CONT "$second"
ends "$second" 0
