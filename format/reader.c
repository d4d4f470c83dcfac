#include "format/reader.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "base/bytes.h"
#include "base/checked.h"
#include "base/mem.h"
#include "base/xxh3.h"
#include "format/kind.h"
#include "format/layout.h"
#include "format/reader_impl.h"

static nb_status check_magic(const nb_map *map, nb_error *err) {
    size_t n = nb_min_size(map->size, NB_MAGIC_BYTES);
    if (memcmp(map->data, NB_MAGIC, n) != 0) {
        if (map->size >= 4 && memcmp(map->data + 1, "NBL", 3) == 0)
            return nb_fail(err, NB_FORMAT, "a copy in text mode or without the eighth bit has damaged this .nbl file");
        nb_kind kind = nb_kind_of(map->data, nb_min_size(map->size, NB_KIND_HEAD), map->size);
        if (kind != NB_KIND_UNKNOWN)
            return nb_fail(err, NB_FORMAT, "this is not a .nbl file, but %s", nb_kinds[kind].what);
        return nb_fail(err, NB_FORMAT, "this is not a .nbl file (it does not begin as one)");
    }
    if (map->size < NB_HEADER_MIN)
        return nb_fail(err, NB_TRUNCATED, "the file has %zu bytes, less than the header of a .nbl file", map->size);
    return NB_OK;
}

/* What holds in every version: where the header ends, and its checksum. So a damaged version number is not mistaken
 * for a newer version. */
static nb_status check_header(const nb_map *map, nb_error *err) {
    const uint8_t *h = map->data;
    nb_status st = check_magic(map, err);
    if (st) return st;
    uint32_t n = nb_get_u32(h + NB_H_HEADER_BYTES);
    if (n < NB_HEADER_MIN || n > NB_HEADER_MAX || n % 8 != 0)
        return nb_fail(err, NB_FORMAT, "the header's length is given as %" PRIu32 " bytes; %d to %d are possible", n,
                       NB_HEADER_MIN, NB_HEADER_MAX);
    if (map->size < n)
        return nb_fail(err, NB_TRUNCATED, "the file has %zu bytes, less than its header of %" PRIu32, map->size, n);
    uint64_t found = XXH3_64bits(h, n - 8), expected = nb_get_u64(h + n - 8);
    if (found != expected)
        return nb_fail(err, NB_CHECKSUM, "the header is damaged (XXH3-64 %016" PRIx64 ", expected %016" PRIx64 ")",
                       found, expected);
    unsigned major = nb_get_u16(h + NB_H_MAJOR), minor = nb_get_u16(h + NB_H_MINOR);
    if (major > NB_FILE_MAJOR)
        return nb_fail(err, NB_UNSUPPORTED,
                       "the file has format version %u.%u and needs a newer nibble; this one reads versions up to %d",
                       major, minor, NB_FILE_MAJOR);
    if (major < NB_FILE_MAJOR)
        return nb_fail(err, NB_UNSUPPORTED, "the file has format version %u.%u, which never was; versions begin at %d",
                       major, minor, NB_FILE_MAJOR);
    if (n != NB_HEADER_BYTES)
        return nb_fail(err, NB_FORMAT, "the header has %" PRIu32 " bytes; in version %u it has %d", n, major,
                       NB_HEADER_BYTES);
    uint64_t size = nb_get_u64(h + NB_H_FILE_BYTES);
    if (size > map->size)
        return nb_fail(err, NB_TRUNCATED, "the file is cut short: %zu of %" PRIu64 " bytes are there", map->size, size);
    if (size < map->size)
        return nb_fail(err, NB_FORMAT, "%" PRIu64 " bytes follow after the file's end at %" PRIu64, map->size - size,
                       size);
    if (nb_get_u32(h + NB_H_RESERVED) != 0)
        return nb_fail(err, NB_UNSUPPORTED, "reserved bytes of the header are not zero");
    return NB_OK;
}

uint64_t nb_reader_first_nonzero(const nb_reader *r, uint64_t from, uint64_t to) {
    while (from < to && r->map.data[from] == 0) from++;
    return from;
}

/* The parts of the file follow each other in a fixed order with a few zero bytes between them. `*at` moves from the
 * end of the part before to the end of this one. */
static nb_status place(const nb_reader *r, const char *what, uint64_t offset, uint64_t bytes, uint64_t *at,
                       nb_error *err) {
    if (offset < *at || !nb_range_ok(offset, bytes, r->map.size))
        return nb_fail(err, NB_FORMAT,
                       "%s is at byte %" PRIu64 " with %" PRIu64 " bytes; it must lie between byte %" PRIu64
                       " and the file's end at %zu", what, offset, bytes, *at, r->map.size);
    if (offset - *at > NB_MAX_GAP)
        return nb_fail(err, NB_FORMAT, "%" PRIu64 " unused bytes before %s; at most %d are allowed", offset - *at,
                       what, NB_MAX_GAP);
    uint64_t bad = nb_reader_first_nonzero(r, *at, offset);
    if (bad != offset) return nb_fail(err, NB_FORMAT, "byte %" PRIu64 ", in the gap before %s, is not zero", bad, what);
    *at = offset + bytes;
    return NB_OK;
}

static nb_chunk get_section(const uint8_t *p) {
    return (nb_chunk){.offset = nb_get_u64(p + NB_S_OFFSET), .stored_bytes = nb_get_u32(p + NB_S_STORED_BYTES),
                      .raw_bytes = nb_get_u32(p + NB_S_RAW_BYTES), .stored_hash = nb_get_u64(p + NB_S_STORED_HASH),
                      .raw_hash = nb_get_u64(p + NB_S_RAW_HASH), .form = NB_FORM_MEMORY, .method = p[NB_S_METHOD]};
}

static nb_status check_section(const nb_reader *r, const char *what, const uint8_t *p, uint64_t *at, nb_error *err) {
    nb_chunk c = get_section(p);
    if (c.raw_bytes < 1 || c.raw_bytes > NB_MAX_JSON)
        return nb_fail(err, NB_LIMIT, "%s has %" PRIu32 " raw bytes; 1 to %d are possible", what, c.raw_bytes,
                       NB_MAX_JSON);
    if (c.method >= NB_METHOD_COUNT)
        return nb_fail(err, NB_UNSUPPORTED, "%s is stored with method %u, which is not known", what,
                       (unsigned)c.method);
    if (c.method == NB_METHOD_RAW && (c.stored_bytes != c.raw_bytes || c.stored_hash != c.raw_hash))
        return nb_fail(err, NB_FORMAT, "%s is stored raw, but its stored and raw size or checksum differ", what);
    if (c.method != NB_METHOD_RAW && c.stored_bytes >= c.raw_bytes)
        return nb_fail(err, NB_FORMAT, "%s is compressed to %" PRIu32 " bytes from %" PRIu32 ", which is not smaller",
                       what, c.stored_bytes, c.raw_bytes);
    if (p[NB_S_RESERVED] | p[NB_S_RESERVED + 1] | p[NB_S_RESERVED + 2])
        return nb_fail(err, NB_UNSUPPORTED, "reserved bytes of the descriptor of %s are not zero", what);
    return place(r, what, c.offset, c.stored_bytes, at, err);
}

static nb_status check_table(const nb_reader *r, const char *what, uint64_t offset, uint64_t bytes, uint64_t expected,
                             uint64_t *at, nb_error *err) {
    nb_status st = place(r, what, offset, bytes, at, err);
    if (st) return st;
    uint64_t found = XXH3_64bits(r->map.data + offset, (size_t)bytes);
    if (found != expected)
        return nb_fail(err, NB_CHECKSUM, "%s is damaged (XXH3-64 %016" PRIx64 ", expected %016" PRIx64 ")", what,
                       found, expected);
    return NB_OK;
}

/* Where everything lies, and the checksums of the tables. */
static nb_status check_places(nb_reader *r, nb_error *err) {
    const uint8_t *h = r->map.data;
    uint64_t at = NB_HEADER_BYTES, dir = nb_get_u64(h + NB_H_DIR_OFFSET), chunks = nb_get_u64(h + NB_H_CHUNKS_OFFSET);
    r->data_offset = nb_get_u64(h + NB_H_DATA_OFFSET);
    r->data_bytes = nb_get_u64(h + NB_H_DATA_BYTES);
    r->n_tensors = nb_get_u32(h + NB_H_N_TENSORS);
    r->names_bytes = nb_get_u32(h + NB_H_NAMES_BYTES);
    r->n_chunks = nb_get_u32(h + NB_H_N_CHUNKS);
    if (r->n_tensors > NB_MAX_TENSORS)
        return nb_fail(err, NB_LIMIT, "the directory has %" PRIu32 " tensors; at most %d are possible", r->n_tensors,
                       NB_MAX_TENSORS);
    uint64_t records = (uint64_t)r->n_tensors * NB_TENSOR_BYTES;
    nb_status st = place(r, "the data area", r->data_offset, r->data_bytes, &at, err);
    if (!st) st = check_section(r, "the model section", h + NB_H_MODEL, &at, err);
    if (!st) st = check_section(r, "the provenance section", h + NB_H_PROVENANCE, &at, err);
    if (!st) st = check_table(r, "the directory", dir, records + r->names_bytes, nb_get_u64(h + NB_H_DIR_HASH), &at,
                              err);
    if (!st) st = check_table(r, "the chunk table", chunks, (uint64_t)r->n_chunks * NB_CHUNK_RECORD_BYTES,
                              nb_get_u64(h + NB_H_CHUNKS_HASH), &at, err);
    if (st) return st;
    if (at != r->map.size)
        return nb_fail(err, NB_FORMAT, "%" PRIu64 " bytes between the chunk table and the file's end",
                       r->map.size - at);
    r->records = h + dir;
    r->names = r->records + records;
    r->chunk_table = h + chunks;
    return NB_OK;
}

static nb_status read_section(const nb_reader *r, const char *what, const uint8_t *descriptor, nb_buf *out,
                              nb_error *err) {
    nb_chunk c = get_section(descriptor);
    nb_coder *coder = NULL;
    nb_status st = nb_coders_create(&coder, 1, NB_CODER_READS, 0, err);
    if (st) return st;
    uint8_t *p = nb_buf_extend(out, c.raw_bytes);
    if (!p) st = nb_oom(err, what, c.raw_bytes);
    if (!st) {
        st = nb_chunk_decode(coder, NULL, &c, r->map.data + c.offset, p, err);
        if (st) nb_context(err, st, "%s cannot be read", what);
    }
    if (!st && memchr(p, 0, c.raw_bytes))
        st = nb_fail(err, NB_FORMAT, "%s contains a NUL byte, which JSON cannot", what);
    nb_coders_free(coder, 1);
    return st;
}

/* The identity is in the header for those who only look there; it must be what the contents say. */
static nb_status check_identity(nb_reader *r, nb_error *err) {
    nb_buf canon = {0};
    nb_identity_begin(&canon, nb_get_u64(r->map.data + NB_H_MODEL + NB_S_RAW_HASH), r->n_tensors);
    for (uint32_t i = 0; i < r->n_tensors; i++) {
        const nb_tensor *t = &r->tensors[i];
        nb_identity_tensor(&canon, t);
        for (uint32_t j = 0; j < t->n_chunks; j++) nb_buf_u64(&canon, nb_reader_chunk(r, t->first_chunk + j).raw_hash);
    }
    nb_status st = NB_OK;
    uint64_t found = XXH3_64bits(nb_buf_str(&canon), canon.size);
    r->identity = nb_get_u64(r->map.data + NB_H_IDENTITY);
    if (canon.failed) st = nb_oom(err, "the identity's canonical string", canon.size);
    else if (found != r->identity)
        st = nb_fail(err, NB_FORMAT, "the header gives the identity %016" PRIx64 ", the contents %016" PRIx64,
                     r->identity, found);
    nb_buf_free(&canon);
    return st;
}

static nb_status check_raw_bytes(const nb_reader *r, const nb_reader_limits *limits, nb_error *err) {
    uint64_t stated = nb_get_u64(r->map.data + NB_H_RAW_BYTES);
    uint64_t limit = limits && limits->max_raw_bytes ? limits->max_raw_bytes : NB_MAX_RAW_BYTES;
    if (r->raw_bytes != stated)
        return nb_fail(err, NB_FORMAT,
                       "the header gives %" PRIu64 " raw bytes for all tensors, the directory %" PRIu64, stated,
                       r->raw_bytes);
    if (stated > limit)
        return nb_fail(err, NB_LIMIT, "the tensors take %" PRIu64 " bytes of memory; at most %" PRIu64 " are allowed",
                       stated, limit);
    return NB_OK;
}

nb_status nb_reader_open(nb_reader **reader, const char *path, const nb_reader_limits *limits, nb_error *err) {
    *reader = NULL;
    nb_reader *r = nb_calloc(1, sizeof *r);
    if (!r) return nb_oom(err, "file reader", sizeof *r);
    nb_status st = nb_map_open(&r->map, path, err);
    if (st) goto out;
    r->path = nb_strdup(path);
    if (!r->path) st = nb_oom(err, "the file's path", strlen(path) + 1);
    if (!st) st = check_header(&r->map, err);
    if (!st) st = check_places(r, err);
    if (!st) st = nb_reader_directory(r, err);
    if (!st) st = check_raw_bytes(r, limits, err);
    if (!st) st = read_section(r, "the model section", r->map.data + NB_H_MODEL, &r->model, err);
    if (!st) st = read_section(r, "the provenance section", r->map.data + NB_H_PROVENANCE, &r->provenance, err);
    if (!st) st = check_identity(r, err);
    if (st) nb_context(err, st, "'%s'", path);
out:
    if (st) {
        nb_reader_close(r);
        return st;
    }
    *reader = r;
    return NB_OK;
}

void nb_reader_close(nb_reader *r) {
    if (!r) return;
    nb_map_close(&r->map);
    nb_buf_free(&r->model);
    nb_buf_free(&r->provenance);
    nb_free(r->path);
    nb_free(r->tensors);
    nb_free(r->geometries);
    nb_free(r->file_order);
    nb_free(r);
}

const char *nb_reader_path(const nb_reader *r) { return r->path; }
uint64_t nb_reader_identity(const nb_reader *r) { return r->identity; }
uint64_t nb_reader_file_bytes(const nb_reader *r) { return r->map.size; }
uint64_t nb_reader_raw_bytes(const nb_reader *r) { return r->raw_bytes; }
size_t nb_reader_count(const nb_reader *r) { return r->n_tensors; }
const nb_tensor *nb_reader_at(const nb_reader *r, size_t i) { return &r->tensors[i]; }

const char *nb_reader_model_json(const nb_reader *r, size_t *size) {
    if (size) *size = r->model.size;
    return nb_buf_str(&r->model);
}
const char *nb_reader_provenance_json(const nb_reader *r, size_t *size) {
    if (size) *size = r->provenance.size;
    return nb_buf_str(&r->provenance);
}

static int compare_name(const void *name, const void *tensor) {
    return strcmp(name, ((const nb_tensor *)tensor)->name);
}

const nb_tensor *nb_reader_find(const nb_reader *r, const char *name) {
    return r->n_tensors ? bsearch(name, r->tensors, r->n_tensors, sizeof *r->tensors, compare_name) : NULL;
}

static bool as_in_memory(const nb_chunk *c) { return c->method == NB_METHOD_RAW && c->form == NB_FORM_MEMORY; }

const char *nb_reader_form(const nb_reader *r, const nb_tensor *t) {
    const char *name = NULL;
    for (uint32_t i = 0; i < t->n_chunks; i++) {
        nb_chunk c = nb_reader_chunk(r, t->first_chunk + i);
        if (as_in_memory(&c)) continue;
        if (name && name != nb_form_infos[c.form].name) return "mixed";
        name = nb_form_infos[c.form].name;
    }
    return name ? name : "raw";
}

const void *nb_reader_in_place(const nb_reader *r, const nb_tensor *t) {
    uint64_t start = nb_reader_chunk(r, t->first_chunk).offset, at = start;
    if (start % NB_ALIGN_TENSOR != 0) return NULL;
    for (uint32_t i = 0; i < t->n_chunks; i++) {
        nb_chunk c = nb_reader_chunk(r, t->first_chunk + i);
        if (!as_in_memory(&c) || c.offset != at) return NULL;
        at += c.stored_bytes;
    }
    return r->map.data + start;
}
