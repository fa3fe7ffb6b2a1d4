/* What an answer quotes is found in its source whatever typesetting did to it, at the right place, and
 * what the source does not say is not found.
 *
 * Method: a source with known lines; answers that quote it in every way there is, each with the
 * lines that must come out; the same answers against a source that lacks them. Folding is checked
 * byte by byte against what it came from. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "help_expect.h"
#include "runtime/citations.h"
#include "runtime/claims.h"

static const char source_text[] =
        "It was a dark and stormy night.\n"                                             /* 1 */
        "The rain fell in torrents, except at occa-\nsional intervals.\n"               /* 2, 3 */
        "\n"                                                                            /* 4 */
        "\u201cWho\u2019s there?\u201d asked the well-known constable \u2014 softly.\n" /* 5 */
        "The \ufb01re was e\u0301teint; caf\u00e9 and tea were\u00a0served.\n"          /* 6 */
        "\u4eca\u5929\u5929\u6c14\n\u5f88\u597d\uff0c\u9002\u5408\u6563\u6b65\u3002\n"  /* 7, 8 */
        "It was a dark and stormy night.\n"                                             /* 9 */
        "He owed 14831759 ducats, in 1914\u20131918.\n"                                 /* 10 */
        "a\xff b the end of it all\n";                                                  /* 11 */

typedef struct expectation {
    const char *answer;
    const char *wanted; /* "kind verified first-last named; ...": see describe() */
} expectation;

static const expectation expectations[] = {
        {"It says \"a dark and stormy night\".", "quotation 1-1;"},
        {"It says \u201cA Dark  and\nstormy night,\u201d no more.", "quotation 1-1;"},
        {"\"except at occasional intervals\"", "quotation 2-3;"},
        {"\"at occa-sional intervals\"", "quotation 2-3;"},
        {"\"Who's there?\"", "quotation 5-5;"},
        {"\"'Who's there?' asked the wellknown constable - softly\"", "quotation 5-5;"},
        {"\u00abthe well-known constable--softly\u00bb", "quotation 5-5;"},
        {"\"The fire was \u00e9teint; cafe\u0301 and tea were served\"", "quotation 6-6;"},
        {"\u300c\u4eca\u5929\u5929\u6c14\u5f88\u597d\u300d", "quotation 7-8;"},
        {"\"It was a dark ... in torrents\"", "quotation 1-2;"},
        {"\"in torrents [...] stormy night\"", "quotation 2-9;"},
        {"\"in torrents ... the well-known rain\"", "quotation no;"},
        {"\"dark and windy night\"", "quotation no;"},
        {"\"owed 4831759 ducats\" and \"in 1914-1918\"", "quotation no;quotation 10-10;"},
        {"\"dark and storm\"", "quotation no;"},
        {"\"b the end of it all\"", "quotation 11-11;"},
        /* Passages: [1] is lines 1 to 11 here. */
        {"\"stormy night\" [1]", "quotation 1-1 [1];"},
        {"\"stormy night\" [7]", "quotation 1-1 [7];"},
        {"The night was dark [1].", "passage 1-11 [1];"},
        {"The night was dark [1, 9].", "passage 1-11 [1];passage no [9];"},
        {"The night was dark [8].", "passage no [8];"},
        {"\"No such\", the rain fell in torrents [1].", "quotation no;sentence 2-2 [1];"},
        {"[1][12-13]", "passage 1-11 [1];passage no [12];"},
        {"a[i] and [x] and [] and [1", ""},
        /* Without marks: only what is there word for word. */
        {"It was a dark and stormy night. I think so.", "sentence 1-1;"},
        {"Of course: it was very dark.", ""},
        {"<statement>It rained a lot.<cite>[1-1]</cite></statement>", "passage 1-11 [1];"},
        {"```\nthe end of it all\nint main(void) \"{\n```\n", ""},
        {"```\nThe rain fell in torrents, except\n```\n", "sentence 2-2;"},
        {"Use `printf(\"%d\")` for that.", ""},
        {"> It was a dark and stormy night.\n> It was bright.", "quotation 1-1;quotation no;"},
        {"He said \"it was a dark\n\nand stormy night\".", ""},
        {"\"\" and \"...\" and \"", ""},
        {"", ""},
};

static const char *const kinds[] = {"quotation", "sentence", "passage"};

static void describe(const glm_citations *citations, char *text, size_t room) {
    size_t n = 0;
    text[0] = '\0';
    for (int64_t i = 0; i < citations->n_citations; i++) {
        const glm_citation *c = &citations->citations[i];
        n += (size_t)snprintf(text + n, room - n, "%s", kinds[c->kind]);
        if (c->is_verified)
            n += (size_t)snprintf(text + n, room - n, " %" PRId64 "-%" PRId64,
                    c->first.page ? c->first.page : c->first.line,
                    c->last.page ? c->last.page : c->last.line);
        else
            n += (size_t)snprintf(text + n, room - n, " no");
        if (c->named >= 0) n += (size_t)snprintf(text + n, room - n, " [%" PRId64 "]", c->named);
        n += (size_t)snprintf(text + n, room - n, ";");
    }
}

static void check(const glm_document *document, const glm_passages *passages,
        const glm_folded *folded, const expectation *e) {
    glm_citations citations;
    char got[512];
    require(glm_cite(document, passages, folded, e->answer, (int64_t)strlen(e->answer), &citations),
            "cite");
    describe(&citations, got, sizeof got);
    if (strcmp(got, e->wanted) != 0) {
        printf("FAIL \"%s\": got \"%s\", not \"%s\"\n", e->answer, got, e->wanted);
        n_failed++;
    }
    glm_citations_free(&citations);
}

/* Every folded byte comes from a character of the text, and those come in order. */
static void check_sources(const glm_folded *folded) {
    int64_t last = 0;
    for (int64_t at = 0; at < folded->n_bytes; at++) {
        int64_t begin = 0;
        int64_t end = 0;
        glm_folded_source(folded, at, at + 1, &begin, &end);
        if (begin < last || end <= begin || end > folded->text_bytes) {
            printf("FAIL folded byte %" PRId64 " is from %" PRId64 "-%" PRId64 "\n", at, begin,
                    end);
            n_failed++;
            return;
        }
        last = begin;
    }
}

/* Far behind the first marks, too. */
static void check_long_text(void) {
    enum { LINES = 3000 };
    char *text = NULL;
    size_t n_bytes = 0;
    FILE *out = open_memstream(&text, &n_bytes);
    for (int i = 0; i < LINES; i++)
        (void)fprintf(out, "Line  %d says\t\u00c9toile %d.\n", i, i * i);
    (void)fclose(out);
    glm_folded folded;
    require(glm_fold(text, (int64_t)n_bytes, NULL, &folded), "fold");
    for (int i = 0; i < LINES; i += 97) {
        char wanted[64];
        char line[64];
        int64_t begin = 0;
        int64_t end = 0;
        const int n_line = snprintf(line, sizeof line, "Line  %d says", i);
        const int n = snprintf(wanted, sizeof wanted, "line %d says e\u0301toile %d.", i, i * i);
        const int64_t at = glm_folded_find(&folded, wanted, n, 0);
        expect(at >= 0, "a line of a long text", wanted);
        if (at < 0) continue;
        glm_folded_source(&folded, at, at + n, &begin, &end);
        expect(memcmp(text + begin, line, (size_t)n_line) == 0 && text[end - 1] == '.' &&
                        text[end] == '\n',
                "its source", wanted);
    }
    glm_folded_free(&folded);
    free(text);
}

/* In the passage that is named, where a text says the same twice. */
static void check_named_passage(void) {
    char *text = NULL;
    size_t n_bytes = 0;
    FILE *out = open_memstream(&text, &n_bytes);
    for (int i = 0; i < 40; i++)
        (void)fprintf(out, "The king is dead, long live the king. %0*d\n", i % 7 + 40, i);
    (void)fclose(out);
    glm_document_file file = {.path = "kings", .n_bytes = (int64_t)n_bytes};
    const glm_document document = {
            .text = text, .n_bytes = (int64_t)n_bytes, .n_files = 1, .files = &file};
    glm_passages passages;
    glm_folded folded;
    require(glm_passages_make(&document, GLM_PASSAGES_NUMBERED, NULL, &passages), "passages");
    require(glm_fold(text, (int64_t)n_bytes, NULL, &folded), "fold");
    expect(passages.n_passages > 3, "several passages", "kings");
    for (int64_t number = 1; number <= passages.n_passages; number++) {
        char answer[64];
        glm_citations c;
        const int n =
                snprintf(answer, sizeof answer, "\"long live the king\" [%" PRId64 "]", number);
        require(glm_cite(&document, &passages, &folded, answer, n, &c), "cite");
        expect(c.n_citations == 1 && c.citations[0].passage == number, "the passage named", answer);
        glm_citations_free(&c);
    }
    glm_passages_free(&passages);
    glm_folded_free(&folded);
    free(text);
}

/* What a keyboard has no key for. */
static const char typeset_text[] =
        "The inter\u00ad\nnational treaty, co\u00adoper\u00adatively.\n"                /* 1, 2 */
        "\uff26\uff55\uff4c\uff4c \uff37\uff49\uff44\uff54\uff48 \uff11\uff12 words.\n" /* 3 */
        "She _never_ said \u2018_so_\u2019 of snake_case.\n";                           /* 4 */
static const expectation typeset[] = {{"\"international treaty, cooperatively\"", "quotation 1-2;"},
        {"\"full width 12 words\"", "quotation 3-3;"}, {"\"fullwidth 12 words\"", "quotation no;"},
        {"\"She never said 'so' of\"", "quotation 4-4;"},
        {"\"She _never_ said\"", "quotation 4-4;"}, {"\"of snake_case\"", "quotation 4-4;"},
        {"\"of snakecase\"", "quotation no;"}, {"\"of snake case\"", "quotation no;"}};

/* A sentence goes on behind a page's foot and the next one's head. */
static const char paged_text[] =
        "THE BOOK\n\nHere is where the keeper of the\nlighthouse begins to speak,\n\n7\n\n\f"
        "THE BOOK\n\nand where he ends. He waves.\nOnce more.\n\n8\n\n\f"
        "THE BOOK\n\nIn the morning he sleeps.\n\f";
static const expectation paged[] = {{"\"the keeper of the lighthouse begins\"", "quotation 1-1;"},
        {"\"the lighthouse begins to speak, and where he ends\"", "quotation 1-2;"},
        {"\"to speak, and where he ends. He waves. Once more.\"", "quotation 1-2;"},
        {"\"Here is where the keeper of the lighthouse begins to speak, and\"", "quotation 1-2;"},
        {"\"speak, and\"", "quotation 1-2;"},
        {"\"He waves. Once more. In the morning\"", "quotation 2-3;"},
        {"\"begins to and where he ends\"", "quotation no;"},
        {"\"begins to speak, he ends\"", "quotation no;"},
        {"\"begins to speak, Once more.\"", "quotation no;"}, /* whole lines are left out */
        {"\"begins to speak, In the morning\"", "quotation no;"},
        {"\"begins to speak, and where he end\"", "quotation no;"}, /* no whole word */
        {"\"house begins to speak, and where he ends\"", "quotation no;"},
        {"\"begins to speak, ... In the morning\"", "quotation 1-3;"}};

/* Lines, or pages where there are some. */
static void check_text(
        const char *source, bool is_paged, const expectation *expectations_of, size_t n) {
    glm_document_file file = {
            .path = "text", .n_bytes = (int64_t)strlen(source), .is_paged = is_paged};
    char *text = strdup(source);
    const glm_document document = {
            .text = text, .n_bytes = file.n_bytes, .n_files = 1, .files = &file};
    glm_passages passages;
    glm_folded folded;
    require(glm_passages_make(&document, GLM_PASSAGES_NUMBERED, NULL, &passages), "passages");
    require(glm_fold(text, document.n_bytes, NULL, &folded), "fold");
    if (n > 1) check_sources(&folded); /* byte by byte, which a long text has no time for */
    for (size_t i = 0; i < n; i++) check(&document, &passages, &folded, &expectations_of[i]);
    glm_passages_free(&passages);
    glm_folded_free(&folded);
    free(text);
}

/* Words that stand everywhere, in an order in which they stand nowhere: the time goes with the text's length, not its square. */
static void check_common_words(void) {
    enum { LINES = 30000, PAGE_LINES = 40, SECONDS_MAX = 5 };
    char *text = NULL;
    size_t n_bytes = 0;
    FILE *out = open_memstream(&text, &n_bytes);
    for (int i = 0; i < LINES; i++)
        (void)fprintf(out, "of the king and\n%s", i % PAGE_LINES == PAGE_LINES - 1 ? "\f" : "");
    (void)fclose(out);
    const expectation wanted = {"\"the king the king\"", "quotation no;"};
    const clock_t begin = clock();
    check_text(text, true, &wanted, 1);
    expect((clock() - begin) / CLOCKS_PER_SEC < SECONDS_MAX, "soon", wanted.answer);
    free(text);
}

/* However it is cut into pieces. */
static void check_shown(void) {
    static const char answer[] =
            "<statement>a < b<cite>[3-4]</cite></statement><<cite>x</citation> </stat";
    static const char wanted[] = "a < b[3-4]<x</citation> </stat";
    for (int64_t cut = 0; cut < (int64_t)sizeof answer; cut++) {
        char out[sizeof answer] = {0};
        int64_t n_used = 0;
        int64_t n_more = 0;
        int64_t n = glm_claims_show(answer, cut, false, out, &n_used);
        n += glm_claims_show(
                answer + n_used, (int64_t)sizeof answer - 1 - n_used, true, out + n, &n_more);
        out[n] = '\0';
        expect(strcmp(out, wanted) == 0 && n_used + n_more == sizeof answer - 1, "shown", out);
    }
}

int main(void) {
    /* A document as loading makes it, but for the byte that is no UTF-8. */
    glm_document_file file = {.path = "night.txt", .n_bytes = sizeof source_text - 1};
    char *text = strdup(source_text);
    const glm_document document = {
            .text = text, .n_bytes = sizeof source_text - 1, .n_files = 1, .files = &file};
    glm_passages passages;
    glm_folded folded;
    require(glm_passages_make(&document, GLM_PASSAGES_NUMBERED, NULL, &passages), "passages");
    require(glm_fold(document.text, document.n_bytes, NULL, &folded), "fold");
    expect(passages.n_passages == 1, "one passage", "");
    check_sources(&folded);
    for (size_t i = 0; i < sizeof expectations / sizeof *expectations; i++)
        check(&document, &passages, &folded, &expectations[i]);
    check_long_text();
    check_named_passage();
    check_shown();
    check_text(typeset_text, false, typeset, sizeof typeset / sizeof *typeset);
    check_text(paged_text, true, paged, sizeof paged / sizeof *paged);
    check_common_words();
    glm_passages_free(&passages);
    glm_folded_free(&folded);
    free(text);
    return n_failed > 0;
}
