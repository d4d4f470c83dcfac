/* The search for scales and codes, as kernels that a caller hands to the quantizers (simd/kernels.def has them).
 *
 * Sixteen rows of a panel are sixteen lanes, which never mix: every lane does the same IEEE operations in the same order on
 * every tier, so a row's bytes depend on that row alone. A block is x[n][16], n from 1 to 32: column by column, the rows' values
 * side by side, 0 in absent rows. `importance` [n], of the block's columns, weighs squared errors; NULL: all 1.
 * Magnitudes are between 2^-40 and 2^40 or zero, for squares and their sums to be representable (nb_block_load sees to
 * it); importance is between 2^-20 and 2^20, or 0 for columns that do not matter.
 *
 * With codes q fixed, the scale that loses least is s = sum(w x q) / sum(w q^2), and what it explains of the block's
 * energy sum(w x^2) is sum(w x q)^2 / sum(w q^2). */
#ifndef NB_QUANT_SEARCH_H
#define NB_QUANT_SEARCH_H

#include <stddef.h>
#include <stdint.h>
#include "quant/grid.h"
#include "quant/types.h"

/* A block's ideal scales, and how much a wrong scale costs: (its error)^2 * weight. */
typedef struct nb_block_fit {
    float scale[NB_PANEL_ROWS], weight[NB_PANEL_ROWS];
} nb_block_fit;

/* What a block's codes lost: sums over its columns, unweighted. */
typedef struct nb_block_error {
    float signal[NB_PANEL_ROWS], noise[NB_PANEL_ROWS], largest[NB_PANEL_ROWS];
} nb_block_error;

/* A panel's rows: [n_rows][stride] f32, or bf16 as a checkpoint has it (little-endian), n_rows 1..16, of which the first
 * `cols` columns count. Borrowed. */
typedef struct nb_rows {
    const void *src;
    size_t n_rows, cols, stride; /* in elements */
    nb_type type;                /* NB_TYPE_F32, which is 0, or NB_TYPE_BF16 */
} nb_rows;

/* How weights of one type are read. */
typedef struct nb_search_reads {
    /* The largest magnitude among w[n]; not finite where there is a NaN or an infinity. */
    float (*largest)(const uint8_t *w, size_t n);
    /* n columns, at most 32, of up to 16 rows `stride` bytes apart, times their factors: x[n][16]. */
    void (*load)(const uint8_t *src, size_t n_rows, size_t n, size_t stride, const float *factor, float *x);
} nb_search_reads;

typedef struct nb_search {
    nb_search_reads f32, bf16;
    /* The best scales for a block, of either sign, unrestricted. */
    void (*scales)(const nb_grid *g, const float *x, size_t n, const float *importance, nb_block_fit *fit);
    /* One scale per row for blocks with these fits (n_blocks of them, as bytes), so that rounding the block scales to
     * multiples of it costs least; 0 for rows whose scales all are. */
    void (*rows)(const uint8_t *fits, size_t n_blocks, float *row_scale);
    /* The 8-bit block scales near ideal / row_scale that lose least with codes chosen for them. */
    void (*blocks)(const nb_grid *g, const float *x, size_t n, const float *importance, const float *row_scale,
                   const float *ideal, int8_t *scale);
    /* The codes nearest to x / scale: codes[8][16][4], groups of four columns as in a q8 block; 0 in absent columns and where
     * the scale is 0. |x / scale| is below 2^29. */
    void (*codes)(const nb_grid *g, const float *x, size_t n, const float *scale, uint8_t *codes, nb_block_error *error);
    /* The values scale * level nearest to x, value[n][16], for any n. */
    void (*values)(const nb_grid *g, const float *x, size_t n, const float *scale, float *value);
    /* sum[m][16] += x[n][16] times factor[m][stride], each sum over the n in order, one term after the other. */
    void (*sums)(const float *x, size_t n, const float *factor, size_t stride, size_t m, float *sum);
} nb_search;

#endif
