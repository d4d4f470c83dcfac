/* What the parts of the reader share: the open file, and the decoding of many chunks on a team. */
#ifndef NB_FORMAT_READER_IMPL_H
#define NB_FORMAT_READER_IMPL_H

#include "base/buf.h"
#include "base/file.h"
#include "format/chunk.h"
#include "format/reader.h"
#include "format/tensor.h"

struct nb_reader {
    nb_map map;
    char *path;
    uint64_t identity, raw_bytes;
    uint64_t data_offset, data_bytes;
    const uint8_t *records, *names, *chunk_table; /* in the map */
    uint32_t n_tensors, n_chunks, names_bytes;
    nb_tensor *tensors;       /* [n_tensors] in name order */
    nb_geometry *geometries;  /* [n_tensors] */
    uint32_t *file_order;     /* [n_tensors] indices, ascending first chunks */
    nb_buf model, provenance; /* raw JSON */
};

/* Record i of the chunk table; its contents are checked once nb_reader_open has returned. */
nb_chunk nb_reader_chunk(const nb_reader *r, uint32_t i);

/* Directory and chunk table, with everything checked that tensors and chunks say of themselves and of each other. */
nb_status nb_reader_directory(nb_reader *r, nb_error *err);

/* The first byte that is not zero in [from, to) of the map, or `to`. */
uint64_t nb_reader_first_nonzero(const nb_reader *r, uint64_t from, uint64_t to);

/* A pass over all chunks of some tensors, in file order, on a team. */
typedef struct nb_pass {
    const nb_reader *reader;
    nb_team *team;
    const nb_progress *progress;
    const char *what;      /* for progress */
    const nb_load *loads;  /* [n], ascending first chunks; dst NULL: decoded and dropped */
    size_t n;
    bool gaps;             /* the bytes before each chunk must be zero, too */
    bool keep_going;       /* look at every chunk; otherwise those after a bad one may be skipped */
    /* Told of every bad chunk, in any order, one call at a time. */
    void (*bad)(void *user, size_t load, uint32_t chunk);
    void *user;
} nb_pass;
nb_status nb_pass_run(const nb_pass *pass, nb_error *err);

/* Look again at one chunk that a pass found bad, for its sentence; returns never NB_OK. */
nb_status nb_pass_explain(const nb_pass *pass, size_t load, uint32_t chunk, nb_error *err);

#endif
