/* What containers with all tensors in one file have in common: contiguous rows of blocks at known offsets.
 *
 * An opener creates an nb_flat, lists its tensors (nb_flat_place for each, then nb_source_set_tensors) and gives out
 * &flat->base, which closes itself. */
#ifndef NB_CONVERT_SOURCE_FLAT_H
#define NB_CONVERT_SOURCE_FLAT_H

#include "base/file.h"
#include "convert/scratch.h"
#include "convert/source.h"

typedef struct nb_flat {
    nb_source base;
    nb_file file;
    uint64_t data;     /* where the offsets of tensors count from */
    nb_scratch bytes;  /* what was read last */
    nb_scratch values; /* widened blocks of which a part is wanted */
} nb_flat;

/* The file is open; `arena_limit` as nb_arena. */
nb_status nb_flat_create(nb_flat **flat, const char *path, size_t arena_limit, nb_error *err);
/* The two functions of nb_source_ops, for containers that add to them. */
nb_status nb_flat_read(nb_source *source, const nb_source_tensor *t, uint64_t row, uint64_t n_rows, uint64_t col,
                       uint64_t n_cols, float *dst, nb_error *err);
void nb_flat_close(nb_source *source);
/* The offset of the tensor's first byte. The caller has checked that all of it lies in the file, and that rows are
 * whole blocks. */
nb_status nb_flat_place(nb_flat *flat, nb_source_tensor *t, uint64_t offset, nb_error *err);
/* The bytes that a tensor of this type and shape takes; false: too many to count, or its rows are not whole blocks. */
bool nb_flat_bytes(const nb_source_tensor *t, uint64_t *bytes);

#endif
