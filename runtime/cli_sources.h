/* What a command reads: which source, as which text, what is said of it on stderr, and noted in a book. */
#ifndef GLM_CLI_SOURCES_H
#define GLM_CLI_SOURCES_H

#include "base/size.h"
#include "cli.h"
#include "document.h"

/* RT_EUSAGE: not exactly one of operands, -f and --tokens-file is given. */
RT_MUST_CHECK rt_status glm_cli_require_source(const glm_cli *cli, const glm_command *command);

/* As glm_cli_read_text (cli_input.h), but of a PDF, an Office file, an EPUB or a text in UTF-16 its text; an archive is an error.
 * Otherwise warns as glm_cli_say_bytes. Errors: also as glm_document_from_bytes */
RT_MUST_CHECK rt_status glm_cli_read_document(const char *path, char **text, int64_t *n_bytes);
/* A warning where what was read so is no text in UTF-8: it is tokenized as it is. */
void glm_cli_say_bytes(const char *path, const char *text, int64_t n_bytes);

/* On stderr, unless --quiet: which files of a document were left out; how long it is; the engine's plan, and the seconds
 * that the prefill is to take. */
void glm_cli_say_skipped(const glm_cli *cli, const glm_document *document);
void glm_cli_say_text(const glm_cli *cli, const glm_document *document, int64_t n_tokens);
void glm_cli_say_plan(const glm_cli *cli, const glm_engine *engine, double prefill_s);

/* " (388.1 tokens/s)"; "" for less than a millisecond, of which it would be noise, and for less than two tokens: an answer of
 * one has had no decode step. */
const char *glm_cli_rate(int64_t n, double seconds, char text[RT_SIZE_TEXT]);
/* ", 31 of 40 drafted tokens right", of those drafted since glm_engine_drafts gave `before`; "" where there are none. */
enum { GLM_CLI_DRAFTS_TEXT = 80 };
const char *glm_cli_drafts(
        const glm_engine *engine, glm_drafts before, char text[GLM_CLI_DRAFTS_TEXT]);

/* The note to be kept with a book: where its text is from, its length and SHA-256 (hex), and the model. *note is a new
 * string. `document` is NULL for a tokens file. RT_ENOMEM. */
RT_MUST_CHECK rt_status glm_cli_note(const glm_cli *cli, const char *const *sources, int n_sources,
        const glm_document *document, const char *sha256, char **note);

#endif
