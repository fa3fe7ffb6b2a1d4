#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/size.h"
#include "onednn_inside.h"

const int64_t glm_onednn_sizes[GLM_ONEDNN_SIZES] = {GLM_ONEDNN_ROWS, 16, 4, 1};

enum { TILE_NUMBERS = GLM_ONEDNN_ROWS * GLM_ONEDNN_OUTS };

/* What the library may ask for besides: nothing but tiles' descriptions by the releases known. */
static const int64_t workspace_bytes = RT_MIB / 4;

/* Code and data of libdnnl and of what it needs, and twelve kernels: 7 to 9 MiB became resident with 2.6.3. */
static const int64_t library_bytes = 8 * RT_MIB;

rt_status glm_onednn_check(int status, const char *what) {
    if (status == 0) return RT_OK;
    return rt_fail(status == DNNL_HAS_NO_MEMORY ? RT_ENOMEM : RT_EUNSUPPORTED,
            "linear: oneDNN: %s failed with status %d", what, status);
}

/* ---- shapes ---------------------------------------------------------------------------------- */

static rt_status shape_of(const glm_onednn *o, int64_t n_rows, int64_t n_cols, dnnl_number type,
        dnnl_layout layout, dnnl_shape *out) {
    const int64_t dims[DNNL_DIMS_MAX] = {n_rows, n_cols};
    *out = (dnnl_shape){0};
    return glm_onednn_check(
            o->lib.memory_desc_init_by_tag(out, 2, dims, (int)type, (int)layout), "a shape");
}

typedef struct shapes {
    dnnl_shape x;
    dnnl_shape panel;
    dnnl_shape tile;
} shapes;

static rt_status shapes_of(const glm_onednn *o, int64_t width, int64_t n_rows, shapes *out) {
    RT_TRY(shape_of(o, n_rows, width, DNNL_IS_BF16, DNNL_IS_AB, &out->x));
    RT_TRY(shape_of(o, width, GLM_ONEDNN_OUTS, DNNL_IS_BF16, DNNL_IS_BA16A64B2A, &out->panel));
    return shape_of(o, n_rows, GLM_ONEDNN_OUTS, DNNL_IS_F32, DNNL_IS_AB, &out->tile);
}

/* ---- kernels --------------------------------------------------------------------------------- */

/* It has a fast kernel for that, which needs no more room than there is. `name`: the kernel's. */
static rt_status look_at(
        const glm_onednn *o, dnnl_recipe_of recipe, int64_t width, const char **name) {
    RT_TRY(glm_onednn_check(
            o->lib.primitive_desc_query(recipe, DNNL_ASKS_IMPLEMENTATION, 0, (void *)name),
            "asking for the kernel's name"));
    if (strncmp(*name, "brg:", 4) != 0)
        return rt_fail(RT_EUNSUPPORTED,
                "linear: %s has no fast kernel for bf16 weights on this CPU, only %s; it needs "
                "AVX-512 with "
                "bf16, or AMX",
                o->lib.name, *name);
    const dnnl_shape *room = o->lib.primitive_desc_query_md(recipe, DNNL_ASKS_SCRATCHPAD, 0);
    const int64_t bytes = room ? (int64_t)o->lib.memory_desc_get_size(room) : 0;
    if (bytes <= workspace_bytes) return RT_OK;
    return rt_fail(RT_EUNSUPPORTED,
            "linear: %s wants %lld bytes of room for rows of %lld, at most %lld are planned",
            o->lib.name, (long long)bytes, (long long)width, (long long)workspace_bytes);
}

static rt_status make_recipe(glm_onednn *o, const dnnl_product *product, dnnl_recipe_of *out) {
    dnnl_attr_of attr = NULL;
    RT_TRY(glm_onednn_check(o->lib.primitive_attr_create(&attr), "an attribute"));
    int status = o->lib.primitive_attr_set_scratchpad_mode(attr, DNNL_IS_SCRATCHPAD_OURS);
    if (status == 0) status = o->lib.primitive_desc_create(out, product, attr, o->engine, NULL);
    (void)o->lib.primitive_attr_destroy(attr);
    if (status != DNNL_HAS_NO_KERNEL) return glm_onednn_check(status, "a product of bf16 rows");
    return rt_fail(RT_EUNSUPPORTED,
            "linear: %s has no kernel for bf16 weights on this CPU; it needs AVX-512 with bf16, or "
            "AMX",
            o->lib.name);
}

static rt_status make_product(
        glm_onednn *o, int64_t width, int64_t n_rows, dnnl_primitive_of *out, const char **name) {
    shapes s;
    dnnl_product product = {0};
    dnnl_recipe_of recipe = NULL;
    RT_TRY(shapes_of(o, width, n_rows, &s));
    RT_TRY(glm_onednn_check(o->lib.matmul_desc_init(&product, &s.x, &s.panel, NULL, &s.tile),
            "describing a product"));
    RT_TRY(make_recipe(o, &product, &recipe));
    rt_status status = look_at(o, recipe, width, name);
    if (status == RT_OK)
        status = glm_onednn_check(o->lib.primitive_create(out, recipe), "making a kernel");
    (void)o->lib.primitive_desc_destroy(recipe);
    return status;
}

/* The kernel's name is that of the largest blocks: the others count only where their bits agree. */
static rt_status add_part(glm_onednn *o, int64_t width, char name[64]) {
    rt_assert(o->n_parts < GLM_ONEDNN_PARTS_MAX);
    glm_onednn_part_kind *part = &o->parts[o->n_parts++];
    part->width = width;
    for (int size = 0; size < GLM_ONEDNN_SIZES; size++) {
        const char *kernel = "";
        const rt_status status =
                make_product(o, width, glm_onednn_sizes[size], &part->products[size], &kernel);
        if (size == 0) (void)snprintf(name, 64, "%s", kernel);
        if (size < 2) RT_TRY(status);
        o->has_size[size] = o->has_size[size] && status == RT_OK;
    }
    return RT_OK;
}

/* ---- threads --------------------------------------------------------------------------------- */

static rt_status make_memory(
        glm_onednn *o, const dnnl_shape *shape, void *at, dnnl_memory_of *out) {
    return glm_onednn_check(o->lib.memory_create(out, shape, o->engine, at), "a place in memory");
}

static rt_status make_places(glm_onednn *o, glm_onednn_thread *t) {
    dnnl_shape room;
    shapes s;
    RT_TRY(shape_of(o, 1, workspace_bytes / 4, DNNL_IS_F32, DNNL_IS_AB, &room));
    RT_TRY(make_memory(o, &room, t->room, &t->workspace));
    for (int part = 0; part < o->n_parts; part++) {
        for (int size = 0; size < GLM_ONEDNN_SIZES; size++) {
            RT_TRY(shapes_of(o, o->parts[part].width, glm_onednn_sizes[size], &s));
            RT_TRY(make_memory(o, &s.x, t->room, &t->x[part][size]));
            if (part == 0) RT_TRY(make_memory(o, &s.tile, t->sums, &t->tile[size]));
        }
        RT_TRY(make_memory(o, &s.panel, t->room, &t->panel[part]));
    }
    return RT_OK;
}

static const int64_t thread_bytes = 2 * GLM_ONEDNN_TILE_BYTES + workspace_bytes;

static int64_t memory_bytes(int n_threads) {
    return n_threads * thread_bytes;
}

static rt_status make_threads(glm_onednn *o) {
    RT_TRY(rt_calloc(o->n_threads, sizeof *o->threads, "oneDNN's threads", &o->threads));
    RT_TRY(rt_mem_alloc(memory_bytes(o->n_threads), "oneDNN's tiles", &o->memory));
    for (int i = 0; i < o->n_threads; i++) {
        glm_onednn_thread *t = &o->threads[i];
        t->sums = (float *)((char *)o->memory + i * thread_bytes);
        t->numbers = t->sums + TILE_NUMBERS;
        t->room = t->numbers + TILE_NUMBERS;
        RT_TRY(glm_onednn_check(
                o->lib.stream_create(&t->stream, o->engine, DNNL_IS_IN_ORDER), "a stream"));
        RT_TRY(make_places(o, t));
    }
    return RT_OK;
}

/* ---- multiplying ----------------------------------------------------------------------------- */

/* n_parts: there is none of that width. */
static int part_index(const glm_onednn *o, int64_t width) {
    int part = 0;
    while (part < o->n_parts && o->parts[part].width != width) part++;
    return part;
}

static int size_for(const glm_onednn *o, int64_t n) {
    if (n > 3 * glm_onednn_sizes[1]) return 0;
    for (int size = GLM_ONEDNN_SIZES - 1; size > 1; size--)
        if (glm_onednn_sizes[size] >= n && o->has_size[size]) return size;
    return 1;
}

int64_t glm_onednn_rows(const glm_onednn *o, int64_t n) {
    return rt_min64(n, glm_onednn_sizes[size_for(o, n)]);
}

static int multiply_part(glm_onednn *o, glm_onednn_thread *t, int part, int size, const uint16_t *x,
        const uint16_t *panel, float *tile) {
    const dnnl_argument_at arguments[] = {{DNNL_ARGUMENT_SRC, t->x[part][size]},
            {DNNL_ARGUMENT_WEIGHTS, t->panel[part]}, {DNNL_ARGUMENT_DST, t->tile[size]},
            {DNNL_ARGUMENT_SCRATCHPAD, t->workspace}};
    int status = o->lib.memory_set_data_handle(t->x[part][size], (void *)(uintptr_t)x);
    if (status == 0)
        status = o->lib.memory_set_data_handle(t->panel[part], (void *)(uintptr_t)panel);
    if (status == 0) status = o->lib.memory_set_data_handle(t->tile[size], tile);
    if (status != 0) return status;
    return o->lib.primitive_execute(o->parts[part].products[size], t->stream, 4, arguments);
}

int glm_onednn_try(glm_onednn *o, glm_onednn_thread *t, int size, glm_onednn_rows_in x,
        int64_t width, const uint16_t *panel) {
    if (o->lib.omp_set_num_threads) o->lib.omp_set_num_threads(1);
    for (int64_t from = 0; from < width; from += GLM_ONEDNN_PART) {
        const int64_t n = glm_onednn_part(width, from);
        const int part = part_index(o, n);
        rt_assert(part < o->n_parts); /* the model's widths were given */
        const int status = multiply_part(o, t, part, size, x.data + from * x.n + x.first * n,
                panel + from * GLM_ONEDNN_OUTS, from ? t->numbers : t->sums);
        if (status != 0) return status;
        for (int64_t i = 0; from && i < glm_onednn_sizes[size] * GLM_ONEDNN_OUTS; i++)
            t->sums[i] += t->numbers[i];
    }
    return 0;
}

const float *glm_onednn_multiply(glm_onednn *o, int thread, glm_onednn_rows_in x, int64_t n_rows,
        int64_t width, const uint16_t *panel) {
    rt_assert(thread >= 0 && thread < o->n_threads && n_rows > 0);
    glm_onednn_thread *t = &o->threads[thread];
    const int status = glm_onednn_try(o, t, size_for(o, n_rows), x, width, panel);
    rt_assert(
            status == 0); /* kernels and places are there: nothing is left that could be missing */
    return t->sums;
}

/* ---- open and close -------------------------------------------------------------------------- */

static rt_status add_widths(glm_onednn *o, const int64_t *widths, int n_widths, char name[64]) {
    for (int i = 0; i < n_widths; i++) {
        const int64_t width = rt_round_up(widths[i], GLM_ONEDNN_INS);
        for (int64_t from = 0; from < width; from += GLM_ONEDNN_PART) {
            const int64_t n = glm_onednn_part(width, from);
            if (part_index(o, n) == o->n_parts) RT_TRY(add_part(o, n, name));
        }
    }
    return RT_OK;
}

static void write_text(glm_onednn *o, const char *name) {
    int n = snprintf(o->text, sizeof o->text, "%s, %s, blocks of", o->lib.name, name);
    for (int size = 0; size < GLM_ONEDNN_SIZES; size++)
        if (o->has_size[size])
            n += snprintf(o->text + n, sizeof o->text - (size_t)n, "%s %lld", size ? "," : "",
                    (long long)glm_onednn_sizes[size]);
    (void)snprintf(o->text + n, sizeof o->text - (size_t)n, " rows");
}

static rt_status open_into(glm_onednn *o, const int64_t *widths, int n_widths) {
    char name[64] = "";
    RT_TRY(dnnl_library_open(&o->lib));
    if (o->lib.omp_set_num_threads) o->lib.omp_set_num_threads(1);
    RT_TRY(glm_onednn_check(o->lib.engine_create(&o->engine, DNNL_IS_CPU, 0), "opening it"));
    for (int size = 0; size < GLM_ONEDNN_SIZES; size++) o->has_size[size] = true;
    RT_TRY(add_widths(o, widths, n_widths, name));
    RT_TRY(make_threads(o));
    for (int i = 0; i < n_widths; i++)
        RT_TRY(glm_onednn_prove(o, rt_round_up(widths[i], GLM_ONEDNN_INS)));
    write_text(o, name);
    return RT_OK;
}

rt_status glm_onednn_open(const int64_t *widths, int n_widths, int n_threads, glm_onednn **out) {
    rt_assert(n_widths > 0 && n_widths <= GLM_ONEDNN_WIDTHS_MAX && n_threads > 0);
    *out = NULL;
    glm_onednn *o = NULL;
    RT_TRY(rt_calloc(1, sizeof *o, "oneDNN", &o));
    o->n_threads = n_threads;
    const rt_status status = open_into(o, widths, n_widths);
    if (status == RT_OK)
        *out = o;
    else
        glm_onednn_close(o);
    return status;
}

static void free_thread(glm_onednn *o, glm_onednn_thread *t) {
    for (int size = 0; size < GLM_ONEDNN_SIZES; size++) {
        for (int part = 0; part < o->n_parts; part++)
            if (t->x[part][size]) (void)o->lib.memory_destroy(t->x[part][size]);
        if (t->tile[size]) (void)o->lib.memory_destroy(t->tile[size]);
    }
    for (int part = 0; part < o->n_parts; part++)
        if (t->panel[part]) (void)o->lib.memory_destroy(t->panel[part]);
    if (t->workspace) (void)o->lib.memory_destroy(t->workspace);
    if (t->stream) (void)o->lib.stream_destroy(t->stream);
}

void glm_onednn_close(glm_onednn *o) {
    if (!o) return;
    for (int i = 0; o->threads && i < o->n_threads; i++) free_thread(o, &o->threads[i]);
    for (int part = 0; part < o->n_parts; part++)
        for (int size = 0; size < GLM_ONEDNN_SIZES; size++)
            if (o->parts[part].products[size])
                (void)o->lib.primitive_destroy(o->parts[part].products[size]);
    if (o->engine) (void)o->lib.engine_destroy(o->engine);
    rt_mem_free(o->memory, memory_bytes(o->n_threads));
    free(o->threads);
    free(o);
}

int64_t glm_onednn_bytes(int n_threads) {
    return memory_bytes(n_threads);
}

int64_t glm_onednn_library_bytes(void) {
    return library_bytes;
}

const char *glm_onednn_text(const glm_onednn *o) {
    return o->text;
}

bool glm_onednn_has_amx(const glm_onednn *o) {
    return strstr(o->text, "amx") != NULL;
}
