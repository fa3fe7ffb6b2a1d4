#!/bin/sh
# RULER's tasks by the names that RULER itself gives them: niah_multikey_2 is multikey_2, with ruler: in front or without,
# and a run of one goes on with the other's cells.
. tests/help_cli.sh

expect 0 needle --lengths 1k --depths 50 --protocol ruler:multikey_2 --out "$work/run" --quiet
for name in ruler:niah_multikey_2 niah_multikey_2; do
    expect 0 needle --lengths 1k --depths 50 --protocol $name --out "$work/run" --no-progress
    says err 'continuing: 1 cells are done already'
    says out 'needle: ruler:multikey_2,'
done
for wrong in multikey_2 niah_vt ruler:niah_single_4 niah_ ruler:; do
    expect 2 needle --lengths 1k --protocol $wrong
    says err "--protocol $wrong: lwm, gkamradt, own or ruler:TASK, where TASK is one of"
done
