/* Column by column quantization that makes up for its errors (GPTQ, Frantar et al. 2022).
 *
 * A matrix W meets inputs x with the second moments H = E[x x']. Quantizing a row w to v costs E[((w - v) x)^2] =
 * (w - v) H (w - v)'. With H = (I + U) D (I + U)', U strictly upper triangular and D diagonal, that is
 *
 *     sum over columns k of  D[k] (w[k] + sum_{j < k} (w[j] - v[j]) U[j][k] - v[k])^2
 *
 * so the columns are quantized in order, each after adding the errors of those before it, U[j][k] of each; and what is
 * lost in column k counts D[k]. This is the update that GPTQ makes with the Cholesky factor of the inverse of H (Chee et al.
 * 2023, theorem 6), without an inverse. Columns keep their order, since blocks of the format are neighbours.
 *
 * Deterministic on every machine and for every team: the factorization is this file's own, in doubles, every element being
 * summed in one order, and without a library whose order depends on the processor. */
#ifndef NB_QUANT_GPTQ_H
#define NB_QUANT_GPTQ_H

#include <stddef.h>
#include <stdint.h>
#include "base/status.h"
#include "base/team.h"
#include "quant/quantize.h"

typedef struct nb_feedback {
    size_t n;
    float *carry;  /* [n][n]: carry[k * n + j], j < k, is U[j][k]; the rest is H, damped, in units of `weight`. Owned */
    float *weight; /* [n]: D, scaled to a mean of 1. Owned */
    float *drift;  /* NULL, or what the inputs lack (quant/drift.h). Owned */
    double unit;   /* the mean that `weight` was scaled by */
} nb_feedback;

/* H[j][k] in units of `weight`, of any two columns. */
static inline float nb_feedback_moment(const nb_feedback *f, size_t j, size_t k) {
    return j < k ? f->carry[j * f->n + k] : f->carry[k * f->n + j];
}

/* The factors of H + damp * mean(diagonal of H) * I. moments [n][n]: H, of which the lower triangle is read; its memory
 * becomes `carry`, also when this fails. Takes 8 n^2 bytes beside it while it works. NB_FORMAT when H is not finite or not
 * positive. `team` may be NULL. */
nb_status nb_feedback_make(nb_feedback *f, float *moments, size_t n, double damp, nb_team *team, nb_error *err);
void nb_feedback_free(nb_feedback *f); /* accepts a zeroed one */

/* Passes of descent (quant/refine.h) that pay: later ones lower costs by next to nothing. */
enum { NB_GPTQ_PASSES = 3 };

/* Like nb_quantize_panel for a scaled type, with columns that make up for one another, and then at most `passes` of
 * descent. scratch: nb_gptq_scratch(cols) floats. error: what was lost of the weights as they were is added; may be NULL. */
void nb_gptq_panel(const nb_quantizer *q, const nb_feedback *f, int passes, const float *src, size_t n_rows, size_t cols,
                   size_t stride, float *scratch, uint8_t *panel, nb_quant_error *error);
size_t nb_gptq_scratch(size_t cols);

/* What quantizing rows w to v costs: sum over them of (w - v) (H + damping) (w - v)', in units of `weight`. */
double nb_feedback_cost(const nb_feedback *f, const float *w, const float *v, size_t n_rows, size_t stride);

#endif
