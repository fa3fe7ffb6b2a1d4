/* glm1m version: which one this is, and what it was built with. No dates: the same sources are the same program. */
#include "cmd_version.h"

#include <stdio.h>

#include "cli.h"
#include "cli_json.h"

#ifdef __clang__
#define COMPILER "clang " __clang_version__
#else
#define COMPILER "gcc " __VERSION__
#endif

#if defined(__SANITIZE_THREAD__)
#define SANITIZER "thread"
#elif defined(__SANITIZE_ADDRESS__)
#define SANITIZER "address"
#else
#define SANITIZER NULL
#endif

/* CMakeLists.txt says what it has found. */
#ifdef GLM_BUILT_CUDA
#define CUDA "toolkit " GLM_BUILT_CUDA ", for sm_80 and sm_90a"
#define NCCL "libnccl.so.2, opened when ranks have GPUs"
#else
#define CUDA "no: no toolkit was found, or GLM_CUDA is off"
#define NCCL "no, without CUDA"
#endif
#ifdef GLM_BUILT_MPI
#define MPI "glm1m_mpi.so, of MPI " GLM_BUILT_MPI
#else
#define MPI "no: none was found, or GLM_MPI is off"
#endif
#ifdef GLM_BUILT_URING
#define URING "yes"
#else
#define URING "no: liburing was not found, or GLM_URING is off"
#endif
#ifdef GLM_HAVE_EDIT
#define EDITING "libedit"
#else
#define EDITING "no: libedit was not found, or GLM_EDIT is off"
#endif

json_t *version_facts(void) {
    return json_pack("{s:s, s:s*, s:s, s:s*, s:s, s:s, s:s, s:s, s:s, s:s}", "version", GLM_VERSION,
            "commit", version_commit[0] ? version_commit : NULL, "compiler", COMPILER, "sanitizer",
            SANITIZER, "CUDA", CUDA, "NCCL", NCCL, "MPI", MPI, "oneDNN",
            "libdnnl.so.2, opened when it is asked for", "io_uring", URING, "line editing",
            EDITING);
}

static rt_status print(const glm_cli *cli) {
    json_t *facts = version_facts();
    const char *name = NULL;
    json_t *value = NULL;
    if (cli->json) return glm_cli_json_print("version", facts, JSON_INDENT(2));
    if (!facts) return rt_fail(RT_ENOMEM, "version: no memory");
    (void)printf("glm1m %s\n", GLM_VERSION);
    json_object_foreach(facts, name, value) {
        if (value != json_object_get(facts, "version"))
            (void)printf("%-13s %s\n", name, json_string_value(value));
    }
    json_decref(facts);
    return RT_OK;
}

static int run_version(glm_cli *cli) {
    const rt_status status = print(cli);
    return status == RT_OK ? GLM_EXIT_OK : glm_cli_fail(status);
}

const glm_command glm_cmd_version = {
        .name = "version",
        .usage = "version [--json]",
        .summary = "which one this is, and what it was built with",
        .details =
                "Also glm1m --version. The commit is there where it was built from a checkout, with "
                "-dirty where files differed from it. glm1m doctor says what is found of all "
                "that on this machine.\n",
        .flags = "json",
        .works_anywhere = true,
        .run = run_version,
};
