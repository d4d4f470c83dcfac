/* llama2.c's .bin files (export.py of karpathy/llama2.c). A header of seven i32, then all weights without names:
 *   v0  dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size (negative: the head is not the embedding), seq_len
 * at byte 0; f32 weights from byte 28, with two tables [seq_len][head_dim / 2] before the head. No magic number: the
 * size tells. v1  "24ka", i32 version, the seven, u8 whether the head is the embedding; f32 weights from byte 256 v2
 * the same and i32 group size; norms in f32, then for each matrix i8 values and an f32 scale for every group of them A
 * weight that every block has stands there for all blocks at once. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/bytes.h"
#include "base/checked.h"
#include "convert/source_flat.h"

enum { HEADER_V0 = 28, HEADER = 256, ARENA = 64 << 20, MOST = 1 << 24, MOST_LAYERS = 1024 };

typedef struct header {
    uint64_t dim, hidden, layers, heads, kv_heads, vocab, seq_len;
    bool shared;
    int version;
    uint64_t group, end; /* end: where the weights begin */
} header;

/* ---- the weights and their order ---- */

typedef enum weight { EMBED, ATTN_NORM, WQ, WK, WV, WO, FFN_NORM, W1, W2, W3, NORM, COS, SIN, HEAD, END } weight;

static const struct {
    const char *name; /* "%u": one for every block */
    bool vector;
} weights[] = {
    [EMBED] = {"tok_embeddings.weight", false},
    [ATTN_NORM] = {"layers.%u.attention_norm.weight", true},
    [WQ] = {"layers.%u.attention.wq.weight", false},
    [WK] = {"layers.%u.attention.wk.weight", false},
    [WV] = {"layers.%u.attention.wv.weight", false},
    [WO] = {"layers.%u.attention.wo.weight", false},
    [FFN_NORM] = {"layers.%u.ffn_norm.weight", true},
    [W1] = {"layers.%u.feed_forward.w1.weight", false},
    [W2] = {"layers.%u.feed_forward.w2.weight", false},
    [W3] = {"layers.%u.feed_forward.w3.weight", false},
    [NORM] = {"norm.weight", true},
    [COS] = {"freqs_cos", false},
    [SIN] = {"freqs_sin", false},
    [HEAD] = {"output.weight", false},
};

static const weight orders[][END + 1] = {
    {EMBED, ATTN_NORM, WQ, WK, WV, WO, FFN_NORM, W1, W2, W3, NORM, COS, SIN, HEAD, END},
    {ATTN_NORM, FFN_NORM, NORM, EMBED, WQ, WK, WV, WO, W1, W2, W3, HEAD, END},
    {ATTN_NORM, FFN_NORM, NORM, EMBED, WQ, WK, WV, WO, W1, W2, W3, HEAD, END},
};
enum { VERSIONS = sizeof orders / sizeof *orders };

static void shape_of(const header *h, weight w, uint64_t *rows, uint64_t *cols) {
    uint64_t kv = h->dim / h->heads * h->kv_heads;
    *rows = w == EMBED || w == HEAD ? h->vocab : w == WK || w == WV ? kv : w == W1 || w == W3 ? h->hidden : h->dim;
    *cols = w == W2 ? h->hidden : h->dim;
    if (w == COS || w == SIN) *rows = h->seq_len, *cols = h->dim / h->heads / 2;
    if (weights[w].vector) *rows = 1;
}

/* ---- the header ---- */

/* The seven numbers at p; false: they are no model's. */
static bool take_shape(header *h, const uint8_t *p) {
    int64_t v[7];
    for (size_t i = 0; i < 7; i++) v[i] = (int32_t)nb_get_u32(p + 4 * i);
    h->shared = v[5] > 0;
    v[5] = llabs(v[5]);
    for (int i = 0; i < 7; i++)
        if (v[i] < 1 || v[i] > MOST) return false;
    *h = (header){.dim = (uint64_t)v[0],
                  .hidden = (uint64_t)v[1],
                  .layers = (uint64_t)v[2],
                  .heads = (uint64_t)v[3],
                  .kv_heads = (uint64_t)v[4],
                  .vocab = (uint64_t)v[5],
                  .seq_len = (uint64_t)v[6],
                  .shared = h->shared,
                  .end = HEADER_V0};
    return h->layers <= MOST_LAYERS && h->dim % h->heads == 0 && h->kv_heads <= h->heads;
}

static bool quantized(const header *h, weight w) { return h->version == 2 && !weights[w].vector; }

/* The bytes of one weight: factors are at most 2^24 each, so nothing wraps. */
static uint64_t bytes_of(const header *h, weight w) {
    uint64_t rows, cols;
    shape_of(h, w, &rows, &cols);
    return quantized(h, w) ? rows * cols + rows * cols / h->group * 4 : rows * cols * 4;
}

static bool present(const header *h, weight w) { return w != HEAD || !h->shared; }
static uint64_t copies(const header *h, weight w) { return strchr(weights[w].name, '%') ? h->layers : 1; }

static uint64_t file_bytes(const header *h) {
    uint64_t n = h->end;
    for (const weight *w = orders[h->version]; *w != END; w++)
        if (present(h, *w)) n += copies(h, *w) * bytes_of(h, *w); /* 1024 blocks of 2^50 bytes at most */
    return n;
}

bool nb_source_is_llama2c(const uint8_t head[NB_LLAMA2C_HEAD], uint64_t bytes) {
    header h = {0};
    return take_shape(&h, head) && file_bytes(&h) == bytes;
}

static nb_status read_header(const nb_file *f, header *h, nb_error *err) {
    uint8_t bytes[HEADER] = {0};
    nb_status st = nb_file_read(f, 0, f->size < HEADER ? (size_t)f->size : HEADER, bytes, err);
    if (st) return st;
    bool named = !memcmp(bytes, "24ka", 4);
    int64_t version = named ? (int32_t)nb_get_u32(bytes + 4) : 0, group = 1;
    if (version < named || version >= VERSIONS)
        return nb_fail(err, NB_UNSUPPORTED, "version %" PRId64 " of llama2.c's format; 0 to %d are read", version,
                       VERSIONS - 1);
    if (!take_shape(h, bytes + (named ? 8 : 0)))
        return nb_fail(err, NB_FORMAT, "the header of llama2.c's format holds numbers that are no model's");
    h->version = (int)version;
    if (!named) return NB_OK;
    h->shared = bytes[36] != 0;
    h->end = HEADER;
    if (version == 2) group = (int32_t)nb_get_u32(bytes + 37);
    if (group < 1) return nb_fail(err, NB_FORMAT, "its groups have %" PRId64 " values", group);
    h->group = (uint64_t)group;
    return NB_OK;
}

/* ---- the source ---- */

typedef struct place { /* begins as that of nb_flat: where the values are */
    uint64_t values, scales, group;
} place;

/* Values of a matrix in row-major order share scales, across the ends of rows too. */
static nb_status apply_scales(nb_flat *f, const nb_source_tensor *t, uint64_t row, uint64_t n_rows, uint64_t col,
                              uint64_t n_cols, float *dst, nb_error *err) {
    const place *p = t->where;
    uint64_t cols = nb_source_cols(t), first = (row * cols + col) / p->group,
             last = ((row + n_rows - 1) * cols + col + n_cols - 1) / p->group;
    size_t bytes = (size_t)(last - first + 1) * 4;
    nb_status st = nb_scratch_reserve(&f->bytes, bytes, err);
    if (!st) st = nb_file_read(&f->file, p->scales + first * 4, bytes, f->bytes.data, err);
    const uint8_t *scales = f->bytes.data;
    for (uint64_t r = 0; !st && r < n_rows; r++)
        for (uint64_t c = 0; c < n_cols; c++)
            dst[r * n_cols + c] *= nb_get_f32(scales + 4 * (((row + r) * cols + col + c) / p->group - first));
    return st;
}

static nb_status llama2c_read(nb_source *source, const nb_source_tensor *t, uint64_t row, uint64_t n_rows, uint64_t col,
                              uint64_t n_cols, float *dst, nb_error *err) {
    nb_status st = nb_flat_read(source, t, row, n_rows, col, n_cols, dst, err);
    if (st || t->dtype != NB_DTYPE_I8_SCALED || !n_rows || !n_cols) return st;
    return apply_scales((nb_flat *)(void *)source, t, row, n_rows, col, n_cols, dst, err);
}

static nb_status add(nb_flat *f, const header *h, weight w, uint64_t layer, uint64_t at, nb_source_tensor *t,
                     nb_error *err) {
    char name[64];
    const char *hole = strchr(weights[w].name, '%');
    uint64_t dims[2];
    int n = hole ? snprintf(name, sizeof name, "%.*s%" PRIu64 "%s", (int)(hole - weights[w].name), weights[w].name,
                            layer, hole + 2)
                 : snprintf(name, sizeof name, "%s", weights[w].name);
    place *p = nb_arena_alloc(&f->base.arena, sizeof *p);
    const char *kept = nb_arena_text(&f->base.arena, name, (size_t)n);
    if (!p || !kept) return nb_arena_failed(&f->base.arena, err);
    shape_of(h, w, &dims[0], &dims[1]);
    *p = (place){.values = at, .scales = at + dims[0] * dims[1], .group = h->group};
    bool vector = weights[w].vector;
    nb_status st = nb_source_tensor_set(t, kept, (size_t)n, quantized(h, w) ? NB_DTYPE_I8_SCALED : NB_DTYPE_F32,
                                        vector ? 1 : 2, dims + vector, err);
    t->where = p;
    return st;
}

static nb_status add_all(nb_flat *f, const header *h, nb_error *err) {
    nb_source_tensor *list = nb_arena_alloc(&f->base.arena, (size_t)(h->layers + 1) * END * sizeof *list);
    size_t n = 0;
    uint64_t at = h->end;
    if (!list) return nb_arena_failed(&f->base.arena, err);
    for (const weight *w = orders[h->version]; *w != END; w++)
        for (uint64_t layer = 0; present(h, *w) && layer < copies(h, *w); layer++, at += bytes_of(h, *w)) {
            nb_status st = add(f, h, *w, layer, at, &list[n++], err);
            if (st) return st;
        }
    return nb_source_set_tensors(&f->base, list, n, err);
}

/* The header as the configuration of llama2.c's training script. */
static nb_status set_config(nb_flat *f, const header *h, nb_error *err) {
    json_t *config = json_pack("{s:{s:I, s:I, s:I, s:I, s:I, s:I, s:I}}", "llama2c", "dim", (json_int_t)h->dim,
                               "hidden_dim", (json_int_t)h->hidden, "n_layers", (json_int_t)h->layers, "n_heads",
                               (json_int_t)h->heads, "n_kv_heads", (json_int_t)h->kv_heads, "vocab_size",
                               (json_int_t)h->vocab, "max_seq_len", (json_int_t)h->seq_len);
    f->base.meta = config ? nb_value_from_json(config, &f->base.arena) : NULL;
    json_decref(config);
    return f->base.meta ? NB_OK : nb_arena_failed(&f->base.arena, err);
}

static nb_status fill(nb_flat *f, nb_error *err) {
    header h = {0};
    nb_status st = read_header(&f->file, &h, err);
    if (st) return st;
    for (const weight *w = orders[h.version]; *w != END; w++) {
        uint64_t rows, cols;
        shape_of(&h, *w, &rows, &cols);
        if (present(&h, *w) && quantized(&h, *w) && rows * cols % h.group)
            return nb_fail(err, NB_FORMAT,
                           "its matrices of %" PRIu64 " x %" PRIu64 " values are not whole groups of %" PRIu64, rows,
                           cols, h.group);
    }
    if (file_bytes(&h) != f->file.size)
        return nb_fail(err, file_bytes(&h) > f->file.size ? NB_TRUNCATED : NB_FORMAT,
                       "it has %" PRIu64 " bytes, expected %" PRIu64 " after its header", f->file.size, file_bytes(&h));
    st = add_all(f, &h, err);
    return st ? st : set_config(f, &h, err);
}

nb_status nb_source_llama2c_open(nb_source **source, const char *path, nb_error *err) {
    static const nb_source_ops ops = {.read = llama2c_read, .close = nb_flat_close};
    nb_flat *f = NULL;
    *source = NULL;
    nb_status st = nb_flat_create(&f, path, ARENA, err);
    if (st) return st;
    f->base.ops = &ops;
    st = fill(f, err);
    if (!st) *source = &f->base;
    else nb_source_close(&f->base);
    return st ? nb_context(err, st, "'%s'", path) : NB_OK;
}
