#include "cli/reference.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>
#include "base/bytes.h"
#include "base/checked.h"
#include "base/mem.h"
#include "format/kind.h"

enum {
    REFERENCE_VERSION = 1,
    H_VERSION = 8,
    H_K = 12,
    H_FILE_BYTES = 16,
    H_IDENTITY = 24,
    H_TOKENS_HASH = 32,
    H_N_TOKENS = 40,
    H_CTX = 48,
    H_STRIDE = 56,
    H_N_VOCAB = 64,
    H_ZERO = 68,
    H_N_RECORDS = 72,
    H_RECORDS_HASH = 80,
    H_HASH = 88,
    REFERENCE_HEADER = 96,
    R_LSE = 0,
    R_REST = 8,
    R_TARGET = 16,
    R_IDS = 20,
};

static size_t record_bytes(uint32_t k) {
    return R_IDS + (size_t)k * (sizeof(int32_t) + sizeof(float));
}

uint64_t reference_tokens_hash(const int32_t *ids, size_t n) {
    XXH3_state_t *state = XXH3_createState();
    if (!state) return 0; /* a file made like this is refused by readers with memory */
    XXH3_64bits_reset(state);
    for (size_t i = 0; i < n; i++) {
        uint8_t bytes[4];
        nb_put_u32(bytes, (uint32_t)ids[i]);
        XXH3_64bits_update(state, bytes, sizeof bytes);
    }
    uint64_t hash = XXH3_64bits_digest(state);
    XXH3_freeState(state);
    return hash;
}

/* ---- writing */

/* What a thread chooses the likeliest tokens with. */
struct reference_worker {
    nb_sampler *sampler;
    nb_sampler_room *room;
    int32_t *ids; /* [k] */
};

static nb_status open_workers(reference_writer *w, const nb_kernels *kernels, nb_error *err) {
    const nb_sampler_params likeliest = {.temperature = 1, .top_k = w->k, .top_p = 1, .repeat_penalty = 1};
    nb_status st = NB_OK;
    for (int i = 0; i < w->n_members && !st; i++) {
        struct reference_worker *worker = &w->workers[i];
        worker->ids = nb_calloc(w->k, sizeof *worker->ids);
        if (!worker->ids) return nb_oom(err, "reference records", w->k * sizeof *worker->ids);
        st = nb_sampler_create(&worker->sampler, &likeliest, 0, w->key.n_vocab, kernels, err);
        if (!st) st = nb_sampler_room_create(&worker->room, w->key.n_vocab, err);
    }
    return st;
}

nb_status reference_create(reference_writer *w, const char *path, const reference_key *key, uint32_t k, size_t n_rows,
                           int n_members, const nb_kernels *kernels, nb_error *err) {
    *w = (reference_writer){.key = *key, .k = k < key->n_vocab ? k : key->n_vocab, .n_members = n_members};
    w->record_bytes = record_bytes(w->k);
    w->hash = XXH3_createState();
    w->records = nb_calloc(n_rows, w->record_bytes);
    w->workers = nb_calloc((size_t)n_members, sizeof *w->workers);
    if (!w->hash || !w->records || !w->workers) return nb_oom(err, "reference records", n_rows * w->record_bytes);
    XXH3_64bits_reset(w->hash);
    nb_status st = open_workers(w, kernels, err);
    if (!st) st = nb_replace_begin(&w->file, path, true, err);
    static const uint8_t room[REFERENCE_HEADER];
    if (!st) st = nb_replace_write(&w->file, room, sizeof room, err);
    return st;
}

/* The k likeliest tokens by ascending id. */
static void choose(const reference_writer *w, struct reference_worker *worker, const float *logits) {
    if (w->k < w->key.n_vocab)
        memcpy(worker->ids, nb_sampler_candidates(worker->sampler, worker->room, logits).id,
               w->k * sizeof *worker->ids);
    else
        for (uint32_t i = 0; i < w->k; i++) worker->ids[i] = (int32_t)i;
}

void reference_record(reference_writer *w, size_t row, int member, const float *logits, double lse, int32_t target) {
    struct reference_worker *worker = &w->workers[member];
    uint8_t *record = w->records + row * w->record_bytes, *ids = record + R_IDS, *kept = ids + 4 * (size_t)w->k;
    choose(w, worker, logits);
    nb_put_f64(record + R_LSE, lse);
    nb_put_f64(record + R_REST, nb_rest(logits, lse, w->key.n_vocab, worker->ids, w->k));
    nb_put_f32(record + R_TARGET, logits[target]);
    for (size_t i = 0; i < w->k; i++) {
        nb_put_u32(ids + 4 * i, (uint32_t)worker->ids[i]);
        nb_put_f32(kept + 4 * i, logits[worker->ids[i]]);
    }
}

nb_status reference_append(reference_writer *w, size_t n_rows, nb_error *err) {
    size_t bytes = n_rows * w->record_bytes;
    w->n_records += n_rows;
    XXH3_64bits_update(w->hash, w->records, bytes);
    return nb_replace_write(&w->file, w->records, bytes, err);
}

nb_status reference_commit(reference_writer *w, nb_error *err) {
    uint8_t h[REFERENCE_HEADER] = {0};
    memcpy(h, nb_kinds[NB_KIND_REFERENCE].magic, nb_kinds[NB_KIND_REFERENCE].n);
    nb_put_u32(h + H_VERSION, REFERENCE_VERSION);
    nb_put_u32(h + H_K, w->k);
    nb_put_u64(h + H_FILE_BYTES, REFERENCE_HEADER + w->n_records * w->record_bytes);
    nb_put_u64(h + H_IDENTITY, w->key.identity);
    nb_put_u64(h + H_TOKENS_HASH, w->key.tokens_hash);
    nb_put_u64(h + H_N_TOKENS, w->key.n_tokens);
    nb_put_u64(h + H_CTX, w->key.ctx);
    nb_put_u64(h + H_STRIDE, w->key.stride);
    nb_put_u32(h + H_N_VOCAB, w->key.n_vocab);
    nb_put_u64(h + H_N_RECORDS, w->n_records);
    nb_put_u64(h + H_RECORDS_HASH, XXH3_64bits_digest(w->hash));
    nb_put_u64(h + H_HASH, XXH3_64bits(h, H_HASH));
    nb_status st = nb_replace_write_at(&w->file, 0, h, sizeof h, err);
    return st ? st : nb_replace_commit(&w->file, err);
}

void reference_abandon(reference_writer *w) {
    nb_replace_abandon(&w->file);
    for (int i = 0; w->workers && i < w->n_members; i++) {
        nb_sampler_free(w->workers[i].sampler);
        nb_sampler_room_free(w->workers[i].room);
        nb_free(w->workers[i].ids);
    }
    nb_free(w->workers);
    nb_free(w->records);
    XXH3_freeState(w->hash);
    *w = (reference_writer){0};
}

/* ---- reading */

bool reference_recognise(const char *path) {
    nb_file file = {0};
    uint8_t head[H_VERSION];
    bool found = !nb_file_open(&file, path, NULL) && !nb_file_read(&file, 0, sizeof head, head, NULL) &&
                 nb_kind_of(head, sizeof head, file.size) == NB_KIND_REFERENCE;
    nb_file_close(&file);
    return found;
}

static nb_status check_header(const reference_file *f, const uint8_t *h, nb_error *err) {
    if (f->map.size < REFERENCE_HEADER || nb_kind_of(h, NB_KIND_HEAD, f->map.size) != NB_KIND_REFERENCE)
        return nb_fail(err, NB_FORMAT, "'%s' is not a file of --save-reference", f->path);
    if (nb_get_u32(h + H_VERSION) != REFERENCE_VERSION)
        return nb_fail(err, NB_UNSUPPORTED, "'%s' has version %u; this program reads version %d", f->path,
                       nb_get_u32(h + H_VERSION), REFERENCE_VERSION);
    if (XXH3_64bits(h, H_HASH) != nb_get_u64(h + H_HASH))
        return nb_fail(err, NB_CHECKSUM, "the header of '%s' is damaged", f->path);
    if (nb_get_u64(h + H_FILE_BYTES) != f->map.size)
        return nb_fail(err, NB_TRUNCATED, "'%s' should have %" PRIu64 " bytes and has %zu", f->path,
                       nb_get_u64(h + H_FILE_BYTES), f->map.size);
    uint64_t left = f->map.size - REFERENCE_HEADER;
    if (f->k < 1 || f->k > f->key.n_vocab || f->key.n_vocab > INT32_MAX || nb_get_u32(h + H_ZERO) ||
        left % f->record_bytes || left / f->record_bytes != f->n_records)
        return nb_fail(err, NB_FORMAT, "the header of '%s' contradicts itself", f->path);
    return NB_OK;
}

static const uint8_t *record_at(const reference_file *f, size_t i) {
    return f->map.data + REFERENCE_HEADER + i * f->record_bytes;
}

/* Ids that ascend are used as indices and in merges; numbers that are not finite would pass for results. */
static bool record_is_sound(const reference_file *f, const uint8_t *record) {
    double rest = nb_get_f64(record + R_REST);
    bool sound = rest >= 0 && rest <= 1;
    sound &= isfinite(nb_get_f64(record + R_LSE)) && isfinite(nb_get_f32(record + R_TARGET));
    const uint8_t *ids = record + R_IDS, *logits = ids + 4 * (size_t)f->k;
    for (size_t i = 0; i < f->k; i++) {
        uint32_t id = nb_get_u32(ids + 4 * i);
        sound &= id < f->key.n_vocab && (i == 0 || id > nb_get_u32(ids + 4 * i - 4));
        sound &= isfinite(nb_get_f32(logits + 4 * i));
    }
    return sound;
}

static nb_status check_records(const reference_file *f, uint64_t hash, nb_error *err) {
    if (XXH3_64bits(f->map.data + REFERENCE_HEADER, f->map.size - REFERENCE_HEADER) != hash)
        return nb_fail(err, NB_CHECKSUM, "the records of '%s' are damaged", f->path);
    for (size_t i = 0; i < f->n_records; i++)
        if (!record_is_sound(f, record_at(f, i)))
            return nb_fail(err, NB_FORMAT, "'%s': record %zu is not the logits of a model", f->path, i);
    return NB_OK;
}

nb_status reference_open(reference_file *f, const char *path, nb_error *err) {
    *f = (reference_file){.path = path};
    nb_status st = nb_map_open(&f->map, path, err);
    if (st) return st;
    static const uint8_t none[REFERENCE_HEADER];
    const uint8_t *h = f->map.size < REFERENCE_HEADER ? none : f->map.data;
    f->k = nb_get_u32(h + H_K);
    f->record_bytes = record_bytes(f->k);
    f->n_records = nb_get_u64(h + H_N_RECORDS);
    f->key = (reference_key){.identity = nb_get_u64(h + H_IDENTITY),
                             .tokens_hash = nb_get_u64(h + H_TOKENS_HASH),
                             .n_tokens = nb_get_u64(h + H_N_TOKENS),
                             .ctx = nb_get_u64(h + H_CTX),
                             .stride = nb_get_u64(h + H_STRIDE),
                             .n_vocab = nb_get_u32(h + H_N_VOCAB)};
    st = check_header(f, h, err);
    return st ? st : check_records(f, nb_get_u64(h + H_RECORDS_HASH), err);
}

nb_status reference_match(const reference_file *f, const reference_key *key, uint64_t n_records, nb_error *err) {
    const reference_key *made = &f->key;
    if (made->n_vocab != key->n_vocab)
        return nb_fail(err, NB_ARGUMENT,
                       "'%s' is of a model with a vocabulary of %u tokens, not of %u: they cannot be compared", f->path,
                       made->n_vocab, key->n_vocab);
    if (made->n_tokens != key->n_tokens || made->tokens_hash != key->tokens_hash)
        return nb_fail(err, NB_ARGUMENT, "'%s' was made from another text of %" PRIu64 " tokens", f->path,
                       made->n_tokens);
    if (made->ctx != key->ctx || made->stride != key->stride)
        return nb_fail(err, NB_ARGUMENT,
                       "'%s' was made with windows of %" PRIu64 " tokens, each %" PRIu64
                       " after the one before, not of %" PRIu64 " and %" PRIu64 ": --ctx and --stride say so",
                       f->path, made->ctx, made->stride, key->ctx, key->stride);
    if (f->n_records != n_records)
        return nb_fail(err, NB_FORMAT, "'%s' has %" PRIu64 " records for %" PRIu64 " tokens that are scored", f->path,
                       f->n_records, n_records);
    return NB_OK;
}

void reference_close(reference_file *f) {
    nb_map_close(&f->map);
    *f = (reference_file){0};
}

nb_status reference_room_take(reference_room *room, const reference_file *f, nb_error *err) {
    room->logits = nb_calloc(f->k, sizeof *room->logits);
    room->ids = nb_calloc(f->k, sizeof *room->ids);
    return room->logits && room->ids ? NB_OK : nb_oom(err, "a reference record", f->record_bytes);
}

void reference_room_free(reference_room *room) {
    nb_free(room->logits);
    nb_free(room->ids);
}

nb_top reference_top(const reference_file *f, size_t i, reference_room *room, double *target_logit) {
    const uint8_t *record = record_at(f, i), *ids = record + R_IDS, *logits = ids + 4 * (size_t)f->k;
    for (size_t j = 0; j < f->k; j++) {
        room->ids[j] = (int32_t)nb_get_u32(ids + 4 * j);
        room->logits[j] = nb_get_f32(logits + 4 * j);
    }
    *target_logit = (double)nb_get_f32(record + R_TARGET);
    return (nb_top){.lse = nb_get_f64(record + R_LSE), .rest = nb_get_f64(record + R_REST), .logits = room->logits,
                    .ids = room->ids, .n = f->k};
}
