/* How a text that a model or a file made is shown. */
#include <unistd.h>

#include "base/control.h"
#include "cli_show.h"
#include "parallel/parallel.h"

bool glm_cli_is_terminal(FILE *out) {
    par_world world;
    char address[PAR_ADDRESS_BYTES];
    if (!isatty(fileno(out))) return false;
    return par_world_from_environment(&world, address) != RT_OK || world.transport != PAR_BY_MPI;
}

/* How many bytes at the front of the text are written otherwise, which is done here. */
static int show_control(FILE *out, const char *text, int64_t n_bytes) {
    const int n_control = rt_control_bytes(text, n_bytes);
    const bool ends_line = n_bytes > 1 && text[0] == '\r' && text[1] == '\n';
    if (text[0] == '\t') return 0;
    for (int i = 0; i < n_control && !ends_line; i++)
        (void)fprintf(out, "\\x%02x", (unsigned)(uint8_t)text[i]);
    return n_control;
}

bool glm_cli_show(FILE *out, const char *text, int64_t n_bytes) {
    if (!glm_cli_is_terminal(out)) return fwrite(text, 1, (size_t)n_bytes, out) == (size_t)n_bytes;
    for (int64_t at = 0; at < n_bytes;) {
        const int n_control = show_control(out, text + at, n_bytes - at);
        if (n_control == 0) (void)putc(text[at], out);
        at += n_control > 0 ? n_control : 1;
    }
    return !ferror(out);
}
