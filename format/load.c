#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include "base/checked.h"
#include "base/mem.h"
#include "format/layout.h"
#include "format/reader_impl.h"

typedef struct job {
    const nb_pass *pass;
    nb_coder *coders;
    size_t *first_item;   /* [n] which item is a load's first chunk */
    uint64_t total_bytes; /* raw, for progress */
    size_t max_chunk;     /* scratch of a coder: max_chunk for the form, as much again for dropped results */
    atomic_uint_fast64_t done_bytes;
    atomic_bool cancelled;
    atomic_size_t first_bad; /* the lowest bad item so far */
    pthread_mutex_t mutex;   /* around pass->bad */
} job;

static nb_status check_gap(const nb_reader *r, uint32_t chunk, nb_error *err) {
    nb_chunk c = nb_reader_chunk(r, chunk);
    uint64_t from = r->data_offset;
    if (chunk > 0) {
        nb_chunk before = nb_reader_chunk(r, chunk - 1);
        from = before.offset + before.stored_bytes;
    }
    uint64_t bad = nb_reader_first_nonzero(r, from, c.offset);
    if (bad == c.offset) return NB_OK;
    return nb_fail(err, NB_CHECKSUM, "byte %" PRIu64 ", in the gap before it, is not zero", bad);
}

static nb_status do_chunk(const nb_pass *pass, size_t load, uint32_t i, nb_coder *coder, size_t max_chunk,
                          nb_error *err) {
    const nb_reader *r = pass->reader;
    const nb_tensor *t = pass->loads[load].tensor;
    const nb_geometry *g = &r->geometries[t - r->tensors];
    uint8_t *dst = pass->loads[load].dst;
    nb_chunk c = nb_reader_chunk(r, t->first_chunk + i);
    nb_status st = pass->gaps ? check_gap(r, t->first_chunk + i, err) : NB_OK;
    if (st) return st;
    dst = dst ? dst + i * g->chunk_bytes : (uint8_t *)coder->scratch.data + max_chunk;
    st = nb_chunk_decode(coder, g, &c, r->map.data + c.offset, dst, err);
    /* Without this a process would hold the file beside the weights made from it. */
    nb_map_release(&r->map, (size_t)c.offset, (size_t)c.stored_bytes);
    return st;
}

/* The load that an item belongs to. */
static size_t load_of(const job *j, size_t item) {
    size_t low = 0, high = j->pass->n;
    while (high - low > 1) {
        size_t mid = low + (high - low) / 2;
        if (j->first_item[mid] <= item) low = mid;
        else high = mid;
    }
    return low;
}

static void found_bad(job *j, size_t item, size_t load, uint32_t chunk) {
    pthread_mutex_lock(&j->mutex);
    if (item < atomic_load(&j->first_bad)) atomic_store(&j->first_bad, item);
    j->pass->bad(j->pass->user, load, chunk);
    pthread_mutex_unlock(&j->mutex);
}

static void do_items(void *arg, size_t begin, size_t end, int member) {
    job *j = arg;
    const nb_pass *pass = j->pass;
    for (size_t item = begin; item < end; item++) {
        /* An item before the lowest bad one is still done, so that the first in file order is found. */
        if (atomic_load(&j->cancelled) || (!pass->keep_going && item > atomic_load(&j->first_bad))) return;
        size_t load = load_of(j, item);
        uint32_t chunk = (uint32_t)(item - j->first_item[load]);
        const nb_tensor *t = pass->loads[load].tensor;
        if (do_chunk(pass, load, chunk, &j->coders[member], j->max_chunk, NULL)) found_bad(j, item, load, chunk);
        uint64_t raw = nb_geometry_chunk(&pass->reader->geometries[t - pass->reader->tensors], chunk);
        uint64_t done = atomic_fetch_add(&j->done_bytes, raw) + raw;
        if (member == 0 && !nb_progress_step(pass->progress, pass->what, NULL, done, j->total_bytes))
            atomic_store(&j->cancelled, true);
    }
}

/* Number the chunks of all loads; the sum of at most 2^32 chunks of each of n loads in memory fits a size_t. */
static size_t number_items(job *j) {
    size_t items = 0;
    for (size_t i = 0; i < j->pass->n; i++) {
        const nb_tensor *t = j->pass->loads[i].tensor;
        const nb_geometry *g = &j->pass->reader->geometries[t - j->pass->reader->tensors];
        j->first_item[i] = items;
        items += t->n_chunks;
        j->total_bytes += t->raw_bytes;
        j->max_chunk = nb_max_size(j->max_chunk, nb_geometry_chunk(g, 0));
    }
    return items;
}

static bool drops_results(const nb_pass *pass) {
    for (size_t i = 0; i < pass->n; i++)
        if (!pass->loads[i].dst) return true;
    return false;
}

nb_status nb_pass_run(const nb_pass *pass, nb_error *err) {
    job j = {.pass = pass, .first_bad = SIZE_MAX, .mutex = PTHREAD_MUTEX_INITIALIZER};
    if (pass->n == 0) return NB_OK;
    j.first_item = nb_calloc(pass->n, sizeof *j.first_item);
    if (!j.first_item) return nb_oom(err, "the list of chunks", pass->n * sizeof *j.first_item);
    size_t items = number_items(&j);
    nb_status st = nb_coders_create(&j.coders, nb_team_size(pass->team), NB_CODER_READS,
                                    j.max_chunk * (drops_results(pass) ? 2 : 1), err);
    if (st) goto out;
    nb_team_for(pass->team, items, 1, do_items, &j);
    if (!atomic_load(&j.cancelled) && atomic_load(&j.first_bad) == SIZE_MAX &&
        !nb_progress_step(pass->progress, pass->what, NULL, j.total_bytes, j.total_bytes))
        atomic_store(&j.cancelled, true);
    if (atomic_load(&j.cancelled)) st = nb_fail(err, NB_CANCELLED, "'%s': cancelled", pass->reader->path);
out:
    nb_coders_free(j.coders, nb_team_size(pass->team));
    nb_free(j.first_item);
    return st;
}

nb_status nb_pass_explain(const nb_pass *pass, size_t load, uint32_t chunk, nb_error *err) {
    const nb_tensor *t = pass->loads[load].tensor;
    size_t max_chunk = nb_geometry_chunk(&pass->reader->geometries[t - pass->reader->tensors], 0);
    nb_coder *coder = NULL;
    nb_status st = nb_coders_create(&coder, 1, NB_CODER_READS, 2 * max_chunk, err);
    if (st) return st;
    st = do_chunk(pass, load, chunk, coder, max_chunk, err);
    nb_coders_free(coder, 1);
    if (!st) st = nb_fail(err, NB_CHECKSUM, "it was damaged when it was read first, and is not when read again");
    return nb_context(err, st, "tensor '%s', chunk %" PRIu32 " of %" PRIu32 " at byte %" PRIu64, t->name, chunk + 1,
                      t->n_chunks, nb_reader_chunk(pass->reader, t->first_chunk + chunk).offset);
}

/* Loading: the first bad chunk in file order. */

typedef struct first_bad {
    bool any;
    size_t load;
    uint32_t chunk;
} first_bad;

static void keep_first(void *user, size_t load, uint32_t chunk) {
    first_bad *f = user;
    if (f->any && (f->load < load || (f->load == load && f->chunk <= chunk))) return;
    *f = (first_bad){.any = true, .load = load, .chunk = chunk};
}

static int compare_loads(const void *a, const void *b) {
    uint32_t x = ((const nb_load *)a)->tensor->first_chunk, y = ((const nb_load *)b)->tensor->first_chunk;
    return x < y ? -1 : x > y;
}

nb_status nb_reader_load(const nb_reader *r, const nb_load *loads, size_t n, nb_team *team, const nb_progress *progress,
                         nb_error *err) {
    first_bad bad = {0};
    if (n == 0) return NB_OK;
    nb_load *sorted = nb_calloc(n, sizeof *sorted);
    if (!sorted) return nb_oom(err, "the list of tensors to load", n * sizeof *sorted);
    memcpy(sorted, loads, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, compare_loads);
    nb_pass pass = {.reader = r, .team = team, .progress = progress, .what = "loading", .loads = sorted, .n = n,
                    .bad = keep_first, .user = &bad};
    nb_status st = nb_pass_run(&pass, err);
    if (!st && bad.any) {
        st = nb_pass_explain(&pass, bad.load, bad.chunk, err);
        nb_context(err, st, "'%s'", r->path);
    }
    nb_free(sorted);
    return st;
}
