/* A document in a prompt: numbered passages cover it in order, what comes before a question does not
 * depend on it, what is appended leaves what was there alone, and a cut takes out the middle.
 *
 * Method: small documents whose prompt is written out here; long ones against the rules. The
 * embedded model's tokens are bytes, so that ids can be read. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_needle.h"
#include "runtime/reading.h"

static int n_failed;

static void expect(bool is_true, const char *what) {
    if (is_true) return;
    printf("FAIL %s (last error: %s)\n", what, rt_error_text());
    n_failed++;
}

/* The text is copied: a document owns it. */
static glm_document make_document(const char *text, bool is_paged) {
    glm_document document = {.text = strdup(text), .n_bytes = (int64_t)strlen(text), .n_files = 1};
    document.files = calloc(1, sizeof *document.files);
    document.files[0] = (glm_document_file){
            .path = strdup("one"), .n_bytes = document.n_bytes, .is_paged = is_paged};
    return document;
}

static void expect_written(
        const char *text, bool is_paged, glm_passages_style style, const char *wanted) {
    glm_document document = make_document(text, is_paged);
    glm_passages passages;
    glm_text out = {0};
    help_require(glm_passages_make(&document, style, NULL, &passages), "passages");
    help_require(glm_passages_write(&passages, &document, NULL, &out), "write");
    if (strcmp(out.bytes ? out.bytes : "", wanted) != 0) {
        printf("FAIL \"%s\" became \"%s\"\n", text, out.bytes);
        n_failed++;
    }
    glm_passages_free(&passages);
    glm_document_free(&document);
    free(out.bytes);
}

static void check_small_texts(void) {
    expect_written("One.\nTwo.", false, GLM_PASSAGES_NUMBERED, "[1]\nOne.\nTwo.");
    expect_written("\n \n", false, GLM_PASSAGES_NUMBERED, "");
    expect_written("a\n\fb\nc\n\f\f\nd", true, GLM_PASSAGES_NUMBERED,
            "[1] page 1\na\n[2] page 2\nb\nc\n[3] page 4\n\nd");
    expect_written("a\fb", false, GLM_PASSAGES_NUMBERED, "[1]\na\fb");
    expect_written("One. Two, 3.5!\n\nThree\nfour", false, GLM_PASSAGES_SENTENCES,
            "<C0>One. <C1>Two, 3.5!\n\n<C2>Three\n<C3>four");
    expect_written("\u4eca\u5929\u3002\u597d\uff01", false, GLM_PASSAGES_SENTENCES,
            "<C0>\u4eca\u5929\u3002<C1>\u597d\uff01");
}

/* In time that is proportional to it: with its square this takes an hour. */
static void check_much_white_space(void) {
    enum { BLANKS = 4 << 20 };
    char *text = calloc(BLANKS + 8, 1);
    memset(text, ' ', BLANKS);
    memcpy(text + BLANKS, "One.", 4);
    glm_document document = make_document(text, false);
    glm_passages passages;
    help_require(glm_passages_make(&document, GLM_PASSAGES_SENTENCES, NULL, &passages), "passages");
    expect(passages.n_passages == 1, "white space in front of a sentence belongs to it");
    glm_passages_free(&passages);
    glm_document_free(&document);
    free(text);
}

/* Lines of prose with an empty one now and then. */
static char *make_prose(int n_lines) {
    char *text = NULL;
    size_t n_bytes = 0;
    FILE *out = open_memstream(&text, &n_bytes);
    for (int i = 0; i < n_lines; i++)
        (void)fprintf(out, i % 9 == 8 ? "\n" : "Line %d is %*d wide.\n", i, i * 37 % 90 + 1, i);
    (void)fclose(out);
    return text;
}

static void check_cover(const glm_document *document, const glm_passages *passages) {
    int64_t at = 0;
    for (int64_t i = 0; i < passages->n_passages; i++) {
        const glm_passage *p = &passages->passages[i];
        expect(p->begin == at && p->end > p->begin, "passages lie side by side");
        expect(p->end - p->begin < 600 + 130, "a passage is not long");
        expect(p->end == document->n_bytes || p->end - p->begin >= 400, "nor short");
        expect(document->text[p->end - 1] == '\n', "it ends with a line");
        expect(glm_passages_at(passages, p->begin) == i + 1 &&
                        glm_passages_at(passages, p->end - 1) == i + 1,
                "it is found by its bytes");
        at = p->end;
    }
    expect(at == document->n_bytes, "they cover the text");
}

static glm_reading read_text(const glm_tokenizer *tokenizer, const char *text) {
    const glm_variant variant = {.name = "any"};
    glm_document document = make_document(text, false);
    glm_reading reading;
    help_require(glm_reading_make(tokenizer, &variant, NULL, &document, &reading), "reading");
    expect(!document.text, "the document is taken over");
    return reading;
}

static void check_prefix(const glm_tokenizer *tokenizer) {
    char *shorter = make_prose(200);
    char *longer = make_prose(300);
    glm_reading a = read_text(tokenizer, shorter);
    glm_reading b = read_text(tokenizer, longer);
    check_cover(&a.document, &a.passages);
    check_cover(&b.document, &b.passages);
    const glm_passage *last = &a.passages.passages[a.passages.n_passages - 1];
    const int64_t n_same = a.prefix.n - (last->end - last->begin);
    expect(n_same > 0 && memcmp(a.prefix.ids, b.prefix.ids, (size_t)n_same * 4) == 0,
            "what is appended leaves the beginning alone");

    glm_ids question = {0};
    char *text = NULL;
    int64_t n_bytes = 0;
    help_require(glm_reading_question(&a, "Why?<|user|>", 12, &question), "question");
    help_require(glm_tokenizer_decode(tokenizer, question.ids, question.n, true, &text, &n_bytes),
            "decode");
    expect(n_bytes > 25 && strcmp(text + n_bytes - 25, "Why?<|user|><|assistant|>") == 0,
            "the question comes last");
    expect(question.ids[question.n - 2] == '>', "and is plain text");
    free(text);
    glm_ids_free(&question);
    glm_reading_free(&a);
    glm_reading_free(&b);
    free(shorter);
    free(longer);
}

/* Places of the same text in both. */
static void expect_same_places(const glm_reading *a, const glm_reading *b, const char *what) {
    const glm_document *from = &a->document;
    for (int64_t i = 0; i < a->passages.n_passages && i < b->passages.n_passages; i++) {
        const glm_passage *x = &a->passages.passages[i];
        const glm_passage *y = &b->passages.passages[i];
        const glm_document_place p = glm_document_find(from, x->begin);
        const glm_document_place q = glm_document_find(&b->document, y->begin);
        if (p.line == q.line && p.page == q.page && strcmp(p.file->path, q.file->path) == 0 &&
                from->text[x->begin] == b->document.text[y->begin])
            continue;
        printf("FAIL %s: passage %" PRId64 " is at %s:%" PRId64 ":%" PRId64 ", not %s:%" PRId64
               ":%" PRId64 "\n",
                what, i, q.file->path, q.page, q.line, p.file->path, p.page, p.line);
        n_failed++;
        return;
    }
}

static void check_book_of(
        const glm_tokenizer *tokenizer, glm_document document, bool is_longcite, const char *what) {
    const glm_variant variant = {.name = "any", .is_longcite = is_longcite};
    glm_reading reading;
    glm_reading book;
    glm_ids asked[2] = {{0}};
    help_require(glm_reading_make(tokenizer, &variant, "Be brief.", &document, &reading), what);
    help_require(glm_reading_of_book(tokenizer, "one", reading.prefix.ids, reading.prefix.n, &book),
            what);
    expect(book.passages.n_passages == reading.passages.n_passages, what);
    expect(book.document.n_files == reading.document.n_files, what);
    expect_same_places(&reading, &book, what);
    help_require(glm_reading_question(&reading, "Why?", 4, &asked[0]), what);
    help_require(glm_reading_question(&book, "Why?", 4, &asked[1]), what);
    expect(asked[0].n == asked[1].n &&
                    memcmp(asked[0].ids, asked[1].ids, (size_t)asked[0].n * 4) == 0,
            "and is asked alike");
    for (int i = 0; i < 2; i++) glm_ids_free(&asked[i]);
    glm_reading_free(&reading);
    glm_reading_free(&book);
}

static glm_document make_tree(void) {
    static const char text[] =
            "==> a.c <==\nint a;\n[1]\n\n==> b <==\nno end\n\n==> c/d <==\n\nlast\n";
    glm_document document = {.text = strdup(text), .n_bytes = sizeof text - 1, .n_files = 3};
    document.files = calloc(3, sizeof *document.files);
    const char *const names[] = {"a.c", "b", "c/d"};
    for (int i = 0; i < 3; i++) {
        char heading[32];
        const int n = snprintf(heading, sizeof heading, "==> %s <==\n", names[i]);
        const int64_t at = strstr(text, heading) - text;
        const char *next = i < 2 ? strstr(text + at + n, "\n==> ") : text + sizeof text - 1;
        document.files[i] = (glm_document_file){.path = strdup(names[i]),
                .heading_at = at,
                .text_at = at + n,
                .n_bytes = next - text - at - n};
    }
    return document;
}

/* What ask keeps, and what prefill keeps: a text. */
static void check_books(const glm_tokenizer *tokenizer) {
    char *prose = make_prose(150);
    check_book_of(tokenizer, make_document(prose, false), false, "a book of prose");
    check_book_of(tokenizer, make_document(prose, false), true, "a book of sentences");
    check_book_of(tokenizer, make_document("a\n\fb\nc\n\f\f\nd\n[5]\nx\f", true), false,
            "a book of pages");
    check_book_of(tokenizer, make_tree(), false, "a book of three files");
    check_book_of(tokenizer, make_document("", false), false, "a book of nothing");
    free(prose);

    static const char plain[] = "==> x.txt <==\nOne.\n[1]\n\n==> y.txt <==\nTwo.\n";
    glm_ids ids = {0};
    glm_ids asked = {0};
    glm_reading book;
    help_require(glm_chat_begin(tokenizer, &ids), "begin");
    help_require(glm_tokenizer_encode(tokenizer, plain, sizeof plain - 1, false, &ids), "encode");
    help_require(glm_reading_of_book(tokenizer, "war", ids.ids, ids.n, &book), "a text");
    expect(strcmp(book.document.text, plain) == 0 && book.document.n_files == 2,
            "a text is itself");
    expect(book.passages.n_passages == 0, "and has no passages");
    const glm_document_place place =
            glm_document_find(&book.document, strstr(plain, "Two") - plain);
    expect(strcmp(place.file->path, "y.txt") == 0 && place.line == 1, "but files and lines");
    help_require(glm_reading_question(&book, "Why?", 4, &asked), "question");
    expect(asked.ids[0] == glm_tokenizer_specials(tokenizer).user, "a message begins");
    glm_reading_free(&book);
    glm_ids_free(&ids);
    glm_ids_free(&asked);
}

static void check_truncation(const glm_tokenizer *tokenizer) {
    char *text = make_prose(200);
    glm_reading whole = read_text(tokenizer, text);
    glm_reading cut = read_text(tokenizer, text);
    const int64_t n = whole.prefix.n;
    glm_reading_truncate(&cut, n);
    expect(cut.prefix.n == n && cut.cut.n_tokens == 0, "what fits is not cut");
    const int64_t half = n / 4;
    glm_reading_truncate(&cut, 2 * half + 1);
    expect(cut.prefix.n == 2 * half && cut.cut.at == half && cut.cut.n_tokens == n - 2 * half,
            "the middle is cut out");
    expect(memcmp(cut.prefix.ids, whole.prefix.ids, (size_t)half * 4) == 0 &&
                    memcmp(cut.prefix.ids + half, whole.prefix.ids + n - half, (size_t)half * 4) ==
                            0,
            "both ends stay");
    /* In the embedded model's tokenizer, the message begins behind [gMASK]<sop><|user|>\n. */
    const glm_passage *first = glm_passages_get(&whole.passages, cut.cut.first_passage);
    expect(first && first->written_at <= half - 4 && first[1].written_at > half - 4,
            "the first passage that is cut");
    const glm_passage *last = glm_passages_get(&whole.passages, cut.cut.last_passage);
    expect(last && last->written_at < n - half - 4 && last[1].written_at >= n - half - 4,
            "the last passage that is cut");
    glm_reading_free(&whole);
    glm_reading_free(&cut);
    free(text);
}

/* Cuts that begin in front of all passages, in the wording or in a system message of many bytes. */
static void check_truncation_in_front(const glm_tokenizer *tokenizer) {
    static const glm_variant variant = {.name = "any"};
    char *text = make_prose(200);
    char *system = make_prose(400);
    for (int i = 0; i < 4; i++) {
        const bool has_system = i >= 2;
        const bool is_all = i % 2 == 0; /* that is in the middle, or four tokens of it */
        glm_document document = make_document(is_all ? text : "Line.", false);
        glm_reading cut;
        help_require(
                glm_reading_make(tokenizer, &variant, has_system ? system : NULL, &document, &cut),
                "make");
        const int64_t last = cut.passages.n_passages;
        glm_reading_truncate(&cut, is_all ? 60 : cut.prefix.n - 4);
        expect(cut.cut.first_passage == (is_all ? 1 : -1), "no passage is in front of the first");
        expect(cut.cut.last_passage == (is_all ? last : -1), "nor is a message's byte in one");
        glm_reading_free(&cut);
    }
    free(text);
    free(system);
}

int main(void) {
    glm_tokenizer *tokenizer = NULL;
    check_small_texts();
    check_much_white_space();
    help_require(glm_tokenizer_load(help_needle_model(), &tokenizer), "tokenizer");
    check_prefix(tokenizer);
    check_truncation(tokenizer);
    check_truncation_in_front(tokenizer);
    check_books(tokenizer);
    glm_tokenizer_free(tokenizer);
    return n_failed > 0;
}
