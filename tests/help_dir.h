/* Directories of a test, removed with all they hold when it ends. */
#ifndef HELP_DIR_H
#define HELP_DIR_H

/* A new one below TMPDIR, else /tmp. The string lives as long as the program; a process that was forked since leaves the
 * directory to the one that made it. */
const char *help_dir(void);
/* The same below /dev/shm, where there is one: tests/run.sh removes those of processes that are gone. */
const char *help_dir_in_memory(void);

/* A directory and all in it, now; what is not there need not go. */
void help_remove_dir(const char *path);

#endif
