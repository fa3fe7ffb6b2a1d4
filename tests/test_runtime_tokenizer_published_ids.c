/* The published tokenizer gives the published ids.
 *
 * Method: texts with their ids, a probe text whose ids are known by their SHA-256, with and without
 * the prefix [gMASK]<sop>. The ids come from the reference implementation on the same file; the two
 * sums are published (llama.cpp's chkhsh of chatglm-bpe / glm4). */
#include <inttypes.h>
#include <openssl/sha.h>

#include "help_tokenizer.h"

typedef struct vector {
    const char *text;
    int64_t n;
    int32_t ids[24];
} vector;

static const vector vectors[] = {
        {"Hello, world!", 4, {9703, 11, 1879, 0}},
        {"你好", 1, {109377}},
        {"你好，世界", 3, {109377, 3837, 99011}},
        {"Привет, мир!", 5, {148366, 8177, 11, 130422, 0}},
        {"Emoji: 🚀😀", 7, {91952, 25, 11157, 248, 222, 74764, 222}},
        {"I'm don't we've they'll it's", 10, {40, 2776, 1513, 944, 582, 3003, 807, 3278, 432, 594}},
        {"def f(x):\n    return x * 2\n", 11,
                {750, 282, 2075, 982, 262, 470, 856, 353, 220, 17, 198}},
        {"What is 2+2?", 7, {3838, 374, 220, 17, 10, 17, 30}},
        {"IT'S I'LL don't DON'T we'Ve", 12,
                {952, 13264, 358, 6, 4086, 1513, 944, 44017, 17302, 582, 6, 42368}},
        {"abc123456789xyz", 7, {13674, 108714, 100461, 21, 100928, 24, 28751}},
        {"３４５６", 4, {33355, 45333, 43248, 59084}},
        {"½¾ Ⅳ", 4, {25981, 66904, 220, 124025}},
        {"a\r\nb\r\n\r\nc", 5, {64, 319, 65, 871, 66}},
        {"   \n  y", 3, {5872, 220, 379}},
        {"x   ", 2, {87, 262}},
        {"\t\tfoo();", 4, {197, 197, 7974, 2129}},
        {"x\u3000y", 3, {87, 22382, 88}},
        {"今天天气很好，适合出去玩。", 7, {99637, 101791, 101145, 3837, 100512, 125479, 1773}},
        {"get_weather\n{\"city\": \"北京\"}", 9,
                {455, 68852, 198, 4913, 8923, 788, 330, 99334, 9204}},
        {"\nThe special magic Chicago number is: 1234567\n", 14,
                {198, 785, 3281, 10958, 10552, 1372, 374, 25, 220, 108714, 100461, 21, 22, 198}},
        {"<|user|>", 5, {27, 91, 872, 91, 29}},
        {"", 0, {0}},
};

/* The probe text of llama.cpp's converter. */
static const char probe[] = "\n \n\n \n\n\n \t \t\t \t\n  \n   \n    \n     \n🚀 (normal) "
                            "😶‍🌫️ (multiple emojis concatenated) ✅ "
                            "🦙🦙 3 33 333 3333 33333 333333 3333333 33333333 3.3 3..3 3...3 "
                            "កាន់តែពិសេសអាច😁 "
                            "?我想在apple工作1314151天～ ------======= нещо на Български "
                            "''''''```````\"\"\"\"......!!!!!!?????? I've been 'told he's there, "
                            "'RE you sure? 'M not sure "
                            "I'll make it, 'D you like some tea? We'Ve a'lL";

static void sum_of(const glm_ids *ids, char hex[2 * SHA256_DIGEST_LENGTH + 1]) {
    tokh_text list = {0};
    unsigned char digest[SHA256_DIGEST_LENGTH];
    for (int64_t i = 0; i < ids->n; i++)
        tokh_printf(&list, "%s%" PRId32, i == 0 ? "[" : ", ", ids->ids[i]);
    tokh_printf(&list, "]");
    SHA256((const unsigned char *)list.bytes, (size_t)list.n, digest);
    for (int i = 0; i < SHA256_DIGEST_LENGTH; i++)
        (void)snprintf(hex + 2 * (ptrdiff_t)i, 3, "%02x", digest[i]);
    free(list.bytes);
}

static bool check_sum(const glm_ids *ids, const char *wanted) {
    char hex[2 * SHA256_DIGEST_LENGTH + 1];
    sum_of(ids, hex);
    if (strcmp(hex, wanted) == 0) return true;
    (void)printf("%" PRId64 " ids of the probe: sum %s, wanted %s\n", ids->n, hex, wanted);
    return false;
}

static bool check_probe(const glm_tokenizer *tokenizer) {
    const int32_t prefix[] = {151331, 151333};
    glm_ids bare = tokh_encode(tokenizer, probe, false);
    glm_ids prefixed = {0};
    CHECK(glm_ids_append(&prefixed, prefix, 2) == RT_OK);
    CHECK(glm_ids_append(&prefixed, bare.ids, bare.n) == RT_OK);
    bool is_right =
            check_sum(&bare, "a1336059768a55c99a734006ffb02203cd450fed003e9a71886c88acf24fdbc2");
    is_right &= check_sum(
            &prefixed, "b6e8e1518dc4305be2fe39c313ed643381c4da5db34a98f6a04c093f8afbe99b");
    is_right &= bare.n == 165;
    glm_ids_free(&bare);
    glm_ids_free(&prefixed);
    return is_right;
}

static bool check_vectors(const glm_tokenizer *tokenizer) {
    bool is_right = true;
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        glm_ids ids = tokh_encode(tokenizer, vectors[i].text, false);
        is_right &= tokh_same_ids(vectors[i].text, &ids, vectors[i].ids, vectors[i].n);
        glm_ids_free(&ids);
    }
    return is_right;
}

static bool check_specials(const glm_tokenizer *tokenizer) {
    const glm_special_ids ids = glm_tokenizer_specials(tokenizer);
    CHECK(glm_tokenizer_size(tokenizer) == 151343);
    CHECK(ids.endoftext == 151329 && ids.gmask == 151331 && ids.sop == 151333);
    CHECK(ids.system == 151335 && ids.user == 151336 && ids.assistant == 151337);
    CHECK(ids.observation == 151338);

    const int32_t wanted[] = {151331, 151333, 151336, 198, 109377, 151337};
    glm_ids spelled = tokh_encode(tokenizer, "[gMASK]<sop><|user|>\n你好<|assistant|>", true);
    bool is_right = tokh_same_ids("specials spelled out", &spelled, wanted, 6);
    glm_ids_free(&spelled);

    const int32_t with_system[] = {151331, 151333, 151335, 198, 2610, 525, 264, 10945, 17821, 13,
            151336, 198, 3838, 374, 220, 17, 10, 17, 30, 151337};
    spelled = tokh_encode(tokenizer,
            "[gMASK]<sop><|system|>\nYou are a helpful assistant.<|user|>\nWhat is 2+2?"
            "<|assistant|>",
            true);
    is_right &= tokh_same_ids("a system message", &spelled, with_system, 20);
    glm_ids_free(&spelled);
    return is_right;
}

int main(void) {
    glm_tokenizer *tokenizer = tokh_load_published();
    bool is_right = check_vectors(tokenizer);
    is_right &= check_specials(tokenizer);
    is_right &= check_probe(tokenizer);
    glm_tokenizer_free(tokenizer);
    return is_right ? 0 : 1;
}
