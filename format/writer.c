#include "format/writer.h"

#include <string.h>
#include "base/bytes.h"
#include "base/checked.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/xxh3.h"
#include "format/chunk.h"
#include "format/layout.h"
#include "format/tensor.h"

enum { SLOTS_PER_MEMBER = 2 }; /* chunks in a batch, so that a slow core does not keep the others waiting */

typedef struct slot {
    nb_region stored; /* encoded chunk; grown to the largest chunk so far */
    nb_chunk chunk;
    nb_error err;
    nb_status status;
} slot;

typedef struct entry {
    nb_tensor tensor;
    char *name; /* owned; tensor.name */
    uint64_t offset;
} entry;

struct nb_writer {
    nb_replace file;
    nb_team *team;
    nb_store store;
    int level; /* 0: stored raw */
    uint64_t at; /* end of what is written */
    uint64_t data_offset, data_end, raw_bytes;
    bool broken; /* an earlier failure left the file incomplete */
    bool committed;

    entry *entries; /* in the order written */
    size_t n_entries, entries_capacity;
    uint32_t *by_name; /* indices into entries, ascending names */
    size_t by_name_capacity;
    nb_chunk *chunks;
    size_t n_chunks, chunks_capacity;

    bool open; /* a tensor was begun: the last entry */
    nb_geometry geometry;
    uint64_t taken; /* bytes of it appended */

    uint8_t *batch; /* chunks of the tensor, one after the other */
    size_t batch_capacity, batch_size, batch_used;
    slot *slots;
    size_t n_slots;
    nb_coder *coders;
};

static int team_size(const nb_writer *w) { return nb_team_size(w->team); }

nb_status nb_writer_create(nb_writer **writer, const char *path, const nb_writer_options *options, nb_error *err) {
    static const nb_writer_options none = {.store = NB_STORE_ZSTD};
    const nb_writer_options *o = options ? options : &none;
    *writer = NULL;
    if (o->level < 0 || o->level > ZSTD_maxCLevel())
        return nb_fail(err, NB_ARGUMENT, "zstd level %d is not between 1 and %d (0: the default)", o->level,
                       ZSTD_maxCLevel());
    nb_writer *w = nb_calloc(1, sizeof *w);
    if (!w) return nb_oom(err, "file writer", sizeof *w);
    w->file.fd = -1;
    w->team = o->team;
    w->store = o->store;
    w->level = o->store == NB_STORE_RAW ? 0 : o->level ? o->level : 1;
    w->data_offset = o->store == NB_STORE_RAW ? NB_ALIGN_DATA : NB_HEADER_BYTES;
    w->at = w->data_end = w->data_offset;
    w->n_slots = (size_t)team_size(w) * SLOTS_PER_MEMBER;
    uint8_t zeros[NB_ALIGN_DATA] = {0};
    nb_status st = NB_OK;
    w->slots = nb_calloc(w->n_slots, sizeof *w->slots);
    if (!w->slots) st = nb_oom(err, "chunks being written", w->n_slots * sizeof *w->slots);
    if (!st) st = nb_coders_create(&w->coders, team_size(w), NB_CODER_WRITES, 0, err);
    if (!st) st = nb_replace_begin(&w->file, path, o->overwrite, err);
    if (!st) st = nb_replace_write(&w->file, zeros, (size_t)w->data_offset, err); /* the header comes last */
    if (st) {
        nb_writer_close(w);
        return st;
    }
    *writer = w;
    return NB_OK;
}

void nb_writer_close(nb_writer *w) {
    if (!w) return;
    nb_replace_abandon(&w->file);
    for (size_t i = 0; i < w->n_entries; i++) nb_free(w->entries[i].name);
    for (size_t i = 0; w->slots && i < w->n_slots; i++) nb_region_free(&w->slots[i].stored);
    nb_coders_free(w->coders, team_size(w));
    nb_free(w->entries);
    nb_free(w->by_name);
    nb_free(w->chunks);
    nb_free(w->slots);
    nb_free(w->batch);
    nb_free(w);
}

/* `items` with room for `extra` more, in an array that doubles; `items` itself, and *st set, when memory is short. */
static void *grown(void *items, size_t used, size_t extra, size_t *capacity, size_t item_bytes, nb_status *st,
                   nb_error *err) {
    size_t need = used + extra, n = nb_max_size(64, *capacity);
    if (*st || need <= *capacity) return items;
    while (n < need) n *= 2; /* need is far below 2^63: every item stands for something in memory or on disk */
    void *p = nb_realloc(items, *capacity * item_bytes, n * item_bytes);
    if (!p) {
        *st = nb_oom(err, "the file's directory", n * item_bytes);
        return items;
    }
    *capacity = n;
    return p;
}

static nb_status write_bytes(nb_writer *w, const void *bytes, size_t n, nb_error *err) {
    nb_status st = nb_replace_write(&w->file, bytes, n, err);
    if (!st) w->at += n;
    return st;
}

static nb_status pad_to(nb_writer *w, size_t alignment, nb_error *err) {
    static const uint8_t zeros[NB_ALIGN_TENSOR];
    return write_bytes(w, zeros, (size_t)(-w->at & (alignment - 1)), err);
}

/* Where `name` is, or would be, in by_name. */
static size_t name_position(const nb_writer *w, const char *name, bool *found) {
    size_t low = 0, high = w->n_entries;
    *found = false;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = strcmp(w->entries[w->by_name[mid]].tensor.name, name);
        if (order == 0) {
            *found = true;
            return mid;
        }
        if (order < 0) low = mid + 1;
        else high = mid;
    }
    return low;
}

/* Room for a batch of the tensor's chunks. It grows and is kept, so a file of many tensors allocates rarely. */
static nb_status prepare_batch(nb_writer *w, nb_error *err) {
    w->batch_size = nb_min_size(w->n_slots, w->geometry.n_chunks) * nb_geometry_chunk(&w->geometry, 0);
    if (w->batch_size <= w->batch_capacity) return NB_OK;
    nb_free(w->batch);
    w->batch_capacity = 0;
    w->batch = nb_alloc(w->batch_size);
    if (!w->batch) return nb_oom(err, "chunks to be written", w->batch_size);
    w->batch_capacity = w->batch_size;
    return NB_OK;
}

static nb_status check_begin(nb_writer *w, const nb_tensor *t, nb_geometry *g, nb_error *err) {
    bool found;
    if (w->broken || w->committed)
        return nb_fail(err, NB_ARGUMENT, "tensor '%s' comes after the writer failed or finished", t->name);
    if (w->open)
        return nb_fail(err, NB_ARGUMENT, "tensor '%s' was begun before '%s' was ended", t->name,
                       w->entries[w->n_entries - 1].tensor.name);
    nb_status st = nb_tensor_check(t, NB_ARGUMENT, g, err);
    if (st) return st;
    name_position(w, t->name, &found);
    if (found) return nb_fail(err, NB_ARGUMENT, "tensor '%s' is in the file already", t->name);
    if (w->n_entries == NB_MAX_TENSORS)
        return nb_fail(err, NB_LIMIT, "a file holds at most %d tensors", NB_MAX_TENSORS);
    if (g->raw_bytes > NB_MAX_RAW_BYTES - w->raw_bytes)
        return nb_fail(err, NB_LIMIT, "tensor '%s' makes the file larger than 2^48 raw bytes", t->name);
    if (g->n_chunks > UINT32_MAX - w->n_chunks)
        return nb_fail(err, NB_LIMIT, "tensor '%s' makes the file larger than 2^32 chunks", t->name);
    return NB_OK;
}

nb_status nb_writer_tensor_begin(nb_writer *w, const nb_tensor *t, nb_error *err) {
    nb_geometry g = {0};
    bool found;
    nb_status st = check_begin(w, t, &g, err);
    w->entries = grown(w->entries, w->n_entries, 1, &w->entries_capacity, sizeof *w->entries, &st, err);
    w->by_name = grown(w->by_name, w->n_entries, 1, &w->by_name_capacity, sizeof *w->by_name, &st, err);
    w->chunks = grown(w->chunks, w->n_chunks, g.n_chunks, &w->chunks_capacity, sizeof *w->chunks, &st, err);
    if (st) return st;
    char *name = nb_strdup(t->name);
    if (!name) return nb_oom(err, "a tensor's name", strlen(t->name) + 1);
    if (w->store == NB_STORE_RAW) st = pad_to(w, NB_ALIGN_TENSOR, err);
    if (st) {
        nb_free(name);
        w->broken = true;
        return st;
    }
    size_t at = name_position(w, name, &found);
    memmove(w->by_name + at + 1, w->by_name + at, (w->n_entries - at) * sizeof *w->by_name);
    w->by_name[at] = (uint32_t)w->n_entries;
    entry *e = &w->entries[w->n_entries++];
    *e = (entry){.tensor = *t, .offset = w->at};
    e->name = name;
    e->tensor.name = name;
    e->tensor.raw_bytes = g.raw_bytes;
    e->tensor.stored_bytes = 0;
    e->tensor.first_chunk = (uint32_t)w->n_chunks;
    e->tensor.n_chunks = g.n_chunks;
    w->raw_bytes += g.raw_bytes;
    w->geometry = g;
    w->taken = 0;
    w->batch_size = w->batch_used = 0;
    w->open = true;
    return NB_OK;
}

/* Room in a slot for a chunk of n raw bytes; it grows and is kept. */
static nb_status reserve(slot *s, size_t n, nb_error *err) {
    size_t bound = nb_chunk_bound(n);
    if (bound <= s->stored.size) return NB_OK;
    nb_region_free(&s->stored);
    return nb_region_alloc(&s->stored, bound, "a compressed chunk", err);
}

static void encode_slot(const nb_writer *w, slot *s, int member, const nb_geometry *g, const uint8_t *raw, size_t n) {
    nb_coder *coder = &w->coders[member];
    s->status = reserve(s, n, &s->err);
    if (!s->status) s->status = nb_coder_reserve(coder, n, &s->err);
    if (!s->status)
        s->status = nb_chunk_encode(coder, g, nb_form_of(g), w->level, raw, n, s->stored.data, &s->chunk, &s->err);
}

static size_t chunk_bytes(const nb_writer *w) { return nb_geometry_chunk(&w->geometry, 0); }

static void encode_slots(void *arg, size_t begin, size_t end, int member) {
    nb_writer *w = arg;
    size_t chunk = chunk_bytes(w);
    for (size_t i = begin; i < end; i++)
        encode_slot(w, &w->slots[i], member, &w->geometry, w->batch + i * chunk,
                    nb_min_size(chunk, w->batch_used - i * chunk));
}

static nb_status put_slot(nb_writer *w, slot *s, nb_error *err) {
    entry *e = &w->entries[w->n_entries - 1];
    if (s->status) return nb_fail(err, s->status, "tensor '%s': %s", e->tensor.name, s->err.text);
    s->chunk.offset = w->at;
    nb_status st = write_bytes(w, s->stored.data, s->chunk.stored_bytes, err);
    if (st) return st;
    w->chunks[w->n_chunks++] = s->chunk;
    e->tensor.stored_bytes += s->chunk.stored_bytes;
    return NB_OK;
}

/* Encode what is in the batch on all members, then write it in order: the bytes do not depend on the team. */
static nb_status flush(nb_writer *w, nb_error *err) {
    size_t n = nb_div_up(w->batch_used, chunk_bytes(w));
    nb_team_for(w->team, n, 1, encode_slots, w);
    for (size_t i = 0; i < n; i++) {
        nb_status st = put_slot(w, &w->slots[i], err);
        if (st) return st;
    }
    w->batch_used = 0;
    return NB_OK;
}

void nb_writer_chunk_encode(nb_writer *w, int member, const nb_geometry *g, const uint8_t *raw, size_t n) {
    encode_slot(w, &w->slots[member], member, g, raw, n);
}

static nb_status put_next(nb_writer *w, slot *s, nb_error *err) {
    size_t n = s->status ? 0 : s->chunk.raw_bytes;
    uint64_t left = w->geometry.raw_bytes - w->taken;
    if (w->broken || !w->open || w->batch_used || (!s->status && n != nb_min_size(chunk_bytes(w), (size_t)left)))
        return nb_fail(err, NB_ARGUMENT, "a chunk of %zu bytes was put where none of that size comes next", n);
    nb_status st = put_slot(w, s, err);
    w->taken += n;
    w->broken = st != NB_OK;
    return st;
}

nb_status nb_writer_chunk_put(nb_writer *w, int member, nb_error *err) { return put_next(w, &w->slots[member], err); }

nb_status nb_writer_chunk_append(nb_writer *w, int member, const uint8_t *raw, size_t n, nb_error *err) {
    slot *s = &w->slots[team_size(w) + member]; /* the first may hold a chunk that is put later */
    encode_slot(w, s, member, &w->geometry, raw, n);
    return put_next(w, s, err);
}

nb_status nb_writer_tensor_append(nb_writer *w, const void *bytes, size_t n, nb_error *err) {
    const uint8_t *p = bytes;
    if (w->broken || !w->open) return nb_fail(err, NB_ARGUMENT, "bytes were appended while no tensor was begun");
    if (n > w->geometry.raw_bytes - w->taken)
        return nb_fail(err, NB_ARGUMENT, "tensor '%s' takes %llu bytes; %llu were appended already, and now %zu",
                       w->entries[w->n_entries - 1].tensor.name, (unsigned long long)w->geometry.raw_bytes,
                       (unsigned long long)w->taken, n);
    nb_status st = w->batch_size ? NB_OK : prepare_batch(w, err);
    if (st) return st;
    w->taken += n;
    while (n) {
        size_t part = nb_min_size(n, w->batch_size - w->batch_used);
        memcpy(w->batch + w->batch_used, p, part);
        w->batch_used += part;
        p += part;
        n -= part;
        if (w->batch_used == w->batch_size) st = flush(w, err);
        if (st) {
            w->broken = true;
            return st;
        }
    }
    return NB_OK;
}

nb_status nb_writer_tensor_end(nb_writer *w, nb_error *err) {
    if (w->broken || !w->open) return nb_fail(err, NB_ARGUMENT, "a tensor was ended while none was begun");
    if (w->taken != w->geometry.raw_bytes)
        return nb_fail(err, NB_ARGUMENT, "tensor '%s' takes %llu bytes; only %llu were appended",
                       w->entries[w->n_entries - 1].tensor.name, (unsigned long long)w->geometry.raw_bytes,
                       (unsigned long long)w->taken);
    nb_status st = w->batch_used ? flush(w, err) : NB_OK;
    w->open = false;
    w->data_end = w->at;
    if (st) w->broken = true;
    return st;
}

uint64_t nb_writer_last_stored(const nb_writer *w) {
    return w->n_entries && !w->open ? w->entries[w->n_entries - 1].tensor.stored_bytes : 0;
}

/* Commit. */

static nb_status write_section(nb_writer *w, const char *what, const char *json, nb_chunk *c, nb_error *err) {
    size_t n = json ? strlen(json) : 0;
    nb_coder *coder = NULL;
    if (n == 0 || n > NB_MAX_JSON)
        return nb_fail(err, NB_ARGUMENT, "the %s section has %zu bytes; 1 to %d are possible", what, n, NB_MAX_JSON);
    nb_status st = nb_coders_create(&coder, 1, NB_CODER_WRITES, 0, err);
    if (st) return st;
    uint8_t *stored = nb_alloc(nb_chunk_bound(n));
    if (!stored) st = nb_oom(err, "a compressed JSON section", nb_chunk_bound(n));
    if (!st) st = nb_chunk_encode(coder, NULL, NB_FORM_MEMORY, w->level, (const uint8_t *)json, n, stored, c, err);
    if (!st) st = pad_to(w, NB_ALIGN_SECTION, err);
    c->offset = w->at;
    if (!st) st = write_bytes(w, stored, c->stored_bytes, err);
    nb_free(stored);
    nb_coders_free(coder, 1);
    return st;
}

static void put_section(uint8_t *p, const nb_chunk *c) {
    nb_put_u64(p + NB_S_OFFSET, c->offset);
    nb_put_u32(p + NB_S_STORED_BYTES, c->stored_bytes);
    nb_put_u32(p + NB_S_RAW_BYTES, c->raw_bytes);
    nb_put_u64(p + NB_S_STORED_HASH, c->stored_hash);
    nb_put_u64(p + NB_S_RAW_HASH, c->raw_hash);
    p[NB_S_METHOD] = c->method;
}

static void put_tensor(uint8_t *p, const entry *e, uint32_t name_offset) {
    const nb_tensor *t = &e->tensor;
    for (uint32_t i = 0; i < t->n_dims; i++) nb_put_u64(p + NB_T_DIMS + (size_t)8 * i, t->dims[i]);
    nb_put_u64(p + NB_T_RAW_BYTES, t->raw_bytes);
    nb_put_u64(p + NB_T_OFFSET, e->offset);
    nb_put_u32(p + NB_T_FIRST_CHUNK, t->first_chunk);
    nb_put_u32(p + NB_T_N_CHUNKS, t->n_chunks);
    nb_put_u32(p + NB_T_NAME_OFFSET, name_offset);
    p[NB_T_NAME_BYTES] = (uint8_t)strlen(t->name);
    p[NB_T_TYPE] = nb_types[t->type].code;
    p[NB_T_LAYOUT] = (uint8_t)t->layout;
    p[NB_T_N_DIMS] = (uint8_t)t->n_dims;
    memcpy(p + NB_T_CODEBOOK, t->codebook, NB_CODEBOOK_SIZE);
}

static void put_chunk(uint8_t *p, const nb_chunk *c) {
    nb_put_u64(p + NB_C_OFFSET, c->offset);
    nb_put_u32(p + NB_C_STORED_BYTES, c->stored_bytes);
    nb_put_u32(p + NB_C_RAW_BYTES, c->raw_bytes);
    nb_put_u64(p + NB_C_RAW_HASH, c->raw_hash);
    nb_put_u64(p + NB_C_STORED_HASH, c->stored_hash);
    p[NB_C_FORM] = c->form;
    p[NB_C_METHOD] = c->method;
}

/* Records in name order, then the names in the same order, each with its NUL. */
static void build_directory(const nb_writer *w, nb_buf *dir) {
    uint32_t name_offset = 0;
    for (size_t i = 0; i < w->n_entries; i++) {
        const entry *e = &w->entries[w->by_name[i]];
        uint8_t record[NB_TENSOR_BYTES] = {0};
        put_tensor(record, e, name_offset);
        name_offset += (uint32_t)strlen(e->tensor.name) + 1; /* at most 2^20 names of 256 bytes */
        nb_buf_append(dir, record, sizeof record);
    }
    for (size_t i = 0; i < w->n_entries; i++) {
        const char *name = w->entries[w->by_name[i]].tensor.name;
        nb_buf_append(dir, name, strlen(name) + 1);
    }
}

static void build_chunk_table(const nb_writer *w, nb_buf *table) {
    for (size_t i = 0; i < w->n_chunks; i++) {
        uint8_t record[NB_CHUNK_RECORD_BYTES] = {0};
        put_chunk(record, &w->chunks[i]);
        nb_buf_append(table, record, sizeof record);
    }
}

static void build_identity(const nb_writer *w, uint64_t model_hash, nb_buf *canon) {
    nb_identity_begin(canon, model_hash, (uint32_t)w->n_entries);
    for (size_t i = 0; i < w->n_entries; i++) {
        const nb_tensor *t = &w->entries[w->by_name[i]].tensor;
        nb_identity_tensor(canon, t);
        for (uint32_t j = 0; j < t->n_chunks; j++) nb_buf_u64(canon, w->chunks[t->first_chunk + j].raw_hash);
    }
}

static nb_status write_table(nb_writer *w, const nb_buf *table, uint8_t *header, size_t offset_field, size_t hash_field,
                             nb_error *err) {
    if (table->failed) return nb_oom(err, "the file's tables", table->size);
    nb_status st = pad_to(w, NB_ALIGN_SECTION, err);
    nb_put_u64(header + offset_field, w->at);
    nb_put_u64(header + hash_field, XXH3_64bits(nb_buf_str(table), table->size));
    return st ? st : write_bytes(w, nb_buf_str(table), table->size, err);
}

static void put_header(const nb_writer *w, uint64_t identity, uint8_t *h) {
    memcpy(h + NB_H_MAGIC, NB_MAGIC, NB_MAGIC_BYTES);
    nb_put_u16(h + NB_H_MAJOR, NB_FILE_MAJOR);
    nb_put_u16(h + NB_H_MINOR, NB_FILE_MINOR);
    nb_put_u32(h + NB_H_HEADER_BYTES, NB_HEADER_BYTES);
    nb_put_u64(h + NB_H_FILE_BYTES, w->at);
    nb_put_u64(h + NB_H_IDENTITY, identity);
    nb_put_u64(h + NB_H_DATA_OFFSET, w->data_offset);
    nb_put_u64(h + NB_H_DATA_BYTES, w->data_end - w->data_offset);
    nb_put_u64(h + NB_H_RAW_BYTES, w->raw_bytes);
    nb_put_u32(h + NB_H_N_TENSORS, (uint32_t)w->n_entries);
    nb_put_u32(h + NB_H_N_CHUNKS, (uint32_t)w->n_chunks);
    nb_put_u64(h + NB_H_HASH, XXH3_64bits(h, NB_H_HASH));
}

nb_status nb_writer_commit(nb_writer *w, const char *model_json, const char *provenance_json, uint64_t *identity,
                           uint64_t *file_bytes, nb_error *err) {
    nb_buf dir = {0}, table = {0}, canon = {0};
    nb_chunk model = {0}, provenance = {0};
    uint8_t header[NB_HEADER_BYTES] = {0};
    if (w->broken || w->committed)
        return nb_fail(err, NB_ARGUMENT, "the file cannot be finished after the writer failed or finished");
    if (w->open)
        return nb_fail(err, NB_ARGUMENT, "tensor '%s' was not ended", w->entries[w->n_entries - 1].tensor.name);
    nb_status st = write_section(w, "model", model_json, &model, err);
    if (!st) st = write_section(w, "provenance", provenance_json, &provenance, err);
    if (st) goto out;
    build_directory(w, &dir);
    build_chunk_table(w, &table);
    build_identity(w, model.raw_hash, &canon);
    if (canon.failed) st = nb_oom(err, "the identity's canonical string", canon.size);
    if (!st) st = write_table(w, &dir, header, NB_H_DIR_OFFSET, NB_H_DIR_HASH, err);
    if (!st) st = write_table(w, &table, header, NB_H_CHUNKS_OFFSET, NB_H_CHUNKS_HASH, err);
    if (st) goto out;
    uint64_t id = XXH3_64bits(canon.data, canon.size);
    put_section(header + NB_H_MODEL, &model);
    put_section(header + NB_H_PROVENANCE, &provenance);
    nb_put_u32(header + NB_H_NAMES_BYTES, (uint32_t)(dir.size - w->n_entries * NB_TENSOR_BYTES));
    put_header(w, id, header);
    st = nb_replace_write_at(&w->file, 0, header, sizeof header, err);
    if (!st) st = nb_replace_commit(&w->file, err);
    if (st) goto out;
    w->committed = true;
    if (identity) *identity = id;
    if (file_bytes) *file_bytes = w->at;
out:
    if (st) w->broken = true;
    nb_buf_free(&dir);
    nb_buf_free(&table);
    nb_buf_free(&canon);
    return st;
}
