#!/bin/sh
# The first runs of needle on a machine, started together, write the embedded model once: none reads what another replaces.
. tests/help_cli.sh

for i in 1 2 3 4 5 6; do
    "$GLM1M" needle --lengths 500 --depths 0 --threads 1 --no-progress >"$work/out.$i" 2>"$work/err.$i" &
    programs="${programs-} $!"
done
for program in $programs; do wait "$program" || fail "a run fails: $(cat "$work"/err.*)"; done
[ "$(cat "$work"/err.* | grep -c 'embedded demo model, written to ')" -eq 1 ] || fail "written more than once"
[ "$(cat "$work"/out.* | grep -c 'found 1 of 1;')" -eq 6 ] || fail 'a run finds nothing'
exit 0
