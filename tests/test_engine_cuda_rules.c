/* What CUDA, cuBLASLt and NCCL do not allow, and would refuse or get wrong, is noticed by what plays them: each rule is
 * kept, and then nothing is said, or broken, and then the process ends.
 *
 * Method: a process for each; tests/standin. */
#include <cuda_runtime_api.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attention/attn_cuda.h"
#include "parallel/comm_nccl_library.h"
#include "runtime/linear_cuda.h"
#include "runtime/ops_cuda.h"
#include "standin/standin_cuda.h"

enum { DEVICE = 1, BYTES = 65536, EXIT_UNEXPECTED = 4 };

static void require(bool condition, const char *what) {
    if (condition) return;
    fprintf(stderr, "%s\n", what);
    _exit(EXIT_UNEXPECTED);
}

static void ok(cudaError_t error) {
    require(error == cudaSuccess, "CUDA");
}

/* What each rule has to play with. */
static cudaStream_t stream, other;
static cudaEvent_t event;
static char *memory, *pinned; /* of the device, zeros; of the host */

static void open_gpu(void) {
    standin_cuda_get()->n_devices = 2;
    ok(cudaSetDevice(DEVICE));
    ok(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    ok(cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking));
    ok(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
    ok(cudaMalloc((void **)&memory, BYTES));
    ok(cudaHostAlloc((void **)&pinned, BYTES, cudaHostAllocDefault));
    ok(cudaMemsetAsync(memory, 0, BYTES, stream));
    ok(cudaStreamSynchronize(stream));
}

/* ---- CUDA ------------------------------------------------------------------------------------ */

static void *wait_in_thread(void *context) {
    const bool *is_broken = context;
    if (!*is_broken) ok(cudaSetDevice(DEVICE));
    (void)cudaStreamSynchronize(stream);
    return NULL;
}

static void in_a_thread(void *(*work)(void *), void *context) {
    pthread_t thread;
    require(pthread_create(&thread, NULL, work, context) == 0, "no thread");
    (void)pthread_join(thread, NULL);
}

static void thread_has_device(bool is_broken) {
    in_a_thread(wait_in_thread, &is_broken);
}

static void process_has_one_context(bool is_broken) {
    (void)cudaSetDevice(is_broken ? 0 : DEVICE);
}

static void nothing_works_behind_a_fork(bool is_broken) {
    int status = 0;
    const pid_t child = fork();
    if (child == 0) {
        if (is_broken) (void)cudaStreamSynchronize(stream);
        _exit(0);
    }
    (void)waitpid(child, &status, 0);
    _exit(WEXITSTATUS(status));
}

static void record(void) {
    ok(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    ok(cudaMemsetAsync(memory, 0, BYTES, stream));
}

static void recording_takes_no_memory(bool is_broken) {
    void *more = NULL;
    record();
    if (is_broken) (void)cudaMalloc(&more, BYTES);
}

static void recording_waits_for_nothing(bool is_broken) {
    record();
    if (is_broken) (void)cudaStreamSynchronize(other);
}

static void *end_recording(void *context) {
    ok(cudaSetDevice(DEVICE));
    (void)cudaStreamEndCapture(stream, context);
    return NULL;
}

static void recording_ends_in_its_thread(bool is_broken) {
    cudaGraph_t graph = NULL;
    record();
    if (is_broken)
        in_a_thread(end_recording, &graph);
    else
        ok(cudaStreamEndCapture(stream, &graph));
}

static void handle_is_there(bool is_broken) {
    if (is_broken) ok(cudaEventDestroy(event));
    (void)cudaEventRecord(event, stream);
}

static void launch_finds_no_error(bool is_broken) {
    standin_cuda *gpu = standin_cuda_get();
    gpu->fail_at = gpu->n_calls + 1;
    require(cudaEventRecord(event, stream) != cudaSuccess, "a call that fails");
    if (!is_broken) (void)cudaGetLastError();
    (void)!glm_cuda_embed((uint16_t *)(void *)memory, (int32_t *)(void *)memory, 1, 8,
            (uint16_t *)(void *)(memory + 1024), stream);
}

static void places_of_a_copy_are_apart(bool is_broken) {
    (void)cudaMemcpyAsync(
            memory + 256, memory, is_broken ? 257 : 256, cudaMemcpyDeviceToDevice, stream);
}

static void copied_memory_is_pinned(bool is_broken) {
    static char pageable[256];
    (void)cudaMemcpyAsync(
            memory, is_broken ? pageable : pinned, 256, cudaMemcpyHostToDevice, stream);
}

static void freed_memory_is_idle(bool is_broken) {
    ok(cudaMemsetAsync(memory, 1, BYTES, stream));
    if (!is_broken) ok(cudaStreamSynchronize(stream));
    (void)cudaFree(memory);
}

static void asked_device_is_there(bool is_broken) {
    int n_sms = 0;
    (void)cudaDeviceGetAttribute(&n_sms, cudaDevAttrMultiProcessorCount, is_broken ? 2 : 1);
}

static void copied_memory_stays(bool is_broken) {
    (void)cudaMemcpyAsync(memory, pinned, 256, cudaMemcpyHostToDevice, stream);
    if (!is_broken) ok(cudaStreamSynchronize(stream));
    (void)cudaFreeHost(pinned);
}

static void host_leaves_what_is_copied(bool is_broken) {
    ok(cudaMemcpyAsync(memory, pinned, 256, cudaMemcpyHostToDevice, stream));
    if (!is_broken) ok(cudaStreamSynchronize(stream));
    pinned[255]++;
    ok(cudaStreamSynchronize(stream));
}

/* What comes is not there before, either. */
static void host_waits_for_what_is_copied(bool is_broken) {
    pinned[255] = 0;
    ok(cudaMemcpyAsync(pinned, memory, 256, cudaMemcpyDeviceToHost, stream));
    require(pinned[255] != 0, "a zero that has come already");
    if (!is_broken) ok(cudaStreamSynchronize(stream));
    pinned[255] = 1;
    ok(cudaStreamSynchronize(stream));
}

/* What comes in may still be on its way where it goes out. */
static void copies_of_two_streams_are_ordered(bool is_broken) {
    ok(cudaMemcpyAsync(memory, pinned, 256, cudaMemcpyHostToDevice, stream));
    ok(cudaEventRecord(event, stream));
    if (!is_broken) ok(cudaStreamWaitEvent(other, event, 0));
    ok(cudaMemcpyAsync(pinned + 1024, memory + 255, 1, cudaMemcpyDeviceToHost, other));
    ok(cudaStreamSynchronize(other));
}

static void kernel_has_the_devices_memory(bool is_broken) {
    const int32_t *ids = (int32_t *)(void *)(is_broken ? pinned : memory);
    (void)!glm_cuda_embed(
            (uint16_t *)(void *)memory, ids, 1, 8, (uint16_t *)(void *)(memory + 1024), stream);
}

static void memory_is_of_some_bytes(bool is_broken) {
    void *more = NULL;
    (void)cudaMalloc(&more, is_broken ? 0 : 256);
}

/* Over no keys. */
static void kernel_is_for_the_chip(bool is_broken) {
    const attn_shape shape = {
            .n_heads = 1, .n_kv_heads = 1, .head_dim = 128, .rope_dim = 64, .kv_dtype = RT_BF16};
    const attn_cuda_prefill_args args = {.q = (uint16_t *)(void *)memory,
            .q_stride = 128,
            .n_tokens = 1,
            .attended = (uint16_t *)(void *)(memory + 1024),
            .is_first = true,
            .is_last = true};
    (void)!(is_broken ? attn_cuda_prefill_sm90 : attn_cuda_prefill_sm80)(&shape, &args, stream);
}

/* ---- cuBLASLt -------------------------------------------------------------------------------- */

static glm_cublas *open_cublas(void) {
    static glm_cuda_device device;
    glm_cublas *cublas = NULL;
    require(glm_cuda_device_open(DEVICE, &device) == RT_OK, "a device");
    require(glm_cublas_open(&device, &cublas) == RT_OK, "cuBLASLt");
    return cublas;
}

static void multiply_by(glm_cublas *cublas, int64_t x_at) {
    const glm_cuda_matrix weight = {.numbers = (uint16_t *)(void *)memory, .n_out = 8, .n_in = 16};
    (void)!glm_cuda_linear(cublas, &weight, (uint16_t *)(void *)(memory + x_at),
            glm_cuda_decoded(1), memory + 2048, false, stream);
}

static void multiply(int64_t x_at, bool is_freed) {
    glm_cublas *cublas = open_cublas();
    if (is_freed) ok(cudaFree(memory));
    multiply_by(cublas, x_at);
}

static void kernels_are_chosen_before_recording(bool is_broken) {
    glm_cublas *cublas = open_cublas();
    if (!is_broken) multiply_by(cublas, 1024);
    record();
    multiply_by(cublas, 1024);
}

static void pointers_are_aligned(bool is_broken) {
    multiply(is_broken ? 1024 + 16 : 1024, false);
}

static void product_is_of_device_memory(bool is_broken) {
    multiply(1024, is_broken);
}

static void product_leaves_what_it_reads(bool is_broken) {
    multiply(is_broken ? 2048 : 1024, false);
}

/* ---- NCCL ------------------------------------------------------------------------------------ */

static nccl_library nccl;

static void finish(nccl_comm comm) {
    nccl_result state = NCCL_IN_PROGRESS;
    while (state == NCCL_IN_PROGRESS)
        require(nccl.CommGetAsyncError(comm, &state) == NCCL_SUCCESS, "NCCL");
    require(state == NCCL_SUCCESS, "NCCL");
}

static nccl_comm join_alone(void) {
    nccl_id id;
    nccl_config config = {
            .size = sizeof config, .magic = NCCL_CONFIG_MAGIC, .version = NCCL_CONFIG_VERSION};
    nccl_comm comm = NULL;
    require(nccl_library_open(NULL, &nccl) == RT_OK, "NCCL");
    require(nccl.GetUniqueId(&id) == NCCL_SUCCESS, "NCCL");
    require(nccl.CommInitRankConfig(&comm, 1, id, 0, &config) == NCCL_IN_PROGRESS, "NCCL");
    finish(comm);
    return comm;
}

static void sum(nccl_comm comm) {
    (void)nccl.AllReduce(memory, memory, 16, NCCL_FLOAT32, NCCL_SUM, comm, stream);
}

static void calls_of_nccl_are_waited_for(bool is_broken) {
    const nccl_comm comm = join_alone();
    sum(comm);
    if (!is_broken) finish(comm);
    sum(comm);
}

/* In place, or apart. */
static void places_of_a_sum_are_apart(bool is_broken) {
    const nccl_comm comm = join_alone();
    (void)nccl.AllReduce(
            memory, memory + (is_broken ? 60 : 64), 16, NCCL_FLOAT32, NCCL_SUM, comm, stream);
}

static void places_of_a_gather_are_apart(bool is_broken) {
    const nccl_comm comm = join_alone();
    (void)nccl.AllGather(memory, memory + (is_broken ? 1 : 0), 64, NCCL_INT8, comm, stream);
}

static void nccl_ends_behind_its_graphs(bool is_broken) {
    const nccl_comm comm = join_alone();
    cudaGraph_t graph = NULL;
    record();
    sum(comm);
    finish(comm);
    ok(cudaStreamEndCapture(stream, &graph));
    if (!is_broken) ok(cudaGraphDestroy(graph));
    (void)nccl.CommFinalize(comm);
}

static void nccl_is_let_go_of_when_it_has_ended(bool is_broken) {
    const nccl_comm comm = join_alone();
    (void)nccl.CommFinalize(comm);
    if (!is_broken) finish(comm);
    (void)nccl.CommDestroy(comm);
}

/* ---- each ------------------------------------------------------------------------------------ */

typedef void (*rule)(bool is_broken);

static int exit_of(rule one, bool is_broken) {
    int status = 0;
    (void)fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        open_gpu();
        one(is_broken);
        _exit(0);
    }
    return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status)
                   ? WEXITSTATUS(status)
                   : -1;
}

static int check(const char *what, rule one) {
    const int kept = exit_of(one, false);
    const int broken = exit_of(one, true);
    if (kept == 0 && broken == STANDIN_EXIT_FOUND) return 0;
    printf("FAIL %s: exit %d where it is kept, %d where it is broken\n", what, kept, broken);
    return 1;
}

#define CHECK(rule) n_failed += check(#rule, rule)

int main(void) {
    int n_failed = 0;
    CHECK(thread_has_device);
    CHECK(process_has_one_context);
    CHECK(nothing_works_behind_a_fork);
    CHECK(recording_takes_no_memory);
    CHECK(recording_waits_for_nothing);
    CHECK(recording_ends_in_its_thread);
    CHECK(handle_is_there);
    CHECK(launch_finds_no_error);
    CHECK(places_of_a_copy_are_apart);
    CHECK(copied_memory_is_pinned);
    CHECK(freed_memory_is_idle);
    CHECK(asked_device_is_there);
    CHECK(copied_memory_stays);
    CHECK(host_leaves_what_is_copied);
    CHECK(host_waits_for_what_is_copied);
    CHECK(copies_of_two_streams_are_ordered);
    CHECK(kernel_has_the_devices_memory);
    CHECK(memory_is_of_some_bytes);
    CHECK(kernel_is_for_the_chip);
    CHECK(pointers_are_aligned);
    CHECK(kernels_are_chosen_before_recording);
    CHECK(product_is_of_device_memory);
    CHECK(product_leaves_what_it_reads);
    CHECK(calls_of_nccl_are_waited_for);
    CHECK(places_of_a_sum_are_apart);
    CHECK(places_of_a_gather_are_apart);
    CHECK(nccl_ends_behind_its_graphs);
    CHECK(nccl_is_let_go_of_when_it_has_ended);
    return n_failed ? 1 : 0;
}
