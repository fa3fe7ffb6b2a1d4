#!/bin/sh
# Where the directory of a prefill vanishes under it, nobody is told that it goes on from there: not by a book that cannot
# be kept, which is a failure and not a context that does not fit, and not by Ctrl-C.
#
# Method: prefill a beginning, then the long text from there. When it has found the beginning, and written more, hold the
# program; delete either what was kept, and stop it with Ctrl-C, or all of the directory, and let it come to its next span.
. tests/help_cli.sh
make_small_model 5
yes 'All work and no play makes Jack a dull boy.' | head -c 40000 >"$work/long"
head -c 4200 "$work/long" >"$work/beginning"

# start FLAGS...: of the long text, until it has gone on from its beginning; it is held then
start() {
    rm -rf "$work/kv"
    expect 0 prefill -m "$work/model" "$work/beginning" --book a --kv-disk-dir "$work/kv" --no-progress
    shown="prefill, behind a beginning, $*"
    "$GLM1M" prefill -m "$work/model" "$work/long" --book b --kv-disk-dir "$work/kv" --no-progress --threads 1 \
        "$@" >"$work/out" 2>"$work/err" &
    program=$!
    tries=0
    until grep -q '^on disk already: 4... of 40002' "$work/err" &&
        [ -n "$(find "$work/kv" -name '*.tmp' -exec cat {} + 2>/dev/null | tr -d '\000' | head -c 1)" ]; do
        tries=$((tries + 1))
        [ $tries -lt 3000 ] && kill -0 $program 2>/dev/null || fail 'it does not go on from the beginning'
        sleep 0.02
    done
    kill -STOP $program
}

# end RC: let it go on
end() {
    kill -CONT $program
    wait $program
    rc=$?
    [ "$rc" -eq "$1" ] || fail "exit $rc, wanted $1"
    ! grep -q 'goes on from there' "$work/err" || fail 'it says that it goes on from there'
}

start
find "$work/kv" -name '*.kvs' -delete
kill -INT $program
end 130
says err '; nothing of it is kept: '

start --span 4096
rm -rf "$work/kv"
end 1
grep -qE 'of 40002 tokens none are kept on disk: .*/kv/vault/|tokens from 0 on are on disk no longer' "$work/err" ||
    fail 'it does not say that nothing is kept' # the second, if it was about to begin a span
