#!/bin/sh
# The time that perplexity says for all of a text is that of every row through the last layer and the head, as is what it says
# for the tokens that a stopped run has left: the rest never takes longer than all.
#
# Method: the embedded model, whose last layer is a third of it; a run that is stopped after a little, and the two times
# of the next one, which come from one measurement.
. tests/help_cli.sh
make_needle_model
seq 1 9000 | head -c 40000 >"$work/text"

# begin: in the background, with what is kept
begin() {
    shown='perplexity, in the background'
    "$GLM1M" perplexity -m "$work/model" "$work/text" --threads 1 --kv-disk-dir "$work/kv" >"$work/out" 2>"$work/err" &
    pid=$!
}
# end: with Ctrl-C; leaves $rc
end() {
    kill -INT $pid 2>/dev/null
    wait $pid 2>/dev/null
    rc=$?
    [ $rc -eq 130 ] || fail "exit $rc, wanted 130"
}

for _ in $(seq 20); do
    begin
    until grep -q '^plan: ' "$work/err" || ! kill -0 $pid 2>/dev/null; do sleep 0.05; done
    sleep 1
    end
    ! grep -q 'goes on from there' "$work/err" || break
done
begin
until grep -q '^goes on at token ' "$work/err" || ! kill -0 $pid 2>/dev/null; do sleep 0.05; done
end

# seconds PATTERN: of the time that stands there, such as "12.0 s" or "3 min 12 s"
seconds() {
    sed -n "s/$1/\\1/p" "$work/err" | awk 'NR == 1 { print $2 == "min" ? $1 * 60 + $3 : $1 }'
}
all=$(seconds '.*; about \(.*\) for all of it')
left=$(seconds '^goes on at token .*, about \(.*\) for the others')
awk -v "all=$all" -v "left=$left" 'BEGIN { exit !(0 < left && left <= all) }' || fail "$left s for the rest, $all for all of it"
