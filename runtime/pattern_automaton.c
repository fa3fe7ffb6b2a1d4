/* A tree -> nodes that go on without a character or by one (Thompson 1968, doi:10.1145/363347.363387) -> sets of
 * nodes, which are the states (Rabin and Scott 1959, doi:10.1147/rd.32.0114). A match may begin anywhere, so the first
 * node goes on to itself by any character; it may end anywhere, so a set that has the last is that alone. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/size.h"
#include "pattern_automaton.h"

enum { NODES_MAX = 20000, ANY_SET = -1, FIRST = 0, LAST = 1 };

typedef enum node_kind { BY_SET, SPLIT, AT_BEGIN, AT_END, MATCH } node_kind;

typedef struct node {
    node_kind kind;
    int32_t set;       /* BY_SET */
    int32_t out, also; /* where it goes on; also: SPLIT */
} node;

/* A state under construction: its nodes are nodes[first .. first + n). */
typedef struct state {
    int64_t first;
    int32_t n;
    uint32_t hash;
} state;

typedef struct maker {
    const glm_pattern_tree *tree;
    const uint8_t *has;
    const char *where;
    glm_pattern_budget *budget;
    glm_pattern *out;
    node *nodes;
    int64_t n_nodes, nodes_room;
    uint32_t *seen; /* [n_nodes]: the round in which it was met */
    uint32_t round;
    int32_t *stack; /* [n_nodes] */
    int32_t *met;   /* [n_nodes]: of this round, those that count */
    int32_t n_met;
    int32_t *lists; /* nodes of all states */
    int64_t n_listed, lists_room;
    state *states;
    int64_t n_states, states_room;
    int64_t table_room; /* states */
} maker;

rt_status glm_pattern_spend(glm_pattern_budget *budget, int64_t n_steps, const char *where) {
    budget->n_steps -= n_steps;
    if (budget->n_steps >= 0) return RT_OK;
    return rt_fail(RT_EUSAGE,
            "schema: %s takes too long to be made an automaton of, with the patterns before it",
            where);
}

/* ---- nodes ----------------------------------------------------------------------------------- */

static rt_status add_node(maker *m, node one, int32_t *index) {
    if (m->n_nodes == NODES_MAX)
        return rt_fail(RT_EUSAGE, "schema: %s is too large: repetitions make more than %d parts",
                m->where, NODES_MAX);
    RT_TRY(rt_make_room(&m->nodes, sizeof one, m->n_nodes, &m->nodes_room, "nodes of a pattern"));
    m->nodes[m->n_nodes] = one;
    *index = (int32_t)m->n_nodes++;
    return RT_OK;
}

static rt_status emit(maker *m, int32_t part, int32_t next, int32_t *entry);

/* The last child first: each goes on to the one behind it. */
static rt_status emit_all(maker *m, int32_t child, int32_t next, int32_t *entry) {
    *entry = next;
    int32_t n = 0;
    for (int32_t i = child; i != GLM_PATTERN_NONE; i = m->tree->parts[i].next) n++;
    if (n == 0) return RT_OK;
    int32_t *children = NULL;
    RT_TRY(rt_calloc(n, sizeof *children, "parts of a pattern", &children));
    n = 0;
    for (int32_t i = child; i != GLM_PATTERN_NONE; i = m->tree->parts[i].next) children[n++] = i;
    rt_status status = RT_OK;
    while (n > 0 && status == RT_OK) status = emit(m, children[--n], *entry, entry);
    free(children);
    return status;
}

static rt_status emit_any(maker *m, int32_t child, int32_t next, int32_t *entry) {
    RT_TRY(emit(m, child, next, entry));
    for (int32_t i = m->tree->parts[child].next; i != GLM_PATTERN_NONE;
            i = m->tree->parts[i].next) {
        int32_t other = 0;
        RT_TRY(emit(m, i, next, &other));
        RT_TRY(add_node(m, (node){.kind = SPLIT, .out = *entry, .also = other}, entry));
    }
    return RT_OK;
}

static rt_status emit_repeat(maker *m, const glm_part *part, int32_t next, int32_t *entry) {
    const int32_t least = part->least;
    const int32_t most = part->most;
    const int32_t child = part->child;
    *entry = next;
    if (most == GLM_PATTERN_NONE) {
        int32_t loop = 0;
        int32_t body = 0;
        RT_TRY(add_node(m, (node){.kind = SPLIT, .out = next, .also = next}, &loop));
        RT_TRY(emit(m, child, loop, &body));
        m->nodes[loop].out = body;
        *entry = loop;
    }
    for (int32_t i = least; i < most; i++) {
        RT_TRY(emit(m, child, *entry, entry));
        RT_TRY(add_node(m, (node){.kind = SPLIT, .out = *entry, .also = next}, entry));
    }
    for (int32_t i = 0; i < least; i++) RT_TRY(emit(m, child, *entry, entry));
    return RT_OK;
}

/* Nodes of a part that go on to `next`; *entry: the first of them. */
static rt_status emit(maker *m, int32_t index, int32_t next, int32_t *entry) {
    const glm_part part = m->tree->parts[index];
    RT_TRY(glm_pattern_spend(m->budget, 1, m->where));
    switch (part.kind) {
    case GLM_PART_SET:
        return add_node(m, (node){.kind = BY_SET, .set = part.set, .out = next}, entry);
    case GLM_PART_ALL:
        return emit_all(m, part.child, next, entry);
    case GLM_PART_ANY:
        return emit_any(m, part.child, next, entry);
    case GLM_PART_REPEAT:
        return emit_repeat(m, &part, next, entry);
    case GLM_PART_BEGIN:
        return add_node(m, (node){.kind = AT_BEGIN, .out = next}, entry);
    case GLM_PART_END:
        return add_node(m, (node){.kind = AT_END, .out = next}, entry);
    default:
        *entry = next;
        return RT_OK;
    }
}

static rt_status make_nodes(maker *m) {
    int32_t index = 0;
    int32_t any = 0;
    int32_t entry = 0;
    RT_TRY(add_node(m, (node){.kind = SPLIT}, &index));
    RT_TRY(add_node(m, (node){.kind = MATCH}, &index));
    RT_TRY(add_node(m, (node){.kind = BY_SET, .set = ANY_SET, .out = FIRST}, &any));
    RT_TRY(emit(m, m->tree->root, LAST, &entry));
    m->nodes[FIRST].out = any;
    m->nodes[FIRST].also = entry;
    RT_TRY(rt_calloc(m->n_nodes, sizeof *m->seen, "nodes of a pattern", &m->seen));
    RT_TRY(rt_calloc(m->n_nodes, sizeof *m->stack, "nodes of a pattern", &m->stack));
    return rt_calloc(m->n_nodes, sizeof *m->met, "nodes of a pattern", &m->met);
}

/* ---- where nodes go without a character ------------------------------------------------------ */

static void begin_round(maker *m) {
    m->round++;
    m->n_met = 0;
}

/* All that is reached from `from`; those of this round that go on by a character, or are an end, are met. */
static rt_status reach(maker *m, int32_t from, bool at_begin, bool at_end) {
    int64_t n = 0;
    if (m->seen[from] == m->round) return RT_OK;
    m->seen[from] = m->round;
    m->stack[n++] = from;
    while (n > 0) {
        const int32_t index = m->stack[--n];
        const node *one = &m->nodes[index];
        int32_t next[2] = {GLM_PATTERN_NONE, GLM_PATTERN_NONE};
        RT_TRY(glm_pattern_spend(m->budget, 1, m->where));
        if (one->kind == SPLIT || (one->kind == AT_BEGIN && at_begin) ||
                (one->kind == AT_END && at_end))
            next[0] = one->out;
        if (one->kind == SPLIT) next[1] = one->also;
        if (one->kind == BY_SET || one->kind == AT_END || one->kind == MATCH)
            m->met[m->n_met++] = index;
        for (int i = 0; i < 2; i++) {
            if (next[i] == GLM_PATTERN_NONE || m->seen[next[i]] == m->round) continue;
            m->seen[next[i]] = m->round;
            m->stack[n++] = next[i];
        }
    }
    return RT_OK;
}

/* ---- states ---------------------------------------------------------------------------------- */

static int by_number(const void *left, const void *right) {
    const int32_t a = *(const int32_t *)left;
    const int32_t b = *(const int32_t *)right;
    return (a > b) - (a < b);
}

/* What is met, in order; the end of a match makes all else of no matter. */
static void settle(maker *m) {
    qsort(m->met, (size_t)m->n_met, sizeof *m->met, by_number);
    for (int32_t i = 0; i < m->n_met; i++)
        if (m->met[i] == LAST) {
            m->met[0] = LAST;
            m->n_met = 1;
        }
}

static uint32_t hash_of(const int32_t *list, int32_t n) {
    uint32_t hash = 2166136261U;
    for (int32_t i = 0; i < n; i++) hash = (hash ^ (uint32_t)list[i]) * 16777619U;
    return hash;
}

/* A string that ends here has a match: the end of one is met, or reached from here at the end. */
static rt_status find_final(maker *m, const state *one, bool is_first, uint8_t *is_final) {
    *is_final = 0;
    begin_round(m);
    for (int32_t i = 0; i < one->n; i++) RT_TRY(reach(m, m->lists[one->first + i], is_first, true));
    for (int32_t i = 0; i < m->n_met; i++) *is_final |= m->met[i] == LAST;
    return RT_OK;
}

static rt_status widen_table(maker *m) {
    glm_pattern *out = m->out;
    const int64_t room = rt_max64(16, 2 * m->table_room);
    uint16_t *table = realloc(out->table, (size_t)(room * out->n_classes) * sizeof *out->table);
    if (table) out->table = table;
    uint8_t *is_final = table ? realloc(out->is_final, (size_t)room) : NULL;
    if (!is_final) return rt_fail(RT_ENOMEM, "schema: no memory for a pattern");
    out->is_final = is_final;
    m->table_room = room;
    return RT_OK;
}

static rt_status add_state(maker *m) {
    const state added = {m->n_listed, m->n_met, hash_of(m->met, m->n_met)};
    m->budget->n_cells -= m->out->n_classes + m->n_met;
    if (m->n_states == GLM_PATTERN_DEAD || m->budget->n_cells < 0)
        return rt_fail(RT_EUSAGE,
                "schema: %s is too large, with the patterns before it: its automaton has more than "
                "%lld states",
                m->where, (long long)m->n_states);
    for (int32_t i = 0; i < m->n_met; i++) {
        RT_TRY(rt_make_room(
                &m->lists, sizeof *m->lists, m->n_listed, &m->lists_room, "states of a pattern"));
        m->lists[m->n_listed++] = m->met[i];
    }
    RT_TRY(rt_make_room(
            &m->states, sizeof added, m->n_states, &m->states_room, "states of a pattern"));
    if (m->n_states == m->table_room) RT_TRY(widen_table(m));
    m->states[m->n_states++] = added;
    return find_final(m, &added, m->n_states == 1, &m->out->is_final[m->n_states - 1]);
}

/* The state of what is met, new where there is none; the first is like no other: it alone is at the beginning. */
static rt_status state_of(maker *m, uint16_t *index) {
    *index = GLM_PATTERN_DEAD;
    settle(m);
    if (m->n_met == 0) return RT_OK;
    const uint32_t hash = hash_of(m->met, m->n_met);
    RT_TRY(glm_pattern_spend(m->budget, m->n_states / 4, m->where));
    for (int64_t i = 1; i < m->n_states; i++) {
        const state *one = &m->states[i];
        if (one->hash != hash || one->n != m->n_met ||
                memcmp(&m->lists[one->first], m->met, (size_t)one->n * sizeof *m->met) != 0)
            continue;
        *index = (uint16_t)i;
        return RT_OK;
    }
    *index = (uint16_t)m->n_states;
    return add_state(m);
}

static bool takes(const maker *m, const node *one, int32_t class_) {
    return one->kind == BY_SET &&
           (one->set == ANY_SET || m->has[one->set * GLM_PATTERN_CLASSES + class_]);
}

static rt_status step(maker *m, int64_t from, int32_t class_) {
    const state one = m->states[from];
    uint16_t next = GLM_PATTERN_DEAD;
    RT_TRY(glm_pattern_spend(m->budget, one.n, m->where));
    begin_round(m);
    for (int32_t i = 0; i < one.n; i++) {
        const int32_t index = m->lists[one.first + i];
        if (index == LAST)
            RT_TRY(reach(m, LAST, false, false));
        else if (takes(m, &m->nodes[index], class_))
            RT_TRY(reach(m, m->nodes[index].out, false, false));
    }
    RT_TRY(state_of(m, &next));
    m->out->table[from * m->out->n_classes + class_] = next;
    return RT_OK;
}

static rt_status determine(maker *m) {
    RT_TRY(make_nodes(m));
    begin_round(m);
    RT_TRY(reach(m, FIRST, true, false));
    settle(m);
    RT_TRY(add_state(m));
    for (int64_t i = 0; i < m->n_states; i++)
        for (int32_t c = 0; c < m->out->n_classes; c++) RT_TRY(step(m, i, c));
    m->out->n_states = (int32_t)m->n_states;
    return RT_OK;
}

rt_status glm_pattern_determine(const glm_pattern_tree *tree, const uint8_t *has, const char *where,
        glm_pattern_budget *budget, glm_pattern *out) {
    maker m = {.tree = tree, .has = has, .where = where, .budget = budget, .out = out};
    const rt_status status = determine(&m);
    free(m.nodes);
    free(m.seen);
    free(m.stack);
    free(m.met);
    free(m.lists);
    free(m.states);
    return status;
}
