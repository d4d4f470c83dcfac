#include "convert/source.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/checked.h"

/* Prefixes that torch.compile and DistributedDataParallel put before the names. */
static const char *const prefixes[] = {"_orig_mod.", "module."};

enum { NAME_BYTES = 512, AHEAD = 8 << 20, AHEAD_STEP = 1 << 20 };
static const uint64_t MOST_ELEMENTS = UINT64_C(1) << 48;

void nb_source_close(nb_source *s) {
    if (s) s->ops->close(s);
}

/* ---- for openers ---- */

static const char *strip(const char *name) {
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes;) {
        size_t n = strlen(prefixes[i]);
        bool found = !strncmp(name, prefixes[i], n);
        if (found) name += n;
        i = found ? 0 : i + 1; /* wrappers nest in any order */
    }
    return name;
}

static bool plain_name(const char *name, size_t n) {
    if (!n || n > NAME_BYTES) return false;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f) return false;
    return true;
}

nb_status nb_source_tensor_set(nb_source_tensor *t, const char *name, size_t n_name, nb_dtype dtype, uint32_t n_dims,
                               const uint64_t *dims, nb_error *err) {
    uint64_t all = 1;
    if (!plain_name(name, n_name)) return nb_fail(err, NB_FORMAT, "a tensor's name is no plain text");
    *t = (nb_source_tensor){.name = strip(name), .dtype = dtype, .n_dims = n_dims};
    if (n_dims > NB_SOURCE_DIMS)
        return nb_fail(err, NB_LIMIT, "tensor '%s' has %u dimensions, at most %d are read", t->name, (unsigned)n_dims,
                       NB_SOURCE_DIMS);
    for (uint32_t i = 0; i < n_dims; i++) {
        t->dims[i] = dims[i];
        if (!dims[i]) return nb_fail(err, NB_FORMAT, "tensor '%s' has no elements", t->name);
        if (!nb_mul_u64(all, dims[i], &all) || all > MOST_ELEMENTS)
            return nb_fail(err, NB_LIMIT, "tensor '%s' has more elements than any machine holds", t->name);
    }
    return NB_OK;
}

static int by_name(const void *a, const void *b) {
    return strcmp((*(const nb_source_tensor *const *)a)->name, (*(const nb_source_tensor *const *)b)->name);
}

nb_status nb_source_set_tensors(nb_source *s, const nb_source_tensor *tensors, size_t n, nb_error *err) {
    const nb_source_tensor **sorted = nb_arena_alloc(&s->arena, n * sizeof *sorted);
    if (!sorted) return nb_arena_failed(&s->arena, err);
    for (size_t i = 0; i < n; i++) sorted[i] = &tensors[i];
    qsort(sorted, n, sizeof *sorted, by_name);
    for (size_t i = 1; i < n; i++)
        if (!strcmp(sorted[i - 1]->name, sorted[i]->name))
            return nb_fail(err, NB_FORMAT, "tensor '%s' is in the checkpoint twice", sorted[i]->name);
    s->tensors = tensors;
    s->n_tensors = n;
    s->by_name = sorted;
    return NB_OK;
}

nb_status nb_source_set_file(nb_source *s, const char *path, nb_file *handle, nb_error *err) {
    const char **files = nb_arena_alloc(&s->arena, sizeof *files);
    nb_file **handles = nb_arena_alloc(&s->arena, sizeof *handles);
    if (!files || !handles || !(files[0] = nb_arena_text(&s->arena, path, strlen(path))))
        return nb_arena_failed(&s->arena, err);
    handles[0] = handle;
    s->files = files;
    s->handles = handles;
    s->n_files = 1;
    return NB_OK;
}

/* ---- for everybody ---- */

const nb_source_tensor *nb_source_find(const nb_source *s, const char *name) {
    const nb_source_tensor key = {.name = name}, *wanted = &key;
    const nb_source_tensor *const *found =
        s->n_tensors ? bsearch(&wanted, s->by_name, s->n_tensors, sizeof wanted, by_name) : NULL;
    return found ? *found : NULL;
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

size_t nb_source_row_bytes(const nb_source_tensor *t) {
    const nb_dtype_info *type = &nb_dtypes[t->dtype];
    return (size_t)(nb_source_cols(t) / type->values) * type->bytes; /* part of a file, and of what callers allocate */
}

bool nb_source_fetches(nb_source *s, const nb_source_tensor *t) {
    uint64_t offset;
    return nb_dtypes[t->dtype].widen && s->ops->place && s->ops->place(s, t, &offset);
}

nb_status nb_source_fetch(nb_source *s, const nb_source_tensor *t, uint64_t row, uint64_t n_rows, uint8_t *dst,
                          nb_error *err) {
    uint64_t offset = 0;
    const nb_file *file = s->ops->place ? s->ops->place(s, t, &offset) : NULL;
    if (!file || !nb_range_ok(row, n_rows, nb_source_rows(t)))
        return nb_fail(err, NB_ARGUMENT, "tensor '%s': rows outside its shape, or not of a file, were asked for",
                       t->name);
    size_t bytes = nb_source_row_bytes(t), all = (size_t)n_rows * bytes;
    offset += row * bytes;
    /* What follows is likely to be next: the disk works while this is worked on. */
    uint64_t begin = offset / AHEAD_STEP, end = (offset + all) / AHEAD_STEP;
    if (end > begin) nb_file_expect(file, begin * AHEAD_STEP + AHEAD, (end - begin) * AHEAD_STEP);
    nb_status st = nb_file_read(file, offset, all, dst, err);
    return st ? nb_context(err, st, "tensor '%s'", t->name) : NB_OK;
}

const char *nb_source_shape(const nb_source_tensor *t, char text[NB_SHAPE_TEXT]) {
    size_t n = (size_t)snprintf(text, NB_SHAPE_TEXT, "[");
    for (uint32_t i = 0; i < t->n_dims; i++)
        n += (size_t)snprintf(text + n, NB_SHAPE_TEXT - n, "%s%" PRIu64, i ? ", " : "", t->dims[i]);
    snprintf(text + n, NB_SHAPE_TEXT - n, "]");
    return text;
}
