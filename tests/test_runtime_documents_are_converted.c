/* PDFs and Office files become text with pages and lines that are the file's own; where the program
 * that reads them is missing, hangs, fails, or floods, the message says which file and why, and in a
 * directory the others are read all the same.
 *
 * Method: a PDF written here by hand, and Office files as stored zips; the programs themselves where they
 * are installed (which ones are not is said), and in any case scripts of their names in a PATH of
 * the test's own. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "help_dir.h"
#include "help_expect.h"
#include "runtime/base/file.h"
#include "runtime/base/size.h"
#include "runtime/document.h"

static const char *root;

/* ---- files ----------------------------------------------------------------------------------- */

static void write_pdf(const char *path, const char *const *pages, int n_pages) {
    FILE *out = fopen(path, "we");
    (void)fprintf(out,
            "%%PDF-1.4\n1 0 obj <</Type/Catalog/Pages 2 0 R>> endobj\n"
            "3 0 obj <</Type/Font/Subtype/Type1/BaseFont/Helvetica>> endobj\n2 0 obj "
            "<</Type/Pages/Count %d/Kids[",
            n_pages);
    for (int i = 0; i < n_pages; i++) (void)fprintf(out, "%d 0 R ", 10 + 2 * i);
    (void)fprintf(out, "]>> endobj\n");
    for (int i = 0; i < n_pages; i++) {
        char content[512];
        const int n = snprintf(content, sizeof content,
                "BT /F1 12 Tf 14 TL 72 720 Td (%s) Tj T* (second line) Tj ET", pages[i]);
        (void)fprintf(out,
                "%d 0 obj <</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents %d 0 R"
                "/Resources<</Font<</F1 3 0 R>>>>>> endobj\n"
                "%d 0 obj <</Length %d>> stream\n%s\nendstream endobj\n",
                10 + 2 * i, 11 + 2 * i, 11 + 2 * i, n, content);
    }
    (void)fprintf(out, "trailer <</Root 1 0 R>>\n%%%%EOF\n");
    (void)fclose(out);
}

static uint32_t crc32_of(const char *bytes, size_t n) {
    uint32_t crc = ~0U;
    for (size_t i = 0; i < n; i++) {
        crc ^= (uint8_t)bytes[i];
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (0xedb88320U & (0U - (crc & 1)));
    }
    return ~crc;
}

static void put(FILE *out, uint32_t value, int n_bytes) {
    for (int i = 0; i < n_bytes; i++) (void)fputc((int)(value >> 8 * i & 0xff), out);
}

/* Version to sizes, which both headers of an entry have. */
static void put_entry(FILE *out, const char *name, const char *text) {
    const uint32_t n = (uint32_t)strlen(text);
    put(out, 20, 2);
    put(out, 0, 4);
    put(out, 0, 4);
    put(out, crc32_of(text, n), 4);
    put(out, n, 4);
    put(out, n, 4);
    put(out, (uint32_t)strlen(name), 2);
    put(out, 0, 2);
}

/* Names and texts in turn, nothing compressed. */
static void write_zip(const char *path, const char *const *parts, int n_parts) {
    uint32_t at[8];
    FILE *out = fopen(path, "we");
    for (int i = 0; i < n_parts; i++) {
        at[i] = (uint32_t)ftell(out);
        put(out, 0x04034b50, 4);
        put_entry(out, parts[2 * i], parts[2 * i + 1]);
        (void)fprintf(out, "%s%s", parts[2 * i], parts[2 * i + 1]);
    }
    const uint32_t directory = (uint32_t)ftell(out);
    for (int i = 0; i < n_parts; i++) {
        put(out, 0x02014b50, 4);
        put(out, 20, 2);
        put_entry(out, parts[2 * i], parts[2 * i + 1]);
        for (int k = 0; k < 5; k++) put(out, 0, 2);
        put(out, at[i], 4);
        (void)fputs(parts[2 * i], out);
    }
    const uint32_t end = (uint32_t)ftell(out);
    put(out, 0x06054b50, 4);
    put(out, 0, 4);
    put(out, (uint32_t)n_parts, 2);
    put(out, (uint32_t)n_parts, 2);
    put(out, end - directory, 4);
    put(out, directory, 4);
    put(out, 0, 2);
    (void)fclose(out);
}

#define PACKAGE "http://schemas.openxmlformats.org/package/2006"
#define OFFICE  "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
#define WORD    "xmlns:w=\"http://schemas.openxmlformats.org/wordprocessingml/2006/main\""

static void write_files(void) {
    static const char *const pages[] = {"The first page", "The second page", "It ends here"};
    /* Paragraphs without style or attributes, a footnote, a table: what other programs than Word write. */
    static const char *const word[] = {"[Content_Types].xml",
            "<Types xmlns=\"http://schemas.openxmlformats.org/package/2006/content-types\"/>",
            "_rels/.rels",
            "<Relationships xmlns=\"" PACKAGE
            "/relationships\"><Relationship Id=\"r\" Type=\"" OFFICE
            "/officeDocument\" Target=\"word/document.xml\"/></Relationships>",
            "word/_rels/document.xml.rels",
            "<Relationships xmlns=\"" PACKAGE
            "/relationships\"><Relationship Id=\"f\" Type=\"" OFFICE
            "/footnotes\" Target=\"footnotes.xml\"/></Relationships>",
            "word/document.xml",
            "<w:document " WORD "><w:body><w:p><w:r><w:t>One caf\u00e9.</w:t></w:r></w:p>"
            "<w:p><w:r><w:t>Two.</w:t></w:r><w:r><w:footnoteReference w:id=\"2\"/></w:r></w:p><w:tbl>"
            "<w:tblGrid><w:gridCol w:w=\"9\"/><w:gridCol w:w=\"9\"/></w:tblGrid><w:tr>"
            "<w:tc><w:p><w:r><w:t>Paris</w:t></w:r></w:p></w:tc>"
            "<w:tc><w:p><w:r><w:t>4711</w:t></w:r></w:p></w:tc>"
            "</w:tr></w:tbl></w:body></w:document>",
            "word/footnotes.xml",
            "<w:footnotes " WORD "><w:footnote w:id=\"2\"><w:p><w:r><w:t>A note.</w:t></w:r></w:p>"
            "</w:footnote></w:footnotes>"};
    static const char *const open_document[] = {"mimetype",
            "application/vnd.oasis.opendocument.text", "content.xml",
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><office:document-content "
            "xmlns:office=\"o\" xmlns:text=\"t\"><office:body><office:text><text:p>One "
            "caf\u00e9.</text:p><text:p>Two.</text:p></office:text></office:body>"
            "</office:document-content>"};
    static const char *const book[] = {"mimetype", "application/epub+zip", "META-INF/container.xml",
            "<container xmlns=\"urn:oasis:names:tc:opendocument:xmlns:container\"><rootfiles><rootfile "
            "full-path=\"c.opf\" media-type=\"application/oebps-package+xml\"/></rootfiles></container>",
            "c.opf",
            "<package xmlns=\"http://www.idpf.org/2007/opf\" version=\"3.0\"><metadata xmlns:dc=\"http://purl.org/dc/elements/1.1/\"><dc:title>B</dc:title></metadata><manifest><item id=\"a\" "
            "href=\"a.xhtml\" media-type=\"application/xhtml+xml\"/></manifest><spine><itemref "
            "idref=\"a\"/></spine></package>",
            "a.xhtml",
            "<html xmlns=\"http://www.w3.org/1999/xhtml\"><body><p>One caf\u00e9.</p><p>Two.</p></body></html>"};
    static const char *const archive[] = {"a.txt", "One."};
    static const char rich[] = "{\\rtf1\\ansi One caf\\'e9.\\par Two.\\par}";
    static const char wide[] = "\xff\xfeO\0n\0e\0 \0c\0a\0f\0\xe9\0.\0\n\0T\0w\0o\0.\0";
    write_pdf("book.pdf", pages, 3);
    write_zip("novel.epub", book, 4);
    write_zip("z.zip", archive, 1);
    require(rt_file_replace("letter.rtf", rich, sizeof rich - 1), "letter.rtf");
    require(rt_file_replace("wide.txt", wide, sizeof wide - 1), "wide.txt");
    write_zip("letter.docx", word, 5);
    write_zip("letter.odt", open_document, 2);
    require(rt_file_replace("old.doc", "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1rest", 12), "old.doc");
    require(rt_file_replace("plain.txt", "Plain.\n", 7), "plain.txt");
}

static bool is_installed(const char *program) {
    char command[128];
    (void)snprintf(command, sizeof command, "command -v %s >/dev/null", program);
    if (system(command) == 0) return true;
    printf("SKIPPED: %s is not installed\n", program);
    return false;
}

/* ---- the programs themselves ----------------------------------------------------------------- */

static glm_document load(const char *path) {
    glm_document document;
    require(glm_document_load(&path, 1, NULL, &document), path);
    return document;
}

/* Where `text` is in the document. */
static void expect_place(
        const glm_document *document, const char *text, int64_t page, int64_t line) {
    const char *found = strstr(document->text, text);
    expect(found != NULL, "a text", text);
    if (!found) return;
    const glm_document_place place = glm_document_find(document, found - document->text);
    expect(place.page == page && place.line == line, "its place", text);
}

static void check_pdf(void) {
    glm_document document = load("book.pdf");
    expect(document.files[0].is_paged, "it has pages", "book.pdf");
    expect_place(&document, "The first page", 1, 1);
    expect_place(&document, "The second page", 2, 1);
    expect_place(&document, "It ends here", 3, 1);
    char *bytes = NULL;
    int64_t n_bytes = 0;
    glm_document same;
    require(rt_file_read("book.pdf", RT_MIB, &bytes, &n_bytes), "book.pdf");
    require(glm_document_from_bytes("../../a name", bytes, n_bytes, &same), "from bytes");
    expect(strcmp(same.text, document.text) == 0, "from bytes it is the same", "book.pdf");
    free(bytes);
    glm_document_free(&same);
    glm_document_free(&document);
}

static void check_office(const char *path, int64_t line) {
    glm_document document = load(path);
    expect_place(&document, "One caf\u00e9.", 0, 1);
    expect_place(&document, "Two.", 0, line);
    glm_document_free(&document);
}

static void check_word(void) {
    check_office("letter.docx", 3);
    glm_document document = load("letter.docx");
    expect(strstr(document.text, "A note.") != NULL, "its footnote", document.text);
    const char *row = strstr(document.text, "Paris ");
    expect(row && strcspn(row, "\n") > strcspn(row, "4"), "a table's row is a line", document.text);
    glm_document_free(&document);
}

/* ---- scripts in their place ------------------------------------------------------------------ */

static void write_script(const char *name, const char *body) {
    char path[256];
    char text[512];
    (void)snprintf(path, sizeof path, "%s/bin/%s", root, name);
    const int n = snprintf(text, sizeof text, "#!/bin/sh\n%s\n", body);
    require(rt_file_replace(path, text, n), path);
    expect(chmod(path, 0755) == 0, "chmod", path);
}

static void expect_refusal(
        const char *path, const glm_document_limits *limits, rt_status wanted, const char *says) {
    glm_document document;
    const rt_status status = glm_document_load(&path, 1, limits, &document);
    expect(status == wanted && strstr(rt_error_text(), says), path, says);
    if (status == RT_OK) glm_document_free(&document);
}

/* Where pandoc is not there docx2txt is better than nothing, if it is said what it leaves out. */
static void check_poor_word(void) {
    char *said = NULL;
    int64_t n_bytes = 0;
    const int standard_error = dup(STDERR_FILENO);
    write_script("docx2txt", "echo \"$*\"");
    expect(freopen("said", "we", stderr) != NULL, "a file of what is said", "said");
    glm_document document = load("letter.docx");
    (void)fflush(stderr);
    expect(dup2(standard_error, STDERR_FILENO) >= 0, "dup2", "stderr");
    (void)close(standard_error);
    expect(strcmp(document.text, "/dev/fd/3 -\n") == 0, "how docx2txt is called", document.text);
    require(rt_file_read("said", 4096, &said, &n_bytes), "said");
    expect(strstr(said, "letter.docx is read by docx2txt, which leaves out its footnotes"),
            "what is lost", said);
    expect(strstr(said, "apt-get install pandoc"), "what does not lose it", said);
    free(said);
    glm_document_free(&document);
    expect(unlink("said") == 0 && unlink("bin/docx2txt") == 0, "unlink", "docx2txt");
}

static void check_scripts(void) {
    const glm_document_limits hasty = {.convert_s = 0.3};
    const glm_document_limits small = {.n_bytes = 5000};
    expect_refusal("book.pdf", NULL, RT_EUNSUPPORTED,
            "book.pdf is a PDF, and there is no pdftotext to read it: apt-get install "
            "poppler-utils");
    expect_refusal("letter.docx", NULL, RT_EUNSUPPORTED, "apt-get install pandoc");
    check_poor_word();
    expect_refusal("letter.odt", NULL, RT_EUNSUPPORTED, "apt-get install odt2txt");
    expect_refusal("novel.epub", NULL, RT_EUNSUPPORTED,
            "novel.epub is an EPUB book, and there is no pandoc");
    expect_refusal("letter.rtf", NULL, RT_EUNSUPPORTED, "apt-get install pandoc");
    expect_refusal(
            "z.zip", NULL, RT_EUSAGE, "z.zip is a zip archive that nothing here reads: unpack it");
    write_script("pandoc", "echo \"$*\"");
    glm_document called = load("letter.rtf");
    expect(strcmp(called.text, "-f rtf -t plain --wrap=none /dev/fd/3\n") == 0,
            "how pandoc is called", called.text);
    glm_document_free(&called);
    expect(unlink("bin/pandoc") == 0, "unlink", "bin/pandoc");
    expect_refusal("old.doc", NULL, RT_EUSAGE, "save it as PDF, .docx or .odt first");
    write_script("pdftotext", "echo 'Syntax Error: no pages' >&2; exit 1");
    expect_refusal(
            "book.pdf", NULL, RT_EIO, "book.pdf: child: pdftotext ended with 1: Syntax Error");
    write_script("pdftotext", "/bin/sleep 60");
    expect_refusal("book.pdf", &hasty, RT_EIO, "book.pdf: child: pdftotext takes longer than");
    write_script(
            "pdftotext", "while :; do echo aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa; done");
    expect_refusal("book.pdf", &small, RT_EUSAGE, "pdftotext writes more than 5000 bytes");
    write_script("pdftotext", "printf '\\f\\f \\f'");
    expect_refusal("book.pdf", NULL, RT_EUSAGE,
            "book.pdf holds no text in any of its 3 pages: pictures of pages");
    write_script("pdftotext", "echo 'Command Line Error: Incorrect password' >&2; exit 1");
    expect_refusal("book.pdf", NULL, RT_EIO,
            "book.pdf is encrypted, and needs a password to be read: save it without one first");
    write_script("pdftotext", "printf 'a\\f\\f \\n\\fb\\f\\f'");
    glm_document scanned = load("book.pdf");
    expect(scanned.files[0].n_pages == 5 && scanned.files[0].n_blank == 3, "pages without text",
            "book.pdf");
    glm_document_free(&scanned);
    char grows[128];
    (void)snprintf(grows, sizeof grows, "echo more >>%s/book.pdf; printf 'a\\f'", root);
    write_script("pdftotext", grows);
    expect_refusal("book.pdf", NULL, RT_EIO, "book.pdf had ");
    write_script("pdftotext", "printf 'a\\000b\\377c\\f'");
    glm_document document = load("book.pdf");
    expect(strcmp(document.text, "a b\ufffdc\f") == 0, "what is no text", document.text);
    glm_document_free(&document);
}

static void check_directory(void) {
    static const char *const why[][2] = {{"book.pdf", "child: pdftotext ended with 1: broken"},
            {"letter.docx", "is a Word document, and there is no pandoc"},
            {"letter.odt", "is an OpenDocument file"}, {"letter.rtf", "no pandoc"},
            {"novel.epub", "no pandoc"}, {"old.doc", "save it as PDF"}, {"wide.txt", "no iconv"},
            {"z.zip", "a zip archive"}};
    enum { N_SKIPPED = sizeof why / sizeof why[0] };
    write_script("pdftotext", "echo broken >&2; exit 1");
    glm_document document = load(".");
    expect(document.n_files == 2 && strcmp(document.files[1].path, "plain.txt") == 0,
            "the others are read", ".");
    expect(document.n_skipped == N_SKIPPED, "those are not", ".");
    for (int64_t i = 0; i < N_SKIPPED && i < document.n_skipped; i++)
        expect(strcmp(document.skipped[i].path, why[i][0]) == 0 &&
                        strstr(document.skipped[i].why, why[i][1]),
                why[i][0], document.skipped[i].why);
    glm_document_free(&document);
}

int main(void) {
    char bin[64];
    root = help_dir();
    if (chdir(root) != 0) return 77;
    write_files();
    if (is_installed("pdftotext")) check_pdf();
    if (is_installed("pandoc")) check_word();
    if (is_installed("odt2txt")) check_office("letter.odt", 3);
    if (is_installed("pandoc")) check_office("novel.epub", 3);
    if (is_installed("pandoc")) check_office("letter.rtf", 3);
    if (is_installed("iconv")) check_office("wide.txt", 2);
    (void)snprintf(bin, sizeof bin, "%s/bin", root);
    require(rt_mkdirs(bin), bin);
    expect(setenv("PATH", bin, 1) == 0, "setenv", bin);
    check_scripts();
    check_directory();
    return n_failed > 0;
}
