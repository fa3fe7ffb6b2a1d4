/* A file in the first directory of those where sessions are kept, .prefills. In it are
 *
 *   notes   N_NOTES of NOTE_BYTES, a line each: who computes, and how far that is. Nobody relies on them
 *   locks   of single bytes, one for each segment (4096 tokens) that a process has yet to compute. Its place is a hash of what
 *           keys and values depend on (identity.h), and of all tokens up to the segment's end
 *
 * So texts that begin alike meet at the segments that they share, and part where they part: who waits for another text's
 * beginning goes on by itself as soon as that is on disk. All segments that are missing are taken at once, before the
 * first is computed; a process that waits holds none, and one that computes waits for nobody. The system takes locks back
 * from a process that dies, an NFS server from a machine that does; what is on disk by then, finished or suspended, is
 * where the next one goes on. Where there are no locks, all compute, and what is kept first counts. */
#include "turn.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/random.h"
#include "base/size.h"
#include "engine.h"

#define FILE_NAME ".prefills"

enum { N_NOTES = 256, NOTE_BYTES = 256 };

static const double told_every_s = 2.0;

struct glm_turn {
    int fd;
    char *path;
    uint64_t *keys; /* [n_segments]: of the text up to each one's end */
    int64_t n_segments;
    int64_t n_kept;
    int64_t level; /* turns that were passed by */
    bool is_ours;
    int64_t n_looked; /* tokens that were on disk when it was last restored, on rank 0's */
    int64_t n_told;
    double told_s;
    int64_t told_segment; /* under which the last note is; -1: none that says how far it is */
};

/* ---- keys ------------------------------------------------------------------------------------ */

static int64_t segment_tokens(const glm_session *session) {
    return session->engine->plan.kv_extent_tokens;
}

static void make_keys(glm_turn *turn, uint64_t key, const int32_t *ids, int64_t of_segment) {
    for (int64_t i = 0; i < turn->n_kept; i++) {
        key = rt_random_mix(key + RT_RANDOM_STEP * ((uint64_t)(uint32_t)ids[i] + 1));
        turn->keys[i / of_segment] = key;
    }
}

static uint64_t key_of(const glm_turn *turn, int64_t segment) {
    return rt_random_mix(turn->keys[segment] + RT_RANDOM_STEP * (uint64_t)turn->level);
}

static int64_t byte_of(const glm_turn *turn, int64_t segment) {
    return (int64_t)(key_of(turn, segment) >> 2);
}

/* The first that the session lacks. */
static int64_t next_segment(const glm_session *session) {
    return rt_min64(
            glm_session_length(session) / segment_tokens(session), session->turn->n_segments - 1);
}

/* ---- notes ----------------------------------------------------------------------------------- */

static int64_t note_at(uint64_t key) {
    return (int64_t)(key % N_NOTES) * NOTE_BYTES;
}

/* Opened and closed each time: so a client of NFS writes it at once, or asks whether it has changed. */
static int open_notes(const glm_turn *turn, int how) {
    return open(turn->path, how | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
}

static void write_note(const glm_turn *turn, uint64_t key, const glm_turn_note *note) {
    char line[NOTE_BYTES + 1];
    const int n = snprintf(line, sizeof line,
            "%016" PRIx64 " %s %" PRId64 " %" PRId64 " %" PRId64 " %.6f %" PRId64, key, note->host,
            note->process, note->n_done, note->n_total, note->work_share, note->n_told);
    const int fd = n > 0 && n < NOTE_BYTES ? open_notes(turn, O_WRONLY) : -1;
    if (fd < 0) return;
    memset(line + n, '\n', (size_t)(NOTE_BYTES - n));
    const ssize_t ignored = pwrite(fd, line, NOTE_BYTES, note_at(key));
    (void)ignored;
    (void)close(fd);
}

static void note_down(glm_session *session, int64_t n_done, int64_t n_total, double work_share) {
    glm_turn *turn = session->turn;
    glm_turn_note note = {.process = getpid(),
            .n_done = n_done,
            .n_total = n_total,
            .work_share = work_share,
            .n_told = ++turn->n_told};
    if (gethostname(note.host, sizeof note.host - 1) != 0 || !note.host[0]) note.host[0] = '?';
    turn->told_s = rt_now();
    turn->told_segment = work_share < 0.0 ? -1 : next_segment(session);
    write_note(turn, key_of(turn, next_segment(session)), &note);
}

/* Others may have written it: it is shown on a terminal. */
static bool is_name(const char *host) {
    return strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_?") ==
           strlen(host);
}

static bool parse_note(const char *line, uint64_t key, glm_turn_note *out) {
    uint64_t of = 0;
    return sscanf(line, "%16" SCNx64 " %63s %" SCNd64 " %" SCNd64 " %" SCNd64 " %lf %" SCNd64, &of,
                   out->host, &out->process, &out->n_done, &out->n_total, &out->work_share,
                   &out->n_told) == 7 &&
           of == key && is_name(out->host) && out->n_done >= 0 && out->n_done <= out->n_total &&
           out->work_share >= -1.0 && out->work_share <= 1.0; /* NaN is neither */
}

bool glm_turn_look(const glm_session *session, glm_turn_note *out) {
    const glm_turn *turn = session->turn;
    char line[NOTE_BYTES + 1] = "";
    *out = (glm_turn_note){0};
    if (!turn) return false;
    const uint64_t key = key_of(turn, next_segment(session));
    const int fd = open_notes(turn, O_RDONLY);
    if (fd < 0) return false;
    const bool is_read = pread(fd, line, NOTE_BYTES, note_at(key)) == NOTE_BYTES;
    (void)close(fd);
    return is_read && parse_note(line, key, out);
}

/* ---- turns ----------------------------------------------------------------------------------- */

static rt_status open_turn(glm_session *session, const int32_t *ids, int64_t n_kept) {
    const char *dir = session->engine->kv_dirs[0];
    const int64_t of_segment = segment_tokens(session);
    glm_identity identity;
    uint64_t key;
    glm_turn *turn = NULL;
    RT_TRY(glm_identity_wait(session->engine->identity, &identity));
    memcpy(&key, identity.hash, sizeof key);
    RT_TRY(rt_calloc(1, sizeof *turn, "a turn", &turn));
    *turn = (glm_turn){.fd = -1, .n_kept = n_kept, .n_segments = rt_div_up(n_kept, of_segment)};
    rt_status status = rt_path_join(dir, FILE_NAME, &turn->path);
    if (status == RT_OK)
        status = rt_calloc(turn->n_segments, sizeof *turn->keys, "keys of a text", &turn->keys);
    if (status != RT_OK) {
        glm_turn_free(turn);
        return status;
    }
    make_keys(turn, key, ids, of_segment);
    turn->fd = rt_lock_file_open(dir, FILE_NAME);
    session->turn = turn;
    return RT_OK;
}

static bool has_failed(const glm_session *session) {
    return *kv_store_keep_failure(session->engine->store);
}

/* Whether it is of use to others, or to us, that one computes and keeps what the session lacks. */
static bool matters(const glm_session *session, int64_t n_kept) {
    const glm_plan *plan = &session->engine->plan;
    return plan->kv_persists && n_kept >= plan->kv_extent_tokens && !has_failed(session) &&
           n_kept - glm_session_length(session) >= ATTN_PAGE_TOKENS;
}

/* Of those behind the first one, which another process may hold that was at them before they were lost, all that are free. */
static void take_all(glm_session *session, int64_t first) {
    glm_turn *turn = session->turn;
    for (int64_t i = first + 1; i < turn->n_segments; i++)
        (void)rt_byte_lock_take(turn->fd, byte_of(turn, i));
    turn->is_ours = true;
}

rt_status glm_turn_take(
        glm_session *session, const int32_t *ids, int64_t n_kept, glm_turn_state *state) {
    static const glm_turn_state states[] = {[RT_BYTE_OURS] = GLM_TURN_OURS,
            [RT_BYTE_OTHERS] = GLM_TURN_ANOTHERS,
            [RT_BYTE_UNKNOWN] = GLM_TURN_NONE};
    *state = GLM_TURN_NONE;
    if (!matters(session, n_kept)) {
        glm_turn_give_back(session);
        return RT_OK;
    }
    if (!session->turn) RT_TRY(open_turn(session, ids, n_kept));
    rt_assert(session->turn->n_kept == n_kept);
    const int64_t first = next_segment(session);
    *state = states[rt_byte_lock_take(session->turn->fd, byte_of(session->turn, first))];
    if (*state == GLM_TURN_OURS) take_all(session, first);
    return RT_OK;
}

int64_t glm_turn_whole(const glm_session *session, int64_t n_ids) {
    const int64_t n = segment_tokens(session);
    return n > 0 ? n_ids / n * n : 0;
}

void glm_turn_claim(glm_session *session, const int32_t *ids, int64_t n_kept) {
    glm_turn_state state;
    if (glm_turn_take(session, ids, n_kept, &state) == RT_OK) glm_turn_begin(session);
}

/* Restoring begins where a segment does. */
static rt_status restore(
        glm_session *session, const int32_t *ids, int64_t n_ids, glm_reuse *reuse) {
    const int64_t n = glm_session_length(session);
    const int64_t of_segment = segment_tokens(session);
    if (n % of_segment != 0) glm_session_truncate(session, n / of_segment * of_segment);
    return glm_session_restore(session, ids, n_ids, reuse);
}

rt_status glm_turn_restore(
        glm_session *session, const int32_t *ids, int64_t n_ids, glm_reuse *reuse, bool *has_come) {
    const int64_t n = glm_session_length(session);
    int64_t n_there = 0;
    RT_TRY(glm_session_find_after(session, n, ids, n_ids, &n_there));
    *has_come = n_there > (session->turn->is_ours ? n : rt_max64(n, session->turn->n_looked));
    if (!*has_come) return RT_OK;
    session->turn->n_looked = n_there;
    RT_TRY(restore(session, ids, n_ids, reuse));
    *has_come = glm_session_length(session) > n;
    return RT_OK;
}

void glm_turn_pass_by(glm_session *session) {
    if (session->turn) session->turn->level++;
}

void glm_turn_begin(glm_session *session) {
    if (session->turn && session->turn->is_ours)
        note_down(session, glm_session_length(session), session->turn->n_kept, -1.0);
}

void glm_turn_tell(glm_session *session, const glm_prefill_progress *progress) {
    const glm_turn *turn = session->turn;
    if (!turn || !turn->is_ours) return;
    if (has_failed(session)) {
        glm_turn_give_back(session);
        return;
    }
    if (turn->told_segment == next_segment(session) && rt_now() - turn->told_s < told_every_s)
        return;
    /* Of a text that is prefilled in pieces (server/steps.c) the tokens alone tell how far it is. */
    const int64_t first = session->engine->prefill.first_pos;
    const int64_t n_done = first + progress->tokens_done;
    const bool is_piece = first + progress->tokens_total < turn->n_kept;
    const int64_t n_total = is_piece ? turn->n_kept : first + progress->tokens_total;
    note_down(session, n_done, n_total,
            is_piece ? (double)n_done / (double)n_total
                     : progress->work_done / progress->work_total);
}

void glm_turn_give_back(glm_session *session) {
    glm_turn_free(session->turn);
    session->turn = NULL;
}

void glm_turn_free(glm_turn *turn) {
    if (!turn) return;
    if (turn->fd >= 0) (void)close(turn->fd);
    free(turn->path);
    free(turn->keys);
    free(turn);
}
