/* Writing .nbl files, tensor by tensor, in bounded memory (a few chunks per thread).
 *
 * The file appears under its name when nb_writer_commit succeeds; until then, or after nb_writer_abandon, whatever was
 * there before is untouched. Same tensors, JSON and identity-relevant options give the same identity; same options
 * give the same file, for every team size. One thread at a time. */
#ifndef NB_FORMAT_WRITER_H
#define NB_FORMAT_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/status.h"
#include "base/team.h"
#include "format/reader.h"
#include "format/tensor.h"

typedef struct nb_writer nb_writer;

typedef enum nb_store { NB_STORE_ZSTD, NB_STORE_RAW } nb_store;

typedef struct nb_writer_options {
    nb_store store;
    int level;      /* zstd level; 0: the default, 1 (only entropy coding gains anything on weights) */
    bool overwrite; /* replace an existing file */
    nb_team *team;  /* may be NULL */
} nb_writer_options;

nb_status nb_writer_create(nb_writer **writer, const char *path, const nb_writer_options *options, nb_error *err);

/* Tensors, one after the other, in any order of names. `t` gives name, type, layout, dims and codebook; its raw size is
 * computed and must be appended exactly, in pieces of any size, as the bytes lie in memory. */
nb_status nb_writer_tensor_begin(nb_writer *w, const nb_tensor *t, nb_error *err);
nb_status nb_writer_tensor_append(nb_writer *w, const void *bytes, size_t n, nb_error *err);

/* The same chunk by chunk, for those who make chunks on several threads: each as large as nb_geometry_chunk says. A
 * member of the writer's team encodes a chunk of a tensor of geometry `g` (any number of members at once, also while
 * others begin, put and end), and the chunks of the tensor that was begun are put one at a time, in their order, by
 * whoever encoded them, before it encodes another. What went wrong in encoding is told then. */
void nb_writer_chunk_encode(nb_writer *w, int member, const nb_geometry *g, const uint8_t *raw, size_t n);
nb_status nb_writer_chunk_put(nb_writer *w, int member, nb_error *err);
/* Both at once, for the open tensor, also by a member that has encoded a chunk which comes later. */
nb_status nb_writer_chunk_append(nb_writer *w, int member, const uint8_t *raw, size_t n, nb_error *err);

nb_status nb_writer_tensor_end(nb_writer *w, nb_error *err);

/* Both sections, directory and header; then the file appears. The JSON texts (1 byte to 64 MiB) are stored as they are
 * given: model_json is part of the identity (what the engine reads), provenance_json is not (where the file came from).
 * identity and file_bytes may be NULL. */
nb_status nb_writer_commit(nb_writer *w, const char *model_json, const char *provenance_json, uint64_t *identity,
                           uint64_t *file_bytes, nb_error *err);
void nb_writer_close(nb_writer *w); /* frees; drops the file unless committed; accepts NULL */

/* Bytes stored for the tensor last ended. */
uint64_t nb_writer_last_stored(const nb_writer *w);

#endif
