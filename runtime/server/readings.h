/* Texts that clients ask about: read once, then found by an id. */
#ifndef SRV_READINGS_H
#define SRV_READINGS_H

#include "error.h"
#include "request.h"
#include "runtime/reading.h"

typedef struct srv_readings srv_readings;

/* One text; constant once it is in the table. */
typedef struct srv_reading {
    char id[SRV_ID_BYTES]; /* "read_..." */
    atomic_int n_references;
    glm_reading reading;
} srv_reading;

/* RT_ENOMEM */
RT_MUST_CHECK rt_status srv_readings_create(srv_readings **out);
/* Accepts NULL. */
void srv_readings_free(srv_readings *readings);

/* Add a reading, which is taken over (emptied, also on failure). The oldest ones are forgotten where there are more than
 * SRV_READINGS, or more bytes than SRV_READING_BYTES, with it. *out has a reference for the caller. RT_ENOMEM. */
RT_MUST_CHECK rt_status srv_readings_add(
        srv_readings *readings, glm_reading *reading, srv_reading **out);
/* With a reference for the caller; NULL: there is none of that id. */
srv_reading *srv_readings_find(srv_readings *readings, const char *id);
/* Accepts NULL. */
void srv_reading_drop(srv_reading *reading);

#endif
