#!/bin/sh
# --min-accuracy: exit 7 below it, 0 at or above; a share or per cent. Without its answer prefix the
# embedded model, which can only continue text, does not answer.
. tests/help_cli.sh

grid='needle --lengths 1k --depths 50 --no-progress'
# shellcheck disable=SC2086 # words of a command
expect 0 $grid --min-accuracy 1
# shellcheck disable=SC2086
expect 0 $grid --min-accuracy 100
# shellcheck disable=SC2086
expect 7 $grid --answer-prefix none --min-accuracy 0.5
says out 'found 0 of 1'
says err 'below --min-accuracy 0.5'
# shellcheck disable=SC2086
expect 0 $grid --answer-prefix none
