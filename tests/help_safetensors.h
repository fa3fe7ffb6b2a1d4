/* Safetensors files good and bad, each with its name and what the reader must say to it. */
#ifndef HELP_SAFETENSORS_H
#define HELP_SAFETENSORS_H

#include <stdio.h>
#include <stdlib.h>

#include "help_check.h"
#include "runtime/safetensors.h"

/* A growing file; zero-initialise, free(file.bytes). */
typedef struct sth_file {
    uint8_t *bytes;
    int64_t n;
    int64_t capacity;
} sth_file;
void sth_put(sth_file *file, const void *bytes, int64_t n_bytes);
void sth_fill(sth_file *file, int byte, int64_t n_bytes);
/* The length that belongs in front of the header that is at [8, n). */
void sth_set_length(sth_file *file, uint64_t length);

typedef struct sth_case {
    const char *name;
    const char *code;  /* NULL: a good file */
    const char *hint;  /* what the message must also say; NULL: nothing */
    int64_t at;        /* the byte it is reported at */
    int32_t n_tensors; /* of a good file */
    bool is_large;     /* more than a few KiB */
    bool is_fast;      /* made smaller than in earnest */
    sth_file file;
} sth_case;

/* Case i of sth_n_cases(); the numbers in the names are the checklist's, several may share one.
 * Large files are as large as in earnest, or small where `is_fast`. */
int64_t sth_n_cases(void);
void sth_make_case(int64_t i, bool is_fast, sth_case *out);

/* Does the last error say this code at this byte? */
bool sth_says(const char *code, int64_t at);

#endif
