# shellcheck shell=sh
# Ranks by TCP on "hosts": namespaces of this machine with a name of their own and directories that the
# others do not see. After help_cli.sh.

# Exits 77 where the kernel gives no namespaces.
unshare -mu true 2>/dev/null || unshare -rmu true 2>/dev/null || {
    echo 'skipped: no namespaces here, so there is one host only'
    exit 77
}
namespaces=-mu
unshare -mu true 2>/dev/null || namespaces=-rmu

# ranks need a port that is free; it is asked for once, and used again and again.
port=$(python3 -c 'import socket
s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])') || exit 1

# on HOST RANK N HIDDEN ARGS...: rank RANK of N runs glm1m ARGS on HOST, which does not see the directory
# HIDDEN ("": it sees all); waits for it
on() {
    host=$1 rank=$2 n=$3 hidden=$4
    shift 4
    RANK=$rank WORLD_SIZE=$n MASTER_ADDR=127.0.0.1 MASTER_PORT=$port host=$host hidden=$hidden \
        unshare $namespaces sh -c '
            hostname "$host" || exit 99
            [ -z "$hidden" ] || mount -t tmpfs none "$hidden" || exit 99
            exec "$@"' sh "$GLM1M" "$@"
}
