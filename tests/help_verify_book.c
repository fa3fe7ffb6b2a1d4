#include "help_verify_book.h"

rt_status help_verify_book(kv_books *books, const char *name, kv_book_report *report) {
    kv_verify *verify = NULL;
    bool is_done = false;
    *report = (kv_book_report){0};
    RT_TRY(kv_verify_begin(books, name, &verify));
    rt_status status = RT_OK;
    while (status == RT_OK && !is_done) status = kv_verify_step(verify, &is_done);
    *report = *kv_verify_report(verify);
    kv_verify_end(verify);
    return status;
}
