/* CUDA's runtime: streams, events, graphs. */
#include <cuda_runtime_api.h>

#include "standin_rules.h"

using namespace standin;

static void wait_and_count(const std::function<void()> &wait) {
    const int64_t n = n_queued();
    wait();
    state()->n_drained += n > 0 && n_queued() == 0;
}

/* Of a wait, which fails where work has. */
static cudaError_t wait_for(const std::function<void()> &wait) {
    if (fails() && !state()->waits_well) is_broken = true;
    wait_and_count(wait);
    return told(is_broken ? cudaErrorLaunchFailure : cudaSuccess);
}

extern "C" {

/* ---- streams --------------------------------------------------------------------------------- */

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned flags) {
    call now("cudaStreamCreateWithFlags", SAFE_CONTEXT);
    if (flags != cudaStreamNonBlocking) found("a stream that the default one blocks");
    const cudaError_t error = now.outcome(cudaErrorMemoryAllocation);
    if (error != cudaSuccess) return error;
    *out = new CUstream_st;
    streams.push_back(*out);
    note_made(STREAM, *out);
    return cudaSuccess;
}

static void let_go(cudaStream_t stream) {
    for (size_t i = 0; i < streams.size(); i++)
        if (streams[i] == stream) streams.erase(streams.begin() + (long)i);
    delete stream;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    std::unique_lock<std::recursive_mutex> held(lock);
    begin_call("cudaStreamDestroy", SAFE_CONTEXT);
    note_gone(STREAM, stream, "cudaStreamDestroy");
    drain(stream);
    let_go(stream);
    if (!streams.empty()) return told(is_broken ? cudaErrorLaunchFailure : cudaSuccess);
    is_broken = false; /* a new process, as it were */
    (void)take_error();
    end_moving(&held);
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    call now("cudaStreamSynchronize", SAFE_CONTEXT);
    require_there(STREAM, stream, "cudaStreamSynchronize");
    return wait_for([=] { drain(stream); });
}

/* As of the host: nothing runs for being asked. What has failed it "may" tell: here not of a stream on which nothing is queued. */
cudaError_t cudaStreamQuery(cudaStream_t stream) {
    call now("cudaStreamQuery", CONTEXT);
    require_there(STREAM, stream, "cudaStreamQuery");
    note_watching();
    if (stream->is_capturing) found("a stream is asked while it records a graph");
    if (stream->queue.empty()) return cudaSuccess;
    return told(is_broken ? cudaErrorLaunchFailure : cudaErrorNotReady);
}

/* ---- events ---------------------------------------------------------------------------------- */

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned flags) {
    call now("cudaEventCreateWithFlags", CONTEXT);
    if (flags != cudaEventDisableTiming) found("an event that is more than a place in a stream");
    const cudaError_t error = now.outcome(cudaErrorMemoryAllocation);
    if (error != cudaSuccess) return error;
    *out = new CUevent_st;
    note_made(EVENT, *out);
    return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
    call now("cudaEventDestroy", CONTEXT);
    note_gone(EVENT, event, "cudaEventDestroy");
    delete event;
    return told(is_broken ? cudaErrorLaunchFailure : cudaSuccess);
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    call now("cudaEventRecord", CONTEXT);
    require_there(EVENT, event, "cudaEventRecord");
    require_there(STREAM, stream, "cudaEventRecord");
    if (stream->is_capturing) found("an event is recorded in a graph");
    const cudaError_t error = now.outcome(cudaErrorInvalidValue);
    if (error != cudaSuccess) return error;
    event->last = std::make_shared<recorded>();
    event->last->stream = stream;
    queue(stream, {"an event", NULL, NULL, event->last});
    return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
    call now("cudaStreamWaitEvent", CONTEXT);
    require_there(EVENT, event, "cudaStreamWaitEvent");
    require_there(STREAM, stream, "cudaStreamWaitEvent");
    if (stream->is_capturing) found("an event is waited for in a graph");
    const cudaError_t error = now.outcome(cudaErrorInvalidValue);
    if (error == cudaSuccess && event->last) queue(stream, {"a wait", NULL, event->last, NULL});
    return error;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    call now("cudaEventSynchronize", SAFE_CONTEXT);
    require_there(EVENT, event, "cudaEventSynchronize");
    return wait_for([=] {
        if (event->last) run_until(event->last);
    });
}

/* ---- graphs ---------------------------------------------------------------------------------- */

static cudaError_t outcome_of_making(call *now, cudaError_t failure) {
    is_making_graph = true;
    const cudaError_t error = now->outcome(failure);
    is_making_graph = false;
    return error;
}

static bool has_no_room_for_graphs() {
    return state()->refuses_graphs || number("STANDIN_CUDA_NO_GRAPHS_ON", -1) == this_device();
}

static void count_graph(const CUgraphExec_st *graph, int sign) {
    standin_cuda *s = state();
    s->n_graphs += sign;
    s->n_graph_nodes += sign * (int64_t)graph->operations.size();
    if (s->n_graph_nodes > s->n_graph_nodes_max) s->n_graph_nodes_max = s->n_graph_nodes;
}

/* In a mode in which only the thread that records may not do what is not safe, and has to end it. */
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode mode) {
    call now("cudaStreamBeginCapture", SAFE_CONTEXT);
    require_there(STREAM, stream, "cudaStreamBeginCapture");
    if (mode != cudaStreamCaptureModeThreadLocal)
        found("a graph is recorded in mode %d", (int)mode);
    const cudaError_t error = outcome_of_making(&now, cudaErrorInvalidValue);
    if (error != cudaSuccess) return error;
    stream->is_capturing = true;
    stream->captured_by = std::this_thread::get_id();
    stream->captured.clear();
    return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, enum cudaStreamCaptureStatus *status) {
    call now("cudaStreamIsCapturing", CONTEXT);
    require_there(STREAM, stream, "cudaStreamIsCapturing");
    *status = stream->is_capturing ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
    return now.outcome(cudaErrorInvalidValue);
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *out) {
    call now("cudaStreamEndCapture", CONTEXT);
    require_there(STREAM, stream, "cudaStreamEndCapture");
    if (!stream->is_capturing) found("the end of a graph that was not begun");
    if (stream->captured_by != std::this_thread::get_id())
        found("another thread ends a graph than began it");
    stream->is_capturing = false;
    cudaError_t error = outcome_of_making(&now, cudaErrorStreamCaptureInvalidated);
    if (stream->is_spoiled) error = told(cudaErrorStreamCaptureInvalidated);
    stream->is_spoiled = false;
    *out = error == cudaSuccess ? new CUgraph_st{stream->captured} : NULL;
    stream->captured.clear();
    if (*out) note_made(GRAPH, *out);
    return error;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *out, cudaGraph_t graph, unsigned long long) {
    call now("cudaGraphInstantiate", SAFE_CONTEXT);
    require_there(GRAPH, graph, "cudaGraphInstantiate");
    const cudaError_t error = outcome_of_making(&now, cudaErrorMemoryAllocation);
    if (error != cudaSuccess) return error;
    if (has_no_room_for_graphs() || state()->graph_bytes > n_free())
        return told(cudaErrorMemoryAllocation);
    *out = new CUgraphExec_st{graph->operations};
    note_made(GRAPH_EXEC, *out);
    count_graph(*out, 1);
    return cudaSuccess;
}

cudaError_t cudaGraphUpload(cudaGraphExec_t graph, cudaStream_t stream) {
    call now("cudaGraphUpload", SAFE_CONTEXT);
    require_there(GRAPH_EXEC, graph, "cudaGraphUpload");
    require_there(STREAM, stream, "cudaGraphUpload");
    return outcome_of_making(&now, cudaErrorMemoryAllocation);
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream) {
    call now("cudaGraphLaunch", SAFE_CONTEXT);
    require_there(GRAPH_EXEC, graph, "cudaGraphLaunch");
    require_there(STREAM, stream, "cudaGraphLaunch");
    const cudaError_t error = now.outcome(cudaErrorInvalidValue);
    if (error != cudaSuccess) return error;
    state()->n_graph_launches++;
    for (const operation &one : graph->operations) queue(stream, one);
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    call now("cudaGraphDestroy", CONTEXT);
    note_gone(GRAPH, graph, "cudaGraphDestroy");
    delete graph;
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph) {
    call now("cudaGraphExecDestroy", CONTEXT);
    note_gone(GRAPH_EXEC, graph, "cudaGraphExecDestroy");
    count_graph(graph, -1);
    delete graph;
    return told(is_broken ? cudaErrorLaunchFailure : cudaSuccess);
}

} // extern "C"
