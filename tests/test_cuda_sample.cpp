/* Sampling without sorting: the choice is the one that sorting leads to, for any draw.
 *
 * Method: tests/emu against a sorted copy in fp64. Draws are taken from the middle of each
 * candidate's share, where fp32 sums cannot fall on the other side; and ties are many, since logits
 * are multiples of 1/4. */
#include "help_cuda_machine.h"

#include "runtime/sample_cuda.cu"

#include <algorithm>

#include "help_cuda.h"

struct candidate {
    float logit;
    int id;
    double weight;
};

static std::vector<candidate> sorted_candidates(
        const float *logits, int n, float t, int top_k, float top_p, float margin) {
    std::vector<candidate> all;
    for (int i = 0; i < n; i++) all.push_back({logits[i], i, 0.0});
    std::stable_sort(all.begin(), all.end(),
            [](const candidate &a, const candidate &b) { return a.logit > b.logit; });
    if (top_k > 0 && top_k < n) all.resize((size_t)top_k);
    while (all.back().logit < all[0].logit + margin) all.pop_back();
    double total = 0.0, sum = 0.0;
    for (auto &c : all)
        total += c.weight = exp(((double)c.logit - (double)all[0].logit) / (double)t);
    size_t keep = 0;
    while (keep < all.size() &&
            (keep == 0 || (top_p < 1.0f && sum < (double)top_p * total) || top_p >= 1.0f))
        sum += all[keep++].weight;
    all.resize(keep);
    return all;
}

static int choose(const float *logits, int n, float t, int top_k, float top_p, float draw,
        float margin = -INFINITY) {
    const cuda_buffer<glm_cuda_draw> draws(
            std::vector<glm_cuda_draw>{{t, top_p, draw, top_k, n, margin}});
    const cuda_buffer<int32_t> id(1);
    const glm_cuda_sample_args args = {logits, n, 1, draws.data, id.data};
    CHECK(glm_cuda_sample(&args, NULL) == RT_OK);
    cuda_wait();
    return id[0];
}

static bool is_tried(size_t i, size_t n) {
    if (cuda_is_least()) return i == 1;
    const bool are_few = cuda_is_fast() && !CUDA_ON_GPU;
    return i < (are_few ? 1 : 4) || i + 1 == n || i % (are_few ? 19 : 7) == 0;
}

static void draws(int n, float step, float t, int top_k, float top_p, float margin = -INFINITY) {
    cuda_buffer<float> logits(n);
    uint64_t random = (uint64_t)n;
    for (int i = 0; i < n; i++) logits[i] = roundf(random_normal(&random) * 4.0f / step) * step;
    const auto right = sorted_candidates(logits.data, n, t, top_k, top_p, margin);
    double total = 0.0, sum = 0.0;
    for (const auto &c : right) total += c.weight;
    for (size_t i = 0; i < right.size(); i++) {
        if (is_tried(i, right.size()) && right[i].weight / total > 1e-4) {
            const double middle = (sum + right[i].weight / 2) / total;
            CHECK(choose(logits.data, n, t, top_k, top_p, (float)middle, margin) == right[i].id);
        }
        sum += right[i].weight;
    }
    CHECK(choose(logits.data, n, 0.0f, top_k, top_p, 0.3f, margin) == right[0].id);
}

/* Rows together, many times: the same choices, each as alone. */
static void repeats() {
    const int rows = cuda_is_large() ? 64 : 2, n = cuda_is_large() ? 151552 : 100;
    cuda_buffer<float> logits((int64_t)rows * n);
    cuda_buffer<glm_cuda_draw> draws_of(rows);
    cuda_buffer<int32_t> first(rows), again(rows);
    uint64_t random = 77;
    for (int64_t i = 0; i < logits.n; i++) logits[i] = random_normal(&random) * 4.0f;
    for (int i = 0; i < rows; i++)
        draws_of[i] = {0.9f, 0.9f, (float)(i + 1) / (float)(rows + 1), 0, n, -INFINITY};
    glm_cuda_sample_args args = {logits.data, n, rows, draws_of.data, first.data};
    CHECK(glm_cuda_sample(&args, NULL) == RT_OK);
    cuda_wait();
    args.ids = again.data;
    for (int i = 1; i < cuda_repeats(); i++) {
        emu_seed((uint64_t)i);
        CHECK(glm_cuda_sample(&args, NULL) == RT_OK);
        cuda_wait();
        CHECK(memcmp(first.data, again.data, (size_t)rows * 4) == 0);
    }
    for (int i = 0; i < rows; i++)
        CHECK(choose(logits.data + (int64_t)i * n, n, 0.9f, 0, 0.9f, draws_of[i].at) == first[i]);
}

/* As cold as fp32 can be, and no share of the weights at all: the best of two equal ones is the first. */
static void extremes() {
    cuda_buffer<float> logits(40);
    for (int i = 0; i < 40; i++) logits[i] = i == 11 || i == 29 ? 3.0f : (float)(i % 7) * 0.4f;
    for (const float draw : {0.0f, 0.3f, 0.99999994f}) {
        CHECK(choose(logits.data, 40, 1.0f, 0, 0.0f, draw) == 11);
        CHECK(choose(logits.data, 40, 1e-40f, 0, 0.5f, draw) == 11);
        CHECK(choose(logits.data, 40, 0x1p-149f, 1, 1.0f, draw) == 11);
    }
    CHECK(choose(logits.data, 40, 1e-40f, 0, 1.0f, 0.25f) == 11);
    CHECK(choose(logits.data, 40, 1e-40f, 0, 1.0f, 0.75f) == 29);
}

int main() {
    emu_seed(0);
    if (cuda_is_least()) { /* every search there is, and the best */
        draws(600, 0.25f, 0.7f, 20, 0.8f, -3.0f);
        return 0;
    }
    repeats();
    extremes();
    draws(1, 0.25f, 1.0f, 0, 1.0f);
    draws(37, 0.25f, 0.8f, 0, 1.0f);
    draws(1500, 0.25f, 0.7f, 20, 1.0f);
    draws(1500, 0.001f, 0.7f, 50, 0.8f);
    draws(33, 1.0f, 2.0f, 5, 0.5f);
    draws(1500, 0.25f, 0.7f, 0, 1.0f,
            0.7f * logf(0.05f)); /* min-p, of exact logits ties included */
    draws(1500, 0.25f, 0.7f, 0, 1.0f, -2.0f);
    draws(1500, 0.001f, 0.7f, 50, 0.8f, -1.5f);
    draws(37, 0.25f, 1.0f, 3, 1.0f, -9.0f);
    draws(37, 0.25f, 0.8f, 0, 1.0f, 0.0f);
    cuda_buffer<float> logits(40);
    for (int i = 0; i < 40; i++) logits[i] = i == 33 ? NAN : 1.0f;
    CHECK(choose(logits.data, 40, 1.0f, 0, 1.0f, 0.5f) == -1);
    CHECK(choose(logits.data, 33, 0.0f, 0, 1.0f, 0.5f) == 0);
    return 0;
}
