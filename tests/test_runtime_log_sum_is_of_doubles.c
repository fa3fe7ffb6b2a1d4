/* The logarithm of a sum over a vocabulary is exact to the rounding of as many additions in fp64, as no sum or result in fp32
 * would be.
 *
 * Method: one logit far above 151,551 equal ones, each of which an fp32 sum of 1 and more would lose; their sum is known in
 * closed form. Anywhere in the row, and with another constant added to all. */
#include <math.h>
#include <stdlib.h>

#include "help_check.h"
#include "runtime/log_prob.h"

enum { VOCAB = 151552, BELOW = 17 };

int main(void) {
    static const float levels[] = {0.0f, 100.0f, -1000.0f};
    static const int64_t places[] = {0, 77777, VOCAB - 1};
    static float logits[VOCAB];
    const double beyond = log1p((VOCAB - 1) * exp(-BELOW)); /* 0.0063 */
    for (int k = 0; k < 3; k++) {
        for (int64_t i = 0; i < VOCAB; i++) logits[i] = levels[k] - BELOW;
        logits[places[k]] = levels[k];
        const double wanted = (double)levels[k] + beyond;
        CHECK(fabs(glm_log_sum(logits, VOCAB) - wanted) <=
                VOCAB * 0x1p-52 + 0x1p-52 * fabs(wanted));
    }
    return 0;
}
