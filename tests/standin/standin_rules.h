/* What CUDA's documentation asks of whoever calls, whatever the call does. What is not kept ends the process.
 *
 *   thread    A host thread's calls are about its current device, which is number 0 until it calls cudaSetDevice. A process
 *             has one device here; a context on another one takes its memory from whoever has that.
 *   fork      Nothing of CUDA works in a process that was forked after CUDA was used.
 *   capture   While a stream records a graph, calls that wait, or take or give back memory, are refused.
 *   handles   A stream, an event, a graph that was destroyed, or never made, is not used.
 *   launches  A kernel reads and writes memory of the device: pageable memory of the host is none that it can, pinned none
 *             that ours are for.
 *   errors    What a call returned is also kept for cudaGetLastError, and a launch that is asked after would tell it:
 *             it has been taken before. After a kernel has failed every call fails.
 *
 * Private to tests/standin. */
#ifndef STANDIN_RULES_H
#define STANDIN_RULES_H

#include "standin_machine.h"
#include "tests/emu/emu.h"

namespace standin {

/* A call needs: */
enum {
    NO_CONTEXT,
    CONTEXT /* of the thread's device */,
    SAFE_CONTEXT /* and may not be made while a graph is recorded */
};

/* One of CUDA's, whose headers are not needed here. */
struct error_code {
    int code;
    template <typename CUDA_ERROR> operator CUDA_ERROR() const {
        return (CUDA_ERROR)code;
    }
};

/* A call begins; it has the lock until it returns. */
class call {
  public:
    call(const char *name, int needs);
    /* What becomes of it: `failure` where it is to fail. Once a call. */
    error_code outcome(int failure);

  private:
    guard held;
};
/* The same of a library's. */
void begin_call(const char *name, int needs);

void set_device(int device);
int this_device();
/* CUDA's last error of this thread. */
error_code told(int error);
error_code take_error();
void require_no_error(const char *what);

/* Things that are there now. */
enum kind { STREAM, EVENT, GRAPH, GRAPH_EXEC };
void note_made(kind what, const void *handle);
void note_gone(kind what, const void *handle, const char *name);
void require_there(kind what, const void *handle, const char *name);

/* So much shared memory a kernel of that file may be launched with. */
void note_smem_bytes(const char *source, int bytes);
/* It is one that the device, of the capability that it has, takes; and no pointer among its parameters is to the host's
 * memory. */
void check_launch(const emu_launch &how, const char *source);

} // namespace standin

#endif
