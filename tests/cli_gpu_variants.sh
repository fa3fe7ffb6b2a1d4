#!/bin/sh
# What bench/cuda_variants.sh measured is in the log of the call, whoever hangs: every line of every variant, and behind each of the
# three comparisons what came of it. What it builds by default it asks.
#
# Method: a tree whose benchmarks are scripts that say what the real one does; one of them does not end.
[ -z "${GLM_TEST_FAST:-}" ] || { echo 'scripts only: the release suite has run it' && exit 77; }
. tests/help_cli.sh
tree=$work/tree
mkdir -p "$tree/bench" "$tree/build-gpu/variants" || exit 1
sed 's/LIMIT=20/LIMIT=1/' bench/cuda_variants.sh >"$tree/bench/cuda_variants.sh"

# program NAME RATE: of a chunk or of decode
program() {
    cat >"$tree/build-gpu/$1" <<END
#!/bin/sh
echo "# a copy, 3000"
case \$1 in
decode) echo "decode_sm90,\$2,\$3,0.1,0.1,$2,$2,GB/s,1.0" ;;
*) echo "\$1_sm90,\$2,8448,10,\$(awk 'BEGIN { print 1000 / $2 }'),$2,$2,TFLOP/s,0.7" ;;
esac
END
    chmod +x "$tree/build-gpu/$1"
}
program bench_cuda_attention 700
program variants/ran 686
program variants/whole 703.5
program variants/late 695
program variants/measured 735
printf '#!/bin/sh\nexec sleep 60\n' >"$tree/build-gpu/variants/after"
chmod +x "$tree/build-gpu/variants/after"

shown='(bench/cuda_variants.sh run)'
(cd "$tree" && sh bench/cuda_variants.sh run) >"$work/out" 2>&1 </dev/null
rc=$?
[ "$rc" -eq 0 ] || fail "exit $rc"
says out '# chunk_sm90,131072,8448: now 700, ran 686 (-2.0 %), whole 703.5 (+0.5 %) TFLOP/s'
says out '# decode_sm90,262144,16: now 700, ran 686'
says out '# decode_sm90,1048576,8: now 700, measured 735'
says out '# after is given up: exit 124 of chunk,131072'
n=$(grep -c '^[12] [a-z]* [a-z]*_sm90,' "$work/out")
[ "$n" -eq $((2 * 3 * 3 + 2 * 3 * 3 + 2 * 4 * 2)) ] || fail "$n lines of what was measured"
for name in $(grep -o '[a-z]*=\(HEAD\|[0-9a-f]\{7\}\):\{0,1\}' bench/cuda_variants.sh | sed 's/=.*//' | sort -u); do
    grep -q "^1 $name \|^# $name is given up" "$work/out" || fail "$name is built, and not asked"
done
