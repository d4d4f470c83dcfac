/* Several sources as one: a checkpoint that was saved in files of some tensors each, or in files that hold a part of
 * every tensor each. */
#include <inttypes.h>
#include <string.h>
#include "base/checked.h"
#include "base/mem.h"
#include "convert/arch.h"
#include "convert/source.h"

enum { ARENA = 256 << 20 };

typedef struct piece {
    nb_source *source;
    const nb_source_tensor *tensor;
} piece;

typedef struct shards {
    nb_source base;
    nb_source **parts; /* [n], owned */
    size_t n;
} shards;

static nb_status read_piece(nb_source *s, const nb_source_tensor *t, uint64_t row, uint64_t n_rows, uint64_t col,
                            uint64_t n_cols, float *dst, nb_error *err) {
    const piece *p = t->where;
    (void)s;
    return p->source->ops->read(p->source, p->tensor, row, n_rows, col, n_cols, dst, err);
}

static const nb_file *place_piece(nb_source *s, const nb_source_tensor *t, uint64_t *offset) {
    const piece *p = t->where;
    (void)s;
    return p->source->ops->place ? p->source->ops->place(p->source, p->tensor, offset) : NULL;
}

static void close_shards(nb_source *source) {
    shards *s = (shards *)source;
    for (size_t i = 0; i < s->n; i++) nb_source_close(s->parts[i]);
    nb_free(s->parts);
    nb_arena_free(&s->base.arena);
    nb_free(s);
}

/* The parts belong to the new source; when it cannot be made they are closed. */
static nb_status create(shards **s, const nb_source_ops *ops, nb_source **parts, size_t n, nb_error *err) {
    *s = nb_calloc(1, sizeof **s);
    nb_source **own = *s ? nb_alloc(n * sizeof *own) : NULL;
    if (!own) {
        for (size_t i = 0; i < n; i++) nb_source_close(parts[i]);
        nb_free(*s);
        *s = NULL;
        return nb_oom(err, "a checkpoint", sizeof **s + n * sizeof *own);
    }
    memcpy(own, parts, n * sizeof *own);
    **s =
        (shards){.base = {.ops = ops, .arena = {.limit = ARENA}, .meta = parts[0]->meta, .wrapper = parts[0]->wrapper},
                 .parts = own,
                 .n = n};
    return NB_OK;
}

/* The files of all parts, in their order. */
static nb_status list_files(shards *s, nb_error *err) {
    size_t n = 0, at = 0;
    for (size_t i = 0; i < s->n; i++) n += s->parts[i]->n_files;
    const char **files = nb_arena_alloc(&s->base.arena, n * sizeof *files);
    nb_file **handles = nb_arena_alloc(&s->base.arena, n * sizeof *handles);
    if (!files || !handles) return nb_arena_failed(&s->base.arena, err);
    for (size_t i = 0; i < s->n; i++)
        for (size_t k = 0; k < s->parts[i]->n_files; k++, at++) {
            files[at] = s->parts[i]->files[k];
            handles[at] = s->parts[i]->handles[k];
        }
    s->base.files = files;
    s->base.handles = handles;
    s->base.n_files = n;
    return NB_OK;
}

static nb_status list_union(shards *s, nb_error *err) {
    size_t n = 0, at = 0;
    for (size_t i = 0; i < s->n; i++) n += s->parts[i]->n_tensors;
    if (n > NB_SOURCE_MAX_TENSORS) return nb_fail(err, NB_LIMIT, "it has %zu tensors", n);
    nb_source_tensor *list = nb_arena_alloc(&s->base.arena, n * sizeof *list);
    piece *pieces = nb_arena_alloc(&s->base.arena, n * sizeof *pieces);
    if (!list || !pieces) return nb_arena_failed(&s->base.arena, err);
    for (size_t i = 0; i < s->n; i++)
        for (size_t k = 0; k < s->parts[i]->n_tensors; k++, at++) {
            pieces[at] = (piece){s->parts[i], &s->parts[i]->tensors[k]};
            list[at] = s->parts[i]->tensors[k];
            list[at].where = &pieces[at];
        }
    return nb_source_set_tensors(&s->base, list, n, err);
}


/* ---- tensors in parts ---- */

/* What llama's ColumnParallelLinear, RowParallelLinear and ParallelEmbedding cut by columns (of the weight as it is
 * stored). The embedding is cut by rows since Llama 3: there each part has the full width. */
static const char *const by_columns[] = {"tok_embeddings.weight", "layers.%u.attention.wo.weight",
                                         "layers.%u.feed_forward.w2.weight"};

typedef struct cut { /* nb_source_tensor.where */
    const nb_source_tensor **parts; /* [n], of one shape */
    bool columns;
} cut;

/* The block of columns of one part lands between those of the others. */
static nb_status read_columns(shards *s, const cut *c, size_t i, uint64_t row, uint64_t n_rows, uint64_t from,
                              uint64_t to, float *dst, uint64_t stride, nb_error *err) {
    uint64_t width = to - from;
    if (width == stride) return s->parts[i]->ops->read(s->parts[i], c->parts[i], row, n_rows, from, width, dst, err);
    size_t bytes = (size_t)(n_rows * width) * sizeof(float);
    float *block = nb_alloc(bytes);
    if (!block) return nb_oom(err, "columns of a tensor", bytes);
    nb_status st = s->parts[i]->ops->read(s->parts[i], c->parts[i], row, n_rows, from, width, block, err);
    for (uint64_t r = 0; !st && r < n_rows; r++)
        memcpy(dst + r * stride, block + r * width, (size_t)width * sizeof *dst);
    nb_free(block);
    return st;
}

static uint64_t min_u64(uint64_t a, uint64_t b) { return a < b ? a : b; }
static uint64_t max_u64(uint64_t a, uint64_t b) { return a > b ? a : b; }

static nb_status read_cut(nb_source *source, const nb_source_tensor *t, uint64_t row, uint64_t n_rows, uint64_t col,
                          uint64_t n_cols, float *dst, nb_error *err) {
    shards *s = (shards *)source;
    const cut *c = t->where;
    uint64_t rows = nb_source_rows(c->parts[0]), cols = nb_source_cols(c->parts[0]);
    size_t n = t->n_dims < 2 ? 1 : s->n; /* vectors are copies */
    nb_status st = NB_OK;
    for (size_t i = 0; !st && i < n; i++) {
        uint64_t r0 = c->columns ? 0 : i * rows, c0 = c->columns ? i * cols : 0;
        uint64_t r = max_u64(row, r0), r_end = min_u64(row + n_rows, r0 + rows);
        uint64_t k = max_u64(col, c0), k_end = min_u64(col + n_cols, c0 + cols);
        if (r >= r_end || k >= k_end) continue;
        st = read_columns(s, c, i, r - r0, r_end - r, k - c0, k_end - c0, dst + (r - row) * n_cols + (k - col), n_cols,
                          err);
    }
    return st;
}

/* A vector's copies must agree; some thousand values are compared. */
static nb_status check_copies(const shards *s, const cut *c, nb_error *err) {
    const nb_source_tensor *t = c->parts[0];
    size_t n = (size_t)nb_source_cols(t);
    if (t->n_dims > 1 || !nb_dtypes[t->dtype].widen || n > 1 << 20) return NB_OK;
    float *x = nb_alloc(2 * n * sizeof *x);
    if (!x) return nb_oom(err, "a vector", 2 * n * sizeof *x);
    nb_status st = nb_source_read(s->parts[0], t, 0, 1, 0, n, x, err);
    for (size_t i = 1; !st && i < s->n; i++) {
        st = nb_source_read(s->parts[i], c->parts[i], 0, 1, 0, n, x + n, err);
        if (!st && memcmp(x, x + n, n * sizeof *x) != 0)
            st = nb_fail(err, NB_FORMAT, "tensor '%s' is not the same in '%s' and '%s'", t->name, s->parts[0]->files[0],
                         s->parts[i]->files[0]);
    }
    nb_free(x);
    return st;
}

static bool cut_by_columns(const shards *s, const nb_source_tensor *t) {
    const nb_source_tensor *norm = nb_source_find(s->parts[0], "norm.weight");
    uint32_t layer;
    for (size_t i = 0; i < sizeof by_columns / sizeof *by_columns; i++)
        if (nb_arch_match(by_columns[i], t->name, &layer))
            return i || !norm || nb_source_cols(norm) != nb_source_cols(t);
    return false;
}

static nb_status join_tensor(shards *s, const nb_source_tensor *first, nb_source_tensor *t, nb_error *err) {
    cut *c = nb_arena_alloc(&s->base.arena, sizeof *c);
    const nb_source_tensor **parts = nb_arena_alloc(&s->base.arena, s->n * sizeof *parts);
    char a[NB_SHAPE_TEXT], b[NB_SHAPE_TEXT];
    if (!c || !parts) return nb_arena_failed(&s->base.arena, err);
    *c = (cut){.parts = parts, .columns = cut_by_columns(s, first)};
    for (size_t i = 0; i < s->n; i++) {
        if (!(parts[i] = nb_source_find(s->parts[i], first->name)))
            return nb_fail(err, NB_MISSING, "tensor '%s' is in '%s', but not in '%s'", first->name,
                           s->parts[0]->files[0], s->parts[i]->files[0]);
        if (parts[i]->n_dims != first->n_dims || memcmp(parts[i]->dims, first->dims, sizeof first->dims) != 0 ||
            parts[i]->dtype != first->dtype)
            return nb_fail(err, NB_FORMAT, "tensor '%s' is %s in %s in '%s', but %s in %s in '%s'", first->name,
                           nb_source_shape(first, a), nb_dtypes[first->dtype].name, s->parts[0]->files[0],
                           nb_source_shape(parts[i], b), nb_dtypes[parts[i]->dtype].name, s->parts[i]->files[0]);
    }
    uint64_t dims[NB_SOURCE_DIMS];
    memcpy(dims, first->dims, sizeof dims);
    if (first->n_dims > 1 &&
        !nb_mul_u64(dims[c->columns ? first->n_dims - 1 : 0], s->n, &dims[c->columns ? first->n_dims - 1 : 0]))
        return nb_fail(err, NB_LIMIT, "tensor '%s' has more elements than any machine holds", first->name);
    nb_status st = nb_source_tensor_set(t, first->name, strlen(first->name), first->dtype, first->n_dims, dims, err);
    t->where = c;
    return st ? st : check_copies(s, c, err);
}

static nb_status list_join(shards *s, nb_error *err) {
    const nb_source *first = s->parts[0];
    nb_source_tensor *list = nb_arena_alloc(&s->base.arena, first->n_tensors * sizeof *list);
    if (!list) return nb_arena_failed(&s->base.arena, err);
    for (size_t i = 1; i < s->n; i++)
        if (s->parts[i]->n_tensors != first->n_tensors)
            return nb_fail(err, NB_FORMAT, "'%s' has %zu tensors, but '%s' has %zu", first->files[0], first->n_tensors,
                           s->parts[i]->files[0], s->parts[i]->n_tensors);
    for (size_t i = 0; i < first->n_tensors; i++) {
        nb_status st = join_tensor(s, &first->tensors[i], &list[i], err);
        if (st) return st;
    }
    return nb_source_set_tensors(&s->base, list, first->n_tensors, err);
}

static nb_status open_as(nb_source **source, const nb_source_ops *ops, nb_status (*list)(shards *s, nb_error *err),
                         nb_source **parts, size_t n, nb_error *err) {
    shards *s = NULL;
    *source = NULL;
    nb_status st = create(&s, ops, parts, n, err);
    if (st) return st;
    st = list_files(s, err);
    if (!st) st = list(s, err);
    if (st) close_shards(&s->base);
    else *source = &s->base;
    return st;
}

nb_status nb_source_union(nb_source **source, nb_source **parts, size_t n, nb_error *err) {
    static const nb_source_ops ops = {read_piece, close_shards, place_piece};
    return open_as(source, &ops, list_union, parts, n, err);
}

nb_status nb_source_join(nb_source **source, nb_source **parts, size_t n, nb_error *err) {
    static const nb_source_ops ops = {.read = read_cut, .close = close_shards};
    return open_as(source, &ops, list_join, parts, n, err);
}
