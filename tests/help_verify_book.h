/* A book verified from its first segment to its last. */
#ifndef HELP_VERIFY_BOOK_H
#define HELP_VERIFY_BOOK_H

#include "kvstore/kvstore.h"

/* kv_verify_begin, steps until it is done, end. Errors: those of the first that fails */
rt_status help_verify_book(kv_books *books, const char *name, kv_book_report *report);

#endif
