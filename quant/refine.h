/* Coordinate descent on what a quantized matrix costs under second moments.
 *
 * Columns that were quantized one after the other (quant/gptq.h) make up for the errors before them, never for those
 * behind. So afterwards every code is chosen again, given all others: with the errors e = w - v of a row and the gradient
 * g = e H, moving v[k] by d costs d (d H[k][k] - 2 g[k]), which is least at the level nearest to v[k] + g[k] / H[k][k].
 * Blocks are taken in order; within one, neighbouring block scales are tried too, each with codes of its own. What does
 * not lower a row's cost is not done, so a pass never adds to it but for rounding.
 *
 * Sixteen rows are sixteen lanes that never mix, and every sum has one order: the same bits everywhere. */
#ifndef NB_QUANT_REFINE_H
#define NB_QUANT_REFINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "quant/gptq.h"
#include "quant/quantize.h"

/* A panel that is quantized: its values are levels times scales. Everything is [column][16 rows] but for what says other. */
typedef struct nb_refinement {
    const nb_quantizer *q;
    const nb_feedback *f;
    const float *exact;     /* the weights */
    float *value;           /* what stands for them */
    float *lost;            /* exact minus value */
    const float *row_scale; /* [16] */
    int8_t *scale;          /* [blocks][16] */
} nb_refinement;

/* One pass over all blocks of f->n columns; false: nothing changed, and another pass would change nothing. */
bool nb_refine_pass(const nb_refinement *p);

#endif
