#!/bin/sh
# doctor says what is there, and why not where something is not; nothing is required.
#
# Method: run it alone and on the embedded model; look for every heading.
. tests/help_cli.sh
make_needle_model

expect 0 doctor
for heading in CPU 'instruction set' 'cores we may use' memory 'cgroup limit' GPU NCCL MPI \
    'disk I/O' cache; do
    says out "$heading"
done
says_nothing err

expect 0 doctor -m "$work/model"
says out 'no published shape'
says out '4 query, 2 KV, 128 wide'
says out 'stop ids             256, 263, 265'
says out 'fits'

expect 0 doctor -m "$work/model" --json
says out '"fingerprint": "'

# A directory without weights: what the config says is still shown.
rm "$work/model/model.safetensors"
run doctor -m "$work/model"
[ "$rc" -ne 0 ] || fail "a checkpoint without weights is not healthy"
says out '4 query, 2 KV, 128 wide'
says err 'safetensors'
