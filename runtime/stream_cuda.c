/* Weights that come layer by layer. Two places on the device:
 *
 *     compute   | layer i, in one place | layer i + 1, in the other | ...
 *     copy_in   | layer i + 1 -> other  | layer i + 2 -> one        | ...
 *
 * A place is free when compute has passed what was queued before the next layer was asked for: copy_in follows that,
 * copies, and compute follows the copy when it gets to the layer. The last layer is followed by the first: of the next
 * span, or the next token. */
#include "engine_cuda.h"

enum { N_PLACES = 2 };

rt_status glm_cuda_stream_open(glm_engine *engine, int64_t layer_bytes) {
    glm_cuda *cuda = engine->cuda;
    glm_cuda_stream *s = &cuda->stream;
    const int32_t n = engine->plan.n_streamed_layers;
    *s = (glm_cuda_stream){.first = engine->config.n_layers - n, .layer_bytes = layer_bytes};
    if (n == 0) return RT_OK;
    RT_TRY(glm_cuda_pin(
            n * layer_bytes, "weights that come layer by layer", (void **)(void *)&s->host));
    RT_TRY(GLM_CUDA_ALLOC(
            &cuda->device, N_PLACES * layer_bytes, "weights that come layer by layer", &s->device));
    RT_TRY(glm_cuda_event_create(&s->freed));
    for (int32_t i = 0; i < N_PLACES; i++) {
        s->places[i].layer = -1;
        RT_TRY(glm_cuda_event_create(&s->places[i].come));
    }
    return RT_OK;
}

void glm_cuda_stream_close(glm_cuda *cuda) {
    glm_cuda_stream *s = &cuda->stream;
    for (int32_t i = 0; i < N_PLACES; i++) glm_cuda_event_free(s->places[i].come);
    glm_cuda_event_free(s->freed);
    glm_cuda_free(&cuda->device, s->device);
    glm_cuda_unpin(s->host);
    *s = (glm_cuda_stream){0};
}

static int32_t place_of(const glm_cuda_stream *s, int32_t layer) {
    for (int32_t i = 0; i < N_PLACES; i++)
        if (s->places[i].layer == layer) return i;
    return -1;
}

static uint16_t *moved(const glm_cuda_stream *s, int32_t place, int32_t layer, const uint16_t *at) {
    const char *from = s->host + (layer - s->first) * s->layer_bytes;
    return (uint16_t *)(void *)(s->device + place * s->layer_bytes + ((const char *)at - from));
}

/* The layer begins to come, to where what was queued so far may still be computing with another. */
static rt_status begin(glm_cuda *cuda, int32_t layer, int32_t place) {
    glm_cuda_stream *s = &cuda->stream;
    const glm_cuda_device *device = &cuda->device;
    const glm_cuda_layer *from = &cuda->weights.layers[layer];
    glm_cuda_layer *to = &s->places[place].weights;
    s->places[place].layer = -1;
    RT_TRY(glm_cuda_event_record(s->freed, device->compute));
    RT_TRY(glm_cuda_event_follow(device->copy_in, s->freed));
    RT_TRY(glm_cuda_copy_in(s->device + place * s->layer_bytes,
            s->host + (layer - s->first) * s->layer_bytes, s->layer_bytes, device->copy_in));
    RT_TRY(glm_cuda_event_record(s->places[place].come, device->copy_in));
    *to = *from;
    to->qkv.numbers = moved(s, place, layer, from->qkv.numbers);
    to->attn_out.numbers = moved(s, place, layer, from->attn_out.numbers);
    to->gate_up.numbers = moved(s, place, layer, from->gate_up.numbers);
    to->down.numbers = moved(s, place, layer, from->down.numbers);
    s->places[place].layer = layer;
    s->places[place].is_awaited = false;
    return RT_OK;
}

static rt_status enter(glm_cuda *cuda, int32_t layer, const glm_cuda_layer **out) {
    glm_cuda_stream *s = &cuda->stream;
    int32_t place = place_of(s, layer);
    if (place < 0) {
        place = N_PLACES - 1 - s->last;
        RT_TRY(begin(cuda, layer, place));
    }
    if (!s->places[place].is_awaited)
        RT_TRY(glm_cuda_event_follow(cuda->device.compute, s->places[place].come));
    s->places[place].is_awaited = true;
    s->last = place;
    *out = &s->places[place].weights;
    return RT_OK;
}

rt_status glm_cuda_stream_layer(glm_engine *engine, int32_t layer, const glm_cuda_layer **out) {
    glm_cuda *cuda = engine->cuda;
    glm_cuda_stream *s = &cuda->stream;
    const int32_t n_layers = engine->config.n_layers;
    *out = &cuda->weights.layers[layer];
    if (!glm_cuda_streams(engine)) return RT_OK;
    if (layer >= s->first) RT_TRY(enter(cuda, layer, out));
    const int32_t next = layer + 1 < s->first || layer + 1 == n_layers ? s->first : layer + 1;
    return place_of(s, next) < 0 ? begin(cuda, next, N_PLACES - 1 - s->last) : RT_OK;
}
