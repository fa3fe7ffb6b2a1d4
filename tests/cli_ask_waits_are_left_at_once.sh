#!/bin/sh
# Who waits for another's prefill leaves at once by Ctrl-C, as it does by SIGTERM; and where there is nothing to wait for nobody
# does: other models and types of KV, texts that are shorter than a segment, a directory in which nothing can be locked.
#
# Method: the other is held (SIGSTOP) in its prefill, so that nothing but what is asked for can end the wait.
. tests/help_cli.sh
. tests/help_turns.sh
make_needle_model
text_of $n_lines >"$work/text"
text_of 60 >"$work/short"

begins 1 "$work/text"
first=$process
stops "$first" 0
for signal in INT TERM; do
    begins 2 "$work/text"
    second=$process
    awaits 2 "$second" "waiting for process $first on "
    kill -$signal "$second"
    [ $signal = INT ] && ends "$second" 130 || ends "$second" 143
    said 2 'while another process was waited for, which prefills the text'
done
begins 2 "$work/text" --kv-cache-dtype int8
ends "$process" 0
begins 2 "$work/short"
ends "$process" 0
[ "$(n_tokens 2)" -lt 4096 ] || fail 'the short text is too long'
kill -CONT "$first"
ends "$first" 0
answers 1

rm -rf "$work/kv"
begins 2 "$work/short"
ends "$process" 0
[ ! -e "$work/kv/.prefills" ] || fail 'a text that is shorter than a segment has a turn'

# Where there is no such file there are no locks: both compute.
rm -rf "$work/kv"
mkdir -p "$work/kv/.prefills"
for i in 1 2; do
    begins $i "$work/text" --span 4096
    programs="${programs-} $process"
done
for program in $programs; do ends "$program" 0; done
answers 1 2
! grep -q 'waiting for process\|waiting for another' "$work"/err.[12] || fail 'there are locks in a directory'
