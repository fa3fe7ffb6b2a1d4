/* Where books lie, and names that are not there. */
#ifndef GLM_CLI_BOOKS_H
#define GLM_CLI_BOOKS_H

#include "cli.h"
#include "kvstore/kvstore.h"
#include "tokenizer.h"

/* The books in --kv-disk-dir, or else in our cache directory, where the engine keeps them. No model is
 * needed. Errors: as kv_books_open */
RT_MUST_CHECK rt_status glm_cli_books_open(const glm_cli *cli, kv_books **out);
/* Where those are, for messages: "DIR", "DIR and 2 more". RT_ENOMEM. */
RT_MUST_CHECK rt_status glm_cli_books_place(const glm_cli *cli, char *text, size_t n_bytes);
/* RT_EUSAGE unless there is a book of that name, damaged or not; the message has the nearest name. */
RT_MUST_CHECK rt_status glm_cli_book_require(const glm_cli *cli, kv_books *books, const char *name);
/* The book of --book, for kv_book_free. Errors: as glm_cli_book_require and kv_books_read */
RT_MUST_CHECK rt_status glm_cli_book_read(const glm_cli *cli, kv_book *out);
/* On stderr, unless --quiet: that the book of --book is of other sources than those of `note`, whose text is to have
 * its name. */
void glm_cli_say_replaced(const glm_cli *cli, const char *note);
/* RT_EUSAGE: the book of --book is of something whose name does not begin with `own`: it is not to be replaced. */
RT_MUST_CHECK rt_status glm_cli_book_spare(const glm_cli *cli, const char *own);
/* How many tokens the book of --book has, before any model is loaded; 0 without --book.
 * Errors: as glm_cli_book_require */
RT_MUST_CHECK rt_status glm_cli_book_length(const glm_cli *cli, int64_t *n_tokens);
/* Put the book's ids in front of `ids`; without --book do nothing. n_tokens is what glm_cli_book_length said.
 * Errors: as glm_book_ids; RT_EUSAGE  the book was replaced since, and has another length */
RT_MUST_CHECK rt_status glm_cli_prepend_book(
        const glm_cli *cli, glm_engine *engine, int64_t n_tokens, glm_ids *ids);
/* glm_cli_restore of ids that begin with the book's n_book ids, and glm_cli_take_turn to compute what is lacking, until
 * glm_turn_give_back(session). Where all of the book was found out->reason is empty; where not, the rest of it is computed and kept
 * again. */
RT_MUST_CHECK rt_status glm_cli_restore_book(const glm_cli *cli, glm_session *session,
        const glm_ids *ids, int64_t n_book, glm_reuse *out, double *waited_s);
/* Free what kv_books_list gave. */
void glm_cli_free_names(char **names, int64_t n_names);

#endif
