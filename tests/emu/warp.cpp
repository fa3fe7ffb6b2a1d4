/* What the 32 lanes of a warp do together. g = lane / 4, q = lane % 4. */
#include <string.h>

#include "emu.h"

namespace {

float bf16(uint32_t reg, int half) {
    const uint32_t bits = half ? reg & 0xffff0000u : reg << 16;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

/* Both halves. */
void put_pair(float *to, uint32_t reg) {
    const uint64_t bits = (uint64_t)(reg & 0xffff0000u) << 32 | reg << 16;
    memcpy(to, &bits, sizeof bits);
}

uint16_t half_of(uint32_t reg, int half) {
    return (uint16_t)(half ? reg >> 16 : reg);
}

uint32_t pair(uint16_t low, uint16_t high) {
    return (uint32_t)low | (uint32_t)high << 16;
}

int64_t n_bank_conflicts;

} // namespace

float emu_shfl_xor(float v, int lane_mask, emu_site site) {
    struct {
        float in, out;
    } mine = {v, 0}, *me = &mine;
    typedef decltype(mine) lane_value;
    emu_meet(
            EMU_WARP, "shfl.xor", lane_mask, me,
            [lane_mask](void **args) {
                for (int l = 0; l < EMU_WARP; l++)
                    ((lane_value *)args[l])->out = ((lane_value *)args[l ^ lane_mask])->in;
            },
            site);
    return emu_is_wrong(EMU_BUG_SHUFFLE_MISSING, site) ? v : mine.out;
}

bool emu_any(bool v, emu_site site) {
    struct {
        bool in, out;
    } mine = {v, false};
    typedef decltype(mine) lane_value;
    emu_meet(
            EMU_WARP, "vote.any", 0, &mine,
            [](void **args) {
                bool any = false;
                for (int l = 0; l < EMU_WARP; l++) any = any || ((lane_value *)args[l])->in;
                for (int l = 0; l < EMU_WARP; l++) ((lane_value *)args[l])->out = any;
            },
            site);
    return mine.out;
}

int64_t emu_bank_conflicts() {
    return n_bank_conflicts;
}

void emu_ldmatrix(uint32_t *r, uint32_t at, bool is_trans, emu_site site) {
    if (emu_is_wrong(EMU_BUG_SWIZZLE_WRONG, site)) at ^= 16;
    if (emu_is_wrong(EMU_BUG_TRANS_WRONG, site)) is_trans = !is_trans;
    /* Each lane reads the row whose address it gives, so that the read is checked as its own. */
    struct lane {
        uint32_t *r;
        uint32_t at;
        uint16_t row[8];
    } mine;
    mine.r = r;
    mine.at = at;
    emu_read(at, 16, mine.row, site);
    emu_meet(
            EMU_WARP, "ldmatrix", is_trans, &mine,
            [is_trans](void **args) {
                for (int m = 0; m < 4; m++) {
                    unsigned columns = 0; /* of 16 bytes, 8 of them all banks */
                    for (int row = 0; row < 8; row++)
                        columns |= 1u << (((lane *)args[8 * m + row])->at / 16 % 8);
                    if (columns != 0xff) n_bank_conflicts++;
                }
                for (int l = 0; l < EMU_WARP; l++)
                    for (int m = 0; m < 4; m++) {
                        const int g = l / 4, q = l % 4;
                        const auto at_row = [&](int row, int column) {
                            return ((lane *)args[8 * m + row])->row[column];
                        };
                        ((lane *)args[l])->r[m] =
                                is_trans ? pair(at_row(2 * q, g), at_row(2 * q + 1, g))
                                         : pair(at_row(g, 2 * q), at_row(g, 2 * q + 1));
                    }
            },
            site);
}

void emu_stmatrix_trans(const uint32_t *r, uint32_t at, emu_site site) {
    if (emu_is_wrong(EMU_BUG_SWIZZLE_WRONG, site)) at ^= 16;
    const bool is_trans = !emu_is_wrong(EMU_BUG_TRANS_WRONG, site);
    /* Each lane writes the row whose address it gives. */
    struct lane {
        const uint32_t *r;
        uint32_t at;
        uint16_t row[8];
    } mine = {r, at, {}};
    emu_meet(
            EMU_WARP, "stmatrix", 0, &mine,
            [is_trans](void **args) {
                for (int m = 0; m < 4; m++) {
                    unsigned columns = 0;
                    for (int row = 0; row < 8; row++) {
                        lane *to = (lane *)args[8 * m + row];
                        columns |= 1u << (to->at / 16 % 8);
                        for (int i = 0; i < 8;
                                i++) { /* M[g][c] is in lane 4g + c / 2, half c % 2 */
                            const int g = is_trans ? i : row, c = is_trans ? row : i;
                            to->row[i] = half_of(((lane *)args[4 * g + c / 2])->r[m], c % 2);
                        }
                    }
                    if (columns != 0xff) n_bank_conflicts++;
                }
            },
            site);
    emu_write(at, 16, mine.row, site);
}

uint32_t emu_movmatrix(uint32_t v, emu_site site) {
    struct lane {
        uint32_t in, out;
    } mine = {v, 0};
    emu_meet(
            EMU_WARP, "movmatrix", 0, &mine,
            [](void **args) {
                for (int l = 0; l < EMU_WARP; l++) {
                    const int g = l / 4, q = l % 4;
                    /* M[r][c] is in lane 4r + c / 2, half c % 2 */
                    const auto m = [&](int r, int c) {
                        return half_of(((lane *)args[4 * r + c / 2])->in, c % 2);
                    };
                    ((lane *)args[l])->out = pair(m(2 * q, g), m(2 * q + 1, g));
                }
            },
            site);
    return emu_is_wrong(EMU_BUG_TRANS_WRONG, site) ? v : mine.out;
}

void emu_mma(float *d, const uint32_t *a, uint32_t b0, uint32_t b1, emu_site site) {
    struct lane {
        float *d;
        uint32_t a[4], b[2];
    } mine = {d, {a[0], a[1], a[2], a[3]}, {b0, b1}};
    emu_meet(
            EMU_WARP, "mma", 0, &mine,
            [](void **args) {
                float am[16][EMU_PRODUCT_K], bm[EMU_PRODUCT_K][8], dm[16][8];
                for (int l = 0; l < EMU_WARP; l++) {
                    const lane *p = (const lane *)args[l];
                    const int g = l / 4, q = l % 4;
                    for (int i = 0; i < 4; i++)
                        put_pair(&am[g + 8 * (i & 1)][2 * q + 8 * (i >> 1)], p->a[i]);
                    for (int i = 0; i < 2; i++)
                        for (int h = 0; h < 2; h++) bm[2 * q + 8 * i + h][g] = bf16(p->b[i], h);
                    memcpy(&dm[g][2 * q], p->d, 2 * sizeof *p->d);
                    memcpy(&dm[g + 8][2 * q], p->d + 2, 2 * sizeof *p->d);
                }
                emu_add_product(dm[0], 8, am[0], bm[0], 8, 16, 8);
                for (int l = 0; l < EMU_WARP; l++) {
                    float *to = ((lane *)args[l])->d;
                    memcpy(to, &dm[l / 4][2 * (l % 4)], 2 * sizeof *to);
                    memcpy(to + 2, &dm[l / 4 + 8][2 * (l % 4)], 2 * sizeof *to);
                }
            },
            site);
}
