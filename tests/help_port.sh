# shellcheck shell=sh
# A port for ranks; after help_cli.sh.

# hold_port: leaves $port, which is free. It stays bound while the test runs: the kernel gives it to nobody who asks for
# any, and, with SO_REUSEADDR, to ranks, who ask for this one.
hold_port() {
    rm -f "$work/port"
    python3 -c '
import ctypes, os, signal, socket
ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # with the test
holder = socket.socket()
holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
holder.bind(("127.0.0.1", 0))
if os.getppid() != 1:
    print(holder.getsockname()[1], flush=True)
    signal.pause()' >"$work/port" &
    holder=$!
    until [ -s "$work/port" ]; do
        kill -0 $holder 2>/dev/null || fail 'there is no python3 to find a free port'
        sleep 0.01
    done
    read -r port <"$work/port"
}
