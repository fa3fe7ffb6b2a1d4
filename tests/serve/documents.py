"""PDF and Office files that hold what a test says. Standard library only."""

import io
import zipfile


def pdf(pages):
    """A PDF of pages, each a list of lines; a page without lines has a picture of nothing."""
    kids = " ".join(f"{10 + 2 * i} 0 R" for i in range(len(pages)))
    out = ["%PDF-1.4", "1 0 obj <</Type/Catalog/Pages 2 0 R>> endobj",
           f"2 0 obj <</Type/Pages/Count {len(pages)}/Kids[{kids}]>> endobj",
           "3 0 obj <</Type/Font/Subtype/Type1/BaseFont/Helvetica>> endobj"]
    for i, lines in enumerate(pages):
        shown = " T* ".join(f"({line}) Tj" for line in lines)
        content = f"BT /F1 12 Tf 14 TL 72 720 Td {shown} ET" if lines else "0 0 99 99 re f"
        out += [f"{10 + 2 * i} 0 obj <</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents {11 + 2 * i} 0 R"
                "/Resources<</Font<</F1 3 0 R>>>>>> endobj",
                f"{11 + 2 * i} 0 obj <</Length {len(content)}>> stream\n{content}\nendstream endobj"]
    return "\n".join(out + ["trailer <</Root 1 0 R>>", "%%EOF", ""]).encode()


def zipped(*entries):
    """A zip file of (name, text) in that order."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, text in entries:
            archive.writestr(name, text)
    return out.getvalue()


def docx(lines):
    word, package = "http://schemas.openxmlformats.org/wordprocessingml/2006/main", "http://schemas.openxmlformats.org/package/2006"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    paragraphs = "".join(f"<w:p><w:r><w:t>{line}</w:t></w:r></w:p>" for line in lines)
    return zipped(("[Content_Types].xml", f'<Types xmlns="{package}/content-types"/>'), ("_rels/.rels",
                  f'<Relationships xmlns="{package}/relationships"><Relationship Id="r" Type="{office}/officeDocument" '
                  'Target="word/document.xml"/></Relationships>'), ("word/document.xml",
                  f'<?xml version="1.0" encoding="UTF-8"?><w:document xmlns:w="{word}"><w:body>{paragraphs}</w:body></w:document>'))


def odt(lines):
    paragraphs = "".join(f"<text:p>{line}</text:p>" for line in lines)
    return zipped(("mimetype", "application/vnd.oasis.opendocument.text"), ("content.xml",
                  '<?xml version="1.0" encoding="UTF-8"?><office:document-content xmlns:office="o" xmlns:text="t">'
                  f"<office:body><office:text>{paragraphs}</office:text></office:body></office:document-content>"))


if __name__ == "__main__":  # documents.py pdf|docx|odt LINE... > FILE; "--" begins another page
    import sys
    pages = [[]]
    for line in sys.argv[2:]:
        if line == "--":
            pages.append([])
        else:
            pages[-1].append(line)
    sys.stdout.buffer.write(pdf(pages) if sys.argv[1] == "pdf" else globals()[sys.argv[1]](pages[0]))
