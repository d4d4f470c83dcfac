/* From f32 to panels and back. Deterministic: IEEE operations in a fixed order, no libm, so every machine writes the
 * same bytes. Nothing allocates or fails; callers split panels over threads. */
#ifndef NB_QUANT_QUANTIZE_H
#define NB_QUANT_QUANTIZE_H

#include <stddef.h>
#include <stdint.h>
#include "quant/codebook.h"
#include "quant/search.h"
#include "quant/types.h"

/* Accumulated error of an approximation, in doubles. */
typedef struct nb_quant_error {
    double signal;  /* sum of squares of the exact values */
    double noise;   /* sum of squares of the differences */
    double largest; /* largest absolute difference */
    /* Of a calibrated matrix, else 0: the sums of squares of what it gives for the inputs that were read, and of what it gives
     * wrong (damped, see quant/gptq.h). */
    double output, output_noise;
    uint64_t count;
} nb_quant_error;
void nb_quant_error_add(nb_quant_error *e, const float *exact, const float *approx, size_t n);
void nb_quant_error_join(nb_quant_error *e, const nb_quant_error *other); /* sums depend on the order of joining */
/* Signal-to-noise ratio in decibels, 10 log10(signal / noise); infinite when there is no noise. */
double nb_quant_error_snr(const nb_quant_error *e);

/* How one matrix is quantized. */
typedef struct nb_quantizer {
    nb_type type;
    nb_grid grid;            /* of scaled types */
    nb_search search;        /* of scaled types: the kernels (nb_kernels_search) */
    const float *importance; /* [cols], weights of squared errors, see quant/search.h; NULL: all 1. Borrowed */
} nb_quantizer;

/* codebook: for q4, else not looked at. Without importance. */
void nb_quantizer_init(nb_quantizer *q, nb_type type, const int8_t codebook[NB_CODEBOOK_SIZE], const nb_search *search);

/* Write one panel of a scaled type; rows and columns beyond those of `rows` are zero.
 * panel: nb_panel_bytes(type, cols) bytes, all of them written. error: what was lost is added; may be NULL.
 * false, and the panel is worth nothing: a row holds a NaN or an infinity (nb_first_nonfinite tells where). */
bool nb_quantize_rows(const nb_quantizer *q, const nb_rows *rows, uint8_t *panel, nb_quant_error *error);

/* The same of any type, from src [n_rows][stride] f32; types that are not scaled want finite input. */
bool nb_quantize_panel(const nb_quantizer *q, const float *src, size_t n_rows, size_t cols, size_t stride,
                       uint8_t *panel, nb_quant_error *error);

/* The steps of nb_quantize_rows, for those who change weights between them (columns that make up for the
 * errors of others): rows' factors; blocks' fits (search.scales); row scales (nb_row_scales); for each block
 * search.blocks and nb_block_put. */

/* Powers of two that bring rows whose numbers are very large or small into the range of a search: 1 for ordinary rows, 0
 * for rows that are zero. Everything a search sees is multiplied by them. false: a row holds a NaN or an infinity. */
bool nb_row_factors(const nb_search *search, const nb_rows *rows, float factor[NB_PANEL_ROWS]);

/* Block `block` of a panel's rows times their factors, as a search wants it: x[n][16]. Returns n, its columns. */
size_t nb_block_load(const nb_search *search, const nb_rows *rows, const float factor[NB_PANEL_ROWS], size_t block,
                     float x[NB_BLOCK_COLS * NB_PANEL_ROWS]);

/* Row scales (times the factors) for blocks with these fits, written to the panel; rows whose scale would be too small
 * for its products to be normal numbers get 0. */
void nb_row_scales(const nb_quantizer *q, const uint8_t *fits, size_t n_blocks, const float factor[NB_PANEL_ROWS],
                   uint8_t *panel, float row_scale[NB_PANEL_ROWS]);

/* Block scales and the codes nearest to x with them, into the panel. */
void nb_block_put(const nb_quantizer *q, const float *x, size_t n, const float row_scale[NB_PANEL_ROWS],
                  const int8_t scale[NB_PANEL_ROWS], size_t block, uint8_t *panel, nb_block_error *error);

/* The inverse: dst [n_rows][stride] f32, the first `cols` columns written. Exact up to one rounding per value. */
void nb_dequantize_panel(nb_type type, const int8_t codebook[NB_CODEBOOK_SIZE], const uint8_t *panel, size_t n_rows,
                         size_t cols, size_t stride, float *dst);

/* Row `row` of a whole panel matrix: dst [cols] f32. */
void nb_dequantize_row(nb_type type, const int8_t codebook[NB_CODEBOOK_SIZE], const uint8_t *panels, size_t row,
                       size_t cols, float *dst);

/* Index of the first NaN or infinity in x[n], or n. */
size_t nb_first_nonfinite(const float *x, size_t n);

#endif
