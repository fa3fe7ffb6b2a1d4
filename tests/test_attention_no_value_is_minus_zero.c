/* No value of a finished row is -0, whichever way it came about: pages that were left out would have added 0 to it.
 *
 * Method: rows whose sums are -0, or so small that their quotient is, through what all of the CPU's attention ends with; and
 * their lse. */
#include <math.h>
#include <string.h>

#include "attention/attn_cpu.h"
#include "help_check.h"

enum { HEAD_DIM = 8 };

static void check(float value, float sum, float expected) {
    float row[HEAD_DIM], lse = 0.0f;
    for (int d = 0; d < HEAD_DIM; d++) row[d] = value;
    attn_finish_row(1.0f, sum, row, HEAD_DIM, &lse);
    for (int d = 0; d < HEAD_DIM; d++) {
        CHECK(memcmp(&row[d], &expected, sizeof expected) == 0);
        CHECK(!signbit(row[d]) || row[d] < 0.0f);
    }
    CHECK(sum > 0.0f ? isfinite(lse) : lse < 0.0f && isinf(lse));
}

int main(void) {
    check(-0.0f, 1.0f, 0.0f);
    check(-0.0f, 3.0f, 0.0f);
    check(0.0f, 3.0f, 0.0f);
    check(-0x1p-149f, 4.0f, 0.0f); /* the smallest there is, a fourth of which is none */
    check(-0.0f, 0.0f, 0.0f);      /* no key was seen */
    check(-3.0f, 0.0f, 0.0f);
    check(-3.0f, 2.0f, -1.5f);
    return 0;
}
