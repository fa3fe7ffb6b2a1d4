#include "cmd_ask_record.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/control.h"
#include "base/size.h"
#include "citations_json.h"
#include "cli_json.h"
#include "cmd_record.h"

enum { QUOTED_BYTES = 72, PLACE_BYTES = 4200 };

/* ---- JSON ------------------------------------------------------------------------------------ */

static json_t *passage_json(int64_t number) {
    return number >= 0 ? json_integer((json_int_t)number) : json_null();
}

static json_t *cut_json(const glm_reading_cut *cut) {
    if (cut->n_tokens == 0) return json_null();
    return json_pack("{s:s, s:I, s:o, s:o}", "rule", "middle", "n_tokens",
            (json_int_t)cut->n_tokens, "first_passage", passage_json(cut->first_passage),
            "last_passage", passage_json(cut->last_passage));
}

json_t *ask_run_members(const glm_reading *reading, const glm_engine *engine, const glm_cli *cli,
        const glm_sampling *sampling) {
    json_t *members = json_pack("{s:o, s:o, s:s, s:o, s:o, s:o}", "source_sha256",
            record_sha256(reading->document.text, reading->document.n_bytes), "prompt_sha256",
            record_sha256_of_ids(&reading->prefix), "model_sha256", glm_engine_fingerprint(engine),
            "truncated", cut_json(&reading->cut), "sampling", record_sampling(sampling), "stop",
            record_texts(cli->stop, cli->n_stop));
    return record_join(members, record_made(engine, cli->engine.model_dir));
}

json_t *ask_record(const ask_question *question, const glm_asking *asking,
        const glm_citations *citations, const json_t *run, int64_t n_prompt, int64_t n_reused) {
    const char *answer = asking->text.bytes ? asking->text.bytes : "";
    json_t *record = json_pack("{s:O?, s:s, s:o, s:o, s:I, s:s, s:I, s:I, s:I}", "id", question->id,
            "question", question->text, "answer", glm_cli_json_text(answer, (size_t)asking->text.n),
            "citations", glm_citations_json(answer, citations), "n_unverified",
            (json_int_t)citations->n_unverified, "finish_reason", asking->finish_reason, "n_prompt",
            (json_int_t)n_prompt, "reused_tokens", (json_int_t)n_reused, "n_generated",
            (json_int_t)asking->n_tokens);
    if (record && json_object_update(record, (json_t *)run) == 0) return record;
    json_decref(record);
    return NULL;
}

json_t *ask_error_record(const ask_question *question) {
    return json_pack("{s:O, s:I, s:s}", "id", question->id, "line", (json_int_t)question->line,
            "error", question->error);
}

/* ---- for people ------------------------------------------------------------------------------ */

/* One line of what is quoted, not all of it where that is long. */
static void print_quoted(const char *text, int64_t n_bytes) {
    int64_t n = rt_min64(n_bytes, QUOTED_BYTES);
    while (n < n_bytes && n > 0 && ((uint8_t)text[n] & 0xc0) == 0x80) n--;
    (void)putchar('"');
    for (int64_t at = 0; at < n;) {
        const int n_control = rt_control_bytes(text + at, n - at);
        (void)putchar(n_control > 0 || text[at] == '\n' ? ' ' : text[at]);
        at += n_control > 0 ? n_control : 1;
    }
    (void)fputs(n < n_bytes ? "...\"" : "\"", stdout);
}

static void print_citation(const char *answer, const glm_citation *c) {
    char place[PLACE_BYTES];
    (void)fputs(c->is_verified ? "  " : "  UNVERIFIED ", stdout);
    if (c->kind != GLM_CITED_PASSAGE) print_quoted(answer + c->begin, c->end - c->begin);
    if (c->kind == GLM_CITED_PASSAGE) (void)printf("[%" PRId64 "]", c->named);
    if (c->is_verified && c->passage < 0)
        (void)printf(": %s\n", glm_citation_place(c, place, sizeof place));
    else if (!c->is_verified && c->kind == GLM_CITED_PASSAGE)
        (void)printf(": there is no such passage\n");
    else if (!c->is_verified)
        (void)printf(": the sources do not say so\n");
    else if (c->kind != GLM_CITED_PASSAGE && c->named >= 0 && c->named != c->passage)
        (void)printf(": %s [%" PRId64 "], not [%" PRId64 "]\n",
                glm_citation_place(c, place, sizeof place), c->passage, c->named);
    else if (c->kind != GLM_CITED_PASSAGE)
        (void)printf(
                ": %s [%" PRId64 "]\n", glm_citation_place(c, place, sizeof place), c->passage);
    else
        (void)printf(": %s\n", glm_citation_place(c, place, sizeof place));
}

void ask_print_citations(const char *answer, const glm_citations *citations) {
    (void)printf("\nSources:%s\n", citations->n_citations == 0 ? " the answer quotes none" : "");
    for (int64_t i = 0; i < citations->n_citations; i++)
        print_citation(answer, &citations->citations[i]);
}
