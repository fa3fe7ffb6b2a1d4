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

. tests/help_port.sh
hold_port

# on HOST RANK N UNLIKE ARGS...: rank RANK of N runs ${program:-$GLM1M} ARGS on HOST; waits for it. UNLIKE: a
# directory that HOST does not see, or PATH=OTHER, and it sees OTHER there; "": it sees all
on() {
    host=$1 rank=$2 n=$3 unlike=$4
    shift 4
    RANK=$rank WORLD_SIZE=$n MASTER_ADDR=127.0.0.1 MASTER_PORT=$port host=$host unlike=$unlike \
        unshare $namespaces sh -c '
            hostname "$host" || exit 99
            case $unlike in
            "") ;;
            *=*) mount --bind "${unlike#*=}" "${unlike%%=*}" || exit 99 ;;
            *) mount -t tmpfs none "$unlike" || exit 99 ;;
            esac
            exec "$@"' sh "${program:-$GLM1M}" "$@"
}
