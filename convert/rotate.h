/* Rotations folded into weights: checkpoint -> source -> map -> rotation -> quantizer.
 *
 * Where two matrices meet in a linear map, an orthogonal matrix and its inverse can stand between them: the model
 * computes the same function with other weights, whose outliers are spread over the channels before they are quantized
 * (Chee et al. 2023; Ashkboos et al. 2024, QuaRot). It is the normalised Hadamard matrix of kernel `hadamard`, its own
 * inverse, in blocks of the largest power of two that divides the number of channels.
 *
 *   vo        of every KV head the rows of V (and its bias, and the value embedding), and the columns of the output
 *             projection that read them. Attention sums values with weights that do not depend on them.
 *   residual  the rows of what writes to the stream (output and down projections, their biases) and the columns of
 *             what reads it (q, k, v, up, gate, head), of the embedding and of positions, which are added by row. RMS norms
 *             commute with it once their weights are columns of the matrices behind them (Ashkboos et al. 2024,
 *             SliceGPT, section 3); a LayerNorm without a bias becomes an RMS norm when the mean of the channels is
 *             taken out of everything that writes.
 *   qk        nothing here: the engine does it after RoPE (hyperparameter qk_rotate).
 *
 * Everything is computed in f32, in one order: the same bytes on every machine. */
#ifndef NB_CONVERT_ROTATE_H
#define NB_CONVERT_ROTATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/status.h"
#include "convert/plan.h"
#include "convert/scratch.h"
#include "core/hparams.h"
#include "simd/kernels.h"

enum {
#define ROTATION(NAME, name, doc) NB_ROTATION_##NAME,
#include "convert/rotations.def"
#undef ROTATION
    NB_ROTATION_COUNT
};
enum {
#define ROTATION(NAME, name, doc) NB_ROTATE_##NAME = 1 << NB_ROTATION_##NAME,
#include "convert/rotations.def"
#undef ROTATION
    NB_ROTATE_WEIGHTS = NB_ROTATE_VO | NB_ROTATE_RESIDUAL, /* those that change weights */
    NB_ROTATE_AUTO = 1 << NB_ROTATION_COUNT /* those that are measured to help (convert/rotate_auto.h) */
};

/* "vo,residual" of a set, or "none", into text[n]. */
enum { NB_ROTATION_TEXT = 48 };
const char *nb_rotations_text(unsigned set, char text[NB_ROTATION_TEXT]);
/* A set from names that commas separate, or from "none" or "auto"; false: a name is none of these. */
bool nb_rotations_parse(const char *text, unsigned *set);

/* Why a rotation would change what such a model computes, or would do nothing, as a sentence's second half; NULL: it is
 * exact. */
const char *nb_rotation_obstacle(int rotation, const nb_hparams *h);

typedef struct nb_rotation {
    unsigned set; /* of NB_ROTATE_WEIGHTS; 0: tensors are read as the plan has them */
    const nb_kernels *kernels;
    uint64_t n_embd, head_dim, v_row; /* v_row: the first row of V in q, k, v */
    bool centre; /* LayerNorms became RMS norms */
    float *gains; /* [2 n_layer + 1][n_embd] the weights of norms that became columns; NULL: there are none */
    uint32_t n_layer;
    /* Of the tensor that was read last: its rotated rows from block_row on, as many as are rotated together. */
    const nb_plan_tensor *of;
    uint64_t block_row;
    nb_scratch block;
} nb_rotation;

/* Rotate a model by `set`, of which NB_ROTATE_QK changes *h only. Norms whose weights become columns leave the plan,
 * and *h says so. NB_UNSUPPORTED, with the reason, where one of the rotations is not exact. `kernels` must outlive
 * it. */
nb_status nb_rotation_make(nb_rotation *r, unsigned set, nb_hparams *h, nb_plan *plan, nb_source *s,
                           const nb_kernels *kernels, nb_error *err);
void nb_rotation_free(nb_rotation *r); /* accepts a zeroed one */

/* nb_plan_read of the rotated model. Takes the memory of as many of the tensor's rows as are rotated together, all of
 * them in the residual stream. One thread at a time. */
nb_status nb_rotation_read(nb_rotation *r, const nb_plan_tensor *t, nb_source *s, uint64_t row, uint64_t n, float *dst,
                           nb_error *err);

#endif
