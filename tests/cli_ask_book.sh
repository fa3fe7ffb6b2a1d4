#!/bin/sh
# A real book with facts planted in it: the right answer at the right line, the second question
# prefills none of the book, and an edit costs what is behind it. How long each took is said, and
# decides nothing.
#
# Method: the first 12 KB of i_promessi_sposi.txt in GLM_TEST_DATA, or as much made-up prose; the facts
# go in as lines of their own, so that grep -n knows where they are. `sh tests/cli_ask_book.sh 65536` for more.
. tests/help_cli.sh
make_needle_model
n_bytes=${1:-12288}
[ -z "${GLM_TEST_FAST:-}" ] || n_bytes=5000
book="${GLM_TEST_DATA:-/nowhere}/books/i_promessi_sposi.txt"
if [ -e "$book" ]; then
    head -c $n_bytes "$book" | sed '$d' >"$work/plain"
else
    printf 'GLM_TEST_DATA has no book: made-up prose instead\n'
    awk 'BEGIN { for (i = 0; i < 2000; i++) printf "On the %dth day nothing happened that is worth %d words.\n", i, i * 7 % 1000 }' |
        head -c $n_bytes | sed '$d' >"$work/plain"
fi
n_lines=$(wc -l <"$work/plain")
awk -v a=$((n_lines / 7)) -v b=$((n_lines / 2)) -v c=$((n_lines * 9 / 10)) '
    { print }
    NR == a { print "The special magic number for Paris is: 4831759." }
    NR == b { print "The special magic number for Lecco is: 9021734." }
    NR == c { print "The special magic number for Milan is: 1112131." }' "$work/plain" >"$work/book.txt"

# asks CITY VALUE: the answer, and where it is
asks() {
    started=$(date +%s.%N)
    expect 0 ask -m "$work/model" "$work/book.txt" --kv-disk-dir "$work/kv" --json --no-progress \
        -q "$(printf 'What is the special magic number for %s?\n>\nThe special magic number for %s is:' "$1" "$1")"
    seconds=$(awk -v a="$started" -v b="$(date +%s.%N)" 'BEGIN { printf "%.1f", b - a }')
    says out "\"answer\": \"The special magic number for $1 is: $2.\""
    line=$(grep -n "for $1 is" "$work/book.txt" | cut -d : -f 1)
    says out "\"verified\": true"
    says out "\"line\": $line, \"last_line\": $line"
    says out '"n_unverified": 0'
    n_reused=$(sed -n 's/.*"reused_tokens": \([0-9]*\).*/\1/p' "$work/out")
    n_text=$(sed -n 's/^text: \([0-9]*\) tokens.*/\1/p' "$work/err")
    printf '%s: %s of %s tokens reused, %s s\n' "$1" "$n_reused" "$n_text" "$seconds"
}

asks Paris 4831759
[ "$n_reused" -eq 0 ] || fail 'something was there already'
asks Milan 1112131
[ "$n_reused" -eq "$n_text" ] || fail "$n_reused of $n_text tokens are reused"
asks Lecco 9021734
[ "$n_reused" -eq "$n_text" ] || fail "$n_reused of $n_text tokens are reused"

# An edit near the end.
sed -i 's/for Milan is: 1112131/for Milan is: 7654321/' "$work/book.txt"
asks Milan 7654321
n_behind=$((n_text - n_reused))
n_edited=$(sed -n '/for Milan/,$p' "$work/book.txt" | wc -c)
# Markers of passages lie behind the edit, too: one of ten bytes for 600.
[ "$n_behind" -le $((n_edited + n_edited / 40 + 20)) ] ||
    fail "$n_behind tokens are prefilled for an edit $n_edited bytes from the end"
asks Paris 4831759
[ "$n_reused" -eq "$n_text" ] || fail "$n_reused of $n_text tokens are reused"
