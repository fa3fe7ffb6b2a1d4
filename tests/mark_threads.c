/* Preloaded into what a test runs: notes that a thread was started, in the first byte of the file that
 * MARK_THREADS names: '1'; '0' where one was watched and started none, '?' before. A test that starts none, in any of
 * its processes, shows nothing to a race detector (tests/run.sh).
 *
 * The file is mapped when a program begins: later it may have no descriptor left, or no permission. */
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static char *mark;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("MARK_THREADS");
    if (!path) return;
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    void *memory = fd < 0 ? MAP_FAILED : mmap(NULL, 1, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd >= 0) (void)close(fd);
    if (memory == MAP_FAILED)
        (void)fprintf(stderr, "mark_threads: %s cannot be mapped\n", path);
    else
        mark = memory;
    if (mark)
        (void)__sync_bool_compare_and_swap(
                mark, '?', '0'); /* another process may have started one */
}

int pthread_create(
        pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument) {
    int (*next)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) = NULL;
    void *symbol = dlsym(RTLD_NEXT, "pthread_create");
    memcpy(&next, &symbol, sizeof next);
    if (mark) __atomic_store_n(mark, '1', __ATOMIC_RELAXED);
    return next(thread, attributes, run, argument);
}
