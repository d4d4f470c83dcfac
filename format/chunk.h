/* One chunk: from the bytes of a tensor as they lie in memory to the bytes in the file, and back.
 *
 * Writing: form (gather alike bytes), then zstd part by part when that makes it smaller. Reading: checksum of the
 * stored bytes (so that damage does not reach the decoder), zstd, inverse form straight into the final place, checksum
 * of the result. The sentences here say what is wrong with the chunk; the caller puts its tensor and number in
 * front. */
#ifndef NB_FORMAT_CHUNK_H
#define NB_FORMAT_CHUNK_H

#include <stddef.h>
#include <stdint.h>
#include <zstd.h>
#include "base/mem.h"
#include "base/status.h"
#include "format/form.h"

typedef enum nb_method { NB_METHOD_RAW, NB_METHOD_ZSTD, NB_METHOD_COUNT } nb_method;

/* A chunk, or a JSON section, which is stored the same way. */
typedef struct nb_chunk {
    uint64_t offset; /* in the file */
    uint64_t raw_hash, stored_hash;
    uint32_t stored_bytes, raw_bytes;
    uint8_t form, method; /* codes from a file: not yet known to be nb_chunk_form and nb_method */
} nb_chunk;

/* What one thread needs, allocated once per call that handles many chunks. */
typedef struct nb_coder {
    ZSTD_CCtx *compressor;
    ZSTD_DCtx *decompressor;
    nb_region scratch; /* a chunk in its form; more when a caller asks for more */
} nb_coder;
typedef enum nb_coder_use { NB_CODER_WRITES, NB_CODER_READS } nb_coder_use;
nb_status nb_coders_create(nb_coder **coders, int n, nb_coder_use use, size_t scratch_bytes, nb_error *err);
void nb_coders_free(nb_coder *coders, int n); /* accepts NULL */
nb_status nb_coder_reserve(nb_coder *c, size_t scratch_bytes, nb_error *err); /* at least; its bytes are lost */

/* Bytes that nb_chunk_encode may write to `stored`. */
size_t nb_chunk_bound(size_t raw_bytes);

/* Encode raw[raw_bytes] (whole panels) into stored[nb_chunk_bound(raw_bytes)]; fills all of `c` but its offset. The
 * form is dropped when compression does not pay. level 0 stores raw. g NULL: bytes of no tensor. Needs raw_bytes of
 * scratch unless the form is memory. */
nb_status nb_chunk_encode(nb_coder *coder, const nb_geometry *g, nb_chunk_form form, int level, const uint8_t *raw,
                          size_t raw_bytes, uint8_t *stored, nb_chunk *c, nb_error *err);

/* Check and decode stored[c->stored_bytes] into dst[c->raw_bytes]. Form and method must be checked codes, raw_bytes
 * whole panels. */
nb_status nb_chunk_decode(nb_coder *coder, const nb_geometry *g, const nb_chunk *c, const uint8_t *stored, uint8_t *dst,
                          nb_error *err);

#endif
