/* A grammar: rules named by a letter, each a list of alternatives that are equally likely.
 *
 * In an alternative "$x" stands for one drawn from rule x, and "$@" for "a" or "an", whichever the
 * next letter asks for. Rules refer only to rules above them in the table, so that expansion ends.
 * A sentence makes some eight draws of about five bits, which keeps long stretches from coming
 * back. */
#include "prose.h"

#include <string.h>

#include "base/memory.h"
#include "base/random.h"
#include "base/size.h"

enum { SENTENCE_MAX = 448, PARAGRAPH_MIN = 3, PARAGRAPH_MAX = 7 };

/* ---- words ----------------------------------------------------------------------------------- */

static const char *const names[] = {"Agnes", "Ambrose", "Beatrice", "Bertram", "Cecily", "Clement",
        "Dorothea", "Edmund", "Eleanor", "Esther", "Felix", "Florian", "Gideon", "Greta", "Harriet",
        "Hugo", "Ida", "Ingrid", "Jasper", "Josephine", "Leopold", "Lydia", "Magnus", "Marian",
        "Matilda", "Nathaniel", "Nora", "Philippa", "Quentin", "Rosalind", "Rufus", "Sabina",
        "Sylvia", "Ulrich", "Ursula", "Vera", "Vincent", "Roland", "Yvonne", "Zacharias"};

static const char *const trades[] = {"apprentice", "archivist", "baker", "barber", "beekeeper",
        "blacksmith", "boatman", "bookbinder", "carpenter", "clerk", "clockmaker", "cobbler",
        "cook", "cooper", "doctor", "engraver", "farmer", "ferryman", "fisherman", "forester",
        "gardener", "glazier", "grocer", "harbour master", "innkeeper", "judge", "lamplighter",
        "librarian", "mason", "mayor", "messenger", "midwife", "miller", "minister", "musician",
        "night watchman", "organist", "painter", "pharmacist", "pilot", "porter", "postman",
        "potter", "printer", "saddler", "schoolmaster", "seamstress", "shepherd", "signalman",
        "stonecutter", "surveyor", "tailor", "traveller", "weaver", "widow"};

static const char *const adjectives[] = {"ancient", "battered", "beautiful", "bitter", "blue",
        "borrowed", "broken", "careful", "cheerful", "clumsy", "cold", "crooked", "curious", "damp",
        "dark", "delicate", "distant", "dusty", "elegant", "empty", "enormous", "faded", "familiar",
        "foreign", "forgotten", "fragile", "gentle", "golden", "grey", "heavy", "hidden", "hollow",
        "humble", "idle", "invisible", "lonely", "modest", "muddy", "narrow", "neglected", "new",
        "odd", "old", "ordinary", "pale", "patient", "plain", "polished", "quiet", "red",
        "restless", "rusty", "severe", "shallow", "silent", "simple", "slender", "small",
        "splendid", "stubborn", "sturdy", "tired", "unfinished", "unlikely", "warm", "weathered",
        "white", "wide", "wild", "yellow"};

static const char *const things[] = {"account book", "almanac", "anchor", "apron", "axe", "barrel",
        "basket", "bell", "bench", "blanket", "bottle", "bowl", "bridle", "broom", "bucket",
        "candle", "carpet", "cart", "chair", "chest", "cloak", "clock", "coat", "compass", "cradle",
        "cupboard", "curtain", "door", "drawing", "envelope", "fiddle", "flag", "fence", "gate",
        "glove", "hammer", "hat", "jar", "kettle", "key", "kite", "knife", "ladder", "lamp",
        "lantern", "ledger", "letter", "lock", "loom", "map", "mirror", "net", "notebook", "oar",
        "painting", "parcel", "photograph", "pipe", "plough", "portrait", "ring", "rope", "saddle",
        "sail", "scarf", "shovel", "sign", "spoon", "stove", "suitcase", "table", "teapot",
        "telescope", "trunk", "umbrella", "vase", "wheel", "whistle", "window"};

static const char *const places[] = {"abbey", "attic", "bakery", "barn", "bathhouse", "boathouse",
        "bridge", "canal", "causeway", "cellar", "chapel", "churchyard", "courtyard", "crossroads",
        "dockyard", "embankment", "estuary", "ferry landing", "fish market", "forge", "fountain",
        "garden", "granary", "guildhall", "harbour", "headland", "hospital", "inn", "kitchen",
        "library", "lighthouse", "marsh", "meadow", "mill", "monastery", "mountain pass", "museum",
        "orchard", "parish hall", "pasture", "post office", "quarry", "railway station",
        "riverbank", "sawmill", "schoolhouse", "shipyard", "stable", "theatre", "tollhouse",
        "town square", "valley", "village green", "vineyard", "warehouse", "watchtower", "well",
        "windmill", "workshop"};

static const char *const materials[] = {"apples", "barley", "brass", "bricks", "candle wax",
        "canvas", "charcoal", "chestnuts", "clay", "copper", "feathers", "firewood", "flour",
        "glass", "hay", "honey", "ink", "lace", "leather", "linen", "marble", "oak planks", "paper",
        "peat", "pepper", "salt", "silk", "slate", "straw", "tar", "tea", "timber", "tin",
        "turnips", "wool"};

static const char *const notions[] = {"ambition", "caution", "charity", "comfort", "courage",
        "curiosity", "disappointment", "doubt", "duty", "envy", "forgiveness", "friendship",
        "generosity", "gratitude", "grief", "habit", "hope", "humour", "impatience", "kindness",
        "loneliness", "memory", "mercy", "music", "obedience", "patience", "pride", "relief",
        "silence", "solitude", "sorrow", "tenderness", "thrift", "uncertainty", "wonder"};

static const char *const handled[] = {"admired", "bought", "brought back", "carried", "cleaned",
        "copied", "described", "discovered", "dropped", "examined", "exchanged", "forgot", "found",
        "gave away", "guarded", "handed over", "hid", "ignored", "inherited", "inspected", "kept",
        "lent out", "lifted", "lost", "measured", "mended", "missed", "moved", "noticed", "offered",
        "ordered", "packed", "painted", "placed", "polished", "praised", "promised", "put down",
        "received", "recognised", "refused", "remembered", "repaired", "replaced", "returned",
        "sketched", "sold", "studied", "unpacked", "valued", "weighed", "wrapped"};

static const char *const went[] = {"argued", "arrived", "dozed", "dreamed", "fell asleep",
        "hesitated", "hummed", "hurried home", "knelt", "laughed", "lingered", "listened",
        "looked away", "nodded", "paused", "prayed", "read aloud", "rested", "sang", "sat down",
        "shivered", "sighed", "slept", "smiled", "stayed behind", "stood still", "stumbled",
        "talked", "turned back", "waited", "walked", "wandered", "wept", "whistled", "worked"};

static const char *const manners[] = {"almost cheerfully", "at great length", "awkwardly", "calmly",
        "carefully", "eagerly", "for the most part", "from habit", "gladly", "half in jest",
        "in a low voice", "in good time", "in secret", "in the usual manner", "late at night",
        "like a sleepwalker", "more than once", "neatly", "patiently", "politely", "proudly",
        "quickly", "quietly", "reluctantly", "slowly", "solemnly", "suddenly", "together",
        "too soon", "twice a week", "unwillingly", "with great care", "with some effort",
        "without a word", "without complaint", "without looking up"};

static const char *const relations[] = {"above", "across from", "at the back of", "before",
        "behind", "below", "beside", "between the road and", "beyond", "close to", "in front of",
        "in", "just outside", "near", "not far from", "on the far side of", "opposite", "past",
        "under the roof of", "within sight of"};

/* None begins with T, O, W, "a " or "some ". */
static const char *const times[] = {"after a long silence", "after supper", "after the funeral",
        "after the harvest", "all that summer", "as usual", "at daybreak", "at low tide",
        "at midnight", "at the end of the lesson", "before breakfast", "before the first frost",
        "by candlelight", "by the following spring", "by the time the bells rang",
        "during the great drought", "during the long winter", "early in the morning",
        "every second Sunday", "from that day", "in later years", "in the afternoon",
        "in the autumn", "in the last week of April", "in those days", "just before dusk",
        "later that evening", "many years earlier", "not long afterwards", "every market day",
        "just before the festival", "during the fair", "shortly before noon", "soon afterwards",
        "until the thaw", "year after year"};

static const char *const weathers[] = {"a dog barked in the distance",
        "a thin mist lay on the water", "all the lamps had been lit", "clouds gathered in the west",
        "dust rose from the road", "frost covered the fields", "it began to snow",
        "it had rained for days", "it was already dark", "nobody else was awake",
        "smoke drifted over the roofs", "snow lay on the hills", "somebody was practising scales",
        "the bells were ringing", "the church clock struck", "the evening was mild",
        "the ferry was late", "the fire had gone out", "the gulls were noisy",
        "the harvest had been poor", "the heat was hard to bear", "the ice was breaking up",
        "the kettle had boiled dry", "the last train had left", "the moon had risen",
        "the rain had stopped", "the river was high", "the roads were empty",
        "the shops were closed", "the streets smelled of bread", "the tide was turning",
        "the wind had changed", "there was thunder far away"};

static const char *const thought[] = {"admitted", "announced", "assumed", "believed", "claimed",
        "complained", "explained", "feared", "guessed", "heard", "hoped", "insisted", "knew",
        "learned", "mentioned", "objected", "predicted", "realised", "said", "suspected", "thought",
        "understood", "wrote"};

static const char *const joints[] = {"although", "and", "as if", "because", "but", "even though",
        "for", "just as", "so that", "until", "while"};

/* ---- phrases --------------------------------------------------------------------------------- */

static const char *const persons[] = {"$n", "$n", "$n", "the $o", "the $o", "the $a $o",
        "$n the $o", "the $o's daughter", "the $o's brother", "the $o from the $l",
        "the $o and the $o", "$n and $n", "my cousin the $o", "the new $o",
        "every $o in the valley", "$@$a $o", "$@$o from the $l", "nobody but the $o"};

static const char *const objects[] = {"the $a $t", "the $a $t", "the $t", "$@$a $t", "$@$a, $a $t",
        "the $t of the $o", "the $o's $t", "$@$t full of $k", "the $t and the $a $t",
        "three sacks of $k", "$@$t wrapped in $k", "the last of the $k", "the $t from the $l"};

static const char *const spots[] = {"$r the $l", "$r the $l", "$r the $a $l", "$r the old $l",
        "$r the $l and the $l", "on the road to the $l", "halfway between the $l and the $l",
        "at the $o's house"};

static const char *const clauses[] = {"$P $b $T", "$P $b $T $d", "$P $b $T $S", "$P $w $S",
        "$P $w $d", "the $t stood $S", "there was $@$a $t $S", "the $l was $a and $a",
        "$P had never seen the $l", "$P owed the $o for the $k", "$c", "the price of $k had risen",
        "$P spoke of $f", "the $o had no $f left"};

static const char *const sentences[] = {"$C", "$C, and $C", "$C $j $C", "$C $j $C", "$C $m",
        "$m, $C", "$m, $C", "$P $h that $C", "$P $h that $C, $j $C", "$P, who $b $T $m, $w $S",
        "when $C, $P $b $T", "$C, but $P $h that $C", "if $C, it was only because $C",
        "there was more $f than $f in the $o's voice",
        "of all the things in the $l, only the $a $t was missing", "$f, $P $h, was a kind of $f",
        "it was $@$a day, and $C", "neither the $o nor $n $b $T", "$P $b $T, $b $T and $w",
        "from the $l to the $l the road was $a", "so it was that $P $b $T",
        "without $f, $P $h, there would be no $f", "no $o had ever been so $a", "$C, yet $m $C",
        "for $@$o, $n was unusually $a", "$S lay $T, $a and $a", "with $f and $@$a $t, $P $w $d",
        "they $b $T $m, and $P $w"};

/* What a paragraph, and so a line, begins with. */
static const char *const openings[] = {"$m, $C", "$m, $C", "$m, $C", "$m, $C, and $C",
        "$m, $C $j $C", "$m, $P $h that $C", "$m, when $C, $P $b $T", "$n $b $T $m",
        "$n $h that $C", "before $C, $P $b $T", "even $n $h that $C",
        "if $n $b $T, it was because $C", "long before $C, $P $b $T", "meanwhile $C",
        "perhaps $C, for $P $w $d", "nothing in the $l was as $a as the $t",
        "it is said that $P $b $T $m", "although $C, $P $b $T $d",
        "nobody remembered when $P $b $T", "how $P $b $T is soon told, for $C"};

/* ---- grammar --------------------------------------------------------------------------------- */

typedef struct rule {
    char letter;
    int32_t n;
    const char *const *alternatives;
} rule;

#define RULE(letter, list) \
    { letter, (int32_t)(sizeof(list) / sizeof *(list)), list }

static const rule rules[] = {RULE('n', names), RULE('o', trades), RULE('a', adjectives),
        RULE('t', things), RULE('l', places), RULE('k', materials), RULE('f', notions),
        RULE('b', handled), RULE('w', went), RULE('d', manners), RULE('r', relations),
        RULE('m', times), RULE('c', weathers), RULE('h', thought), RULE('j', joints),
        RULE('P', persons), RULE('T', objects), RULE('S', spots), RULE('C', clauses),
        RULE('.', sentences), RULE('|', openings)};

#undef RULE

enum { N_RULES = sizeof rules / sizeof *rules };

typedef struct writer {
    const rule *by_letter[128];
    uint64_t random;
    char *text;
    int64_t n;
    int64_t capacity;
    bool is_capital; /* the next letter begins a sentence */
    bool is_article; /* "a" or "an" comes before it */
} writer;

static int32_t draw_below(writer *to, int32_t n) {
    return (int32_t)((rt_random_next(&to->random) >> 32) * (uint64_t)n >> 32);
}

static void put(writer *to, const char *text, size_t n) {
    rt_assert(to->n + (int64_t)n < to->capacity);
    memcpy(to->text + to->n, text, n);
    if (to->is_capital && *text >= 'a' && *text <= 'z') to->text[to->n] = (char)(*text - 'a' + 'A');
    to->is_capital = false;
    to->n += (int64_t)n;
}

static void put_words(writer *to, const char *text, size_t n) {
    if (n == 0) return;
    if (to->is_article) {
        to->is_article = false;
        const bool is_vowel = memchr("aeiou", *text, 5) != NULL;
        put(to, is_vowel ? "an " : "a ", is_vowel ? 3 : 2);
    }
    put(to, text, n);
}

/* Recursion as deep as the grammar: opening, clause, phrase, word. */
static void expand(writer *to, char letter) {
    const rule *from = to->by_letter[(unsigned char)letter & 127];
    rt_assert(from != NULL);
    const char *text = from->alternatives[draw_below(to, from->n)];
    for (;;) {
        const char *dollar = strchrnul(text, '$');
        put_words(to, text, (size_t)(dollar - text));
        if (*dollar == '\0') return;
        if (dollar[1] == '@')
            to->is_article = true;
        else
            expand(to, dollar[1]);
        text = dollar + 2;
    }
}

static void put_paragraph(writer *to) {
    const int32_t n = PARAGRAPH_MIN + draw_below(to, PARAGRAPH_MAX - PARAGRAPH_MIN + 1);
    for (int32_t i = 0; i < n; i++) {
        const int64_t begin = to->n;
        to->is_capital = true;
        expand(to, i == 0 ? '|' : '.');
        put(to, i + 1 < n ? ". " : ".\n", 2);
        rt_assert(to->n - begin < SENTENCE_MAX);
    }
}

rt_status glm_prose_make(uint64_t seed, int64_t bytes_min, char **text, int64_t *n_bytes) {
    *text = NULL;
    *n_bytes = 0;
    writer to = {.random = seed};
    for (int32_t i = 0; i < N_RULES; i++)
        to.by_letter[(unsigned char)rules[i].letter & 127] = &rules[i];
    /* The last paragraph begins before bytes_min. */
    if (!rt_checked_add(rt_max64(bytes_min, 1), PARAGRAPH_MAX * SENTENCE_MAX + 1, &to.capacity))
        return rt_fail(RT_ENOMEM, "prose: no memory for a text that long");
    void *memory = NULL;
    RT_TRY(rt_malloc(to.capacity, "made-up prose", &memory));
    to.text = memory;
    do put_paragraph(&to);
    while (to.n < bytes_min);
    to.text[to.n] = '\0';
    *text = to.text;
    *n_bytes = to.n;
    return RT_OK;
}
