#include "convert/source_flat.h"

#include <string.h>
#include "base/checked.h"
#include "base/mem.h"

enum {
    SPAN_BYTES = 4 << 20, /* read at once, as far as a row allows */
    SPAN_FACTOR = 4       /* whole rows are read while at most this much of them is not asked for */
};

/* Blocks of a row that hold what is asked for. */
typedef struct window {
    const nb_dtype_info *type;
    uint64_t row_bytes, offset; /* of the first block in its row */
    size_t blocks, skip, n_cols; /* skip: values of the first block that are not asked for */
} window;

static nb_status widen_row(nb_flat *f, const window *w, const uint8_t *src, float *dst, nb_error *err) {
    size_t values = w->blocks * w->type->values;
    if (values == w->n_cols) {
        w->type->widen(src, w->type->bytes, w->blocks, dst);
        return NB_OK;
    }
    nb_status st = nb_scratch_reserve(&f->values, values * sizeof(float), err);
    if (st) return st;
    float *widened = f->values.data;
    w->type->widen(src, w->type->bytes, w->blocks, widened);
    memcpy(dst, widened + w->skip, w->n_cols * sizeof *dst);
    return NB_OK;
}

/* Rows that lie in the file at `first`, in one go or one by one. */
static nb_status read_rows(nb_flat *f, const window *w, uint64_t first, size_t n_rows, float *dst, nb_error *err) {
    size_t wanted = w->blocks * w->type->bytes, span = (size_t)w->row_bytes * (n_rows - 1) + wanted;
    bool whole = w->row_bytes / SPAN_FACTOR <= wanted;
    nb_status st = nb_scratch_reserve(&f->bytes, whole ? span : wanted, err);
    uint8_t *bytes = f->bytes.data;
    if (!st && whole) st = nb_file_read(&f->file, first, span, bytes, err);
    for (size_t r = 0; !st && r < n_rows; r++) {
        if (!whole) st = nb_file_read(&f->file, first + r * w->row_bytes, wanted, bytes, err);
        if (!st) st = widen_row(f, w, bytes + (whole ? r * w->row_bytes : 0), dst + r * w->n_cols, err);
    }
    return st;
}

nb_status nb_flat_read(nb_source *source, const nb_source_tensor *t, uint64_t row, uint64_t n_rows, uint64_t col,
                       uint64_t n_cols, float *dst, nb_error *err) {
    nb_flat *f = (nb_flat *)(void *)source;
    const nb_dtype_info *type = &nb_dtypes[t->dtype];
    if (!n_rows || !n_cols) return NB_OK;
    uint64_t block = col / type->values, end = (col + n_cols + type->values - 1) / type->values;
    const window w = {.type = type,
                      .row_bytes = nb_source_cols(t) / type->values * type->bytes,
                      .offset = block * type->bytes,
                      .blocks = (size_t)(end - block),
                      .skip = (size_t)(col - block * type->values),
                      .n_cols = (size_t)n_cols};
    uint64_t at = f->data + *(const uint64_t *)t->where + row * w.row_bytes + w.offset;
    size_t batch = nb_max_size(1, (size_t)(SPAN_BYTES / w.row_bytes));
    nb_status st = NB_OK;
    for (uint64_t r = 0; !st && r < n_rows; r += batch) {
        size_t n = n_rows - r < batch ? (size_t)(n_rows - r) : batch;
        st = read_rows(f, &w, at + r * w.row_bytes, n, dst + r * n_cols, err);
    }
    return st;
}

static const nb_file *place(nb_source *source, const nb_source_tensor *t, uint64_t *offset) {
    const nb_flat *f = (const nb_flat *)(const void *)source;
    *offset = f->data + *(const uint64_t *)t->where;
    return &f->file;
}

void nb_flat_close(nb_source *source) {
    nb_flat *f = (nb_flat *)(void *)source;
    nb_file_close(&f->file);
    nb_scratch_free(&f->bytes);
    nb_scratch_free(&f->values);
    nb_arena_free(&f->base.arena);
    nb_free(f);
}

nb_status nb_flat_create(nb_flat **flat, const char *path, size_t arena_limit, nb_error *err) {
    static const nb_source_ops ops = {nb_flat_read, nb_flat_close, place};
    nb_flat *f = nb_calloc(1, sizeof *f);
    *flat = NULL;
    if (!f) return nb_oom(err, "a checkpoint", sizeof *f);
    f->base.ops = &ops;
    f->base.wrapper = "";
    f->base.arena.limit = arena_limit;
    nb_status st = nb_file_open(&f->file, path, err);
    if (!st) st = nb_source_set_file(&f->base, path, &f->file, err);
    if (st) nb_flat_close(&f->base);
    else *flat = f;
    return st;
}

nb_status nb_flat_place(nb_flat *f, nb_source_tensor *t, uint64_t offset, nb_error *err) {
    uint64_t *where = nb_arena_alloc(&f->base.arena, sizeof *where);
    if (!where) return nb_arena_failed(&f->base.arena, err);
    *where = offset;
    t->where = where;
    return NB_OK;
}

bool nb_flat_bytes(const nb_source_tensor *t, uint64_t *bytes) {
    const nb_dtype_info *type = &nb_dtypes[t->dtype];
    uint64_t cols = nb_source_cols(t);
    return cols % type->values == 0 && nb_mul_u64(nb_source_rows(t) * (cols / type->values), type->bytes, bytes);
}
