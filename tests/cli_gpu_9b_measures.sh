#!/bin/sh
# bench/gpu_9b.sh measures decode without drafts, and how busy the GPU is in the prefill by the samples that lie in it: none of
# loading, of its first second, which a sample may be about, of the answer. What bench/foretold.tsv asks of its lines it finds.
#
# Method: an nvidia-smi that has all samples at once, of times from a while ago to a while ahead, and a program that says what
# the real one does.
[ -z "${GLM_TEST_FAST:-}" ] || { echo 'scripts only: the release suite has run it' && exit 77; }
. tests/help_cli.sh
mkdir -p "$work/bin" "$work/9b/40" && : >"$work/9b/40.made" || exit 1
# Of 2 s before and 10 s behind now a sample each 0.2 s: loading, a sample about that and the prefill, 5 s of it, the answer.
cat >"$work/bin/nvidia-smi" <<'END'
#!/bin/sh
now=$(date +%s%3N)
i=-10
while [ $i -lt 50 ]; do
    at=$((now + 100 + 200 * i)) busy=100
    [ $i -ge 0 ] || busy=7
    [ $i -ge 5 ] || busy=50
    [ $i -lt 30 ] || busy=10
    echo "$(date -d "@$((at / 1000))" '+%Y/%m/%d %H:%M:%S').$(printf %03d $((at % 1000))), $busy, 10240"
    i=$((i + 1))
done
: >"$SAMPLED"
exec sleep 60
END
cat >"$work/program" <<'END'
#!/bin/sh
echo "$*" >>"$ASKED"
[ "$1" = complete ] || { echo '{"prefill_s": 1.0, "decode_tps": 2.0, "gpu_total_bytes": 10737418240}' && exit 0; }
echo "info engine: open max_len=204800 gpu_bytes=1" >&2
until [ -e "$SAMPLED" ]; do sleep 0.02; done
echo '{"load_s": 1.5, "prefill_s": 6.0, "prefill_tps": 34123.0, "decode_tps": 12.5, "n_generated": 16}'
echo "info engine: graph of a decode step seqs=1 gpu_bytes=2097152" >&2
echo "prompt 204736 tokens in 6.00 s" >&2
exit "${PROGRAM_EXIT:-0}"
END
chmod +x "$work/bin/nvidia-smi" "$work/program"
export SAMPLED="$work/sampled" ASKED="$work/asked" GLM1M="$work/program" PATH="$work/bin:$PATH"

sh bench/gpu_9b.sh --dir "$work/9b" --answer 16 40:200K 40:200K:--device-kv-space,4G >"$work/out" 2>"$work/err" ||
    { cat "$work/out" "$work/err" && fail "exit $?"; }
says out '40:200K: load 1.5 s, prefill 6.00 s (34123 tokens/s), decode 12.50 tokens/s (16 tokens), device memory 10.00 GiB, planned 10.00'
says out "of the prompt's 25: 100.0 %"
says out '#   prompt 204736 tokens in 6.00 s'
says out 'gpu_bytes=2097152'
[ "$(grep -c 'num-speculative-tokens 0' "$work/asked")" -eq "$(wc -l <"$work/asked")" ] || fail 'decode has drafts'
grep -q 'complete .*--device-kv-space 4G' "$work/asked" || fail 'flags do not come to the program'

# As tests/gpu.sh does it.
is_found() { # FIGURE: its number
    awk -F '\t' -v figure="$1" 'FILENAME == ARGV[1] { line[++n] = $0; next }
        $1 == "9b_200K" && $3 == figure { for (i = 1; i <= n; i++) if (match(line[i], $4)) { print substr(line[i], RSTART + RLENGTH) + 0; exit } }' \
        "$work/out" bench/foretold.tsv
}
[ "$(is_found 'asked: GPU busy in the prefill of 200K tokens, percent')" = 100 ] || fail 'busy is not found'
[ "$(is_found '200K, 4G of KV, tokens/s of decode')" = 12.5 ] || fail 'decode is not found'
[ "$(is_found 'asked: prefill of 200K tokens, s')" = 6 ] || fail 'prefill is not found'

PROGRAM_EXIT=1 sh bench/gpu_9b.sh --dir "$work/9b" 40:200K >"$work/out" 2>"$work/err" && fail 'exit 0 where the program fails'
says out '40:200K: exit 1: '
exit 0
