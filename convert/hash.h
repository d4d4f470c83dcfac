/* The hash of a checkpoint's files, made from what the conversion reads anyway: a file is not read twice.
 *
 * The conversion reads tensors in its own order, so the hash does not depend on one: every file is cut into pieces of
 * 1 MiB (the last is shorter), and the result is the XXH3-64 of the XXH3-64s of all pieces, 8 little-endian bytes
 * each, file by file. A piece is hashed as far as it has been read from its beginning; what comes early is kept for a
 * while, and what is left in the end is read then. Threads may read through the handles side by side; all else is for
 * one at a time. */
#ifndef NB_CONVERT_HASH_H
#define NB_CONVERT_HASH_H

#include <stddef.h>
#include <stdint.h>
#include "base/file.h"
#include "base/status.h"

enum { NB_HASH_PIECE = 1 << 20 };

typedef struct nb_hasher nb_hasher;

/* Begin with files[n], which stay valid. From now on reads through handles[i] (NULL: there is none) are seen; the
 * hasher must be freed before they are closed. *bytes is the sum of the files' sizes. */
nb_status nb_hasher_start(nb_hasher **hasher, const char *const *files, nb_file *const *handles, size_t n,
                          uint64_t *bytes, nb_error *err);
/* Read what is left. *left, which may be NULL, is how much that was. */
nb_status nb_hasher_finish(nb_hasher *h, uint64_t *hash, uint64_t *left, nb_error *err);
void nb_hasher_free(nb_hasher *h); /* accepts NULL */

#endif
