/* What copies that are queued ask of everybody else.
 *
 *   the host      It leaves alone what is copied from, and does not look at, or write, what is copied to, until the stream has
 *                 passed: a digest of the first is taken at the call and when the copy runs; the second is filled with what no
 *                 result is, and is still that when the copy runs.
 *   other streams A copy that runs while one that was queued before it, on another stream, is still to run is ordered
 *                 with it by nothing: they have no place in common that one of them writes. */
#include <string.h>

#include <algorithm>

#include "standin_machine.h"

namespace standin {

enum { FILLING = 0xff };

static bool meet(const place &a, const place &b) {
    return a.at && b.at && a.at < b.at + b.bytes && b.at < a.at + a.bytes;
}

static bool is_at_odds(const operation &a, const operation &b) {
    for (const place &of_a : a.places)
        for (const place &of_b : b.places)
            if ((of_a.is_written || of_b.is_written) && meet(of_a, of_b)) return true;
    return false;
}

static const place *hosts(const operation &one) {
    for (const place &of : one.places)
        if (of.is_of_host && of.bytes > 0) return &of;
    return NULL;
}

static uint64_t digest_of(const place &of) {
    uint64_t sum = 0;
    for (size_t at = 0; at < of.bytes; at += sizeof sum) {
        uint64_t word = 0;
        memcpy(&word, of.at + at, std::min(sizeof word, of.bytes - at));
        sum = (sum ^ word) * 0x9e3779b97f4a7c15u;
        sum ^= sum >> 29;
    }
    return sum;
}

/* Queued operations, until one says that it is enough. */
template <typename WORK> static void for_queued(const WORK &work) {
    for (cudaStream_t stream : streams)
        for (operation &one : stream->queue)
            if (!work(one)) return;
}

void begin_copy(operation *one) {
    const place *of = hosts(*one);
    if (!of) return;
    one->is_watched = true;
    if (of->is_written) {
        for_queued([&](const operation &other) {
            for (const place &of_other : other.places)
                one->is_watched = one->is_watched && !meet(*of, of_other);
            return one->is_watched;
        });
        if (one->is_watched) memset(of->at, FILLING, of->bytes);
    }
    if (one->is_watched) one->digest = digest_of(*of);
}

void check_copy(const operation &one) {
    if (!one.places[0].at) return;
    const place *of = hosts(one);
    if (one.is_watched && digest_of(*of) != one.digest)
        found("the host has written to the %zu bytes that a queued copy %s before it was over",
                of->bytes, of->is_written ? "writes" : "reads");
    for_queued([&](const operation &other) {
        if (other.number < one.number && is_at_odds(one, other))
            found("%s of %zu bytes, and %s of %zu on another stream, which was queued before, and has not run: "
                  "nothing orders them",
                    one.what, one.places[0].bytes, other.what, other.places[0].bytes);
        return true;
    });
}

/* What it has written, copies that are queued may read. */
void end_copy(const operation &one) {
    const place *of = hosts(one);
    if (!of || !of->is_written) return;
    for_queued([&](operation &other) {
        const place *of_other = hosts(other);
        if (of_other && other.is_watched && meet(*of, *of_other))
            other.digest = digest_of(*of_other);
        return true;
    });
}

} // namespace standin
