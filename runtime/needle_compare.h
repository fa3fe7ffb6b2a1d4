/* needle --compare. */
#ifndef GLM_NEEDLE_COMPARE_H
#define GLM_NEEDLE_COMPARE_H

#include "base/status.h"

/* Print on stdout, as a table or as one JSON object, what two runs have in common and where they
 * differ. The paths are directories of --out, or results.json of one.
 *
 * Errors: RT_EIO      one cannot be read
 *         RT_ECORRUPT one holds no results
 *         RT_EUSAGE   they have no cell in common */
RT_MUST_CHECK rt_status glm_needle_compare(const char *path_a, const char *path_b, bool as_json);

#endif
