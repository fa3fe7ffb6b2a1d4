/* A grammar in strings: an upper-case letter stands for a word drawn from its list, or for a phrase
 * that is expanded in turn; everything else is printed as it is. */
#include "prose.h"

#include <stddef.h>

static const char *const nouns[] = {"river", "valley", "harbour", "orchard", "mountain", "village",
        "market", "bridge", "forest", "garden", "meadow", "lighthouse", "library", "workshop",
        "theatre", "station", "courtyard", "kitchen", "bakery", "chapel", "mill", "quarry",
        "tavern", "vineyard", "shipyard", "archive", "museum", "school", "square", "cellar",
        "attic", "stable", "pasture", "canal", "island", "desert", "glacier", "marsh", "cliff",
        "cavern", "tower", "fountain", "gallery", "barn", "ferry", "carriage", "lantern", "compass",
        "blanket", "basket", "ladder", "mirror", "curtain", "piano", "violin", "letter", "portrait",
        "map", "diary", "clock", "candle", "kettle", "hammer", "anchor", "saddle", "umbrella",
        "wagon", "feather", "ribbon", "coin", "button", "needlework", "telescope", "manuscript"};
static const char *const people[] = {"the baker", "the captain", "a young clerk", "the widow",
        "the schoolmaster", "an old fisherman", "the gardener", "the doctor", "her brother",
        "his sister", "the miller", "a travelling painter", "the librarian", "the night watchman",
        "their neighbour", "the seamstress", "a retired judge", "the cook", "the apprentice",
        "the musician", "a stranger", "the shepherd", "the carpenter", "an engineer",
        "the innkeeper", "the gravedigger", "a botanist", "the mayor", "the ferryman",
        "a child from the next street", "the clockmaker", "the postman", "the translator",
        "my grandmother", "the blacksmith", "a merchant"};
static const char *const adjectives[] = {"quiet", "narrow", "ancient", "dusty", "golden", "crooked",
        "bitter", "gentle", "distant", "heavy", "broken", "cheerful", "damp", "fragile", "hollow",
        "humble", "lonely", "modest", "noisy", "pale", "patient", "polished", "rough", "silent",
        "slender", "stubborn", "tender", "uneven", "weathered", "wooden", "curious", "forgotten",
        "familiar", "ordinary", "peculiar", "scarlet", "silver", "sunlit", "windy", "frozen",
        "crowded", "empty", "shallow", "steep", "tangled", "faded", "painted", "borrowed"};
static const char *const deeds[] = {"remembered", "described", "admired", "repaired", "abandoned",
        "measured", "sketched", "crossed", "approached", "examined", "ignored", "inherited",
        "painted", "guarded", "praised", "visited", "avoided", "imagined", "carried", "followed",
        "recognised", "mentioned", "sold", "bought", "mended", "hid", "found", "lost", "studied",
        "swept", "watched", "compared"};
static const char *const doings[] = {"laughed", "waited", "slept", "argued", "whispered", "sang",
        "wandered off", "shrugged", "hesitated", "listened", "smiled", "grew tired", "kept silent",
        "changed the subject", "looked away", "sat down", "went home", "lit a lamp",
        "closed the door", "poured the tea", "counted the hours", "thought of the sea",
        "turned the page", "opened the window", "walked on", "nodded"};
static const char *const times[] = {"In the morning", "After supper", "That winter", "Years later",
        "Before the rain", "On the way back", "Late in the evening", "At the end of the summer",
        "During the long drought", "When the bells had stopped", "By the time the fog lifted",
        "Once the guests had left", "In those days", "Towards noon", "Every autumn",
        "On market days", "As soon as it was dark", "Meanwhile", "Long ago", "Now and then"};
static const char *const links[] = {"because", "although", "while", "until", "as if", "so that",
        "even though", "whenever", "since", "before"};
static const char *const manners[] = {"slowly", "without a word", "with great care", "carelessly",
        "as always", "for no reason at all", "once again", "in a hurry", "with both hands",
        "almost by accident", "in spite of the cold", "against all advice", "out of habit",
        "from a distance", "to everyone's surprise", "rather badly"};
static const char *const claims[] = {"nothing lasts as long as a rumour",
        "patience is a kind of courage", "the weather never listens",
        "a good tool outlives its owner", "bread tastes better when it is shared",
        "every road looks shorter on the way home", "silence can be a very clear answer",
        "the best maps leave something out", "old houses keep their own time",
        "nobody owns the wind", "small debts make long friendships",
        "one learns more from a ruin than from a palace"};

static const char *const phrases[] = {"the A N", "a N near the N", "the N behind the A N", "the N",
        "one A N after another", "the A and A N"};
static const char *const sentences[] = {"T, P V O", "P V O M", "T P D", "P V O L P D",
        "O was A, and P D M", "P D L O seemed A", "T, P and P V O", "There was O by the N",
        "Nobody V O as P did", "P said that C", "Some believe that C, but P D", "M, P V O L P V O",
        "O and O stood side by side, A and A", "P V O; T P D", "What P V was not O but O",
        "T O was still A, L P V it M"};

typedef struct word_list {
    char letter;
    int n;
    const char *const *words;
} word_list;

#define LIST(letter, words) \
    { letter, (int)(sizeof(words) / sizeof *(words)), words }
static const word_list lists[] = {LIST('N', nouns), LIST('P', people), LIST('A', adjectives),
        LIST('V', deeds), LIST('D', doings), LIST('T', times), LIST('L', links), LIST('M', manners),
        LIST('C', claims), LIST('O', phrases)};
enum { N_LISTS = sizeof lists / sizeof *lists, N_SENTENCES = sizeof sentences / sizeof *sentences };

typedef struct writer {
    FILE *out;
    uint64_t state;
    int64_t n_bytes;
    int is_start; /* of a sentence: the next letter is a capital */
} writer;

/* splitmix64: Steele, Lea & Flood 2014. */
static int draw(writer *w, int n) {
    w->state += 0x9e3779b97f4a7c15u;
    uint64_t x = w->state;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return (int)((x >> 33) % (uint64_t)n);
}

static void put(writer *w, char c) {
    const int is_lower = c >= 'a' && c <= 'z';
    (void)putc_unlocked(w->is_start && is_lower ? c - 'a' + 'A' : c, w->out);
    w->is_start = 0;
    w->n_bytes++;
}

static const word_list *find_list(char letter) {
    for (int i = 0; i < N_LISTS; i++)
        if (lists[i].letter == letter) return &lists[i];
    return NULL;
}

/* Words as they are; a letter of a list standing alone is replaced. Phrases nest once. */
static void expand(writer *w, const char *pattern, int depth) {
    for (const char *c = pattern; *c; c++) {
        const int is_alone = c[1] < 'a' || c[1] > 'z';
        const word_list *list = is_alone ? find_list(*c) : NULL;
        if (!list)
            put(w, *c);
        else if (list->letter == 'O' && depth == 0)
            expand(w, list->words[draw(w, list->n)], 1);
        else
            for (const char *word = list->words[draw(w, list->n)]; *word; word++) put(w, *word);
    }
}

void glm_prose_write(FILE *out, uint64_t seed, int64_t bytes_min) {
    writer w = {.out = out, .state = seed};
    while (w.n_bytes < bytes_min) {
        const int n_sentences = 3 + draw(&w, 5);
        for (int i = 0; i < n_sentences; i++) {
            w.is_start = 1;
            expand(&w, sentences[draw(&w, N_SENTENCES)], 0);
            w.is_start = 0;
            put(&w, '.');
            put(&w, i + 1 < n_sentences ? ' ' : '\n');
        }
    }
}
