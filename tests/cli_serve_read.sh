#!/bin/sh
# Files sent to the server's /v1/read: PDF and Office files become text by the programs that read them, which
# see one descriptor and no path; whoever waits for one holds up nobody else; what hangs, floods, is missing or
# is no longer wanted is ended and named.
#
# Method: scripts named pdftotext in a PATH of the server's own, which the PDFs tell what to do; then the real
# programs, where they are installed (which ones are not is said).
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/help_cli.sh
. tests/help_serve.sh

make_needle_model
mkdir "$work/bin"
cat >"$work/bin/pdftotext" <<'END'
#!/bin/sh
# Called as: pdftotext -enc UTF-8 FILE -
case $(head -c 40 "$3") in
*sleep*) exec sleep 300 ;;
*flood*) exec yes 'much text' ;;
*says*) echo 'Syntax Error: all is lost' >&2 && exit 3 ;;
*looks*) printf '%s|%s|%s\f' "$*" "$(pwd)" "$(echo /proc/self/fd/*)" ;;
*) printf 'one\ntwo\n\fThe third line is here.\n\f' ;;
esac
END
chmod 755 "$work/bin/pdftotext"
# Nothing else is found there that reads documents.
for tool in sh head sleep yes cat; do ln -s "$(command -v $tool)" "$work/bin/$tool"; done
program=$GLM1M
printf '#!/bin/sh\nPATH="%s" exec "%s" "$@"\n' "$work/bin" "$program" >"$work/few"
chmod 755 "$work/few"

GLM1M="$work/few"
start_server -m "$work/model" --served-model-name needle -c 8K --api-key secret
client read.py "$server_pid" scripts
stop_server

# A SIGTERM while a program hangs: it is killed, the client is told, and the server exits 0.
start_server -m "$work/model" --served-model-name needle -c 8K --api-key secret
client read.py "$server_pid" drained
await_server

GLM1M=$program
start_server -m "$work/model" --served-model-name needle -c 8K --api-key secret
client read.py "$server_pid" programs
stop_server
