/* Ctrl-C, and what else ends a command or stops it. */
#ifndef GLM_CLI_SIGNALS_H
#define GLM_CLI_SIGNALS_H

#include "base/status.h"

/* Ctrl-C, SIGTERM, SIGHUP (a connection that is gone) and SIGUSR1 (Slurm's warning before a time limit): the first signal
 * sets a flag, which loops look at; the second ends the program at once. glm_cli_interrupted() is the first one's number,
 * 0 while there was none. */
void glm_cli_catch_signals(void);
int glm_cli_interrupted(void);
/* "SIGTERM", "Ctrl-C": of those that are caught. */
const char *glm_cli_signal_name(int number);
/* rt_now() when the program last went on after Ctrl-Z had stopped it; 0: never. */
double glm_cli_continued_at(void);
/* RT_EINTERRUPTED with a text once a signal came, else RT_OK. */
RT_MUST_CHECK rt_status glm_cli_check_interrupted(void);
/* Forget a Ctrl-C that was answered otherwise; false when there was none, or a SIGTERM came. */
bool glm_cli_forget_interrupt(void);

/* For waiting on what a user types. Between begin and end a signal, however often it comes, prints nothing and does not end
 * the program: it makes the pipe readable, which is to be polled along with the input. */
typedef struct glm_signal_pipe {
    int ends[2]; /* poll ends[0] */
} glm_signal_pipe;
RT_MUST_CHECK rt_status glm_signal_pipe_open(glm_signal_pipe *wake);
void glm_signal_pipe_begin(const glm_signal_pipe *wake);
void glm_signal_pipe_end(const glm_signal_pipe *wake);
void glm_signal_pipe_close(glm_signal_pipe *wake);

/* What may happen to a terminal while a prompt waits on it. */
enum {
    GLM_PROMPT_STOP = 1,      /* Ctrl-Z: we are to stop, the terminal as the shell had it */
    GLM_PROMPT_CONTINUED = 2, /* we were stopped, and others wrote on the terminal and set it up */
    GLM_PROMPT_RESIZED = 4
};
/* From here on these, too, make the pipe readable, and Ctrl-Z does not stop the program: _take says what happened since it
 * was last asked, and empties the pipe; _stop_here stops as Ctrl-Z would have, and returns when the program goes on. After
 * _unwatch Ctrl-Z stops it again, at once if it was pressed. */
void glm_signal_pipe_watch_terminal(void);
void glm_signal_pipe_unwatch_terminal(void);
int glm_signal_pipe_take(const glm_signal_pipe *wake);
void glm_signal_pipe_stop_here(void);

#endif
