#include "bias.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/size.h"

static bool is_repetitive(const glm_bias *bias) {
    return bias->repetition_penalty != 0.0F && bias->repetition_penalty != 1.0F;
}

bool glm_bias_is_any(const glm_bias *bias) {
    return bias->n_entries > 0 || bias->presence_penalty != 0.0F ||
           bias->frequency_penalty != 0.0F || is_repetitive(bias);
}

/* How many ids are less. */
static int64_t place_of(const glm_bias *bias, int32_t id) {
    int64_t low = 0;
    int64_t high = bias->n_entries;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (bias->entries[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static rt_status reserve(glm_bias *bias, int64_t n) {
    if (n <= bias->room) return RT_OK;
    const int64_t room = rt_max64(n, 2 * bias->room);
    glm_bias_entry *larger = realloc(bias->entries, (size_t)room * sizeof *larger);
    if (!larger) return rt_fail(RT_ENOMEM, "bias: no memory for the biases of ids");
    bias->entries = larger;
    bias->room = room;
    return RT_OK;
}

/* *out: the entry of `id`, made where there is none; borrowed until the next one is made. */
static rt_status entry_of(glm_bias *bias, int32_t id, glm_bias_entry **out) {
    const int64_t place = place_of(bias, id);
    if (place == bias->n_entries || bias->entries[place].id != id) {
        RT_TRY(reserve(bias, bias->n_entries + 1));
        memmove(&bias->entries[place + 1], &bias->entries[place],
                (size_t)(bias->n_entries - place) * sizeof *bias->entries);
        bias->entries[place] = (glm_bias_entry){.id = id};
        bias->n_entries++;
    }
    *out = &bias->entries[place];
    return RT_OK;
}

rt_status glm_bias_set(glm_bias *bias, int32_t id, float amount) {
    glm_bias_entry *entry = NULL;
    RT_TRY(entry_of(bias, id, &entry));
    entry->bias = amount;
    return RT_OK;
}

rt_status glm_bias_begin(glm_bias *bias, const int32_t *prompt, int64_t n_prompt, int64_t n_vocab) {
    if (!is_repetitive(bias)) return RT_OK;
    RT_TRY(rt_calloc(n_vocab, sizeof *bias->seen, "ids of a prompt", &bias->seen));
    bias->n_seen = n_vocab;
    for (int64_t i = 0; i < n_prompt; i++) bias->seen[prompt[i]] = 1;
    return RT_OK;
}

rt_status glm_bias_count(glm_bias *bias, int32_t id) {
    glm_bias_entry *entry = NULL;
    if (bias->seen) bias->seen[id] = 1;
    if (bias->presence_penalty == 0.0F && bias->frequency_penalty == 0.0F) return RT_OK;
    RT_TRY(entry_of(bias, id, &entry));
    entry->n++;
    return RT_OK;
}

static float amount_of(const glm_bias *bias, const glm_bias_entry *entry) {
    const float once = entry->n > 0 ? bias->presence_penalty : 0.0F;
    return entry->bias - once - bias->frequency_penalty * (float)entry->n;
}

static void divide_seen(glm_bias *bias, int64_t n) {
    for (int64_t id = 0; id < n && id < bias->n_seen; id++) {
        const float logit = bias->row[id];
        const float by = bias->repetition_penalty;
        if (bias->seen[id]) bias->row[id] = logit > 0.0F ? logit / by : logit * by;
    }
}

rt_status glm_bias_apply(glm_bias *bias, const float *logits, int64_t n, const float **out) {
    if (!bias->row) RT_TRY(rt_calloc(n, sizeof *bias->row, "biased logits", &bias->row));
    memcpy(bias->row, logits, (size_t)n * sizeof *logits);
    divide_seen(bias, n);
    for (int64_t i = 0; i < bias->n_entries && bias->entries[i].id < n; i++)
        bias->row[bias->entries[i].id] += amount_of(bias, &bias->entries[i]);
    *out = bias->row;
    return RT_OK;
}

rt_status glm_bias_copy(glm_bias *to, const glm_bias *from) {
    to->presence_penalty = from->presence_penalty;
    to->frequency_penalty = from->frequency_penalty;
    to->repetition_penalty = from->repetition_penalty;
    for (int64_t i = 0; i < from->n_entries; i++)
        RT_TRY(glm_bias_set(to, from->entries[i].id, from->entries[i].bias));
    return RT_OK;
}

void glm_bias_free(glm_bias *bias) {
    free(bias->entries);
    free(bias->seen);
    free(bias->row);
    *bias = (glm_bias){0};
}
