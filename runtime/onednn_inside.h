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

/* Products of one width, by size of block; NULL: not used. */
typedef struct glm_onednn_width {
    int64_t width; /* padded */
    dnnl_primitive_of products[GLM_ONEDNN_SIZES];
} glm_onednn_width;

/* A thread's own: nothing that the library writes is shared. */
typedef struct glm_onednn_thread {
    dnnl_stream_of stream;
    dnnl_memory_of x[GLM_ONEDNN_WIDTHS_MAX][GLM_ONEDNN_SIZES];
    dnnl_memory_of panel[GLM_ONEDNN_WIDTHS_MAX];
    dnnl_memory_of tile[GLM_ONEDNN_SIZES];
    dnnl_memory_of workspace;
    float *numbers; /* of the tile */
    void *room;     /* of the workspace */
} glm_onednn_thread;

struct glm_onednn {
    dnnl_library lib;
    dnnl_engine_of engine;
    glm_onednn_width widths[GLM_ONEDNN_WIDTHS_MAX];
    int n_widths;
    glm_onednn_thread *threads;
    int n_threads;
    void *memory; /* tiles and workspaces */
    char text[128];
};

/* RT_OK of the library's 0; otherwise RT_ENOMEM, RT_EUNSUPPORTED. */
RT_MUST_CHECK rt_status glm_onednn_check(int status, const char *what);
/* A block of rows and a panel -> t->numbers; the library's status. */
int glm_onednn_try(glm_onednn *o, glm_onednn_thread *t, int w, int size, const uint16_t *x,
        const uint16_t *panel);
/* That a row of width w has the same bits in every size of block; sizes that do not agree are dropped.
 * RT_EUNSUPPORTED: those that must be there do not; RT_ENOMEM. */
RT_MUST_CHECK rt_status glm_onednn_prove(glm_onednn *o, int w);

#endif
