/* The words that needles are made of. */
#include <inttypes.h>
#include <stdio.h>

#include "needle.h"

/* Large and small cities; any list would do, scoring looks at the number alone. */
static const char *const cities[] = {"Accra", "Amsterdam", "Athens", "Auckland", "Bangkok",
        "Barcelona", "Beijing", "Berlin", "Bogota", "Boston", "Brisbane", "Brussels", "Bucharest",
        "Budapest", "Cairo", "Cape Town", "Caracas", "Casablanca", "Chicago", "Copenhagen", "Dakar",
        "Damascus", "Delhi", "Denver", "Dublin", "Edinburgh", "Florence", "Geneva", "Hamburg",
        "Hanoi", "Havana", "Helsinki", "Houston", "Istanbul", "Jakarta", "Johannesburg", "Karachi",
        "Kathmandu", "Kiev", "Kingston", "Kyoto", "Lagos", "Lima", "Lisbon", "London", "Lyon",
        "Madrid", "Manila", "Melbourne", "Miami", "Milan", "Montreal", "Mumbai", "Munich",
        "Nairobi", "Naples", "Osaka", "Oslo", "Ottawa", "Paris", "Perth", "Prague", "Quito",
        "Reykjavik", "Riga", "Rome", "Santiago", "Seattle", "Seoul", "Shanghai", "Singapore",
        "Sofia", "Stockholm", "Sydney", "Taipei", "Tallinn", "Tehran", "Tokyo", "Toronto", "Tunis",
        "Turin", "Valencia", "Vancouver", "Venice", "Vienna", "Vilnius", "Warsaw", "Wellington",
        "Zagreb", "Zurich"};

/* Five letters each, the first ones told apart by their last three: the embedded model sees the 16
 * bytes before the next one, which for the first digit are the whole key and " is: ", and one letter
 * less for every digit after it. */
static const char *const first_words[] = {"agile", "ample", "amber", "badge", "basic", "blank",
        "bland", "blind", "bluff", "blunt", "brave", "brief", "brisk", "broad", "brown", "cheap",
        "civil", "clean", "clear", "close", "crisp", "cruel", "curly", "daily", "dense", "dizzy",
        "dusty", "eager", "elder", "empty", "equal", "exact", "extra", "faint", "fancy", "fatal",
        "final", "fleet", "fresh", "funny", "giant", "green", "happy", "harsh", "heavy", "ideal",
        "inner", "jolly", "juicy", "large", "light", "local", "loyal", "lucky", "lunar", "major",
        "merry", "minor", "muddy", "naive", "noble", "noisy", "novel", "outer", "plain", "proud",
        "quick", "quiet", "rapid", "ready", "rigid", "rough", "round", "sharp", "shiny", "short",
        "sleek", "small", "smart", "solar", "solid", "stark", "steep", "stern", "swift", "vivid",
        "witty", "young"};
static const char *const second_words[] = {"acorn", "actor", "alarm", "angle", "apple", "arrow",
        "badge", "baker", "beach", "bench", "berry", "bison", "board", "brick", "brook", "brush",
        "cabin", "camel", "candy", "canoe", "chair", "chalk", "cliff", "clock", "cloud", "coral",
        "crane", "crown", "daisy", "dream", "drink", "eagle", "earth", "elbow", "fable", "fence",
        "field", "flame", "flute", "frost", "fruit", "ghost", "glove", "goose", "grape", "guest",
        "heart", "hobby", "honey", "horse", "house", "ivory", "jewel", "judge", "knife", "koala",
        "lemon", "llama", "lotus", "maple", "medal", "melon", "money", "moose", "mouse", "music",
        "night", "novel", "ocean", "olive", "opera", "otter", "panda", "paper", "pearl", "piano",
        "pilot", "plant", "plaza", "queen", "quilt", "raven", "river", "robin", "salad", "scarf",
        "shark", "sheep", "shelf", "skirt", "snail", "spoon", "stone", "storm", "sugar", "table",
        "tiger", "torch", "tower", "train", "tulip", "uncle", "valve", "voice", "wagon", "whale",
        "wheat", "witch", "yacht", "zebra"};

enum {
    N_CITIES = sizeof cities / sizeof *cities,
    N_FIRST = sizeof first_words / sizeof *first_words,
    N_SECOND = sizeof second_words / sizeof *second_words
};

void glm_needle_number(uint64_t draw, char text[64]) {
    (void)snprintf(text, 64, "%" PRIu64, 1000000 + draw % 9000000);
}

void glm_needle_uuid(uint64_t draw, uint64_t more, char text[64]) {
    (void)snprintf(text, 64, "%08" PRIx64 "-%04" PRIx64 "-4%03" PRIx64 "-%04" PRIx64 "-%012" PRIx64,
            draw >> 32, draw >> 16 & 0xffff, draw & 0xfff, (more >> 48 & 0x3fff) | 0x8000,
            more & 0xffffffffffff);
}

const char *glm_needle_city(uint64_t draw) {
    return cities[draw % N_CITIES];
}

int64_t glm_needle_n_words(void) {
    return (int64_t)N_FIRST * N_SECOND;
}

void glm_needle_words(int64_t i, char text[64]) {
    (void)snprintf(
            text, 64, "%s-%s", first_words[i / N_SECOND % N_FIRST], second_words[i % N_SECOND]);
}

int64_t glm_needle_n_long_words(void) {
    return (int64_t)N_FIRST * N_FIRST * N_SECOND;
}

/* The noun first, so that none of them holds one of glm_needle_words. */
void glm_needle_long_words(int64_t i, char text[64]) {
    (void)snprintf(text, 64, "%s-%s-%s", second_words[i % N_SECOND],
            first_words[i / N_SECOND % N_FIRST], first_words[i / N_SECOND / N_FIRST % N_FIRST]);
}
