#include "log_prob.h"

#include <math.h>

double glm_log_sum(const float *logits, int64_t n) {
    float most = logits[0];
    for (int64_t i = 1; i < n; i++) most = logits[i] > most ? logits[i] : most;
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++) sum += exp((double)logits[i] - (double)most);
    return (double)most + log(sum);
}
