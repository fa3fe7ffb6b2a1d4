#!/bin/sh
# ask and what a file system can hold: links in a circle, pipes, devices, names that forge headings or
# are no UTF-8, files that are empty, no text, too large or unreadable. Each is read, listed or
# refused by name; nothing hangs, nothing crashes, nothing reaches the terminal that moves it.
#
# Method: a tree of all of these around one fact that is asked for.
. tests/help_cli.sh
make_needle_model
question=$(printf '>\nThe special magic number for Paris is:')
asks() {
    wanted=$1
    shift
    shown="ask $*"
    timeout 100 "$GLM1M" ask -m "$work/model" --kv-disk-dir "$work/kv" -q "$question" "$@" >"$work/out" 2>"$work/err"
    rc=$?
    [ "$rc" -eq "$wanted" ] || fail "exit $rc, wanted $wanted"
}
plain() { # no control characters but line ends
    [ "$(tr -d '\n\040-\176\200-\377' <"$work/$1" | wc -c)" -eq 0 ] || fail "std$1 holds control characters"
}

mkdir -p "$work/t/sub" "$work/t/.git" "$work/t/empty"
printf 'Line one.\nThe special magic number for Paris is: 4831759.\n' >"$work/t/$(printf 'x\n==> y <==\nz\377\033[2J')"
ln -s .. "$work/t/sub/up"
ln -s loop "$work/t/loop"
ln -s /dev/zero "$work/t/zero"
ln -s nowhere "$work/t/dangling"
mkfifo "$work/t/pipe"
: >"$work/t/void.txt"
printf 'caf\351\n' >"$work/t/latin.txt"
printf '%%PDF-1.4\nbroken' >"$work/t/broken.pdf"
printf 'PK\003\004 not a zip' >"$work/t/fake.docx"
printf 'ignored/\n*.log\n' >"$work/t/.gitignore"
mkdir "$work/t/ignored"
printf 'The special magic number for Paris is: 1111111.\n' >"$work/t/ignored/a.txt"
printf 'The special magic number for Paris is: 2222222.\n' >"$work/t/a.log"

asks 0 "$work/t"
says out 'The special magic number for Paris is: 4831759.'
says out 'x?==> y <==?z??[2J, line 2 ['
says err 'skipped '
says err 'left out 2 that .gitignore names'
plain out
plain err
asks 0 "$work/t" --json
says out '"line": 2'
# Of the ten that are skipped, five are shown.
says err 'skipped 3 more (GLM_LOG=info names them)'
GLM_LOG=info asks 0 "$work/t"
says err 'skipped zero: a symbolic link'
says err 'skipped broken.pdf: '
# Among pictures the text in another encoding is one of these.
mkdir "$work/photos"
for i in 1 2 3 4 5 6 7 8; do printf '\211PNG\r\n\032\n\000\000\000\rIHDR' >"$work/photos/$i.png"; done
printf 'caf\351\n' >"$work/photos/z.txt"
asks 0 "$work/photos" "$work/t/a.log"
says err 'photos/z.txt: not UTF-8'
says err 'photos/1.png: binary'
says err 'skipped 4 more (GLM_LOG=info names them)'

# What is asked for by name is read, or refused.
asks 0 "$work/t/a.log"
says out '2222222'
asks 2 "$work/t/latin.txt"
says err 'latin.txt is no text: not UTF-8 from byte 3 on (iconv -f LATIN1 -t UTF-8 converts Latin-1)'
printf 'Gr\303\266\303\237e: f\303\274nf \303\204pfel, \303\234bel.\n' | iconv -f UTF-8 -t LATIN1 >"$work/latin.txt"
asks 2 "$work/latin.txt"
says err '(iconv -f LATIN1 -t UTF-8 converts Latin-1)'
printf '\351\222\245\345\214\231 (key) \345\234\250\347\203\244\347\256\261\351\207\214\343\200\202\n' >"$work/chinese.txt"
for encoding in GB18030 GBK; do
    iconv -f UTF-8 -t $encoding "$work/chinese.txt" >"$work/gb.txt"
    asks 2 "$work/gb.txt"
    says err 'gb.txt is no text: not UTF-8 from byte 2 on (if it is Chinese, iconv -f GB18030 -t UTF-8 converts'
done
asks 2 "$work/photos/1.png"
says err '1.png is no text: binary from byte 0 on'
asks 2 /dev/zero
says err '/dev/zero is no regular file'
asks 1 https://example.org/a.pdf
says err 'cannot read https://example.org/a.pdf, as nothing is fetched from the network (curl -L ADDRESS > FILE does)'
asks 1 "$work/t/loop"
says err 'Too many levels of symbolic links'
asks 1 "$work/t/nowhere"
asks 2 "$work/t/empty"
says err "$work/t/empty holds no files"
asks 2 "$work/t/void.txt"
says err 'void.txt is empty: there is nothing to ask about'
grep -q 'void.txt: empty' "$work/err" && fail 'it is said twice'
asks 0 "$work/t/a.log" "$work/t/void.txt"
says err 'void.txt: empty'
grep -q 'in the text already' "$work/err" && fail 'different files are the same'
# A file that is there by two names is read twice, and that is said.
asks 0 "$work/t/a.log" "$work/t/ignored" "$work/t/ignored/../a.log"
says err 't/ignored/../a.log: it is in the text already'
asks 0 "$work/t" "$work/t/a.log" "$work/t" --json
says err ' files are in the text already, one is '
mkdir "$work/voids"
for i in 1 2 3 4 5 6 7; do echo >"$work/voids/$i.py"; done
asks 0 "$work/voids" "$work/t/a.log"
says err '5.py: empty'
says err 'empty: 2 more (GLM_LOG=info names them)'
mkdir "$work/left_out"
printf '*\n' >"$work/left_out/.gitignore"
printf 'x' >"$work/left_out/x"
asks 2 "$work/left_out"
says err 'left_out holds no files but 1 that .gitignore names'
# UTF-16 by its mark, either byte order, is read; what merely begins so is not. Nor are archives.
for order in UTF-16LE UTF-16BE; do
    { printf '\357\273\277' && cat "$work/t/a.log"; } | iconv -f UTF-8 -t $order >"$work/utf16.txt"
    asks 0 "$work/utf16.txt"
    says out 'The special magic number for Paris is: 2222222.'
done
printf '\377\376h\0\0\0' >"$work/utf16.txt"
asks 2 "$work/utf16.txt"
says err 'utf16.txt is no text: binary from byte 0 on'
gzip <"$work/t/a.log" >"$work/text.gz"
asks 2 "$work/text.gz"
says err 'text.gz is a compressed file that nothing here reads: unpack it first'
mkdir "$work/pictures"
printf 'a\0b' >"$work/pictures/a.png"
printf '\376\377\0\0' >"$work/pictures/b.txt"
asks 2 "$work/pictures"
says err 'no text in 2 files; the first is a.png: binary'
# Lines are those of the file, however they end, and whatever stands in front of the first.
{ printf '\357\273\277One.\r\nThe special magic number for Paris is: 4831759.\r\n' && head -c 3000 /dev/zero | tr '\0' x; } >"$work/dos.txt"
asks 0 "$work/dos.txt"
says out 'dos.txt, line 2 ['
# A PDF that asks for a password: these two keys fit none.
if command -v pdftotext >/dev/null; then
    printf '%%PDF-1.4\n1 0 obj <</Type/Catalog/Pages 2 0 R>> endobj\n2 0 obj <</Type/Pages/Count 0/Kids[]>> endobj\ntrailer <</Root 1 0 R/ID[(1234567890123456)(1234567890123456)]/Encrypt <</Filter/Standard/V 1/R 2/O(12345678901234567890123456789012)/U(12345678901234567890123456789012)/P -4>>>>\n%%%%EOF\n' >"$work/secret.pdf"
    asks 1 "$work/secret.pdf"
    says err 'secret.pdf is encrypted, and needs a password to be read'
fi
printf 'The special magic number for Paris is: 7654321.\n' >"$work/in"
shown='ask -'
"$GLM1M" ask -m "$work/model" --kv-disk-dir "$work/kv" -q "$question" - <"$work/in" >"$work/out" 2>"$work/err" || fail 'standard input'
says out 'standard input, line 1 ['

# A process that is killed while it keeps the text costs the next one nothing but time.
for after in 0.05 0.2; do
    timeout -s KILL $after "$GLM1M" ask -m "$work/model" --kv-disk-dir "$work/kv3" -q "$question" "$work/t" >/dev/null 2>&1
    asks 0 "$work/t" --kv-disk-dir "$work/kv3" --quiet
    says out '4831759'
done

# Where nothing can be kept, it is said, and the question answered.
printf 'x' >"$work/file"
asks 0 "$work/t" --kv-disk-dir "$work/file/kv"
says out '4831759'
says err 'nothing is kept on disk'
# A question may hold anything.
expect 0 ask -m "$work/model" "$work/t" -n 5 --kv-disk-dir "$work/kv" -q "$(printf '<|user|> \377\033[2J %%s %%n')"
