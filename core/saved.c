#include "core/saved.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/file.h"
#include "base/xxh3.h"
#include "core/kv.h"
#include "format/kind.h"

/* Described in docs/sessions.md. The version also counts what pages hold (core/kv_form.h). */
enum {
    FILE_MAJOR = 1,
    H_MAJOR = 8,         /* u32 */
    H_HEADER_BYTES = 12, /* u32 */
    H_FILE_BYTES = 16,   /* u64 */
    H_IDENTITY = 24,     /* u64 */
    H_TOKENS = 32,       /* u32 */
    H_HELD = 36,         /* u32 */
    H_SINK = 40,         /* u32 */
    H_RECENT = 44,       /* u32 */
    H_KEYS = 48,         /* 8 bytes */
    H_VALUES = 56,       /* 8 bytes */
    H_LEAF_BYTES = 64,   /* u64 */
    H_LEAVES = 72,       /* u64 */
    H_STATE_BYTES = 80,  /* u32 */
    H_MORE_BYTES = 84,   /* u32 */
    H_BODY_HASH = 88,    /* u64 */
    H_LEAVES_HASH = 96,  /* u64 */
    H_RESERVED = 104,    /* 16 bytes */
    H_HASH = 120,        /* u64, over all before it */
    HEADER_BYTES = 128,
    TYPE_BYTES = 8,
    STATE_MAX = 1 << 20
};

void nb_saved_free(nb_saved *s) {
    nb_ids_free(&s->ids);
    nb_row_state_free(&s->state);
    nb_buf_free(&s->more);
}

/* ---- the leaves of a file: of each layer in order, the pages in order that a token at position `held` sees, and the
 * sinks */

typedef nb_status (*leaf_fn)(void *user, uint8_t *leaf, size_t bytes, nb_error *err);

static nb_status each_leaf(const nb_batch *b, const nb_kv *kv, const nb_kv_text *t, uint32_t held, leaf_fn fn,
                           void *user, nb_error *err) {
    nb_status st = NB_OK;
    for (uint32_t layer = 0; layer < kv->n_layer; layer++) {
        uint32_t first = nb_batch_first_page(b, layer, held), leaf;
        for (uint32_t page = 0; !st && page < nb_div_up(held, NB_KV_PAGE); page++) {
            if (page >= kv->n_sink && page < first) continue;
            if (!nb_kv_leaf_at(kv, t, layer, page, &leaf))
                return nb_fail(err, NB_ARGUMENT, "page %u of layer %u is gone, and would be seen", page, layer);
            st = fn(user, nb_kv_leaf(kv, leaf), nb_kv_leaf_bytes(kv), err);
        }
    }
    return st;
}

static uint64_t count_leaves(const nb_batch *b, const nb_kv *kv, uint32_t held) {
    size_t pages = nb_div_up(held, NB_KV_PAGE);
    uint64_t n = 0;
    for (uint32_t layer = 0; layer < kv->n_layer; layer++) {
        size_t first = nb_batch_first_page(b, layer, held);
        n += pages - (first > kv->n_sink && pages > kv->n_sink ? nb_min_size(first, pages) - kv->n_sink : 0);
    }
    return n;
}

/* ---- writing */

/* Each leaf's hash is the seed of the next one's. */
static nb_status hash_leaf(void *user, uint8_t *leaf, size_t bytes, nb_error *err) {
    uint64_t *hash = user;
    (void)err;
    *hash = XXH3_64bits_withSeed(leaf, bytes, *hash);
    return NB_OK;
}

static nb_status write_leaf(void *user, uint8_t *leaf, size_t bytes, nb_error *err) {
    return nb_replace_write(user, leaf, bytes, err);
}

/* Padded with zeros, which are there already. */
static void put_type(uint8_t *at, nb_kv_type type) {
    const char *name = nb_kv_type_name(type);
    for (size_t i = 0; i < TYPE_BYTES && name[i]; i++) at[i] = (uint8_t)name[i];
}

/* What a file for this batch has in its header for a text of which `held` tokens have pages. */
static void fill_header(const nb_batch *b, const nb_kv *kv, uint32_t held, uint8_t header[HEADER_BYTES]) {
    memset(header, 0, HEADER_BYTES);
    memcpy(header, nb_kinds[NB_KIND_SAVED].magic, nb_kinds[NB_KIND_SAVED].n);
    nb_put_u32(header + H_MAJOR, FILE_MAJOR);
    nb_put_u32(header + H_HEADER_BYTES, HEADER_BYTES);
    nb_put_u64(header + H_IDENTITY, nb_model_identity(nb_batch_model(b)));
    nb_put_u32(header + H_HELD, held);
    nb_put_u32(header + H_SINK, kv->n_sink);
    nb_put_u32(header + H_RECENT, kv->n_recent);
    put_type(header + H_KEYS, kv->types.keys);
    put_type(header + H_VALUES, kv->types.values);
    nb_put_u64(header + H_LEAF_BYTES, nb_kv_leaf_bytes(kv));
    nb_put_u64(header + H_LEAVES, count_leaves(b, kv, held));
}

/* The part between header and leaves. */
static nb_status make_body(const nb_saved *saved, nb_buf *body, uint32_t *state_bytes, nb_error *err) {
    for (size_t i = 0; i < saved->ids.size; i++) nb_buf_u32(body, (uint32_t)saved->ids.data[i]);
    size_t before = body->size;
    if (nb_row_state_kept(&saved->state)) nb_row_state_write(&saved->state, body);
    size_t state = body->size - before;
    nb_buf_append(body, saved->more.data, saved->more.size);
    if (body->failed || saved->more.failed) return nb_oom(err, "a session to be saved", body->size);
    if (state > STATE_MAX || saved->more.size > NB_SAVED_MORE_MAX)
        return nb_fail(err, NB_LIMIT, "a session with %zu bytes of state and %zu of more cannot be saved", state,
                       saved->more.size);
    *state_bytes = (uint32_t)state;
    return NB_OK;
}

nb_status nb_saved_write(nb_batch *b, uint32_t row, const nb_saved *saved, const char *path, nb_error *err) {
    nb_kv *kv = nb_batch_kv(b);
    const nb_kv_text *t = &kv->texts[row];
    uint8_t header[HEADER_BYTES];
    nb_buf body = {0};
    nb_replace file = {.fd = -1};
    uint32_t state_bytes = 0;
    uint64_t leaves_hash = 0;
    if (!saved->ids.size || saved->ids.size > nb_batch_room(b))
        return nb_fail(err, NB_ARGUMENT, "a session of %zu tokens cannot be saved", saved->ids.size);
    uint32_t held = (uint32_t)nb_min_size(t->length, saved->ids.size - 1);
    nb_status st = make_body(saved, &body, &state_bytes, err);
    if (!st) st = each_leaf(b, kv, t, held, hash_leaf, &leaves_hash, err);
    if (st) {
        nb_context(err, st, "'%s'", path);
        goto out;
    }
    fill_header(b, kv, held, header);
    nb_put_u64(header + H_FILE_BYTES, HEADER_BYTES + body.size + nb_get_u64(header + H_LEAVES) * nb_kv_leaf_bytes(kv));
    nb_put_u32(header + H_TOKENS, (uint32_t)saved->ids.size);
    nb_put_u32(header + H_STATE_BYTES, state_bytes);
    nb_put_u32(header + H_MORE_BYTES, (uint32_t)saved->more.size);
    nb_put_u64(header + H_BODY_HASH, XXH3_64bits(body.data, body.size));
    nb_put_u64(header + H_LEAVES_HASH, leaves_hash);
    nb_put_u64(header + H_HASH, XXH3_64bits(header, H_HASH));
    st = nb_replace_begin(&file, path, true, err);
    if (!st) st = nb_replace_write(&file, header, sizeof header, err);
    if (!st) st = nb_replace_write(&file, body.data, body.size, err);
    if (!st) st = each_leaf(b, kv, t, held, write_leaf, &file, err);
    if (!st) st = nb_replace_commit(&file, err);
out:
    nb_replace_abandon(&file);
    nb_buf_free(&body);
    return st;
}

/* ---- reading */

static bool has_windows(const nb_batch *b, const nb_kv *kv) {
    bool any = false;
    for (uint32_t layer = 0; layer < kv->n_layer; layer++) any |= nb_model_window(nb_batch_model(b), layer) > 0;
    return any;
}

/* No position up to `position` has left anything behind when it sees so many pages. */
static bool sees_all(uint64_t n_sink, uint64_t n_recent, uint32_t position) {
    return !n_recent || position / NB_KV_PAGE + 1 <= n_sink + n_recent;
}

/* The file is of this model, and its pages are what this batch would have computed. */
static nb_status check_kind(const nb_batch *b, const nb_kv *kv, const uint8_t *header, nb_error *err) {
    uint8_t own[HEADER_BYTES];
    uint32_t held = nb_get_u32(header + H_HELD);
    uint64_t n_sink = nb_get_u32(header + H_SINK), n_recent = nb_get_u32(header + H_RECENT);
    fill_header(b, kv, held, own);
    if (memcmp(header + H_IDENTITY, own + H_IDENTITY, sizeof(uint64_t)) != 0)
        return nb_fail(err, NB_ARGUMENT,
                       "it was saved with another model (identity %016" PRIx64 "), not with this one (%016" PRIx64 ")",
                       nb_get_u64(header + H_IDENTITY), nb_get_u64(own + H_IDENTITY));
    if (memcmp(header + H_KEYS, own + H_KEYS, (size_t)H_LEAF_BYTES - H_KEYS) != 0) /* and the values' */
        return nb_fail(err, NB_ARGUMENT,
                       "it was saved with keys in %.8s and values in %.8s (--kv-k, --kv-v), not in %.8s and %.8s",
                       (const char *)header + H_KEYS, (const char *)header + H_VALUES, (const char *)own + H_KEYS,
                       (const char *)own + H_VALUES);
    bool same = n_sink == kv->n_sink && n_recent == kv->n_recent;
    bool alike = sees_all(n_sink, n_recent, held) && sees_all(kv->n_sink, kv->n_recent, held) && !has_windows(b, kv);
    if (!same && !alike)
        return nb_fail(err, NB_ARGUMENT,
                       "its text slid over %" PRIu64 " tokens (--overflow, --ctx; 0: it did not slide), this one over "
                       "%" PRIu64,
                       (n_sink + n_recent) * NB_KV_PAGE, ((uint64_t)kv->n_sink + kv->n_recent) * NB_KV_PAGE);
    if (nb_get_u64(header + H_LEAF_BYTES) != nb_get_u64(own + H_LEAF_BYTES) ||
        nb_get_u64(header + H_LEAVES) != nb_get_u64(own + H_LEAVES))
        return nb_fail(err, NB_FORMAT,
                       "it has %" PRIu64 " pages of %" PRIu64 " bytes, expected %" PRIu64 " of %" PRIu64,
                       nb_get_u64(header + H_LEAVES), nb_get_u64(header + H_LEAF_BYTES), nb_get_u64(own + H_LEAVES),
                       nb_get_u64(own + H_LEAF_BYTES));
    return NB_OK;
}

static nb_status read_header(const nb_file *f, uint8_t header[HEADER_BYTES], nb_error *err) {
    if (f->size < HEADER_BYTES)
        return nb_fail(err, NB_TRUNCATED, "it has %" PRIu64 " bytes, a saved session has %d at least",
                       f->size, HEADER_BYTES);
    nb_status st = nb_file_read(f, 0, HEADER_BYTES, header, err);
    if (st) return st;
    nb_kind kind = nb_kind_of(header, NB_KIND_HEAD, f->size);
    if (kind == NB_KIND_UNKNOWN) return nb_fail(err, NB_FORMAT, "it is no saved session");
    if (kind != NB_KIND_SAVED) return nb_fail(err, NB_FORMAT, "it is no saved session, but %s", nb_kinds[kind].what);
    if (nb_get_u32(header + H_MAJOR) != FILE_MAJOR)
        return nb_fail(err, NB_UNSUPPORTED, "it is a saved session of version %u, expected %d",
                       nb_get_u32(header + H_MAJOR), FILE_MAJOR);
    if (nb_get_u64(header + H_HASH) != XXH3_64bits(header, H_HASH))
        return nb_fail(err, NB_CHECKSUM, "its header is damaged");
    if (nb_get_u32(header + H_HEADER_BYTES) != HEADER_BYTES || nb_get_u64(header + H_RESERVED) ||
        nb_get_u64(header + H_RESERVED + 8))
        return nb_fail(err, NB_FORMAT, "its header has fields that this version does not know");
    uint64_t expected = nb_get_u64(header + H_FILE_BYTES);
    if (f->size != expected)
        return nb_fail(err, f->size < expected ? NB_TRUNCATED : NB_FORMAT,
                       "it has %" PRIu64 " bytes, expected %" PRIu64, f->size, expected);
    return NB_OK;
}

/* All lengths, before anything is allocated: tokens fit the row, and the parts fill the file. */
static nb_status check_sizes(const nb_batch *b, const nb_kv *kv, const uint8_t *header, uint64_t *body_bytes,
                             nb_error *err) {
    uint64_t tokens = nb_get_u32(header + H_TOKENS), held = nb_get_u32(header + H_HELD);
    uint64_t state = nb_get_u32(header + H_STATE_BYTES), more = nb_get_u32(header + H_MORE_BYTES), leaves = 0, all = 0;
    if (tokens > nb_batch_room(b))
        return nb_fail(err, NB_LIMIT, "its text has %" PRIu64 " tokens, but the context has room for %u: give a "
                       "larger --ctx", tokens, nb_batch_room(b));
    if (!tokens || held >= tokens || state > STATE_MAX || more > NB_SAVED_MORE_MAX)
        return nb_fail(err, NB_FORMAT,
                       "it has %" PRIu64 " tokens, of which %" PRIu64 " have pages, %" PRIu64 " bytes of state and "
                       "%" PRIu64 " of more",
                       tokens, held, state, more);
    nb_status st = check_kind(b, kv, header, err);
    if (st) return st;
    *body_bytes = tokens * sizeof(uint32_t) + state + more;
    if (!nb_mul_u64(nb_get_u64(header + H_LEAVES), nb_get_u64(header + H_LEAF_BYTES), &leaves) ||
        !nb_add_u64(HEADER_BYTES + *body_bytes, leaves, &all) || all != nb_get_u64(header + H_FILE_BYTES))
        return nb_fail(err, NB_FORMAT, "its parts are not as large as it is");
    return NB_OK;
}

static nb_status parse_body(const nb_batch *b, const uint8_t *header, const nb_buf *body, nb_saved *saved,
                            nb_error *err) {
    nb_cursor c = nb_cursor_over(body->data, body->size);
    size_t tokens = nb_get_u32(header + H_TOKENS), state = nb_get_u32(header + H_STATE_BYTES);
    uint32_t vocab_size = nb_model_hparams(nb_batch_model(b))->vocab_size;
    nb_status st = NB_OK;
    if (XXH3_64bits(body->data, body->size) != nb_get_u64(header + H_BODY_HASH))
        return nb_fail(err, NB_CHECKSUM, "its tokens or its state are damaged");
    for (size_t i = 0; !st && i < tokens; i++) {
        uint32_t id = nb_take_u32(&c);
        if (id >= vocab_size)
            st = nb_fail(err, NB_FORMAT, "token %zu: expected an id from 0 to %u, found %u", i, vocab_size - 1, id);
        else st = nb_ids_push(&saved->ids, (int32_t)id, err);
    }
    const uint8_t *at = st ? NULL : nb_take(&c, state);
    if (at && state) st = nb_row_state_read(&saved->state, at, state, vocab_size, err);
    at = st ? NULL : nb_take(&c, nb_get_u32(header + H_MORE_BYTES));
    if (at) nb_buf_append(&saved->more, at, nb_get_u32(header + H_MORE_BYTES));
    return !st && saved->more.failed ? nb_oom(err, "a saved session", body->size) : st;
}

typedef struct leaf_reader {
    const nb_file *file;
    uint64_t at;
} leaf_reader;

static nb_status read_leaf(void *user, uint8_t *leaf, size_t bytes, nb_error *err) {
    leaf_reader *r = user;
    nb_status st = nb_file_read(r->file, r->at, bytes, leaf, err);
    r->at += bytes;
    return st;
}

static nb_status read_leaves(const nb_file *f, const nb_batch *b, const nb_kv *kv, const nb_kv_text *t,
                             const uint8_t *header, uint64_t at, nb_error *err) {
    leaf_reader reader = {.file = f, .at = at};
    uint64_t hash = 0;
    nb_status st = each_leaf(b, kv, t, t->length, read_leaf, &reader, err);
    if (!st) st = each_leaf(b, kv, t, t->length, hash_leaf, &hash, err);
    if (!st && hash != nb_get_u64(header + H_LEAVES_HASH)) st = nb_fail(err, NB_CHECKSUM, "its pages are damaged");
    return st;
}

nb_status nb_saved_read(nb_batch *b, uint32_t row, const char *path, nb_saved *saved, nb_error *err) {
    nb_kv *kv = nb_batch_kv(b);
    uint8_t header[HEADER_BYTES];
    nb_file f = {0};
    nb_buf body = {0};
    uint64_t body_bytes = 0;
    nb_batch_rewind(b, row, 0);
    nb_status st = nb_file_open(&f, path, err);
    if (st) return st;
    st = read_header(&f, header, err);
    if (!st) st = check_sizes(b, kv, header, &body_bytes, err);
    if (st) goto out;
    uint8_t *bytes = nb_buf_extend(&body, (size_t)body_bytes);
    if (bytes) st = nb_file_read(&f, HEADER_BYTES, (size_t)body_bytes, bytes, err);
    else st = nb_oom(err, "a saved session", (size_t)body_bytes);
    if (!st) st = parse_body(b, header, &body, saved, err);
    if (!st) st = nb_batch_restore(b, row, saved->ids.data, nb_get_u32(header + H_HELD), err);
    if (!st) st = read_leaves(&f, b, kv, &kv->texts[row], header, HEADER_BYTES + body_bytes, err);
out:
    nb_file_close(&f);
    nb_buf_free(&body);
    if (!st) return NB_OK;
    nb_batch_rewind(b, row, 0);
    nb_saved_free(saved);
    return nb_context(err, st, "'%s'", path);
}
