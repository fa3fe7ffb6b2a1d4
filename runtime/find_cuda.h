/* Which GPU: how many there are, what one is, and why it cannot be used, with what may be done about it. */
#ifndef GLM_FIND_CUDA_H
#define GLM_FIND_CUDA_H

#include "device_cuda.h"

/* How many GPUs this process may use; 0: none, or no driver. */
int32_t glm_cuda_count(void);
/* Whether somebody wanted one to be here: a GPU with its driver, whether or not we can use it. */
bool glm_cuda_is_there(void);
/* Loads a kernel on the thread's GPU: what can neither be run there nor compiled by the driver fails here, and not in the
 * first pass. RT_EUNSUPPORTED: why, and what to do. */
RT_MUST_CHECK rt_status glm_cuda_try_kernel(const void *kernel);
/* Whether there is a GPU that the kernels run on, sm_80 or later, and a driver; for rank `place` of the host, as in
 * glm_cuda_device_open. What it is, or why not, in `text`, of `room` bytes. `memory`: out, may be NULL. */
bool glm_cuda_is_usable(int32_t place, char *text, int64_t room, rt_device_memory *memory);

/* What the driver says a GPU is; 0 where it does not say. */
typedef struct glm_cuda_chip {
    int32_t capability;
    int32_t n_sms;             /* streaming multiprocessors */
    bool is_geforce;           /* which sums products in fp32 at half the rate of others */
    double clock_hz;           /* at most */
    double memory_bytes_per_s; /* of its data sheet */
    double link_bytes_per_s;   /* one way, to the host */
} glm_cuda_chip;
/* Of the GPU for rank `place`. RT_EUNSUPPORTED: there is none to use, why. */
RT_MUST_CHECK rt_status glm_cuda_describe(int32_t place, glm_cuda_chip *out);

/* Of a GPU with so much that nobody uses, what there is beside CUDA's context. */
rt_device_memory glm_cuda_memory_of(int64_t total_bytes);

/* The same GPU, as glm_cuda_device_open gives it before it opens anything; other fields of *out stay. The thread's calls are
 * about it from here on. RT_EUNSUPPORTED: there is none to use, why. */
RT_MUST_CHECK rt_status glm_cuda_find(int32_t place, glm_cuda_device *out);

#endif
