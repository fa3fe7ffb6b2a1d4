/* The plain definition gives what can be worked out on paper.
 *
 * Method: scores that are logarithms of small integers, so that weights are fractions. The scores
 * reach it in fp32: relative 2^-24 of at most 1.4, times values of at most 40: 5e-6. */
#include <math.h>

#include "help_attention.h"

enum { HEAD_DIM = 16 };

static bool is_near(double a, double b) {
    return fabs(a - b) <= 5e-6;
}

/* Key i scores log(odds[i]): q is 4 = sqrt(head_dim) in its first place. */
static void put_key(float *k, float *v, int i, double odds, float value) {
    k[i * HEAD_DIM] = (float)log(odds);
    for (int d = 0; d < HEAD_DIM; d++) v[i * HEAD_DIM + d] = value * (float)(d + 1);
}

int main(void) {
    float q[HEAD_DIM] = {4.0f};
    float k[3 * HEAD_DIM] = {0};
    float v[3 * HEAD_DIM];
    put_key(k, v, 0, 1.0, 10.0f);
    put_key(k, v, 1, 3.0, 2.0f);
    put_key(k, v, 2, 4.0, -1.0f);
    double out[HEAD_DIM];

    const double lse_of_none = attn_ref_row(q, k, v, 0, HEAD_DIM, out);
    CHECK(isinf(lse_of_none) && lse_of_none < 0.0);
    CHECK(out[0] == 0.0 && out[HEAD_DIM - 1] == 0.0);

    CHECK(attn_ref_row(q, k, v, 1, HEAD_DIM, out) == 0.0);
    CHECK(out[0] == 10.0 && out[3] == 40.0);

    CHECK(is_near(attn_ref_row(q, k, v, 2, HEAD_DIM, out), log(4.0)));
    CHECK(is_near(out[0], (10.0 + 3.0 * 2.0) / 4.0) && is_near(out[1], 2.0 * out[0]));

    CHECK(is_near(attn_ref_row(q, k, v, 3, HEAD_DIM, out), log(8.0)));
    CHECK(is_near(out[0], (10.0 + 3.0 * 2.0 - 4.0 * 1.0) / 8.0));
    return 0;
}
