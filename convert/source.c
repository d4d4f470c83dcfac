#include "convert/source.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "base/checked.h"

void nb_source_close(nb_source *s) {
    if (s) s->ops->close(s);
}

const nb_source_tensor *nb_source_find(const nb_source *s, const char *name) {
    for (size_t i = 0; i < s->n_tensors; i++)
        if (!strcmp(s->tensors[i].name, name)) return &s->tensors[i];
    return NULL;
}

uint64_t nb_source_cols(const nb_source_tensor *t) { return t->n_dims ? t->dims[t->n_dims - 1] : 1; }

uint64_t nb_source_rows(const nb_source_tensor *t) {
    uint64_t rows = 1; /* openers check that all elements together can be counted */
    for (uint32_t i = 0; i + 1 < t->n_dims; i++) rows *= t->dims[i];
    return rows;
}

nb_status nb_source_read(nb_source *s, const nb_source_tensor *t, uint64_t row, uint64_t n_rows, uint64_t col,
                         uint64_t n_cols, float *dst, nb_error *err) {
    if (!nb_dtypes[t->dtype].widen)
        return nb_fail(err, NB_UNSUPPORTED, "tensor '%s' holds %s numbers, expected weights as f32, f16, bf16 or f64",
                       t->name, nb_dtypes[t->dtype].name);
    if (!nb_range_ok(row, n_rows, nb_source_rows(t)) || !nb_range_ok(col, n_cols, nb_source_cols(t)))
        return nb_fail(err, NB_ARGUMENT, "tensor '%s': a block outside its shape was asked for", t->name);
    nb_status st = s->ops->read(s, t, row, n_rows, col, n_cols, dst, err);
    return st ? nb_context(err, st, "tensor '%s'", t->name) : NB_OK;
}

const char *nb_source_shape(const nb_source_tensor *t, char text[NB_SHAPE_TEXT]) {
    size_t n = (size_t)snprintf(text, NB_SHAPE_TEXT, "[");
    for (uint32_t i = 0; i < t->n_dims; i++)
        n += (size_t)snprintf(text + n, NB_SHAPE_TEXT - n, "%s%" PRIu64, i ? ", " : "", t->dims[i]);
    snprintf(text + n, NB_SHAPE_TEXT - n, "]");
    return text;
}
