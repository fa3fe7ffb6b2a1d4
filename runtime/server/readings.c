#include "readings.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "limits.h"
#include "runtime/base/memory.h"

enum { READINGS_MAX = 16 };

struct srv_readings {
    pthread_mutex_t lock;
    srv_reading *readings[READINGS_MAX]; /* the oldest first */
    int n_readings;
    int64_t n_bytes; /* of their texts */
};

rt_status srv_readings_create(srv_readings **out) {
    srv_readings *readings = NULL;
    RT_TRY(rt_calloc(1, sizeof *readings, "texts", &readings));
    (void)pthread_mutex_init(&readings->lock, NULL);
    *out = readings;
    return RT_OK;
}

static int64_t bytes_of(const srv_reading *reading) {
    return reading->reading.document.n_bytes;
}

static void forget_oldest(srv_readings *readings) {
    readings->n_bytes -= bytes_of(readings->readings[0]);
    srv_reading_drop(readings->readings[0]);
    readings->n_readings--;
    memmove(&readings->readings[0], &readings->readings[1],
            (size_t)readings->n_readings * sizeof readings->readings[0]);
}

void srv_readings_free(srv_readings *readings) {
    if (!readings) return;
    while (readings->n_readings > 0) forget_oldest(readings);
    (void)pthread_mutex_destroy(&readings->lock);
    free(readings);
}

static bool has_room(const srv_readings *readings, int64_t n_bytes) {
    return readings->n_readings < READINGS_MAX &&
           readings->n_readings < srv_limit_of(SRV_READINGS) &&
           readings->n_bytes + n_bytes <= srv_limit_of(SRV_READING_BYTES);
}

rt_status srv_readings_add(srv_readings *readings, glm_reading *reading, srv_reading **out) {
    uint64_t random[2] = {0, 0};
    srv_reading *one = NULL;
    const rt_status status = rt_calloc(1, sizeof *one, "a text", &one);
    if (status != RT_OK) {
        glm_reading_free(reading);
        return status;
    }
    one->reading = *reading;
    *reading = (glm_reading){0};
    atomic_init(&one->n_references, 2);
    (void)getrandom(random, sizeof random, 0);
    (void)snprintf(one->id, sizeof one->id, "read_%016" PRIx64 "%016" PRIx64, random[0], random[1]);
    (void)pthread_mutex_lock(&readings->lock);
    while (readings->n_readings > 0 && !has_room(readings, bytes_of(one))) forget_oldest(readings);
    readings->readings[readings->n_readings++] = one;
    readings->n_bytes += bytes_of(one);
    (void)pthread_mutex_unlock(&readings->lock);
    *out = one;
    return RT_OK;
}

srv_reading *srv_readings_find(srv_readings *readings, const char *id) {
    srv_reading *found = NULL;
    (void)pthread_mutex_lock(&readings->lock);
    for (int i = 0; i < readings->n_readings && !found; i++)
        if (strcmp(readings->readings[i]->id, id) == 0) found = readings->readings[i];
    if (found) (void)atomic_fetch_add(&found->n_references, 1);
    (void)pthread_mutex_unlock(&readings->lock);
    return found;
}

void srv_reading_drop(srv_reading *reading) {
    if (!reading || atomic_fetch_sub(&reading->n_references, 1) > 1) return;
    glm_reading_free(&reading->reading);
    free(reading);
}
