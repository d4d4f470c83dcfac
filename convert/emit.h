/* Planned tensors into the file. The members of the team take them chunk by chunk, read, quantize and compress them side by
 * side, and write them in order. What is told of them is told by any of them, one at a time. */
#ifndef NB_CONVERT_EMIT_H
#define NB_CONVERT_EMIT_H

#include <stdint.h>
#include "base/progress.h"
#include "base/status.h"
#include "base/team.h"
#include "convert/calibrate.h"
#include "convert/plan.h"
#include "convert/rotate.h"
#include "format/writer.h"
#include "quant/quantize.h"
#include "quant/types.h"

typedef struct nb_emit {
    nb_source *source;
    nb_rotation *rotation; /* through which it is read */
    nb_writer *writer;
    nb_team *team;               /* may be NULL */
    nb_search search;            /* kernels for the quantizers */
    nb_calibration *calibration; /* may be NULL */
    const nb_progress *progress; /* may be NULL */
    uint64_t total, done;        /* elements of the source; total > 0 */
    uint64_t total_bytes;        /* what `total` elements count as in the progress */
    const float *made[NB_SPEC_COUNT]; /* tensors that no source has, where the model has them (nb_spec_made) */
    /* Told of every tensor when all of it is in the file; `error` is that of matrices that are not f32. */
    nb_status (*wrote)(void *user, const nb_plan_tensor *t, uint64_t raw_bytes, const nb_quant_error *error,
                       nb_error *err);
    void *user;
    nb_quant_error error; /* of the tensor so far */
    uint64_t raw_bytes;   /* of all that is in the file */
    struct nb_emit_worker *workers; /* [n_workers], owned: what members of the team work with, kept between tensors */
    size_t n_workers;
} nb_emit;
void nb_emit_free(nb_emit *e); /* its workers; accepts a zeroed one */

/* A matrix of the plan as panels of its type into memory, nb_panels_bytes of them, and its codebook, instead of into
 * the file; e->error is what it lost, and nothing else is told. */
nb_status nb_emit_quantize(nb_emit *e, const nb_plan_tensor *t, uint8_t *panels, int8_t codebook[NB_CODEBOOK_SIZE],
                           nb_error *err);

/* Tensors, in this order. */
nb_status nb_emit_tensors(nb_emit *e, const nb_plan_tensor *tensors, size_t n, nb_error *err);

/* A plain tensor from memory. */
nb_status nb_emit_plain(nb_emit *e, const char *name, nb_type type, uint64_t count, const void *bytes, nb_error *err);

#endif
