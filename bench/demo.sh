#!/bin/sh
# From a fresh machine to a needle-in-a-haystack evaluation on the CPU, on the embedded model.
#
#   sh bench/demo.sh [--no-install]
set -eu
cd "$(dirname "$0")/.."
. bench/setup.sh

install=yes
for argument in "$@"; do
    case $argument in
    --no-install) install=no ;;
    *) die "unknown argument $argument; usage: sh bench/demo.sh [--no-install]" ;;
    esac
done

setup_packages "$install"
setup_build build glm1m -DCMAKE_BUILD_TYPE=Release

say ""
say "Hiding numbers in a haystack, at three lengths and five depths, and asking for them."
say "The model is embedded: 1.6 million weights, constructed to retrieve exactly."
say ""
rm -rf build/demo
build/glm1m needle --lengths 1k,4k,16k --depths 0,25,50,75,100 --out build/demo

cat <<'END'

Results: build/demo/results.json, heatmap.svg, heatmap.png.

A real checkpoint, a directory as Hugging Face has it (19 GB):
  hf download zai-org/glm-4-9b-chat-1m
  build/glm1m doctor -m zai-org/glm-4-9b-chat-1m
  build/glm1m needle -m zai-org/glm-4-9b-chat-1m --lengths 4k,16k --haystack book.txt

A million tokens: what it takes on this machine, and then the evaluation itself.
  build/glm1m plan -m zai-org/glm-4-9b-chat-1m --max-model-len 1M
  build/glm1m needle --lengths 1M --depths 50 --out run1M     (embedded; hours on 2 cores)
END
