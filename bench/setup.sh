# shellcheck shell=sh
# What bench/demo.sh and tests/run.sh share: packages and builds. Sourced from the repository root.

# What CMakeLists.txt looks for, as Debian 12 names it, and why.
PACKAGES="build-essential cmake pkg-config libjansson-dev libssl-dev libcairo2-dev libzstd-dev
    libxxhash-dev liburing-dev libedit-dev libutf8proc-dev libmicrohttpd-dev"
PACKAGES_WHY="a C compiler, CMake, pkg-config; libraries for JSON, SHA-256, PNG, compression, checksums, io_uring, line editing, Unicode, HTTP"

say() {
    printf '%s\n' "$*" >&2
}

die() {
    say "$0: $*"
    exit 1
}

# root, or anybody with sudo
as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

missing_packages() {
    for package in $PACKAGES; do
        dpkg -s "$package" 2>/dev/null | grep -q '^Status: .* installed$' || printf '%s ' "$package"
    done
}

# setup_packages yes|no: install what is missing, or say what is.
setup_packages() {
    if ! command -v dpkg >/dev/null; then
        say "This is not Debian: make sure of $PACKAGES_WHY."
        return
    fi
    missing=$(missing_packages)
    [ -n "$missing" ] || return 0
    say "Missing Debian packages: $missing"
    say "They are needed to build: $PACKAGES_WHY."
    [ "$1" = yes ] || die "not installing (--no-install). To do it: apt-get install $missing"
    [ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null || die "installing needs root, or sudo"
    say "Installing them with apt-get."
    as_root apt-get update -qq || die "apt-get update failed"
    # shellcheck disable=SC2086 # one word a package
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        $missing >&2 || die "apt-get install failed"
}

# How many compilers or tests to run at once: JOBS, or every core.
n_jobs() {
    printf '%s' "${JOBS:-$(nproc)}"
}

# setup_build DIR TARGET [-D...]: configure and build, quietly unless it fails.
setup_build() {
    build_dir=$1
    build_target=$2
    shift 2
    say "Building $build_dir ..."
    mkdir -p "$build_dir"
    if ! { cmake -S . -B "$build_dir" "$@" &&
        cmake --build "$build_dir" --target "$build_target" -j "$(n_jobs)"; } \
        >"$build_dir/build.log" 2>&1; then
        tail -n 40 "$build_dir/build.log" >&2
        die "the build failed; all of it is in $build_dir/build.log"
    fi
}
