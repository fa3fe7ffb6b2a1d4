/* Shared by the parts of glm1m book.
 *
 *   cmd_book.c         the flags, the walk, --help; ls, show, gc
 *   cmd_book_rm.c      names removed, one or many
 *   cmd_book_verify.c  every byte of one book, or of all
 *   cmd_book_text.c    what a book is, in words and as JSON */
#ifndef GLM_CMD_BOOK_H
#define GLM_CMD_BOOK_H

#include <jansson.h>

#include "cli.h"
#include "kvstore/kvstore.h"

enum { BOOK_TIME_TEXT = 32, BOOK_MODEL_TEXT = 128, BOOK_SOURCE_TEXT = 256, BOOK_HEX_TEXT = 65 };

typedef struct book_shelf {
    const glm_cli *cli;
    kv_books *books;
    const char *name; /* NULL: not given */
    char **names;     /* of the books there are, or the one that was given */
    int64_t n_names;
    int64_t n_bytes; /* of all that is kept, where there was a survey */
} book_shelf;

/* "40 x 4096, bf16, weights 1a2b3c4d": enough to tell the models of one machine apart. */
const char *book_model_text(const kv_book *book, char text[BOOK_MODEL_TEXT]);
/* The first source of the note, and how many more there are; "-" for none. */
const char *book_source_text(const kv_book *book, char text[BOOK_SOURCE_TEXT]);
/* Seconds since 1970: for people the local time, for programs "2026-01-31T12:00:00Z". */
const char *book_time_text(int64_t seconds, bool is_utc, char text[BOOK_TIME_TEXT]);
const char *book_hex_text(const uint8_t bytes[32], char text[BOOK_HEX_TEXT]);
/* All of it, for json_decref(). NULL: no memory. */
json_t *book_json(const kv_book *book);

/* Read and check the shelf's books, each with a line or, with --json, an object. One that another process
 * removed meanwhile is passed over.
 * Errors: RT_ECORRUPT  something is missing or damaged: how many books, and the first error; exit code 5
 *         RT_EINTERRUPTED, RT_EIO, RT_ENOMEM */
RT_MUST_CHECK rt_status book_verify(const book_shelf *s);

/* Remove the shelf's books that the command line names, once all names are found good. A name with wildcards is of all
 * that match.
 * Errors: RT_EUSAGE  there is none of a name, or none that matches: nothing is removed; RT_EIO, RT_ENOMEM */
RT_MUST_CHECK rt_status book_remove(book_shelf *s);

#endif
