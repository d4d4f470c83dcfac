/* Reading .nbl files. format/FORMAT.md is the specification.
 *
 * nb_reader_open maps the file and checks header, directory, chunk table and both JSON sections (checksums, limits,
 * ranges, order) before anything is allocated from a number in the file; tensor data is checked when it is loaded.
 * A reader is immutable after opening and may be shared by threads. Pointers it gives out live until nb_reader_close.
 * Truncating the file while it is mapped kills the process (SIGBUS), as with every mapping. */
#ifndef NB_FORMAT_READER_H
#define NB_FORMAT_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/progress.h"
#include "base/status.h"
#include "base/team.h"
#include "quant/types.h"

typedef struct nb_reader nb_reader;

enum { NB_MAX_DIMS = 4 };
typedef enum nb_layout { NB_LAYOUT_PLAIN, NB_LAYOUT_PANELS } nb_layout;

/* One tensor of the directory. A panel matrix has n_dims 2: dims[0] rows, dims[1] columns, without padding. */
typedef struct nb_tensor {
    const char *name; /* NUL-terminated */
    nb_type type;
    nb_layout layout;
    uint32_t n_dims;
    uint64_t dims[NB_MAX_DIMS];
    int8_t codebook[NB_CODEBOOK_SIZE]; /* q4; zeros otherwise */
    uint64_t raw_bytes;    /* as it lies in memory */
    uint64_t stored_bytes; /* sum of its chunks in the file */
    uint32_t first_chunk, n_chunks;
} nb_tensor;

/* What the caller is willing to accept; a zeroed struct means the format's own limits. */
typedef struct nb_reader_limits {
    uint64_t max_raw_bytes; /* of all tensors together */
} nb_reader_limits;

nb_status nb_reader_open(nb_reader **reader, const char *path, const nb_reader_limits *limits, nb_error *err);
void nb_reader_close(nb_reader *reader); /* accepts NULL */

const char *nb_reader_path(const nb_reader *r);
uint64_t nb_reader_identity(const nb_reader *r);   /* content hash; equal identities give equal bits */
uint64_t nb_reader_file_bytes(const nb_reader *r);
uint64_t nb_reader_raw_bytes(const nb_reader *r);  /* all tensors as they lie in memory */
const char *nb_reader_model_json(const nb_reader *r, size_t *size);      /* what the engine reads; NUL-terminated */
const char *nb_reader_provenance_json(const nb_reader *r, size_t *size); /* source, converter; NUL-terminated */

size_t nb_reader_count(const nb_reader *r);
const nb_tensor *nb_reader_at(const nb_reader *r, size_t i);               /* in name order */
const nb_tensor *nb_reader_find(const nb_reader *r, const char *name);     /* NULL: no such tensor */

/* The tensor's bytes inside the mapping when they lie there as in memory (stored raw, 64-byte aligned), else NULL.
 * Nothing is verified; nb_reader_verify does that on request. */
const void *nb_reader_in_place(const nb_reader *r, const nb_tensor *t);

/* How the tensor's chunks are stored: the name of a form (format/forms.def), "raw" when all are as in memory, "mixed"
 * when the others differ. */
const char *nb_reader_form(const nb_reader *r, const nb_tensor *t);

/* Decompress and verify tensors straight into their final place: each dst takes its tensor's raw_bytes. All chunks
 * of all tensors are shared out over the team. The first damaged chunk in file order is reported by its tensor's name.
 * Progress ("loading", raw bytes) is told on the caller's thread. */
typedef struct nb_load {
    const nb_tensor *tensor;
    void *dst;
} nb_load;
nb_status nb_reader_load(const nb_reader *r, const nb_load *loads, size_t n, nb_team *team, const nb_progress *progress,
                         nb_error *err);

/* Check every chunk, and that the bytes between chunks are zero. `damaged` (may be NULL) is called once for each
 * damaged tensor, in file order, with a sentence. NB_CHECKSUM when anything was damaged; err then counts the damaged
 * tensors and names the first. Progress ("verifying", raw bytes) is told on the caller's thread. */
nb_status nb_reader_verify(const nb_reader *r, nb_team *team, const nb_progress *progress,
                           void (*damaged)(void *user, const nb_tensor *t, const char *sentence), void *user,
                           nb_error *err);

#endif
