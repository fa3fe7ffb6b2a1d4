/* Matrices of a warpgroup, asynchronous: operands are read through descriptors when an instruction
 * is issued, and count as being read until the group it belongs to has been waited for;
 * accumulators are NaN until then, and must still be when the result arrives. Registers that a batch reads are what
 * they were at the fence before it, as far as they had been operands before: places of others are not known there. */
#include <math.h>
#include <string.h>

#include <memory>

#include "emu.h"

namespace {

enum { M = 64, N_MAX = 128, K = EMU_PRODUCT_K };

struct accumulator {
    float *registers[EMU_GROUP];
    int n; /* columns */
    float value[M][N_MAX];
    uint32_t last_group; /* the newest group that adds to it */
};

struct operand_registers {
    const uint32_t *registers[EMU_GROUP];
    uint32_t value[EMU_GROUP][4];
    uint32_t group;
};

/* Registers of an operand, or of an accumulator, and what was in them at the last fence. */
struct fenced_registers {
    const uint32_t *registers[EMU_GROUP];
    int n;
    bool is_kept; /* `value` is of the last fence */
    std::vector<uint32_t> value;
};

struct group_state {
    bool is_fenced;
    std::vector<fenced_registers> fenced;
    uint32_t open_group; /* number of the group being filled; those before it are committed */
    uint32_t done_groups;
    std::vector<std::unique_ptr<accumulator>> accumulators;
    std::vector<std::unique_ptr<accumulator>> spare;
    std::vector<operand_registers> operands;
};

/* A block's registers: 128 n of each warpgroup. What it has in all is what it was launched with. */
enum { REGISTERS_OF_SM = 65536 };
int registers_of[EMU_THREADS_MAX / EMU_GROUP];
int registers_of_thread; /* at the launch */

group_state groups[EMU_THREADS_MAX / EMU_GROUP];

const uint32_t poison_bits = 0x7fc0beefu;

const float *f16_numbers() {
    static const float *const all = [] {
        float *numbers = new float[65536];
        for (int i = 0; i < 65536; i++) numbers[i] = emu_f16_number((uint16_t)i);
        return numbers;
    }();
    return all;
}

float number(uint16_t x, bool is_f16) {
    if (is_f16) return f16_numbers()[x];
    const uint32_t bits = (uint32_t)x << 16;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

int row_of(int thread, int j) {
    return 16 * (thread / 32) + thread % 32 / 4 + 8 * (j >> 1 & 1);
}
int column_of(int thread, int j) {
    return 8 * (j >> 2) + 2 * (thread % 4) + (j & 1);
}

uint32_t swizzled(uint32_t a) {
    return a ^ (a >> 3 & 0x70u);
}

/* n x 16 numbers, element (mn, k) at mn * mn_step + k * k_step, as the descriptor says. */
void read_operand(uint64_t desc, bool is_b, bool is_mn_major, bool is_f16, int n, float *to,
        int mn_step, int k_step, uint32_t clock, emu_site site) {
    const uint32_t start = (uint32_t)(desc & 0x3fffu) << 4;
    uint32_t lbo = (uint32_t)(desc >> 16 & 0x3fffu) << 4;
    const uint32_t sbo = (uint32_t)(desc >> 32 & 0x3fffu) << 4;
    if (desc >> 62 != 1) emu_found(site, "wgmma descriptor without the 128-byte swizzle");
    if (desc >> 49 & 7) emu_found(site, "wgmma descriptor with a base offset");
    if (start & 0x380)
        emu_found(site, "wgmma descriptor of shared %u, without a base offset", start);
    /* Bugs in B alone: what is wrong in both operands alike cancels. */
    if (is_b && emu_is_wrong(EMU_BUG_TRANS_WRONG, site)) is_mn_major = !is_mn_major;
    if (is_b && is_mn_major && emu_is_wrong(EMU_BUG_STRIDE_WRONG, site)) lbo = 1024;
    const emu_bug next_dims = is_b ? EMU_BUG_SWIZZLE_WRONG : EMU_BUG_A_WRONG;
    const uint32_t shift = emu_is_wrong(next_dims, site) ? 32 : 0;
    /* Chunks of 8 numbers are contiguous under the swizzle. */
    for (int outer = 0; outer < (is_mn_major ? K : n); outer++)
        for (int inner = 0; inner < (is_mn_major ? n : K); inner += 8) {
            const uint32_t mn = (uint32_t)(is_mn_major ? inner : outer);
            const uint32_t k = (uint32_t)(is_mn_major ? outer : inner);
            const uint32_t at = is_mn_major ? start + 2 * (mn & 63) + (mn >> 6) * lbo +
                                                      (k & 7) * 128 + (k >> 3) * sbo
                                            : start + (mn & 7) * 128 + (mn >> 3) * sbo + 2 * k;
            uint16_t chunk[8];
            emu_read_async(swizzled(at) ^ shift, 16, chunk, clock, site);
            float *first = to + mn * (uint32_t)mn_step + k * (uint32_t)k_step;
            const int step = is_mn_major ? mn_step : k_step;
            for (int i = 0; i < 8; i++) first[i * step] = number(chunk[i], is_f16);
        }
}

struct args {
    emu_product product;
    float *d;
    const uint32_t *a_regs;
    uint64_t a, b;
    int is_sum;
};

/* A variable that is gone may be among them; it is nobody's operand any more. */
#if defined(__SANITIZE_ADDRESS__)
__attribute__((no_sanitize_address))
#endif
void keep_registers(fenced_registers *f) {
    f->is_kept = true;
    for (int t = 0; t < EMU_GROUP; t++) {
        const volatile uint32_t *from = f->registers[t];
        for (int i = 0; i < f->n; i++) f->value[(size_t)(t * f->n + i)] = from[i];
    }
}

/* Thread t's registers are at registers(t); whether they are read. */
template <class REGISTERS>
void check_fenced(group_state *g, int n, const REGISTERS &registers, bool is_read, const char *what,
        emu_site site) {
    for (const fenced_registers &f : g->fenced) {
        if (f.n != n || f.registers[0] != registers(0)) continue;
        for (int t = 0; is_read && f.is_kept && t < EMU_GROUP; t++)
            if (f.registers[t] == registers(t) &&
                    memcmp(registers(t), &f.value[(size_t)(t * n)], (size_t)n * 4) != 0)
                emu_found(site, "%s of wgmma was written since the wgmma.fence", what);
        return;
    }
    fenced_registers f = {};
    for (int t = 0; t < EMU_GROUP; t++) f.registers[t] = registers(t);
    f.n = n;
    f.value.resize((size_t)(EMU_GROUP * n));
    g->fenced.push_back(f);
}

accumulator *find_accumulator(group_state *g, void **all, emu_site site) {
    for (auto &acc : g->accumulators)
        if (acc->registers[0] == ((args *)all[0])->d) return acc.get();
    const args *first = (args *)all[0];
    check_fenced(
            g, first->product.n / 2, [all](int t) { return (const uint32_t *)((args *)all[t])->d; },
            first->is_sum, "an accumulator", site);
    if (g->spare.empty()) g->spare.emplace_back(new accumulator);
    g->accumulators.push_back(std::move(g->spare.back()));
    g->spare.pop_back();
    accumulator *acc = g->accumulators.back().get();
    acc->n = first->product.n;
    for (int t = 0; t < EMU_GROUP; t++) {
        acc->registers[t] = ((args *)all[t])->d;
        for (int j = 0; j < acc->n / 2; j++) {
            float *reg = &acc->registers[t][j];
            acc->value[row_of(t, j)][column_of(t, j)] = *reg;
            memcpy(reg, &poison_bits, 4);
        }
    }
    return acc;
}

void read_registers(group_state *g, void **all, float (*to)[K], emu_site site) {
    check_fenced(
            g, 4, [all](int t) { return ((args *)all[t])->a_regs; }, true, "a register operand",
            site);
    g->operands.emplace_back();
    operand_registers *op = &g->operands.back();
    op->group = g->open_group;
    for (int t = 0; t < EMU_GROUP; t++) {
        op->registers[t] = ((args *)all[t])->a_regs;
        for (int i = 0; i < 4; i++) {
            const uint32_t reg = op->value[t][i] = op->registers[t][i];
            for (int h = 0; h < 2; h++)
                to[row_of(t, 2 * (i & 1))][2 * (t % 4) + 8 * (i >> 1) + h] =
                        number((uint16_t)(h ? reg >> 16 : reg), ((args *)all[t])->product.is_f16);
        }
    }
}

void issue(void **all, emu_site site) {
    group_state *g = &groups[emu_self()->index / EMU_GROUP];
    const args first = *(args *)all[0];
    const emu_product &product = first.product;
    for (int t = 1; t < EMU_GROUP; t++) {
        const args *other = (args *)all[t];
        if (other->b != first.b || other->is_sum != first.is_sum ||
                (!first.a_regs && other->a != first.a))
            emu_found(site, "wgmma: threads of the warpgroup disagree about a descriptor");
    }
    if (!g->is_fenced) emu_found(site, "wgmma without a wgmma.fence before its batch");
    static float a[M][K], b[K][N_MAX];
    if (first.a_regs)
        read_registers(g, all, a, site);
    else
        read_operand(first.a, false, product.is_a_mn_major, product.is_f16, M, a[0], K, 1,
                g->open_group + 1, site);
    read_operand(first.b, true, product.is_b_mn_major, product.is_f16, product.n, b[0], 1, N_MAX,
            g->open_group + 1, site);
    accumulator *acc = find_accumulator(g, all, site);
    acc->last_group = g->open_group;
    if (!first.is_sum) memset(acc->value, 0, sizeof acc->value);
    emu_add_product(acc->value[0], N_MAX, a[0], b[0], N_MAX, M, product.n);
}

/* The result arrives in the registers. */
void deliver(const accumulator *acc, emu_site site) {
    for (int t = 0; t < EMU_GROUP; t++)
        for (int j = 0; j < acc->n / 2; j++) {
            float *reg = &acc->registers[t][j];
            if (memcmp(reg, &poison_bits, 4) != 0)
                emu_found(site, "a wgmma accumulator was written while wgmma had it");
            *reg = acc->value[row_of(t, j)][column_of(t, j)];
        }
}

void check_operands(const operand_registers *op, emu_site site) {
    for (int t = 0; t < EMU_GROUP; t++)
        if (memcmp(op->registers[t], op->value[t], sizeof op->value[t]) != 0)
            emu_found(site, "a register operand of wgmma was written while wgmma read it");
}

} // namespace

void emu_wgmma_reset() {
    registers_of_thread = REGISTERS_OF_SM / emu_n_threads() / 8 * 8;
    for (int &n : registers_of) n = registers_of_thread;
    for (group_state &g : groups) {
        g.is_fenced = false;
        g.open_group = g.done_groups = 0;
        g.accumulators.clear();
        g.operands.clear();
        g.fenced.clear();
    }
}

void emu_wgmma_block_ends() {
    int registers = 0;
    for (int g = 0; g < emu_n_threads() / EMU_GROUP; g++) registers += EMU_GROUP * registers_of[g];
    if (registers > registers_of_thread * emu_n_threads())
        emu_found(emu_site{"", 0}, "setmaxnreg: %d registers in all, there are %d: a deadlock",
                registers, registers_of_thread * emu_n_threads());
    for (const group_state &g : groups)
        if (!g.accumulators.empty())
            emu_found(emu_site{"", 0}, "the block ends with wgmma nobody waited for");
}

void emu_wgmma_fence(emu_site site) {
    emu_meet(
            EMU_GROUP, "wgmma.fence", 0, NULL,
            [site](void **) {
                group_state *g = &groups[emu_self()->index / EMU_GROUP];
                if (emu_is_wrong(EMU_BUG_FENCE_MISSING, site)) return;
                g->is_fenced = true;
                for (fenced_registers &f : g->fenced) keep_registers(&f);
            },
            site);
}

void emu_wgmma_commit(emu_site site) {
    emu_meet(
            EMU_GROUP, "wgmma.commit_group", 0, NULL,
            [site](void **) {
                group_state *g = &groups[emu_self()->index / EMU_GROUP];
                if (emu_is_wrong(EMU_BUG_COMMIT_MISSING, site)) return;
                g->is_fenced = false;
                g->open_group++;
            },
            site);
}

void emu_wgmma_wait(int n, emu_site site) {
    const int group = emu_self()->index / EMU_GROUP;
    emu_meet(
            EMU_GROUP, "wgmma.wait_group", n, NULL,
            [=](void **) {
                group_state *g = &groups[group];
                if (emu_is_wrong(EMU_BUG_WAIT_MISSING, site)) return;
                const uint32_t keep =
                        (uint32_t)n + (emu_is_wrong(EMU_BUG_WAIT_WEAK, site) ? 1u : 0u);
                g->done_groups = g->open_group > keep ? g->open_group - keep : 0;
                for (size_t i = 0; i < g->accumulators.size();)
                    if (g->accumulators[i]->last_group < g->done_groups) {
                        deliver(g->accumulators[i].get(), site);
                        g->spare.push_back(std::move(g->accumulators[i]));
                        g->accumulators.erase(g->accumulators.begin() + (long)i);
                    } else {
                        i++;
                    }
                for (size_t i = 0; i < g->operands.size();)
                    if (g->operands[i].group < g->done_groups) {
                        check_operands(&g->operands[i], site);
                        g->operands.erase(g->operands.begin() + (long)i);
                    } else {
                        i++;
                    }
            },
            site);
    static struct { /* all of them come with the same knowledge */
        emu_knowledge before, after;
    } last;
    emu_thread *t = emu_self();
    const int agent = emu_engine_agent(group);
    if (!(last.before == t->known) || last.after.of(agent) != groups[group].done_groups)
        last = {t->known, emu_with(t->known, agent, groups[group].done_groups)};
    t->known = last.after;
}

void emu_wgmma(const emu_product &product, float *d, const uint32_t *a_regs, uint64_t a, uint64_t b,
        int is_sum, emu_site site) {
    args mine = {product, d, a_regs, a, b, is_sum};
    emu_meet(
            EMU_GROUP, "wgmma.mma_async", product.n, &mine, [=](void **all) { issue(all, site); },
            site);
}

float emu_f16_number(uint16_t f16) {
    const int exponent = f16 >> 10 & 31, fraction = f16 & 1023;
    const float size = exponent == 31 ? (fraction ? NAN : INFINITY)
                       : exponent     ? ldexpf((float)(1024 + fraction), exponent - 25)
                                      : ldexpf((float)fraction, -24);
    return f16 & 0x8000 ? -size : size;
}

uint16_t emu_f16(float v) {
    const uint16_t sign = signbit(v) ? 0x8000 : 0;
    const float size = fabsf(v);
    if (!(size == size)) return 0x7fff;
    if (size == 0.0f) return sign;
    if (size >= 65520.0f) return sign | 0x7c00;
    int exponent;
    frexpf(size, &exponent); /* size < 2^exponent */
    if (exponent < -13) exponent = -13;
    /* Steps of 2^(exponent - 11), to nearest even; a carry goes on into the exponent. */
    const int steps = (int)nearbyintf(ldexpf(size, 11 - exponent));
    return (uint16_t)(sign | ((exponent + 13) * 1024 + steps));
}

void emu_set_registers(int n, bool is_take, emu_site site) {
    if (n < 24 || n > 256 || n % 8) emu_found(site, "setmaxnreg %d", n);
    int *mine = &registers_of[emu_self()->index / EMU_GROUP];
    if (is_take ? n < *mine : n > *mine)
        emu_found(site, "setmaxnreg.%s %d of %d", is_take ? "inc" : "dec", n, *mine);
    emu_meet(
            EMU_GROUP, "setmaxnreg", is_take ? n : -n, NULL, [=](void **) { *mine = n; }, site);
}
