/* The answer is cut into claims first (claims.c), then each claim is looked for. */
#include "citations.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/size.h"
#include "claims.h"
#include "page_gap.h"

enum { SENTENCE_WORDS_MIN = 4, SENTENCE_BYTES_MIN = 20 };

/* Where form feeds end pages: the folded bytes in front of each, in order. */
typedef struct page_ends {
    int64_t n;
    int64_t *at;
    int64_t room;
} page_ends;

typedef struct search {
    const glm_document *document;
    const glm_passages *passages;
    const glm_folded *folded;
    const page_ends *ends;
    const char *answer;
    glm_citations *out;
} search;

/* ---- places ---------------------------------------------------------------------------------- */

static void set_source(const search *s, glm_citation *citation, int64_t begin, int64_t end) {
    citation->is_verified = true;
    citation->first = glm_document_find(s->document, begin);
    citation->last = glm_document_find(s->document, rt_max64(begin, end - 1));
    citation->passage = glm_passages_at(s->passages, begin);
}

static bool is_in_passage(const search *s, int64_t folded_at, int64_t number) {
    const glm_passage *passage = glm_passages_get(s->passages, number);
    int64_t begin = 0;
    int64_t end = 0;
    if (!passage) return false;
    glm_folded_source(s->folded, folded_at, folded_at + 1, &begin, &end);
    return begin >= passage->begin && begin < passage->end;
}

/* Where to look first: the folded byte that the passage named begins with, at or a little before. */
static int64_t folded_start(const search *s, int64_t number) {
    const glm_passage *passage = glm_passages_get(s->passages, number);
    int64_t low = 0;
    int64_t high = s->folded->n_bytes;
    if (!passage) return 0;
    while (high - low > 1) {
        const int64_t middle = low + (high - low) / 2;
        int64_t begin = 0;
        int64_t end = 0;
        glm_folded_source(s->folded, middle, middle + 1, &begin, &end);
        if (begin <= passage->begin)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* ---- quotations ------------------------------------------------------------------------------ */

/* Punctuation at its ends may be the answer's. */
static void trim(const char *bytes, int64_t *begin, int64_t *end) {
    static const char loose[] = " .,;:!?'\"-()[]*_";
    while (*begin < *end && strchr(loose, bytes[*begin])) (*begin)++;
    while (*end > *begin && strchr(loose, bytes[*end - 1])) (*end)--;
}

/* The next part of a folded quotation, between its ellipses: false when there is none. */
static bool next_part(const glm_folded *quotation, int64_t *at, int64_t *begin, int64_t *end) {
    while (*at < quotation->n_bytes) {
        const char *from = quotation->bytes + *at;
        const char *gap = memmem(from, (size_t)(quotation->n_bytes - *at), "...", 3);
        *begin = *at;
        *end = gap ? gap - quotation->bytes : quotation->n_bytes;
        *at = gap ? *end + 3 : quotation->n_bytes;
        trim(quotation->bytes, begin, end);
        if (*begin < *end) return true;
    }
    return false;
}

/* ---- across a page's end --------------------------------------------------------------------- */

/* Between a sentence's half on one page and its other half on the next stand a page number, a running head (page_gap.h):
 * PAGE_GAP folded bytes of them at most. */
enum { PAGE_GAP = 300 };

static rt_status add_page_ends(
        const glm_folded *folded, const glm_document_file *file, page_ends *ends) {
    const char *end = folded->text + file->text_at + file->n_bytes;
    const char *at = folded->text + file->text_at;
    for (; (at = memchr(at, '\f', (size_t)(end - at))); at++) {
        RT_TRY(rt_make_room(&ends->at, sizeof *ends->at, ends->n, &ends->room, "pages' ends"));
        ends->at[ends->n++] = glm_folded_before(folded, at - folded->text);
    }
    return RT_OK;
}

static rt_status find_page_ends(
        const glm_document *document, const glm_folded *folded, page_ends *ends) {
    for (int64_t i = 0; i < document->n_files; i++)
        if (document->files[i].is_paged) RT_TRY(add_page_ends(folded, &document->files[i], ends));
    return RT_OK;
}

/* Whether a page ends within the folded bytes [from, to]. */
static bool has_page_end(const search *s, int64_t from, int64_t to) {
    int64_t low = 0;
    int64_t high = s->ends->n;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (s->ends->at[middle] < from)
            low = middle + 1;
        else
            high = middle;
    }
    return low < s->ends->n && s->ends->at[low] <= to;
}

/* Whether the text has a line's end between these two folded bytes: most words do not stand at one. */
static bool has_break(const search *s, int64_t before, int64_t behind) {
    int64_t unused = 0;
    int64_t begin = 0;
    int64_t end = 0;
    if (before < 0 || behind >= s->folded->n_bytes) return false;
    glm_folded_source(s->folded, before, before + 1, &unused, &begin);
    glm_folded_source(s->folded, behind, behind + 1, &end, &unused);
    for (; begin < end; begin++)
        if (s->document->text[begin] == '\n' || s->document->text[begin] == '\f') return true;
    return false;
}

/* Whether nothing of the text's own is lost between the folded bytes in front of `from` and those from `to` on. */
static bool is_page_gap(const search *s, int64_t from, int64_t to) {
    int64_t unused = 0;
    int64_t begin = 0;
    int64_t end = 0;
    if (!has_page_end(s, from, to)) return false;
    glm_folded_source(s->folded, from - 1, from, &unused, &begin);
    glm_folded_source(s->folded, to, to + 1, &end, &unused);
    return begin < end && glm_is_page_gap(s->document, begin, end);
}

/* A place of `what` in the text [low, high), of whole words, for which the lines between it and the page before or behind
 * are such a gap: `at` is where the other part ends, or begins. -1: there is none. */
static int64_t find_near(
        const search *s, const char *what, int64_t n_bytes, int64_t low, int64_t high, int64_t at) {
    const glm_folded *in = s->folded;
    for (; low + n_bytes <= high; low++) {
        const char *found = memmem(in->bytes + low, (size_t)(high - low), what, (size_t)n_bytes);
        if (!found) return -1;
        low = found - in->bytes;
        const int64_t end = low + n_bytes;
        if (glm_folded_is_within_word(in, low) || glm_folded_is_within_word(in, end)) continue;
        if (low < at ? is_page_gap(s, end, at) : is_page_gap(s, at, low)) return low;
    }
    return -1;
}

/* Its first half stands together, the page ends in the second: where the text stops being what the quotation says. */
static bool ends_across(const search *s, const char *what, int64_t n_bytes, int64_t middle,
        int64_t from, int64_t *begin, int64_t *end) {
    const glm_folded *in = s->folded;
    for (*begin = from; (*begin = glm_folded_find(in, what, middle, *begin)) >= 0; ++*begin) {
        int64_t n = middle;
        while (n < n_bytes - 1 && in->bytes[*begin + n] == what[n]) n++;
        while (what[n] != ' ') n--;
        const int64_t n_tail = n_bytes - n - 1;
        const int64_t at = *begin + n;
        if (!has_page_end(s, at, at + PAGE_GAP) || !has_break(s, at - 1, at)) continue;
        const int64_t high = rt_min64(at + PAGE_GAP + n_tail, in->n_bytes);
        const int64_t tail = find_near(s, what + n + 1, n_tail, at, high, at);
        *end = tail + n_tail;
        if (tail >= 0) return true;
    }
    return false;
}

/* The same of its second half, and the page before. */
static bool begins_across(const search *s, const char *what, int64_t n_bytes, int64_t middle,
        int64_t from, int64_t *begin, int64_t *end) {
    const glm_folded *in = s->folded;
    const int64_t n_half = n_bytes - middle - 1;
    int64_t half = from;
    for (; (half = glm_folded_find(in, what + middle + 1, n_half, half)) >= 0; half++) {
        const int64_t lead = half - middle - 1; /* where the quotation would begin without a gap */
        int64_t n = middle;
        while (n > 0 && lead + n > 0 && in->bytes[lead + n] == what[n]) n--;
        while (what[n] != ' ') n++;
        const int64_t at = lead + n + 1;
        if (!has_page_end(s, at - PAGE_GAP, at) || !has_break(s, at - 2, at)) continue;
        const int64_t low = rt_max64(at - PAGE_GAP - n, from);
        *begin = find_near(s, what, n, low, at, at);
        *end = half + n_half;
        if (*begin >= 0) return true;
    }
    return false;
}

/* `what`, a page's end behind some of its words. One of its halves is on one page, and that is rare enough to look around. */
static bool find_across(const search *s, const char *what, int64_t n_bytes, int64_t from,
        int64_t *begin, int64_t *end) {
    const char *space = memchr(what + n_bytes / 2, ' ', (size_t)(n_bytes - n_bytes / 2));
    if (!space) space = memrchr(what, ' ', (size_t)(n_bytes / 2));
    if (!space || s->ends->n == 0) return false;
    const int64_t middle = space - what;
    return ends_across(s, what, n_bytes, middle, from, begin, end) ||
           begins_across(s, what, n_bytes, middle, from, begin, end);
}

/* ---- all of a quotation ---------------------------------------------------------------------- */

static bool find_part(const search *s, const char *what, int64_t n_bytes, int64_t from,
        int64_t *begin, int64_t *end) {
    *begin = glm_folded_find(s->folded, what, n_bytes, from);
    *end = *begin + n_bytes;
    return *begin >= 0 || find_across(s, what, n_bytes, from, begin, end);
}

/* All parts, one behind the other, from `from` on: the folded bytes from the first one's beginning
 * to the last one's end. */
static bool find_parts(
        const search *s, const glm_folded *quotation, int64_t from, int64_t *begin, int64_t *end) {
    int64_t at = 0;
    int64_t part = 0;
    int64_t part_end = 0;
    *begin = *end = -1;
    while (next_part(quotation, &at, &part, &part_end)) {
        int64_t found = 0;
        if (!find_part(s, quotation->bytes + part, part_end - part, *end < 0 ? from : *end, &found,
                    end))
            return false;
        if (*begin < 0) *begin = found;
    }
    return *begin >= 0;
}

/* In the passage that is named, else anywhere. */
static bool find_quotation(
        const search *s, const glm_folded *quotation, int64_t named, int64_t *begin, int64_t *end) {
    if (named >= 0 && find_parts(s, quotation, folded_start(s, named), begin, end) &&
            is_in_passage(s, *begin, named))
        return true;
    return find_parts(s, quotation, 0, begin, end);
}

static int64_t count_words(const glm_folded *folded) {
    int64_t n = folded->n_bytes > 0;
    for (int64_t i = 0; i < folded->n_bytes; i++) n += folded->bytes[i] == ' ';
    return n;
}

/* Chinese has no spaces: its length tells. */
static bool is_telling(const glm_folded *sentence) {
    int64_t n_wide = 0;
    for (int64_t i = 0; i < sentence->n_bytes; i++) n_wide += (uint8_t)sentence->bytes[i] >= 0xe0;
    return sentence->n_bytes >= SENTENCE_BYTES_MIN &&
           (count_words(sentence) >= SENTENCE_WORDS_MIN || n_wide >= 2 * SENTENCE_WORDS_MIN);
}

static rt_status look_for(const search *s, const glm_claim *claim, glm_citation *citation) {
    glm_folded quotation;
    int64_t begin = 0;
    int64_t end = 0;
    int64_t source_begin = 0;
    int64_t source_end = 0;
    RT_TRY(glm_fold(s->answer + claim->begin, claim->end - claim->begin, NULL, &quotation));
    const bool is_worth_it = claim->kind == GLM_CLAIM_QUOTATION || is_telling(&quotation);
    const bool is_found =
            is_worth_it && find_quotation(s, &quotation, claim->first_passage, &begin, &end);
    glm_folded_free(&quotation);
    if (!is_found) return RT_OK;
    glm_folded_source(s->folded, begin, end, &source_begin, &source_end);
    set_source(s, citation, source_begin, source_end);
    return RT_OK;
}

/* ---- passages -------------------------------------------------------------------------------- */

static void look_up(const search *s, const glm_claim *claim, glm_citation *citation) {
    const glm_passage *first = glm_passages_get(s->passages, claim->first_passage);
    const glm_passage *last = glm_passages_get(s->passages, claim->last_passage);
    if (first && last && first <= last) set_source(s, citation, first->begin, last->end);
}

/* ---- the whole ------------------------------------------------------------------------------- */

static rt_status add(glm_citations *out, const glm_citation *citation) {
    RT_TRY(rt_make_room(
            &out->citations, sizeof *out->citations, out->n_citations, &out->room, "citations"));
    out->citations[out->n_citations++] = *citation;
    out->n_unverified += !citation->is_verified;
    return RT_OK;
}

/* Marks without words in between are no quotation. */
static bool says_something(const search *s, const glm_claim *claim) {
    for (int64_t at = claim->begin; at < claim->end; at++) {
        const uint8_t byte = (uint8_t)s->answer[at];
        if (byte >= 0x80 || (byte >= '0' && byte <= '9') ||
                ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'z'))
            return true;
    }
    return false;
}

static rt_status check(const search *s, const glm_claim *claim) {
    static const glm_citation_kind kinds[] = {[GLM_CLAIM_QUOTATION] = GLM_CITED_QUOTATION,
            [GLM_CLAIM_SENTENCE] = GLM_CITED_SENTENCE,
            [GLM_CLAIM_PASSAGE] = GLM_CITED_PASSAGE};
    glm_citation citation = {.kind = kinds[claim->kind],
            .begin = claim->begin,
            .end = claim->end,
            .named = claim->first_passage,
            .passage = -1};
    if (claim->kind != GLM_CLAIM_PASSAGE && !says_something(s, claim)) return RT_OK;
    if (claim->kind != GLM_CLAIM_PASSAGE) RT_TRY(look_for(s, claim, &citation));
    const bool is_own = claim->kind == GLM_CLAIM_SENTENCE && !citation.is_verified;
    if (is_own && claim->first_passage < 0) return RT_OK;
    if (is_own) citation.kind = GLM_CITED_PASSAGE; /* in its own words, after a passage */
    if (citation.kind == GLM_CITED_PASSAGE) look_up(s, claim, &citation);
    return add(s->out, &citation);
}

rt_status glm_cite(const glm_document *document, const glm_passages *passages,
        const glm_folded *folded, const char *answer, int64_t n_bytes, glm_citations *out) {
    glm_claims claims;
    page_ends ends = {0};
    *out = (glm_citations){0};
    RT_TRY(glm_claims_find(answer, n_bytes, &claims));
    const search s = {document, passages, folded, &ends, answer, out};
    rt_status status = claims.n_claims > 0 ? find_page_ends(document, folded, &ends) : RT_OK;
    for (int64_t i = 0; i < claims.n_claims && status == RT_OK; i++)
        status = check(&s, &claims.claims[i]);
    glm_claims_free(&claims);
    free(ends.at);
    if (status != RT_OK) glm_citations_free(out);
    return status;
}

void glm_citations_free(glm_citations *citations) {
    free(citations->citations);
    *citations = (glm_citations){0};
}

/* "line 7", "lines 7-9" */
static int put_range(
        char *text, size_t room, const char *word, const char *words, int64_t from, int64_t to) {
    if (from == to) return snprintf(text, room, "%s %" PRId64, word, from);
    return snprintf(text, room, "%s %" PRId64 "-%" PRId64, words, from, to);
}

const char *glm_citation_place(const glm_citation *citation, char *text, int64_t room) {
    const glm_document_place *first = &citation->first;
    const glm_document_place *last = &citation->last;
    rt_assert(citation->is_verified);
    const int n = snprintf(text, (size_t)room, "%s, ", first->file->path);
    if (n < 0 || n >= room) return text;
    if (first->page > 0)
        (void)put_range(text + n, (size_t)(room - n), "page", "pages", first->page, last->page);
    else
        (void)put_range(text + n, (size_t)(room - n), "line", "lines", first->line, last->line);
    return text;
}
