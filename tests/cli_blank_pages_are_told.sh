#!/bin/sh
# Pages of a document that have no text, as those of pictures, are told of by their number; --quiet says nothing.
. tests/help_cli.sh
make_needle_model
mkdir "$work/bin"
printf '#!/bin/sh\nprintf "A page.\\f\\f \\fAnother one.\\f"\n' >"$work/bin/pdftotext"
chmod 755 "$work/bin/pdftotext"
PATH="$work/bin:$PATH"
printf '%%PDF-1.4\n' >"$work/scan.pdf"

expect 0 ask -m "$work/model" "$work/scan.pdf" -q 'What is it?' -n 1 --no-progress
says err 'scan.pdf: no text in 2 of its 4 pages: pictures, perhaps'
expect 0 ask -m "$work/model" "$work/scan.pdf" -q 'What is it?' -n 1 --quiet
says_nothing err
