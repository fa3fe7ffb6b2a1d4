#!/bin/sh
# /keep NAME makes a book of a conversation, and chat --book NAME goes on with it: answers are those of the conversation that
# was never left, also where the last answer was stopped, which leaves a token outside of the session, and with lossy KV. Kept
# again it has the name alone; the name of something else, or no name, is refused, and the conversation stays as it is.
#
# Method: the embedded model, which copies what was said; and a random one, whose every answer depends on all tokens.
. tests/help_cli.sh
make_byte_model
kv="--kv-disk-dir $work/kv"
chat_flags=$kv

# An answer that ends by itself; /reset goes back to what was kept; what is said behind it is not in it.
oslo='The special magic number for Oslo is: '
rome='The special magic number for Rome is: '
talk 0 "${oslo}1112131.
$oslo
/keep oslo
${rome}1415161.
" -n 48
talk 0 "$oslo
/reset
$oslo
$rome
" -n 48 --stop . --book oslo
[ "$(grep -c '1112131' "$work/out")" -ge 2 ] || fail 'what was said is not known'
! grep -q 1415161 "$work/out" || fail 'what was said later is known'

# Refusals end a script, and change nothing.
refused() {
    talk 2 "$1" -n 8 --book oslo
    says err "$2"
}
refused '/keep other' '/keep: nothing was said yet'
refused 'a
/keep' '/keep: under which name?'
refused 'a
/keep a/b' "a book's name is made of"
expect 0 prefill -m "$work/model" "$work/config.json" --book text --kv-disk-dir "$work/kv" --quiet
refused 'a
/keep text' "book text is of $work/config.json"
expect 0 book show text --kv-disk-dir "$work/kv"
says out "$work/config.json"
chat_flags=
talk 2 'a
/keep other' -n 8
says err 'nothing of this chat is kept on disk; begun with --kv-disk-dir DIR'

# A full context: all that the session holds.
chat_flags=$kv
talk 0 'aaaa
/keep full' -c 16 -n 100
says err 'the context is full'
says err 'kept as full: 16 tokens'

# Whole, and in three sittings.
one='Once upon a time there was a king, and the king had a daughter.'
two='Who had a daughter?'
three='And who was there?'
mv "$work/model" "$work/needle" && mv "$work/random" "$work/model" || fail 'no second model'
for type in bf16 fp8; do
    talk 0 "$one
$two
$three
" -n 20 --temperature 0 --kv-cache-dtype $type
    cp "$work/out" "$work/whole"
    talk 0 "$one
/keep king_$type
" -n 20 --temperature 0 --kv-cache-dtype $type
    says err "kept as king_$type: $((${#one} + 5 + 20)) tokens, "
    says err "chat --book king_$type, with the same --kv-disk-dir, goes on with it"
    cp "$work/out" "$work/parts"
    talk 0 "$two
/keep king_$type
" -n 20 --temperature 0 --kv-cache-dtype $type --book king_$type
    cat "$work/out" >>"$work/parts"
    talk 0 "$three
" -n 20 --temperature 0 --kv-cache-dtype $type --book king_$type
    cat "$work/out" >>"$work/parts"
    cmp -s "$work/whole" "$work/parts" || fail "$type: other answers than in one sitting"
    expect 0 book show king_$type --kv-disk-dir "$work/kv"
    says out 'glm1m chat'
done
