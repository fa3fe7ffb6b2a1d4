/* What a row of logits says of an id: the logarithm of its probability. */
#ifndef GLM_LOG_PROB_H
#define GLM_LOG_PROB_H

#include <stdint.h>

/* ln of the sum of exp over a row, fp32 [n] in host memory; n > 0. ln p(i) is logits[i] less that. Sums are fp64; NaN or
 * Inf where the row has NaN or +Inf. */
double glm_log_sum(const float *logits, int64_t n);

#endif
