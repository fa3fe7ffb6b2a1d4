#!/bin/sh
# The commands with --device cuda, on what plays a GPU (tests/standin): needle finds, logits are the CPU's but for
# rounding, a book that one device made is verified and gone on with by the other, questions of a file and requests of a
# server are answered side by side, greedy ones alike.
GLM1M=$(dirname "$GLM1M")/tests/glm1m_standin
[ -x "$GLM1M" ] || { echo "no program with a stand-in here: TSan, or no headers of cuBLASLt" && exit 77; }
. tests/help_cli.sh
. tests/help_serve.sh
make_needle_model
[ -z "$GLM_TEST_FAST" ] || export STANDIN_CUDA_PLAIN=1 # the kernels have sanitized tests of their own
export GLM_KV_DISK_DIR="$work/kv"
text='The special magic number for Paris is: 4831759.'

if [ -z "$GLM_TEST_FAST" ]; then
    expect 0 needle -m "$work/model" --device cuda --lengths 400 --depths 50
    says out 'found 1 of 1'
fi

echo '84 104 101 32 110' >"$work/ids"
for device in cuda cpu; do
    expect 0 logits -m "$work/model" --device $device --tokens-file "$work/ids" --out "$work/$device.npy"
done
python3 - "$work/cuda.npy" "$work/cpu.npy" <<'EOF' || fail "logits of the two devices"
import struct, sys
a, b = ([x[0] for x in struct.iter_unpack("<f", open(p, "rb").read()[-5 * 272 * 4:])] for p in sys.argv[1:])
sys.exit(max(abs(x - y) for x, y in zip(a, b)) > 0.02 * max(map(abs, b)))
EOF

printf '%s\n' "$text" >"$work/text"
expect 0 prefill -m "$work/model" --device cuda "$work/text" --book made
expect 0 book verify made
expect 0 complete -m "$work/model" --device cpu --linear own --book made -n 4 -p 'The special magic number for Paris is:'
says out ' 483'

printf '{"question": ">\\n%s"}\n' 'The special magic number for' 'special magic' >"$work/questions"
expect 0 ask -m "$work/model" --device cuda "$work/text" --questions "$work/questions" --out "$work/answers" -n 2
[ "$(grep -c '"n_unverified"' "$work/answers")" -eq 2 ] || fail "not every question is answered"

start_server -m "$work/model" --device cuda -c 256 --max-num-seqs 2
body="{\"prompt\": \"$text Now: The special magic number for Paris is:\", \"max_tokens\": 3, \"temperature\": 0}"
complete() {
    python3 -c 'import sys, urllib.request as u
sys.stdout.buffer.write(u.urlopen(sys.argv[1], sys.argv[2].encode(), 120).read())' "$url/v1/completions" "$body"
}
complete >"$work/one" &
one=$!
complete >"$work/two"
wait "$one"
for answer in one two; do
    grep -q '"text":" 48"' "$work/$answer" || { cat "$work/$answer" && fail "the server's answer"; }
done
stop_server
