/* Texts that are asked about: read once, then named by an id that is only looked up. */
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

/* Take the reading over (it is emptied, also on a failure). The oldest ones go where it has no room
 * beside them: SRV_READINGS, SRV_READING_BYTES. With a reference for the caller. RT_ENOMEM. */
RT_MUST_CHECK rt_status srv_readings_add(
        srv_readings *readings, glm_reading *reading, srv_reading **out);
/* With a reference for the caller; NULL: there is none of that id. */
srv_reading *srv_readings_find(srv_readings *readings, const char *id);
/* Accepts NULL. */
void srv_reading_drop(srv_reading *reading);

#endif
