/* Checkpoints of torch.save: which values of the tree are tensors, and how views of storages are read. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "base/checked.h"
#include "base/mem.h"
#include "convert/pickle.h"
#include "convert/source.h"
#include "convert/torch_archive.h"

enum {
    SPAN_FACTOR = 4,       /* a block is read in one go while at most this much of what is read is not asked for */
    SPAN_SMALL = 4096,     /* or when it is small anyway */
    WHOLE_LIMIT = 1 << 30  /* bytes of a strided tensor that is held whole */
};

/* Keys under which training scripts keep the weights, in the order they are tried. */
static const char *const wrappers[] = {"model", "model_state_dict", "state_dict"};

typedef struct place { /* nb_source_tensor.where */
    const nb_value_tensor *view;
    size_t storage; /* its place in the archive */
} place;

typedef struct torch_source {
    nb_source base;
    nb_torch_archive *archive;
    uint8_t *span;   /* scratch of the last block */
    size_t span_capacity;
    const place *whole_of; /* the tensor whose whole span is in `whole` */
    uint8_t *whole;
} torch_source;

/* ---- reading ---- */

static nb_status read_span(torch_source *s, const place *p, uint64_t first, uint64_t count, uint8_t **bytes,
                           nb_error *err) {
    size_t size = nb_dtypes[p->view->storage->dtype].bytes, n = (size_t)count * size;
    if (n > s->span_capacity) {
        nb_free(s->span);
        s->span_capacity = 0;
        s->span = nb_alloc(n);
        if (!s->span) return nb_oom(err, "a block of a tensor", n);
        s->span_capacity = n;
    }
    *bytes = s->span;
    return s->archive->ops->read(s->archive, p->storage, first * size, n, s->span, err);
}

/* The elements from the view's first to its last, held until another view is. */
static nb_status hold_whole(torch_source *s, const place *p, nb_error *err) {
    const nb_value_tensor *v = p->view;
    size_t size = nb_dtypes[v->storage->dtype].bytes;
    uint64_t span = 1;
    if (s->whole_of == p) return NB_OK;
    for (uint32_t i = 0; i < v->n_dims; i++)
        span += (v->dims[i] - 1) * v->strides[i]; /* checked by the pickle machine */
    if (span > WHOLE_LIMIT / size)
        return nb_fail(err, NB_LIMIT,
                       "it is a scattered view of %" PRIu64 " elements; save it again with .contiguous()", span);
    nb_free(s->whole);
    s->whole_of = NULL;
    s->whole = nb_alloc((size_t)span * size);
    if (!s->whole) return nb_oom(err, "a strided tensor", (size_t)span * size);
    nb_status st = s->archive->ops->read(s->archive, p->storage, v->offset * size, (size_t)span * size, s->whole, err);
    if (!st) s->whole_of = p;
    return st;
}

/* The offset of row `row` of the tensor seen as a matrix, relative to the view's first element. */
static uint64_t row_offset(const nb_value_tensor *v, uint64_t row) {
    uint64_t at = 0;
    for (uint32_t i = v->n_dims - (v->n_dims > 0); i-- > 0;) {
        at += row % v->dims[i] * v->strides[i];
        row /= v->dims[i];
    }
    return at;
}

/* A block whose rows are `row_step` elements apart. */
static nb_status read_block(torch_source *s, const place *p, uint64_t first, uint64_t n_rows, uint64_t row_step,
                            uint64_t n_cols, uint64_t col_step, float *dst, nb_error *err) {
    const nb_value_tensor *v = p->view;
    const nb_dtype_info *type = &nb_dtypes[v->storage->dtype];
    uint64_t span = (n_rows - 1) * row_step + (n_cols - 1) * col_step + 1;
    uint8_t *bytes = NULL;
    nb_status st;
    if (span / SPAN_FACTOR <= n_rows * n_cols || span <= SPAN_SMALL) {
        st = read_span(s, p, v->offset + first, span, &bytes, err);
    } else {
        st = hold_whole(s, p, err);
        bytes = st ? NULL : s->whole + first * type->bytes;
    }
    if (st) return st;
    for (uint64_t r = 0; r < n_rows; r++)
        type->widen(bytes + r * row_step * type->bytes, (size_t)(col_step * type->bytes), (size_t)n_cols,
                    dst + r * n_cols);
    return NB_OK;
}

static nb_status torch_read(nb_source *source, const nb_source_tensor *t, uint64_t row, uint64_t n_rows, uint64_t col,
                            uint64_t n_cols, float *dst, nb_error *err) {
    torch_source *s = (torch_source *)source;
    const place *p = t->where;
    const nb_value_tensor *v = p->view;
    uint64_t col_step = v->n_dims ? v->strides[v->n_dims - 1] : 0;
    if (!n_rows || !n_cols) return NB_OK;
    if (v->n_dims == 2)
        return read_block(s, p, row * v->strides[0] + col * col_step, n_rows, v->strides[0], n_cols, col_step, dst,
                          err);
    nb_status st = NB_OK;
    for (uint64_t r = 0; !st && r < n_rows; r++)
        st = read_block(s, p, row_offset(v, row + r) + col * col_step, 1, 0, n_cols, col_step, dst + r * n_cols, err);
    return st;
}

static void torch_close(nb_source *source) {
    torch_source *s = (torch_source *)source;
    if (s->archive) s->archive->ops->close(s->archive);
    nb_free(s->span);
    nb_free(s->whole);
    nb_arena_free(&s->base.arena);
    nb_free(s);
}

/* ---- opening ---- */

static nb_status add_tensor(torch_source *s, nb_source_tensor *t, const nb_value *key, const nb_value *value,
                            nb_error *err) {
    const nb_value_tensor *v = value->tensor;
    char name[300];
    bool text = key->kind == NB_VALUE_STR;
    nb_status st = nb_source_tensor_set(t, text ? key->text : "", text ? key->count : 0, v->storage->dtype, v->n_dims,
                                        v->dims, err);
    if (st) return st;
    place *p = nb_arena_alloc(&s->base.arena, sizeof *p);
    if (!p) return nb_arena_failed(&s->base.arena, err);
    t->where = p;
    uint64_t bytes = 0;
    *p = (place){.view = v};
    if (!s->archive->ops->find(s->archive, v->storage->key, &p->storage, &bytes, name, sizeof name))
        return nb_fail(err, NB_FORMAT, "tensor '%s': the archive has no %s", t->name, name);
    if (v->storage->count > bytes / nb_dtypes[t->dtype].bytes)
        return nb_fail(err, NB_TRUNCATED, "tensor '%s': %s has %" PRIu64 " bytes, expected %" PRIu64 " elements of %s",
                       t->name, name, bytes, v->storage->count, nb_dtypes[t->dtype].name);
    return NB_OK;
}

static bool has_tensor(const nb_value *dict) {
    for (size_t i = 0; dict && dict->kind == NB_VALUE_DICT && i < dict->count; i++)
        if (dict->items[2 * i + 1]->kind == NB_VALUE_TENSOR) return true;
    return false;
}

static nb_status list_tensors(torch_source *s, const nb_value *dict, nb_error *err) {
    nb_source_tensor *list;
    size_t n = 0;
    if (dict->count > NB_SOURCE_MAX_TENSORS) return nb_fail(err, NB_LIMIT, "it has %zu tensors", dict->count);
    list = nb_arena_alloc(&s->base.arena, dict->count * sizeof *list);
    if (!list) return nb_arena_failed(&s->base.arena, err);
    for (size_t i = 0; i < dict->count; i++) {
        const nb_value *key = dict->items[2 * i], *value = dict->items[2 * i + 1];
        if (value->kind == NB_VALUE_TENSOR) {
            nb_status st = add_tensor(s, &list[n++], key, value, err);
            if (st) return st;
        } else if (value->kind == NB_VALUE_DICT &&
                   value->count) { /* weights one level deeper: not a form that is known */
            nb_source_tensor named;
            bool plain = key->kind == NB_VALUE_STR &&
                         !nb_source_tensor_set(&named, key->text, key->count, NB_DTYPE_F32, 0, NULL, NULL);
            return nb_fail(err, NB_UNSUPPORTED, "'%.100s' is a dict among the tensors, expected a tensor",
                           plain ? key->text : "?");
        }
    }
    return nb_source_set_tensors(&s->base, list, n, err);
}

/* The weights lie under one of the wrapper keys or at the top. */
static nb_status find_tensors(torch_source *s, const nb_value *top, nb_error *err) {
    s->base.meta = top;
    for (size_t i = 0; i < sizeof wrappers / sizeof *wrappers; i++) {
        const nb_value *inner = nb_value_get(top, wrappers[i]);
        if (!has_tensor(inner)) continue;
        s->base.wrapper = wrappers[i];
        return list_tensors(s, inner, err);
    }
    s->base.wrapper = "";
    if (has_tensor(top)) return list_tensors(s, top, err);
    return nb_fail(
        err, NB_UNSUPPORTED,
        "it holds %s without tensors by name (at its top, or under 'model', 'model_state_dict' or 'state_dict')",
        nb_value_kind_name(top->kind));
}

typedef nb_status (*archive_open)(nb_torch_archive **a, const char *path, nb_arena *arena, const nb_value **top,
                                  nb_error *err);

static nb_status open_with(nb_source **source, archive_open open_archive, const char *path, nb_error *err) {
    static const nb_source_ops ops = {.read = torch_read, .close = torch_close};
    const nb_value *top = NULL;
    torch_source *s = nb_calloc(1, sizeof *s);
    *source = NULL;
    if (!s) return nb_oom(err, "a checkpoint", sizeof *s);
    s->base.ops = &ops;
    s->base.arena.limit = NB_PICKLE_ARENA;
    nb_status st = open_archive(&s->archive, path, &s->base.arena, &top, err);
    if (!st) {
        st = find_tensors(s, top, err);
        if (!st) st = nb_source_set_file(&s->base, path, s->archive->file, err);
        if (st) nb_context(err, st, "'%s'", path);
    }
    if (st) torch_close(&s->base);
    else *source = &s->base;
    return st;
}

nb_status nb_source_torch_open(nb_source **source, const char *path, nb_error *err) {
    return open_with(source, nb_torch_zip_open, path, err);
}

nb_status nb_source_torch_legacy_open(nb_source **source, const char *path, nb_error *err) {
    return open_with(source, nb_torch_legacy_open, path, err);
}
