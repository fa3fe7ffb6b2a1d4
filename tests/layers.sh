#!/bin/sh
# Who may include whom: bench, tests -> runtime -> { attention | kvstore | parallel } -> runtime/base.
#
# Method: read every #include "..." and compare the rooms of the two files; look for the word glm_
# below the runtime, for CUDA, NCCL and MPI in headers, and for threads that commands start (tests/run.sh leaves most
# commands out under TSan). First the same is done to a planted tree
# in which every rule is broken once, so that a checker gone blind is noticed.
set -u
cd "$(dirname "$0")/.." || exit 1

ROOMS="runtime attention kvstore parallel bench tests"

sources() {
    for room in $ROOMS; do
        [ -d "$1/$room" ] && find "$1/$room" \( -name '*.[ch]' -o -name '*.cu' -o -name '*.cuh' -o -name '*.cpp' \)
    done | sort
}

# Print every violation below the directory $1, as file:line: text.
violations() {
    sources "$1" | while read -r file; do
        awk -v root="$1/" -v file="$file" '
        function collapse(path) {
            while (sub(/[^\/]+\/\.\.\//, "", path)) {}
            gsub(/\.\//, "", path)
            return path
        }
        function exists(path,    line, found) {
            found = (getline line < path) >= 0
            close(path)
            return found
        }
        function room(path) {
            if (path ~ /^runtime\/base\//) return "base"
            sub(/\/.*/, "", path)
            return path
        }
        function is_leaf(name) {
            return name == "attention" || name == "kvstore" || name == "parallel"
        }
        function is_allowed(from, to) {
            if (from == to || to == "base") return 1
            if (from == "runtime") return is_leaf(to)
            if (from == "tests" || from == "bench") return to == "runtime" || is_leaf(to)
            return 0
        }
        function report(text) {
            printf "%s:%d: %s: %s\n", here, FNR, text, $0
        }
        BEGIN {
            here = substr(file, length(root) + 1)
            directory = here
            sub(/[^\/]*$/, "", directory)
            from = room(here)
        }
        /^[ \t]*#[ \t]*include[ \t]*"/ {
            split($0, part, "\"")
            target = collapse(directory part[2])
            if (!exists(root target)) target = collapse(part[2])
            if (!exists(root target)) report("no such file in this tree")
            else if (!is_allowed(from, room(target))) report(from " may not include " room(target))
        }
        /^[ \t]*#[ \t]*include[ \t]*[<"](cuda|cublas|nccl|mpi)/ {
            if (here ~ /\.h$/) report("a header may not need CUDA, NCCL or MPI")
        }
        /pthread_create|rt_thread_start/ {
            if (here ~ /^runtime\/(cmd_|cli|main|needle)[^\/]*$/) report("a command may not start a thread")
        }
        /(^|[^A-Za-z0-9_])glm_/ {
            if (from == "base" || is_leaf(from)) report("only the runtime knows the word glm_")
        }' "$file"
    done
}

# plant FILE LINE...: a file in the planted tree
plant() {
    mkdir -p "$planted/$(dirname "$1")"
    printf '%s\n' "$2" >"$planted/$1"
}

# caught FILE: whether the planted violation in FILE was reported, and only there
caught() {
    printf '%s\n' "$report" | grep -q "^$1:1: " && return
    printf 'layers.sh did not notice the violation planted in %s\n' "$1"
    exit 1
}

planted=$(mktemp -d) || exit 1
trap 'rm -rf "$planted"' EXIT
plant runtime/base/floor.h '/* right */'
plant runtime/runtime.h '#include "base/floor.h"'
plant attention/attention.h '#include "runtime/base/floor.h"'
plant kvstore/kvstore.h '#include "../runtime/base/floor.h"'
plant tests/test_right.c '#include "attention/attention.h"'
plant runtime/base/upward.c '#include "../runtime.h"'
plant attention/upward.c '#include "runtime/runtime.h"'
plant kvstore/sideways.c '#include "../attention/attention.h"'
plant runtime/to_tests.c '#include "tests/test_right.c"'
plant bench/missing.c '#include "nowhere.h"'
plant parallel/comm.h '#include <nccl.h>'
plant kvstore/word.c 'int n = glm_something();'
plant runtime/cmd_thread.c 'int n = pthread_create(a, b, c, d);'
plant runtime/pool.c 'int n = pthread_create(a, b, c, d);'
report=$(violations "$planted")
for file in runtime/base/upward.c attention/upward.c kvstore/sideways.c runtime/to_tests.c \
    bench/missing.c parallel/comm.h kvstore/word.c runtime/cmd_thread.c; do
    caught "$file"
done
if [ "$(printf '%s\n' "$report" | wc -l)" -ne 8 ]; then
    printf 'layers.sh reported what is right:\n%s\n' "$report"
    exit 1
fi

report=$(violations .)
[ -z "$report" ] || { printf '%s\n' "$report" && exit 1; }
