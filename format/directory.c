/* Directory and chunk table of a file that nobody vouches for. Their checksums are right when this is called, so what
 * is refused here was written wrongly, by mistake or on purpose. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "base/bytes.h"
#include "base/checked.h"
#include "base/mem.h"
#include "format/layout.h"
#include "format/reader_impl.h"

nb_chunk nb_reader_chunk(const nb_reader *r, uint32_t i) {
    const uint8_t *p = r->chunk_table + (size_t)i * NB_CHUNK_RECORD_BYTES;
    return (nb_chunk){.offset = nb_get_u64(p + NB_C_OFFSET), .stored_bytes = nb_get_u32(p + NB_C_STORED_BYTES),
                      .raw_bytes = nb_get_u32(p + NB_C_RAW_BYTES), .raw_hash = nb_get_u64(p + NB_C_RAW_HASH),
                      .stored_hash = nb_get_u64(p + NB_C_STORED_HASH), .form = p[NB_C_FORM], .method = p[NB_C_METHOD]};
}

/* The name of record i: it begins where the one before ended (at *at) and a NUL follows it. */
static nb_status get_name(const nb_reader *r, uint32_t i, uint32_t *at, const char **name, nb_error *err) {
    const uint8_t *p = r->records + (size_t)i * NB_TENSOR_BYTES;
    uint32_t offset = nb_get_u32(p + NB_T_NAME_OFFSET), n = p[NB_T_NAME_BYTES];
    if (offset != *at || !nb_range_ok(offset, (uint64_t)n + 1, r->names_bytes))
        return nb_fail(err, NB_FORMAT,
                       "tensor record %" PRIu32 ": its name is at byte %" PRIu32 " of the names with %" PRIu32
                       " bytes; expected at %" PRIu32 " and inside %" PRIu32, i, offset, n, *at, r->names_bytes);
    if (memchr(r->names + offset, 0, n) || r->names[offset + n] != 0)
        return nb_fail(err, NB_FORMAT, "tensor record %" PRIu32 ": its name's first NUL is not where its length says",
                       i);
    *name = (const char *)r->names + offset;
    *at = offset + n + 1;
    return nb_tensor_check_name(*name, NB_FORMAT, err); /* before any sentence shows it */
}

static nb_status get_tensor(const nb_reader *r, uint32_t i, uint32_t *name_at, nb_tensor *t, nb_geometry *g,
                            nb_error *err) {
    const uint8_t *p = r->records + (size_t)i * NB_TENSOR_BYTES;
    nb_status st = get_name(r, i, name_at, &t->name, err);
    if (st) return st;
    if (!nb_type_by_code(p[NB_T_TYPE], &t->type))
        return nb_fail(err, NB_UNSUPPORTED, "tensor '%s' has type code %u, which is not known", t->name,
                       (unsigned)p[NB_T_TYPE]);
    if (p[NB_T_LAYOUT] > NB_LAYOUT_PANELS)
        return nb_fail(err, NB_UNSUPPORTED, "tensor '%s' has layout code %u, which is not known", t->name,
                       (unsigned)p[NB_T_LAYOUT]);
    if (nb_get_u32(p + NB_T_RESERVED) != 0)
        return nb_fail(err, NB_UNSUPPORTED, "tensor '%s': reserved bytes of its record are not zero", t->name);
    t->layout = (nb_layout)p[NB_T_LAYOUT];
    t->n_dims = p[NB_T_N_DIMS];
    for (int j = 0; j < NB_MAX_DIMS; j++) t->dims[j] = nb_get_u64(p + NB_T_DIMS + (size_t)8 * (size_t)j);
    memcpy(t->codebook, p + NB_T_CODEBOOK, NB_CODEBOOK_SIZE);
    t->raw_bytes = nb_get_u64(p + NB_T_RAW_BYTES);
    t->first_chunk = nb_get_u32(p + NB_T_FIRST_CHUNK);
    t->n_chunks = nb_get_u32(p + NB_T_N_CHUNKS);
    st = nb_tensor_check(t, NB_FORMAT, g, err);
    if (st) return st;
    if (t->raw_bytes != g->raw_bytes)
        return nb_fail(err, NB_FORMAT, "tensor '%s' has %" PRIu64 " raw bytes; its type and dimensions take %" PRIu64,
                       t->name, t->raw_bytes, g->raw_bytes);
    if (t->n_chunks != g->n_chunks)
        return nb_fail(err, NB_FORMAT, "tensor '%s' has %" PRIu32 " chunks; its type and dimensions take %" PRIu32,
                       t->name, t->n_chunks, g->n_chunks);
    return NB_OK;
}

static nb_status read_tensors(nb_reader *r, nb_error *err) {
    uint32_t name_at = 0;
    for (uint32_t i = 0; i < r->n_tensors; i++) {
        nb_tensor *t = &r->tensors[i];
        nb_status st = get_tensor(r, i, &name_at, t, &r->geometries[i], err);
        if (st) return st;
        if (i > 0 && strcmp(t[-1].name, t->name) >= 0)
            return nb_fail(err, NB_FORMAT, "tensor '%s' follows '%s': the names must ascend", t->name, t[-1].name);
        if (t->raw_bytes > NB_MAX_RAW_BYTES - r->raw_bytes)
            return nb_fail(err, NB_LIMIT, "all tensors up to '%s' take more than 2^48 bytes", t->name);
        r->raw_bytes += t->raw_bytes;
    }
    if (name_at != r->names_bytes)
        return nb_fail(err, NB_FORMAT, "the names end after %" PRIu32 " of %" PRIu32 " bytes", name_at, r->names_bytes);
    return NB_OK;
}

static nb_status check_code(const nb_geometry *g, const nb_chunk *c, nb_error *err) {
    if (c->method >= NB_METHOD_COUNT)
        return nb_fail(err, NB_UNSUPPORTED, "method code %u is not known", (unsigned)c->method);
    if (c->form >= NB_FORM_COUNT) return nb_fail(err, NB_UNSUPPORTED, "form code %u is not known", (unsigned)c->form);
    if (!nb_form_infos[c->form].fits(g))
        return nb_fail(err, NB_FORMAT, "form code %u is not for tensors of type %s in this layout", (unsigned)c->form,
                       nb_types[g->type].name);
    return NB_OK;
}

static nb_status check_chunk(const nb_geometry *g, uint32_t i, const nb_chunk *c, nb_error *err) {
    uint32_t raw = nb_geometry_chunk(g, i);
    nb_status st = check_code(g, c, err);
    if (st) return st;
    if (c->raw_bytes != raw)
        return nb_fail(err, NB_FORMAT, "it has %" PRIu32 " raw bytes instead of %" PRIu32, c->raw_bytes, raw);
    if (c->method == NB_METHOD_RAW && c->stored_bytes != raw)
        return nb_fail(err, NB_FORMAT, "it is stored raw in %" PRIu32 " bytes instead of %" PRIu32, c->stored_bytes,
                       raw);
    if (c->method != NB_METHOD_RAW && c->stored_bytes >= raw)
        return nb_fail(err, NB_FORMAT, "it is compressed to %" PRIu32 " bytes from %" PRIu32 ", which is not smaller",
                       c->stored_bytes, raw);
    if (c->method == NB_METHOD_RAW && c->form == NB_FORM_MEMORY && c->stored_hash != c->raw_hash)
        return nb_fail(err, NB_FORMAT, "it is stored raw, but its stored and raw checksums differ");
    return NB_OK;
}

/* One tensor's chunks: they begin at *at, the end of the chunk before, after a gap. */
static nb_status check_chunks(const nb_reader *r, nb_tensor *t, const nb_geometry *g, uint64_t *at, nb_error *err) {
    uint64_t end = r->data_offset + r->data_bytes;
    for (uint32_t i = 0; i < t->n_chunks; i++) {
        const uint8_t *reserved = r->chunk_table + (size_t)(t->first_chunk + i) * NB_CHUNK_RECORD_BYTES + NB_C_RESERVED;
        nb_chunk c = nb_reader_chunk(r, t->first_chunk + i);
        nb_status st = check_chunk(g, i, &c, err);
        if (!st && (nb_get_u32(reserved) | nb_get_u16(reserved + 4)))
            st = nb_fail(err, NB_UNSUPPORTED, "reserved bytes of its record are not zero");
        if (!st && (c.offset < *at || !nb_range_ok(c.offset, c.stored_bytes, end)))
            st = nb_fail(err, NB_FORMAT,
                         "it lies at byte %" PRIu64 " with %" PRIu32 " bytes; it must lie between byte %" PRIu64
                         ", where the one before ends, and %" PRIu64, c.offset, c.stored_bytes, *at, end);
        if (!st && c.offset - *at > NB_MAX_GAP)
            st = nb_fail(err, NB_FORMAT, "%" PRIu64 " unused bytes precede it; at most %d are allowed", c.offset - *at,
                         NB_MAX_GAP);
        if (st) return nb_context(err, st, "tensor '%s', chunk %" PRIu32 " of %" PRIu32, t->name, i + 1, t->n_chunks);
        *at = c.offset + c.stored_bytes;
        t->stored_bytes += c.stored_bytes;
    }
    return NB_OK;
}

typedef struct place_in_file {
    uint32_t first_chunk, tensor;
} place_in_file;

static int compare_places(const void *a, const void *b) {
    const place_in_file *x = a, *y = b;
    if (x->first_chunk != y->first_chunk) return x->first_chunk < y->first_chunk ? -1 : 1;
    return x->tensor < y->tensor ? -1 : x->tensor > y->tensor; /* qsort is not stable; sentences should be */
}

static nb_status sort_by_place(nb_reader *r, nb_error *err) {
    place_in_file *places = nb_alloc(r->n_tensors * sizeof *places);
    if (!places) return nb_oom(err, "the order of tensors", r->n_tensors * sizeof *places);
    for (uint32_t i = 0; i < r->n_tensors; i++) places[i] = (place_in_file){r->tensors[i].first_chunk, i};
    qsort(places, r->n_tensors, sizeof *places, compare_places);
    for (uint32_t i = 0; i < r->n_tensors; i++) r->file_order[i] = places[i].tensor;
    nb_free(places);
    return NB_OK;
}

/* In file order the tensors' chunks must be the chunk table from its first record to its last, and the data area from
 * its first byte to its last. */
static nb_status check_cover(nb_reader *r, nb_error *err) {
    uint64_t at = r->data_offset;
    uint32_t next = 0;
    for (uint32_t i = 0; i < r->n_tensors; i++) {
        nb_tensor *t = &r->tensors[r->file_order[i]];
        if (t->first_chunk != next || t->n_chunks > r->n_chunks - next)
            return nb_fail(err, NB_FORMAT,
                           "tensor '%s' has the %" PRIu32 " chunks from %" PRIu32 "; expected from %" PRIu32
                           " and inside the table of %" PRIu32,
                           t->name, t->n_chunks, t->first_chunk, next, r->n_chunks);
        uint64_t offset = nb_reader_chunk(r, next).offset;
        uint64_t stated = nb_get_u64(r->records + (size_t)r->file_order[i] * NB_TENSOR_BYTES + NB_T_OFFSET);
        if (offset != stated)
            return nb_fail(err, NB_FORMAT,
                           "tensor '%s' is said to begin at byte %" PRIu64 ", its first chunk at %" PRIu64, t->name,
                           stated, offset);
        if (i == 0 && offset != r->data_offset)
            return nb_fail(err, NB_FORMAT,
                           "the first tensor '%s' begins at byte %" PRIu64 " and not with the data area at %" PRIu64,
                           t->name, offset, r->data_offset);
        nb_status st = check_chunks(r, t, &r->geometries[r->file_order[i]], &at, err);
        if (st) return st;
        next += t->n_chunks;
    }
    if (next != r->n_chunks)
        return nb_fail(err, NB_FORMAT, "only %" PRIu32 " of the table's %" PRIu32 " chunks belong to a tensor", next,
                       r->n_chunks);
    if (at != r->data_offset + r->data_bytes)
        return nb_fail(err, NB_FORMAT, "the last chunk ends at byte %" PRIu64 ", the data area at %" PRIu64, at,
                       r->data_offset + r->data_bytes);
    return NB_OK;
}

nb_status nb_reader_directory(nb_reader *r, nb_error *err) {
    r->tensors = nb_calloc(r->n_tensors, sizeof *r->tensors);
    r->geometries = nb_calloc(r->n_tensors, sizeof *r->geometries);
    r->file_order = nb_calloc(r->n_tensors, sizeof *r->file_order);
    if (!r->tensors || !r->geometries || !r->file_order)
        return nb_oom(err, "the directory",
                      r->n_tensors * (sizeof *r->tensors + sizeof *r->geometries + sizeof *r->file_order));
    nb_status st = read_tensors(r, err);
    if (!st) st = sort_by_place(r, err);
    if (!st) st = check_cover(r, err);
    return st;
}
