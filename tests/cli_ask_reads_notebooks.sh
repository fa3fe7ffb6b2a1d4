#!/bin/sh
# Of a Jupyter notebook people's text is read: cells and their outputs in order, without JSON and without the pictures in it,
# whose type stands at their place; an answer's quotation is found there. What only has the name is the text that it is.
#
# Method: the text written by hand has the same hash; so have two spellings of what is no notebook.
. tests/help_cli.sh
make_needle_model
picture=$(head -c 30000 /dev/zero | tr '\0' A)
cat >"$work/nb.ipynb" <<END
{"cells": [
 {"cell_type": "markdown", "metadata": {}, "source": ["# Numbers\n", "The special magic number for Oslo is: 4831759."]},
 {"cell_type": "code", "execution_count": 3, "metadata": {}, "source": "plot(x)", "outputs": [
  {"output_type": "stream", "name": "stdout", "text": ["one\n", "two\n"]},
  {"output_type": "display_data", "metadata": {}, "data": {"image/png": "$picture", "text/plain": ["<Figure>"]}},
  {"output_type": "execute_result", "execution_count": 3, "metadata": {},
   "data": {"text/html": ["<table>", "</table>"], "text/plain": "a  b\n1  2"}},
  {"output_type": "display_data", "metadata": {}, "data": {"application/json": {"a": [1]}}},
  {"output_type": "error", "ename": "NameError", "evalue": "no é", "traceback": ["\u001b[31m"]}]},
 {"cell_type": "code", "execution_count": null, "metadata": {}, "source": [], "outputs": []},
 {"cell_type": "raw", "metadata": {}, "source": ["end\n"]}
], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
END
cat >"$work/wanted.txt" <<'END'
# Numbers
The special magic number for Oslo is: 4831759.

In [3]:
plot(x)

Out:
one
two
<Figure>
[image/png]
a  b
1  2
[application/json]
NameError: no é

In:
end

END

# perplexity's hash is of the text as it is read.
text_of() {
    expect 0 perplexity -m "$work/model" "$1" --json --quiet
    sed -n 's/.*"source_sha256": "\([^"]*\)".*/\1/p' "$work/out"
}
[ "$(text_of "$work/nb.ipynb")" = "$(text_of "$work/wanted.txt")" ] || fail 'another text is read'

expect 0 ask -m "$work/model" "$work/nb.ipynb" -n 64 --json --no-progress -q '>
The special magic number for Oslo is:'
says out '"answer": "The special magic number for Oslo is: 4831759.'
says out '"line": 2, "last_line": 2'
says err "1 file, $(wc -c <"$work/wanted.txt") B"

# What is none: JSON without cells, and what is no JSON.
for text in '{"a": 1}' '[{"cells": []}]' '{"cells": [' '{"cells": {}}'; do
    printf '%s\n' "$text" >"$work/no.ipynb"
    cp "$work/no.ipynb" "$work/no.txt"
    [ "$(text_of "$work/no.ipynb")" = "$(text_of "$work/no.txt")" ] || fail "$text is read as a notebook"
done
# Cells of every wrong type are passed over.
printf '%s' '{"cells": [1, null, [], {}, {"cell_type": "code", "source": 1, "outputs": [1, {}, {"output_type": 2},
    {"output_type": "stream", "text": [1, "x"]}, {"data": []}, {"output_type": "error"}]}, {"source": "y"}]}' >"$work/no.ipynb"
printf 'In:\nOut:\nx\nerror: \n\ny\n\n' >"$work/no.txt"
[ "$(text_of "$work/no.ipynb")" = "$(text_of "$work/no.txt")" ] || fail 'what is odd is not passed over'

# Beside other files it has its heading, and a book is of it.
mkdir "$work/dir"
cp "$work/nb.ipynb" "$work/wanted.txt" "$work/dir"
expect 0 prefill -m "$work/model" "$work/dir" --book b --kv-disk-dir "$work/kv" --json --quiet
says out '"n_files": 2'
says out "\"n_bytes\": $((2 * $(wc -c <"$work/wanted.txt") + 17 + 1 + 19)),"
