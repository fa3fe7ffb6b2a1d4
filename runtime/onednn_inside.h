/* What onednn.c holds, and onednn_proof.c looks at. */
#ifndef GLM_ONEDNN_INSIDE_H
#define GLM_ONEDNN_INSIDE_H

#include "base/float16.h"
#include "onednn.h"
#include "onednn_library.h"

/* Blocks of rows, the largest first. */
enum { GLM_ONEDNN_SIZES = 4 };
extern const int64_t glm_onednn_sizes[GLM_ONEDNN_SIZES];

enum { GLM_ONEDNN_TILE_BYTES = GLM_ONEDNN_ROWS * GLM_ONEDNN_OUTS * 4 };

/* Whole parts are of one width, and each width of the model has at most one that is not whole. */
enum { GLM_ONEDNN_PARTS_MAX = GLM_ONEDNN_WIDTHS_MAX + 1 };

/* Products of parts of one width, by size of block; NULL: there is no kernel. */
typedef struct glm_onednn_part_kind {
    int64_t width;
    dnnl_primitive_of products[GLM_ONEDNN_SIZES];
} glm_onednn_part_kind;

/* A thread's own: nothing that the library writes is shared. */
typedef struct glm_onednn_thread {
    dnnl_stream_of stream;
    dnnl_memory_of x[GLM_ONEDNN_PARTS_MAX][GLM_ONEDNN_SIZES];
    dnnl_memory_of panel[GLM_ONEDNN_PARTS_MAX];
    dnnl_memory_of tile[GLM_ONEDNN_SIZES];
    dnnl_memory_of workspace;
    float *sums;    /* a tile: of the parts so far */
    float *numbers; /* a tile: a further part's */
    void *room;     /* of the workspace */
} glm_onednn_thread;

struct glm_onednn {
    dnnl_library lib;
    dnnl_engine_of engine;
    glm_onednn_part_kind parts[GLM_ONEDNN_PARTS_MAX];
    int n_parts;
    bool has_size[GLM_ONEDNN_SIZES]; /* blocks of a size agree with the largest, for every width */
    glm_onednn_thread *threads;
    int n_threads;
    void *memory; /* tiles and workspaces */
    char text[128];
};

/* RT_OK of the library's 0; otherwise RT_ENOMEM, RT_EUNSUPPORTED. */
RT_MUST_CHECK rt_status glm_onednn_check(int status, const char *what);
/* A block of rows and a panel -> t->sums; the library's status. */
int glm_onednn_try(glm_onednn *o, glm_onednn_thread *t, int size, glm_onednn_rows_in x,
        int64_t width, const uint16_t *panel);
/* That a row of a width (padded) has the same bits in every size of block; sizes that do not agree are dropped.
 * RT_EUNSUPPORTED: those that must be there do not; RT_ENOMEM. */
RT_MUST_CHECK rt_status glm_onednn_prove(glm_onednn *o, int64_t width);

#endif
