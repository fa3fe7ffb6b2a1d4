/* Attention's kernels, written down plainly: one thread takes what a launch asks for, row by row. They read what the host
 * hands over, when they come to it, as the kernels do: lists of pages, lengths, passes, tickets, states that wait in
 * scratch. Their bits are not the kernels', but likewise the same however calls are cut. For tests of the host's code, a
 * hundred times as fast as the emulation of every thread; the linker puts them in the kernels' place (CMakeLists.txt). */
#ifndef STANDIN_PLAIN_H
#define STANDIN_PLAIN_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Of all launches from here on; at first the kernels themselves, unless STANDIN_CUDA_PLAIN=1. */
void standin_plain_use(bool is_plain);

/* Launches of decode so far that were given a list of passes. */
int64_t standin_plain_lists(void);

#ifdef __cplusplus
}
#endif

#endif
