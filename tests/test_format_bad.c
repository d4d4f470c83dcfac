/* Files that are wrong on purpose, with checksums that are right, so that the checks behind them are reached.
 * A row changes fields of a good file; the checksums that cover them are computed anew; then opening it, or loading
 * what it holds, must fail with the row's status and sentence. */
#include <xxhash.h>
#include "base/bytes.h"
#include "format/chunk.h"
#include "format/kind.h"
#include "tests/test_format_util.h"

static const char file_name[] = "test_format_bad.nbl";

/* In name order alpha, beta, gamma; in the file gamma (chunk 0: raw), alpha (1: zstd, magnitudes apart), beta (2 and
 * 3). */
static const sample samples[] = {
    PLAIN("gamma", F32, NOISE, .n_dims = 1, .dims = {5}),
    PANELS("alpha", Q4, NARROW, 17, 200),
    PLAIN("beta", U8, HALF, .n_dims = 2, .dims = {20000, 60}),
};
enum { ALPHA, BETA, GAMMA, C_GAMMA = 0, C_ALPHA, C_BETA, C_LAST };

/* What a change is relative to; the number of the record or chunk follows. */
typedef enum area { NO_EDIT, HEADER, MODEL, PROVENANCE, TENSOR, CHUNK, NAMES, STORED, JSON, GAP } area;

typedef enum width { SET8, SET16, SET32, SET64, ADD32, ADD64 } width;

typedef struct edit {
    area area;
    uint32_t index, offset;
    width width;
    uint64_t value;
} edit;

typedef enum stage { OPENS, REFUSED, LOAD } stage; /* opens and loads; refused on open; opens, and loading fails */

enum { MAX_EDITS = 3 };
static const struct row {
    const char *name;
    stage stage;
    nb_status status;
    const char *fragment;
    edit edits[MAX_EDITS];
} rows[] = {
    {"unchanged", OPENS, NB_OK, "", {{.area = NO_EDIT}}},
    {"newer minor version", OPENS, NB_OK, "", {{HEADER, 0, NB_H_MINOR, SET16, 9}}},
    {"unused in header", OPENS, NB_OK, "", {{HEADER, 0, NB_H_UNUSED, SET64, 1}}},
    {"unused in tensor", OPENS, NB_OK, "", {{TENSOR, 1, NB_T_UNUSED, SET32, 1}}},

    {"newer major", REFUSED, NB_UNSUPPORTED, "needs a newer nibble", {{HEADER, 0, NB_H_MAJOR, SET16, 2}}},
    {"older major", REFUSED, NB_UNSUPPORTED, "never was", {{HEADER, 0, NB_H_MAJOR, SET16, 0}}},
    {"header too short", REFUSED, NB_FORMAT, "the header has 184 bytes", {{HEADER, 0, NB_H_HEADER_BYTES, SET32, 184}}},
    {"header tiny", REFUSED, NB_FORMAT, "length is given as 8", {{HEADER, 0, NB_H_HEADER_BYTES, SET32, 8}}},
    {"header huge", REFUSED, NB_FORMAT, "length is given as", {{HEADER, 0, NB_H_HEADER_BYTES, SET32, 0xfffffff8}}},
    {"text copy", REFUSED, NB_FORMAT, "in text mode", {{HEADER, 0, 4, SET8, '\n'}}},
    {"eighth bit lost", REFUSED, NB_FORMAT, "eighth bit", {{HEADER, 0, 0, SET8, 9}}},
    {"not this format", REFUSED, NB_FORMAT, "not a .nbl file", {{HEADER, 0, 0, SET32, 0x46554747}}},
    {"longer than it is", REFUSED, NB_TRUNCATED, "cut short", {{HEADER, 0, NB_H_FILE_BYTES, ADD64, 1}}},
    {"shorter than it is", REFUSED, NB_FORMAT, "1 bytes follow", {{HEADER, 0, NB_H_FILE_BYTES, ADD64, -1ull}}},
    {"reserved in header", REFUSED, NB_UNSUPPORTED, "reserved bytes of the header",
     {{HEADER, 0, NB_H_RESERVED, SET32, 1}}},
    {"identity", REFUSED, NB_FORMAT, "gives the identity", {{HEADER, 0, NB_H_IDENTITY, ADD64, 1}}},
    {"total of raw bytes", REFUSED, NB_FORMAT, "raw bytes for all tensors", {{HEADER, 0, NB_H_RAW_BYTES, ADD64, 1}}},

    {"data in header", REFUSED, NB_FORMAT, "the data area is at byte 191", {{HEADER, 0, NB_H_DATA_OFFSET, SET64, 191}}},
    {"data wraps", REFUSED, NB_FORMAT, "the data area is at", {{HEADER, 0, NB_H_DATA_OFFSET, SET64, -64ull}}},
    {"data wraps to the start", REFUSED, NB_FORMAT, "the data area is at",
     {{HEADER, 0, NB_H_DATA_BYTES, SET64, -192ull}}},
    {"gap before data", REFUSED, NB_FORMAT, "4096 unused bytes before the data area",
     {{HEADER, 0, NB_H_DATA_OFFSET, ADD64, 4096}, {HEADER, 0, NB_H_DATA_BYTES, ADD64, -4096ull}}},
    {"data elsewhere", REFUSED, NB_FORMAT, "is not zero",
     {{HEADER, 0, NB_H_DATA_OFFSET, ADD64, 8}, {HEADER, 0, NB_H_DATA_BYTES, ADD64, -8ull}}},
    {"data too long", REFUSED, NB_FORMAT, "the data area at", {{HEADER, 0, NB_H_DATA_BYTES, ADD64, 1}}},
    {"data too short", REFUSED, NB_FORMAT, "it must lie between", {{HEADER, 0, NB_H_DATA_BYTES, ADD64, -1ull}}},
    {"model wraps", REFUSED, NB_FORMAT, "the model section is at", {{MODEL, 0, NB_S_OFFSET, SET64, -1ull}}},
    {"model in data", REFUSED, NB_FORMAT, "the model section is at", {{MODEL, 0, NB_S_OFFSET, ADD64, -64ull}}},
    {"model empty", REFUSED, NB_LIMIT, "the model section has 0 raw bytes", {{MODEL, 0, NB_S_RAW_BYTES, SET32, 0}}},
    {"model huge", REFUSED, NB_LIMIT, "raw bytes; 1 to", {{MODEL, 0, NB_S_RAW_BYTES, SET32, NB_MAX_JSON + 1}}},
    {"model method", REFUSED, NB_UNSUPPORTED, "method 2, which is not known", {{MODEL, 0, NB_S_METHOD, SET8, 2}}},
    {"model bomb", REFUSED, NB_FORMAT, "does not announce", {{MODEL, 0, NB_S_RAW_BYTES, SET32, NB_MAX_JSON}}},
    {"model not smaller", REFUSED, NB_FORMAT, "not smaller", {{MODEL, 0, NB_S_RAW_BYTES, SET32, 5}}},
    {"model reserved", REFUSED, NB_UNSUPPORTED, "reserved bytes of the descriptor",
     {{MODEL, 0, NB_S_RESERVED, SET16, 256}}},
    {"model frame", REFUSED, NB_FORMAT, "the model section cannot be read: its stored bytes are not a zstd frame",
     {{JSON, 0, 0, SET8, 0}}},
    {"provenance size", REFUSED, NB_FORMAT, "is stored raw, but", {{PROVENANCE, 0, NB_S_RAW_BYTES, ADD32, 1}}},
    {"provenance NUL", REFUSED, NB_FORMAT, "NUL byte", {{JSON, 1, 1, SET8, 0}}},
    {"gap before provenance", REFUSED, NB_FORMAT, "before the provenance section, is not zero", {{GAP, 1, 0, SET8, 1}}},
    {"directory wraps", REFUSED, NB_FORMAT, "the directory is at", {{HEADER, 0, NB_H_DIR_OFFSET, SET64, -8ull}}},
    {"too many tensors", REFUSED, NB_LIMIT, "at most 1048576", {{HEADER, 0, NB_H_N_TENSORS, SET32, 0xffffffff}}},
    {"many tensors", REFUSED, NB_FORMAT, "the directory is at", {{HEADER, 0, NB_H_N_TENSORS, SET32, NB_MAX_TENSORS}}},
    {"names too long", REFUSED, NB_FORMAT, "the directory is at", {{HEADER, 0, NB_H_NAMES_BYTES, SET32, 0xffffffff}}},
    {"names end early", REFUSED, NB_FORMAT, "the names end after", {{HEADER, 0, NB_H_NAMES_BYTES, ADD32, 2}}},
    {"chunk table wraps", REFUSED, NB_FORMAT, "the chunk table is at",
     {{HEADER, 0, NB_H_CHUNKS_OFFSET, SET64, -40ull}}},
    {"many chunks", REFUSED, NB_FORMAT, "the chunk table is at", {{HEADER, 0, NB_H_N_CHUNKS, SET32, 0xffffffff}}},
    {"few chunks", REFUSED, NB_FORMAT, "between the chunk table and the file's end",
     {{HEADER, 0, NB_H_N_CHUNKS, ADD32, -1ull}}},

    {"type", REFUSED, NB_UNSUPPORTED, "'beta' has type code 200", {{TENSOR, BETA, NB_T_TYPE, SET8, 200}}},
    {"layout", REFUSED, NB_UNSUPPORTED, "'beta' has layout code 2", {{TENSOR, BETA, NB_T_LAYOUT, SET8, 2}}},
    {"no panels", REFUSED, NB_FORMAT, "no panel layout", {{TENSOR, BETA, NB_T_LAYOUT, SET8, 1}}},
    {"no plain", REFUSED, NB_FORMAT, "no plain layout", {{TENSOR, ALPHA, NB_T_LAYOUT, SET8, 0}}},
    {"no dims", REFUSED, NB_FORMAT, "has 0 dimensions", {{TENSOR, BETA, NB_T_N_DIMS, SET8, 0}}},
    {"5 dims", REFUSED, NB_FORMAT, "has 5 dimensions", {{TENSOR, BETA, NB_T_N_DIMS, SET8, 5}}},
    {"3 dims in panels", REFUSED, NB_FORMAT, "panels take 2",
     {{TENSOR, ALPHA, NB_T_N_DIMS, SET8, 3}, {TENSOR, ALPHA, NB_T_DIMS + 16, SET64, 1}}},
    {"dim 0", REFUSED, NB_FORMAT, "dimension 1 is 0", {{TENSOR, BETA, NB_T_DIMS + 8, SET64, 0}}},
    {"dims wrap", REFUSED, NB_FORMAT, "at most 2^48", {{TENSOR, BETA, NB_T_DIMS, SET64, 1ull << 63}}},
    {"spare dim", REFUSED, NB_FORMAT, "dimension 3 is 1 and not 0", {{TENSOR, BETA, NB_T_DIMS + 24, SET64, 1}}},
    {"panel too wide", REFUSED, NB_FORMAT, "panels take at most", {{TENSOR, ALPHA, NB_T_DIMS + 8, SET64, 1 << 21}}},
    {"raw bytes", REFUSED, NB_FORMAT, "'beta' has 1200001 raw bytes", {{TENSOR, BETA, NB_T_RAW_BYTES, ADD64, 1}}},
    {"tensor of 1 TiB", REFUSED, NB_FORMAT, "'beta' has 2 chunks; its type and dimensions take 1048576",
     {{TENSOR, BETA, NB_T_DIMS, SET64, 1 << 20}, {TENSOR, BETA, NB_T_DIMS + 8, SET64, 1 << 20},
      {TENSOR, BETA, NB_T_RAW_BYTES, SET64, 1ull << 40}}},
    {"chunk count", REFUSED, NB_FORMAT, "'beta' has 3 chunks", {{TENSOR, BETA, NB_T_N_CHUNKS, ADD32, 1}}},
    {"chunks shared", REFUSED, NB_FORMAT, "chunks from 1; expected from 2",
     {{TENSOR, BETA, NB_T_FIRST_CHUNK, ADD32, -1ull}}},
    {"chunks wrap", REFUSED, NB_FORMAT, "chunks from 4294967295",
     {{TENSOR, BETA, NB_T_FIRST_CHUNK, SET32, 0xffffffff}}},
    {"chunks skipped", REFUSED, NB_FORMAT, "expected from 2", {{TENSOR, BETA, NB_T_FIRST_CHUNK, ADD32, 1}}},
    {"tensor offset", REFUSED, NB_FORMAT, "'alpha' is said to begin", {{TENSOR, ALPHA, NB_T_OFFSET, ADD64, 1}}},
    {"codebook of u8", REFUSED, NB_FORMAT, "only q4 has one", {{TENSOR, BETA, NB_T_CODEBOOK + 3, SET8, 1}}},
    {"codebook value", REFUSED, NB_FORMAT, "entry 15 is 64", {{TENSOR, ALPHA, NB_T_CODEBOOK + 15, SET8, 64}}},
    {"reserved in tensor", REFUSED, NB_UNSUPPORTED, "'beta': reserved",
     {{TENSOR, BETA, NB_T_RESERVED, SET32, 1u << 31}}},
    {"name elsewhere", REFUSED, NB_FORMAT, "record 1: its name is at byte 5",
     {{TENSOR, BETA, NB_T_NAME_OFFSET, ADD32, -1ull}}},
    {"name far away", REFUSED, NB_FORMAT, "record 1: its name", {{TENSOR, BETA, NB_T_NAME_OFFSET, SET32, 0xffffffff}}},
    {"name too long", REFUSED, NB_FORMAT, "record 2: its name", {{TENSOR, GAMMA, NB_T_NAME_BYTES, SET8, 255}}},
    {"name too short", REFUSED, NB_FORMAT, "first NUL", {{TENSOR, ALPHA, NB_T_NAME_BYTES, SET8, 4}}},
    {"name empty", REFUSED, NB_FORMAT, "1 to 255",
     {{TENSOR, ALPHA, NB_T_NAME_BYTES, SET8, 0}, {NAMES, 0, 0, SET8, 0}}},
    {"name with NUL", REFUSED, NB_FORMAT, "first NUL", {{NAMES, 0, 2, SET8, 0}}},
    {"name with escape", REFUSED, NB_FORMAT, "byte 0 of a tensor's name is 0x1b", {{NAMES, 0, 6, SET8, 0x1b}}},
    {"names not sorted", REFUSED, NB_FORMAT, "'beta' follows 'xlpha'", {{NAMES, 0, 0, SET8, 'x'}}},

    {"method", REFUSED, NB_UNSUPPORTED, "'beta', chunk 1 of 2: method code 9", {{CHUNK, C_BETA, NB_C_METHOD, SET8, 9}}},
    {"form", REFUSED, NB_UNSUPPORTED, "form code 7 is not known", {{CHUNK, C_BETA, NB_C_FORM, SET8, NB_FORM_COUNT}}},
    {"form of others", REFUSED, NB_FORMAT, "form code 1 is not for tensors of type u8",
     {{CHUNK, C_BETA, NB_C_FORM, SET8, 1}}},
    {"planes of others", REFUSED, NB_FORMAT, "form code 3 is not for", {{CHUNK, C_ALPHA, NB_C_FORM, SET8, 3}}},
    {"exponents of others", REFUSED, NB_FORMAT, "form code 4 is not for", {{CHUNK, C_GAMMA, NB_C_FORM, SET8, 4}}},
    {"magnitudes of others", REFUSED, NB_FORMAT, "form code 6 is not for tensors of type f32",
     {{CHUNK, C_GAMMA, NB_C_FORM, SET8, 6}}},
    {"chunk raw bytes", REFUSED, NB_FORMAT, "it has 1048577 raw bytes instead of 1048576",
     {{CHUNK, C_BETA, NB_C_RAW_BYTES, ADD32, 1}}},
    {"chunk raw bytes 0", REFUSED, NB_FORMAT, "it has 0 raw bytes", {{CHUNK, C_BETA, NB_C_RAW_BYTES, SET32, 0}}},
    {"other cut", REFUSED, NB_FORMAT, "raw bytes instead of",
     {{CHUNK, C_BETA, NB_C_RAW_BYTES, ADD32, -8ull}, {CHUNK, C_LAST, NB_C_RAW_BYTES, ADD32, 8}}},
    {"chunk not smaller", REFUSED, NB_FORMAT, "which is not smaller",
     {{CHUNK, C_BETA, NB_C_STORED_BYTES, SET32, 1 << 20}}},
    {"chunk stored huge", REFUSED, NB_FORMAT, "which is not smaller",
     {{CHUNK, C_BETA, NB_C_STORED_BYTES, SET32, 0xffffffff}}},
    {"raw in other size", REFUSED, NB_FORMAT, "stored raw in 19 bytes",
     {{CHUNK, C_GAMMA, NB_C_STORED_BYTES, ADD32, -1ull}}},
    {"raw as zstd", REFUSED, NB_FORMAT, "which is not smaller", {{CHUNK, C_GAMMA, NB_C_METHOD, SET8, 1}}},
    {"two hashes", REFUSED, NB_FORMAT, "checksums differ", {{CHUNK, C_GAMMA, NB_C_RAW_HASH, ADD64, 1}}},
    {"reserved in chunk", REFUSED, NB_UNSUPPORTED, "reserved bytes of its record",
     {{CHUNK, C_LAST, NB_C_RESERVED + 5, SET8, 1}}},
    {"overlapping chunks", REFUSED, NB_FORMAT, "it must lie between", {{CHUNK, C_LAST, NB_C_OFFSET, ADD64, -1ull}}},
    {"chunk wraps", REFUSED, NB_FORMAT, "it must lie between", {{CHUNK, C_LAST, NB_C_OFFSET, SET64, -1ull}}},
    {"chunk past data", REFUSED, NB_FORMAT, "it must lie between", {{CHUNK, C_LAST, NB_C_OFFSET, ADD64, 1}}},
    {"chunk ends early", REFUSED, NB_FORMAT, "the last chunk ends", {{CHUNK, C_LAST, NB_C_STORED_BYTES, ADD32, -1ull}}},
    {"gap before chunk", REFUSED, NB_FORMAT, "5000 unused bytes precede it",
     {{CHUNK, C_BETA, NB_C_OFFSET, ADD64, 5000}, {CHUNK, C_BETA, NB_C_STORED_BYTES, ADD32, -5000ull},
      {TENSOR, BETA, NB_T_OFFSET, ADD64, 5000}}},
    {"first chunk late", REFUSED, NB_FORMAT, "not with the data area",
     {{CHUNK, C_GAMMA, NB_C_OFFSET, ADD64, 4}, {TENSOR, GAMMA, NB_T_OFFSET, ADD64, 4}}},

    {"not a frame", LOAD, NB_FORMAT, "'beta', chunk 1 of 2 at byte", {{STORED, C_BETA, 0, SET8, 0}}},
    {"frame cut off", LOAD, NB_FORMAT, "its zstd frame is broken", {{CHUNK, C_BETA, NB_C_STORED_BYTES, ADD32, -3ull}}},
    {"form of others, same size", LOAD, NB_CHECKSUM, "its raw bytes are damaged",
     {{CHUNK, C_ALPHA, NB_C_FORM, SET8, 0}}},
    {"other form of its type", LOAD, NB_CHECKSUM, "its raw bytes are damaged", {{CHUNK, C_ALPHA, NB_C_FORM, SET8, 1}}},
};

static uint64_t get_edit(const uint8_t *p,
                         width w) { return w == ADD32 ? nb_get_u32(p) : w == ADD64 ? nb_get_u64(p) : 0; }

static uint8_t *section_of(uint8_t *h, uint32_t i) { return h + (i ? NB_H_PROVENANCE : NB_H_MODEL); }

/* Where an edit goes. */
static uint8_t *target(const uint8_t *good, uint8_t *h, const edit *e) {
    uint64_t dir = nb_get_u64(good + NB_H_DIR_OFFSET), table = nb_get_u64(good + NB_H_CHUNKS_OFFSET);
    uint64_t n_tensors = nb_get_u32(good + NB_H_N_TENSORS), at = 0;
    const uint8_t *section = good + (e->index ? NB_H_PROVENANCE : NB_H_MODEL);
    switch (e->area) {
    case HEADER: break;
    case MODEL: at = NB_H_MODEL; break;
    case PROVENANCE: at = NB_H_PROVENANCE; break;
    case TENSOR: at = dir + e->index * NB_TENSOR_BYTES; break;
    case NAMES: at = dir + n_tensors * NB_TENSOR_BYTES; break;
    case CHUNK: at = table + e->index * NB_CHUNK_RECORD_BYTES; break;
    case STORED: at = nb_get_u64(good + table + e->index * NB_CHUNK_RECORD_BYTES + NB_C_OFFSET); break;
    case JSON: at = nb_get_u64(section + NB_S_OFFSET); break;
    case GAP: at = nb_get_u64(section + NB_S_OFFSET) - 1; break;
    case NO_EDIT: break;
    }
    return h + at + e->offset;
}

static void apply(const uint8_t *good, uint8_t *h, const edit *e) {
    uint8_t *p = target(good, h, e);
    uint64_t v = get_edit(p, e->width) + e->value;
    switch (e->width) {
    case SET8: *p = (uint8_t)v; break;
    case SET16: nb_put_u16(p, (uint16_t)v); break;
    case SET32:
    case ADD32: nb_put_u32(p, (uint32_t)v); break;
    case SET64:
    case ADD64: nb_put_u64(p, v); break;
    }
}

/* Compute every checksum anew whose range lies inside the file; fields that a row broke are left to the reader. */
static void hash_range(const nb_buf *b, uint64_t at, uint64_t n, uint8_t *field) {
    if (at <= b->size && n <= b->size - at) nb_put_u64(field, XXH3_64bits(b->data + at, (size_t)n));
}

static void reseal(const uint8_t *good, nb_buf *b, const edit *edits) {
    uint8_t *h = b->data;
    uint64_t dir = nb_get_u64(good + NB_H_DIR_OFFSET), table = nb_get_u64(good + NB_H_CHUNKS_OFFSET);
    for (int i = 0; i < MAX_EDITS; i++) {
        const edit *e = &edits[i];
        uint8_t *c = h + table, *s = section_of(h, e->index);
        if (e->area == STORED || e->area == CHUNK) c += e->index * NB_CHUNK_RECORD_BYTES;
        if (e->area == STORED || (e->area == CHUNK && e->offset == NB_C_STORED_BYTES))
            hash_range(b, nb_get_u64(c + NB_C_OFFSET), nb_get_u32(c + NB_C_STORED_BYTES), c + NB_C_STORED_HASH);
        if (e->area == JSON) {
            hash_range(b, nb_get_u64(s + NB_S_OFFSET), nb_get_u32(s + NB_S_STORED_BYTES), s + NB_S_STORED_HASH);
            if (s[NB_S_METHOD] == NB_METHOD_RAW) memcpy(s + NB_S_RAW_HASH, s + NB_S_STORED_HASH, 8);
        }
    }
    hash_range(b, dir, (uint64_t)nb_get_u32(h + NB_H_N_TENSORS) * NB_TENSOR_BYTES + nb_get_u32(h + NB_H_NAMES_BYTES),
               h + NB_H_DIR_HASH);
    hash_range(b, table, (uint64_t)nb_get_u32(h + NB_H_N_CHUNKS) * NB_CHUNK_RECORD_BYTES, h + NB_H_CHUNKS_HASH);
    uint32_t n = nb_get_u32(h + NB_H_HEADER_BYTES);
    if (n >= NB_HEADER_MIN && n <= NB_HEADER_MAX) hash_range(b, 0, n - 8, h + n - 8);
}

static nb_status load_all(const nb_reader *r, nb_error *err) {
    nb_load loads[3];
    assert_int_equal(nb_reader_count(r), 3);
    for (size_t i = 0; i < 3; i++) {
        loads[i].tensor = nb_reader_at(r, i);
        loads[i].dst = nb_alloc((size_t)loads[i].tensor->raw_bytes); /* exactly: a sanitizer sees one byte more */
    }
    nb_status st = nb_reader_load(r, loads, 3, NULL, NULL, err);
    for (size_t i = 0; i < 3; i++) nb_free(loads[i].dst);
    return st;
}

/* True when the row's file is treated as the row says; otherwise tells what was wrong, and the other rows follow. */
static bool check_row(const struct row *row, const nb_buf *good) {
    nb_error err = {.text = ""};
    nb_reader *r = NULL;
    nb_buf bad = {0};
    nb_buf_append(&bad, good->data, good->size);
    for (int i = 0; i < MAX_EDITS && row->edits[i].area; i++) apply(good->data, bad.data, &row->edits[i]);
    reseal(good->data, &bad, row->edits);
    put_bytes(file_name, bad.data, bad.size);
    nb_status st = nb_reader_open(&r, file_name, NULL, &err);
    bool opened = st == NB_OK, right = opened == (row->stage != REFUSED);
    if (opened) {
        nb_status verified = nb_reader_verify(r, NULL, NULL, NULL, NULL, &err);
        right = right && verified == (row->stage == OPENS ? NB_OK : NB_CHECKSUM);
        st = load_all(r, &err);
    }
    right = right && st == row->status && strstr(st ? err.text : "", row->fragment);
    if (!right)
        print_error("%s: %s, status %d, \"%s\"; expected %d, \"%s\"\n", row->name, opened ? "opened" : "refused",
                    (int)st,
                    st ? err.text : "", (int)row->status, row->fragment);
    nb_reader_close(r);
    nb_buf_free(&bad);
    return right;
}

static void crafted_files(void **state) {
    (void)state;
    recipe rec = {.samples = samples, .n = 3, .provenance = "{}",
                  .model = "{\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\":1}"};
    nb_buf good = {0};
    write_file(file_name, &rec);
    read_bytes(file_name, &good);
    int wrong = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) wrong += !check_row(&rows[i], &good);
    assert_int_equal(wrong, 0);
    nb_buf_free(&good);
    unlink(file_name);
}

/* What lies about beside models is called by its name. */
static void other_kinds(void **state) {
    (void)state;
    static const char safetensors[] = "\x02\0\0\0\0\0\0\0{}";
    for (int i = 0; i < NB_KIND_UNKNOWN; i++) {
        if (i == NB_KIND_MODEL) continue;
        const nb_kind_info *k = &nb_kinds[i];
        nb_reader *r = NULL;
        nb_error err = {.text = ""};
        put_bytes(file_name, k->n ? k->magic : safetensors, k->n ? k->n : sizeof safetensors - 1);
        assert_int_equal(nb_reader_open(&r, file_name, NULL, &err), NB_FORMAT);
        if (!strstr(err.text, "not a .nbl file, but ") || !strstr(err.text, k->what))
            fail_msg("'%s' does not say %s", err.text, k->what);
    }
    unlink(file_name);
}

/* Any fields with any values, checksums right: whatever the reader makes of it, it stays within its memory. */
static void random_edits(void **state) {
    (void)state;
    static const uint64_t values[] = {0, 1, 2, 0x7f, 0xff, 0xffff, 1 << 20, 0x7fffffff, 0xffffffff, 1ull << 48,
                                      1ull << 63, -1ull};
    enum { N_VALUES = sizeof values / sizeof *values, ROUNDS = 1000 };
    sample small[3];
    memcpy(small, samples, sizeof small);
    small[2].fill = FILL_ZERO; /* a file of a few KB */
    recipe rec = {.samples = small, .n = 3, .provenance = "{}", .model = "{}"};
    nb_buf good = {0}, bad = {0};
    uint64_t seed = 1;
    write_file(file_name, &rec);
    read_bytes(file_name, &good);
    for (int round = 0; round < ROUNDS; round++) {
        edit edits[MAX_EDITS];
        nb_buf_clear(&bad);
        nb_buf_append(&bad, good.data, good.size);
        for (int i = 0; i < MAX_EDITS; i++) {
            static const struct {
                area area;
                uint32_t n, bytes;
            } areas[] = {{HEADER, 1, NB_HEADER_BYTES - 16}, {TENSOR, 3, NB_TENSOR_BYTES},
                         {CHUNK, 4, NB_CHUNK_RECORD_BYTES},
                         {STORED, 4, 20}, {NAMES, 1, 16}};
            size_t a = (size_t)(random64(&seed) >> 20) % (sizeof areas / sizeof *areas);
            uint64_t r = random64(&seed) >> 11;
            edits[i] = (edit){areas[a].area, (uint32_t)(r % areas[a].n), (uint32_t)(r >> 8) % (areas[a].bytes - 3),
                              (width)(r >> 30 & 1 ? ADD32 : r >> 31 & 1 ? SET8 : SET32), values[(r >> 32) % N_VALUES]};
            if (areas[a].area == HEADER) edits[i].offset += 16; /* magic and version have their own rows */
            apply(good.data, bad.data, &edits[i]);
        }
        reseal(good.data, &bad, edits);
        put_bytes(file_name, bad.data, bad.size);
        nb_error err = {.text = ""};
        nb_reader *r = NULL;
        nb_status st = nb_reader_open(&r, file_name, &(nb_reader_limits){.max_raw_bytes = 1 << 24}, &err);
        if (!st) st = nb_reader_verify(r, NULL, NULL, NULL, NULL, &err);
        if (!st) st = load_all(r, &err);
        if (st && !err.text[0]) fail_msg("round %d: status %d without a sentence", round, (int)st);
        nb_reader_close(r);
    }
    nb_buf_free(&good);
    nb_buf_free(&bad);
    unlink(file_name);
}

/* Frames made by hand for 100 bytes 'x': magic, descriptor, window, dictionary and size as the descriptor says, then
 * blocks; a block's header is last | type << 1 | size << 3, type 1 repeats one byte. */
#define MAGIC 0x28, 0xb5, 0x2f, 0xfd
static const struct frame {
    const char *name;
    nb_status status;
    const char *fragment;
    uint8_t n, bytes[24];
} frames[] = {
    {"right", NB_OK, "", 10, {MAGIC, 0x20, 100, 0x23, 0x03, 0, 'x'}},
    {"right with window", NB_OK, "", 14, {MAGIC, 0x80, (27 - 10) << 3, 100, 0, 0, 0, 0x23, 0x03, 0, 'x'}},
    {"bomb in one block", NB_FORMAT, "broken", 10, {MAGIC, 0x20, 100, 0xa3, 0x06, 0, 'x'}},
    {"bomb in two blocks", NB_FORMAT, "broken", 14, {MAGIC, 0x20, 100, 0x22, 0x03, 0, 'x', 0x23, 0x03, 0, 'x'}},
    {"too few bytes", NB_FORMAT, "zstd frame", 10, {MAGIC, 0x20, 100, 0x23, 0x00, 0, 'x'}},
    {"other bytes", NB_CHECKSUM, "its raw bytes are damaged", 10, {MAGIC, 0x20, 100, 0x23, 0x03, 0, 'y'}},
    {"other size", NB_FORMAT, "does not announce the chunk's 100", 10, {MAGIC, 0x20, 101, 0x2b, 0x03, 0, 'x'}},
    {"no size", NB_FORMAT, "does not announce", 10, {MAGIC, 0x00, 0, 0x23, 0x03, 0, 'x'}},
    {"window", NB_LIMIT, "a window of 2^28 bytes", 14, {MAGIC, 0x80, (28 - 10) << 3, 100, 0, 0, 0, 0x23, 0x03, 0, 'x'}},
    {"dictionary", NB_FORMAT, "a dictionary", 11, {MAGIC, 0x21, 1, 100, 0x23, 0x03, 0, 'x'}},
    {"unused bit", NB_FORMAT, "descriptor is 0x30", 10, {MAGIC, 0x30, 100, 0x23, 0x03, 0, 'x'}},
    {"reserved bit", NB_FORMAT, "descriptor is 0x28", 10, {MAGIC, 0x28, 100, 0x23, 0x03, 0, 'x'}},
    {"reserved block", NB_FORMAT, "broken", 10, {MAGIC, 0x20, 100, 0x27, 0x03, 0, 'x'}},
    {"frame's own checksum", NB_FORMAT, "broken", 14, {MAGIC, 0x24, 100, 0x23, 0x03, 0, 'x', 1, 2, 3, 4}},
    {"byte after", NB_FORMAT, "ends after 10 of its 11", 11, {MAGIC, 0x20, 100, 0x23, 0x03, 0, 'x', 0}},
    {"frame after", NB_FORMAT, "ends after 10 of its 20", 20,
     {MAGIC, 0x20, 100, 0x23, 0x03, 0, 'x', MAGIC, 0x20, 0, 0x01, 0x00, 0, 0}},
    {"cut off", NB_FORMAT, "broken", 9, {MAGIC, 0x20, 100, 0x23, 0x03, 0}},
    {"no block", NB_FORMAT, "broken", 6, {MAGIC, 0x20, 100}},
    {"skippable", NB_FORMAT, "not a zstd frame", 10, {0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 1, 2}},
    {"short", NB_FORMAT, "not a zstd frame", 5, {MAGIC, 0x20}},
};

static void zstd_frames(void **state) {
    (void)state;
    nb_error err;
    nb_coder *coder;
    int wrong = 0;
    OK(nb_coders_create(&coder, 1, NB_CODER_READS, 0, &err));
    for (size_t i = 0; i < sizeof frames / sizeof *frames; i++) {
        const struct frame *f = &frames[i];
        uint8_t want[100], *dst = nb_alloc(sizeof want), *stored = nb_alloc(f->n); /* exactly, for the sanitizers */
        memset(want, 'x', sizeof want);
        memcpy(stored, f->bytes, f->n);
        nb_chunk c = {.stored_bytes = f->n, .raw_bytes = sizeof want, .method = NB_METHOD_ZSTD,
                      .stored_hash = XXH3_64bits(stored, f->n), .raw_hash = XXH3_64bits(want, sizeof want)};
        nb_status st = nb_chunk_decode(coder, NULL, &c, stored, dst, &err);
        if (st != f->status || !strstr(st ? err.text : "", f->fragment)) {
            print_error("%s: %d, \"%s\"; expected %d, \"%s\"\n", f->name, (int)st, st ? err.text : "", (int)f->status,
                        f->fragment);
            wrong++;
        }
        nb_free(dst);
        nb_free(stored);
    }
    nb_coders_free(coder, 1);
    assert_int_equal(wrong, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(crafted_files), cmocka_unit_test(other_kinds),
                                       cmocka_unit_test(random_edits), cmocka_unit_test(zstd_frames)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
