/* What follows from a tensor's name, type, layout and dims: whether it may be in a file, how many bytes it takes, and
 * how it is cut into chunks. The writer and the reader both ask here, so the cut never depends on level or store. */
#ifndef NB_FORMAT_TENSOR_H
#define NB_FORMAT_TENSOR_H

#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/status.h"
#include "format/reader.h"

typedef struct nb_geometry {
    uint64_t raw_bytes;   /* the whole tensor as it lies in memory */
    uint64_t panel_bytes; /* 0 in the plain layout */
    uint64_t n_blocks;    /* blocks of 32 columns in a panel; 0 in the plain layout */
    uint64_t chunk_bytes; /* of every chunk but the last, which takes what is left */
    uint32_t n_chunks;
    nb_type type;
} nb_geometry;

nb_status nb_tensor_check_name(const char *name, nb_status bad, nb_error *err);

/* Check everything that a tensor says of itself, and derive its geometry from its type, layout and dims.
 * `bad` is the status of a refusal: NB_ARGUMENT when a caller gave the tensor, NB_FORMAT when a file did. */
nb_status nb_tensor_check(const nb_tensor *t, nb_status bad, nb_geometry *g, nb_error *err);

/* Raw bytes of chunk `i` of the tensor. */
uint32_t nb_geometry_chunk(const nb_geometry *g, uint32_t i);

/* Append the tensor's part of the canonical string that the identity is a hash of: all but its chunks' hashes. */
void nb_identity_tensor(nb_buf *canon, const nb_tensor *t);
void nb_identity_begin(nb_buf *canon, uint64_t model_hash, uint32_t n_tensors);

#endif
