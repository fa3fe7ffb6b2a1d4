/* Texts, token files and lists of numbers; the ids that commands begin with. */
#ifndef GLM_CLI_INPUT_H
#define GLM_CLI_INPUT_H

#include "cli.h"
#include "document.h"
#include "tokenizer.h"

/* --lengths, --positions: "4k,64k" -> numbers; --depths: "0,12.5,100" -> per cent. The arrays are for free(). */
RT_MUST_CHECK rt_status glm_cli_parse_list(
        const char *text, const char *flag, int64_t **values, int64_t *n_values);
RT_MUST_CHECK rt_status glm_cli_parse_depths(const char *text, double **depths, int64_t *n_depths);

/* The whole of a file, or of standard input for "-", plus a NUL that is not counted; for free().
 * RT_EIO; RT_EUSAGE beyond 1 GiB. */
RT_MUST_CHECK rt_status glm_cli_read_text(const char *path, char **text, int64_t *n_bytes);

/* A question from standard input, without the lines' ends behind it; for free(). `who` begins messages.
 * RT_EUSAGE: a NUL in it; as glm_cli_read_text */
RT_MUST_CHECK rt_status glm_cli_read_question(const char *who, char **text);

/* glm_document_load, watched by glm_cli_watch. */
RT_MUST_CHECK rt_status glm_cli_load_document(
        const glm_cli *cli, const char *const *sources, int n_sources, glm_document *out);

/* The tokenizer of -m. A long text that a signal meets while it is encoded is given up: RT_EINTERRUPTED; where that takes
 * long, it is shown on stderr how far it is. Errors: also as glm_tokenizer_load */
RT_MUST_CHECK rt_status glm_cli_load_tokenizer(const glm_cli *cli, glm_tokenizer **out);

/* Remove [gMASK]<sop> from the beginning of ids that go behind a book's, which begin so already. */
void glm_cli_drop_specials(const glm_tokenizer *tokenizer, glm_ids *ids);

/* Put the ids of `front`, which is emptied, also on failure, in front of `ids`. RT_ENOMEM. */
RT_MUST_CHECK rt_status glm_cli_put_in_front(glm_ids *front, glm_ids *ids);

/* Put [gMASK]<sop> in front of the ids unless they begin so. RT_EMODEL, RT_ENOMEM. */
RT_MUST_CHECK rt_status glm_cli_begin_ids(const glm_tokenizer *tokenizer, glm_ids *ids);

/* Whether n_tokens of `what` ("the text", a file's name) are within -c and the model's length.
 * RT_ENOFIT  they are not; the message says by how much */
RT_MUST_CHECK rt_status glm_cli_check_length(
        const glm_cli *cli, int64_t model_len, const char *what, int64_t n_tokens);

/* Blank the brackets of a list of ids that is a JSON array, as tokenize --json prints it.
 * RT_EUSAGE: the array does not end the text */
RT_MUST_CHECK rt_status glm_cli_strip_brackets(const char *path, char *text);

/* A tokens file: ids separated by white space or commas, a JSON array of them, or a NumPy file (npy_ids.h), appended to `out`.
 * RT_EUSAGE  something else, or an id outside [0, vocab); the message says the line, or that the array does not end the text */
RT_MUST_CHECK rt_status glm_cli_read_tokens(const char *path, int64_t vocab, glm_ids *out);

#endif
