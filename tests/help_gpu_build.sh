# shellcheck shell=sh
# What tests/gpu.sh compiles, into $BUILD for the GPU of $capability ($architecture, $has_sm90): the tests and the benchmarks of
# kernels by nvcc, the whole program with the libraries it is linked to.

# What the programs in build-gpu/ were made from.
stamp() {
    { echo "$capability" && find CMakeLists.txt attention kvstore parallel runtime tests bench -name '*.[ch]' -o -name '*.cu*' \
        -o -name '*.cpp' -o -name CMakeLists.txt -o -name help_gpu_build.sh -o -name sanitizer.txt | LC_ALL=C sort | xargs cat; } | cksum
}

# unpack FILE DIR: a tar.xz, which Python reads where xz is not there.
unpack() {
    tar -xJf "$1" -C "$2" 2>/dev/null ||
        python3 -c 'import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2])' "$1" "$2" 2>/dev/null
}

# The whole program, three tests and two benchmarks of it, with the libraries they are linked to beside them: where the GPU is, there
# need be none of them, and nothing to fetch them from.
build_program() {
    command -v cmake >/dev/null || { echo 'no cmake here: the program itself is left out' && return 0; }
    # shellcheck disable=SC2016 # $ORIGIN is the linker's
    cmake -S . -B $BUILD-program -DCMAKE_BUILD_TYPE=Release -DGLM_CUDA=ON -DGLM_MPI=OFF -DCMAKE_BUILD_WITH_INSTALL_RPATH=ON \
        '-DCMAKE_INSTALL_RPATH=$ORIGIN/lib' -DCMAKE_EXE_LINKER_FLAGS=-Wl,--disable-new-dtags >/dev/null &&
        cmake --build $BUILD-program -j "$(nproc)" --target glm1m test_runtime_gpu_logits \
            test_runtime_gpu_drafts test_engine_gpu_chunk_changes_no_bit bench_nccl bench_drafts >/dev/null || return 1
    programs="glm1m tests/test_runtime_gpu_logits tests/test_runtime_gpu_drafts tests/test_engine_gpu_chunk_changes_no_bit"
    programs="$programs bench/bench_nccl bench/bench_drafts"
    mkdir -p $BUILD/lib || return 1
    for program in $programs; do
        cp $BUILD-program/"$program" $BUILD && strip --strip-debug $BUILD/"$(basename "$program")" || return 1
    done
    # shellcheck disable=SC2086 # words
    (cd $BUILD-program && ldd $programs) | sed -n 's/.* => \(\/[^ ]*\) .*/\1/p' | sort -u |
        grep -v '/lib\(c\|m\|dl\|rt\|pthread\)\.so' | xargs -I{} cp -L {} $BUILD/lib
}

# compile SOURCE NAME; a benchmark links the kernels, a test contains the one it tests
# shellcheck disable=SC2086 # words of options
compile() {
    kernels=
    case $2 in
    bench_*)
        for kernel in attention/*.cu runtime/*.cu; do
            object=$BUILD/kernel_$(basename "$kernel" .cu).o
            case $kernel in *_sm90.cu) [ "$capability" = 9.0 ] || continue ;; esac
            [ -e "$object" ] || nvcc -std=c++17 -O3 -lineinfo -I. $architecture -c "$kernel" -o "$object" || return 1
            kernels="$kernels $object"
        done
        case $2 in *_decode | *_linear) kernels="$kernels $linear" ;; esac
        ;;
    esac
    nvcc -std=c++17 -O2 -lineinfo -x cu -I. -Itests -Ibench $architecture -DHAS_SM90=$has_sm90 -c "$1" -o "$BUILD/$2.o" >"$BUILD/$2.o.said" 2>&1
    rc=$?
    cat "$BUILD/$2.o.said"
    # It runs, but not as it is written: what it says of the hardware is ptxas's doing, too.
    ! grep -q 'C75[0-9][0-9]' "$BUILD/$2.o.said" || echo "$2" >>"$BUILD/wgmma_changed"
    [ $rc -eq 0 ] &&
        nvcc $architecture "$BUILD/$2.o" $kernels $BUILD/attn_cuda.o $BUILD/attn_fp8.o $BUILD/attn_ref.o $BUILD/status.o -ldl \
            -o "$BUILD/$2" && rm -f "$BUILD/$2.o"
}

# The C that is linked with them: what kernels need, and for benchmarks of the program's products what those need.
kernels_c() {
    echo attention/attn_cuda.c attention/attn_fp8.c attention/attn_ref.c runtime/base/status.c
}
products_c() {
    echo runtime/cublaslt_cuda.c runtime/linear_cuda.c runtime/device_cuda.c runtime/find_cuda.c runtime/base/log.c \
        runtime/base/memory.c runtime/base/machine.c runtime/base/cgroup.c runtime/base/slurm.c runtime/base/proc_text.c runtime/base/size.c
}

# compile_c SOURCE: its object's name, in $BUILD
compile_c() {
    object=$BUILD/$(basename "$1" .c).o
    cc -std=gnu11 -O2 -g -D_GNU_SOURCE -I. -Iruntime -isystem "$(dirname "$(command -v nvcc)")/../include" -c "$1" -o "$object" &&
        echo "$object"
}

# The compute-sanitizer of tests/sanitizer.txt, whose racecheck is mistaken about less than that of the toolkit at hand
# (bench/GPU.md): what of it a GPU's machine needs.
bring_sanitizer() {
    wheels=$(mktemp -d) || return 0
    timeout 200 python3 -m pip download -q --disable-pip-version-check --no-deps --only-binary :all: -d "$wheels" -r tests/sanitizer.txt &&
        python3 - "$wheels" $BUILD/sanitizer.tar.xz <<'END' || echo 'no later compute-sanitizer is to be had: racecheck is the toolkit'\''s'
import glob, io, sys, tarfile, zipfile
wheel = zipfile.ZipFile(glob.glob(sys.argv[1] + "/*.whl")[0])
with tarfile.open(sys.argv[2], "w:xz") as tar:
    for name in wheel.namelist():
        folder, _, file = name.rpartition("/")
        if not (folder.endswith("/compute-sanitizer") and file or file == "License.txt"):
            continue
        entry = tarfile.TarInfo("sanitizer/" + file)
        entry.size, entry.mode = wheel.getinfo(name).file_size, 0o755
        tar.addfile(entry, io.BytesIO(wheel.read(name)))
END
    rm -rf "$wheels"
}

build() {
    # Machine code, with what tells its lines, is most of each program.
    export NVCC_APPEND_FLAGS="${NVCC_APPEND_FLAGS:-} -Xfatbin=-compress-all"
    command -v nvcc >/dev/null || { echo "no nvcc here: the CUDA toolkit is needed, or build-gpu/ from --build-only on the same sources" && exit 77; }
    # What others made stays: results, variants.
    mkdir -p $BUILD && find $BUILD -mindepth 1 -maxdepth 1 ! -name results ! -name variants -exec rm -rf {} +
    linear= # products as the program has them, for a benchmark
    for source in $(kernels_c); do compile_c "$source" >/dev/null || exit 1; done
    for source in $(products_c); do linear="$linear $(compile_c "$source")" || exit 1; done
    for name in $(tests) $(benches); do
        source=tests/$name.cpp
        [ -e "$source" ] || source=bench/$name.cpp
        echo "compiling $name"
        compile "$source" "$name" || echo "FAIL  $name does not compile"
    done
    bring_sanitizer
    echo 'compiling glm1m'
    build_program || echo 'FAIL  glm1m does not compile'
    rm -f $BUILD/*.o $BUILD/*.o.said
    ! is_complete || stamp >$BUILD/stamp
}
# Nothing of wgmma in the tests is serialised, or repaired.
is_as_written() {
    [ ! -e $BUILD/wgmma_changed ] || { echo "FAIL  ptxas has changed the wgmma of: $(tr '\n' ' ' <$BUILD/wgmma_changed)" && return 1; }
}
is_complete() {
    for name in $(tests) $(benches); do [ -x "$BUILD/$name" ] || return 1; done
}

