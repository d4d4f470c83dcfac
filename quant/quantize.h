/* From f32 to panels and back. Deterministic: IEEE operations in a fixed order, no libm, so every machine writes the
 * same bytes. Nothing allocates or fails; callers split panels over threads. */
#ifndef NB_QUANT_QUANTIZE_H
#define NB_QUANT_QUANTIZE_H

#include <stddef.h>
#include <stdint.h>
#include "quant/types.h"

/* The fixed non-linear q4 codebook: ascending values in [-64, 63]. */
extern const int8_t nb_q4_codebook[NB_CODEBOOK_SIZE];

/* Write one panel of `type`.
 * src: [n_rows][stride] f32, n_rows 1..16, of which the first `cols` columns count; rows and columns beyond are zero.
 * panel: nb_panel_bytes(type, cols) bytes, all of them written. codebook: for q4, else ignored.
 * Finite input is the caller's business (nb_first_nonfinite). */
void nb_quantize_panel(nb_type type, const int8_t codebook[NB_CODEBOOK_SIZE], const float *src, size_t n_rows,
                       size_t cols, size_t stride, uint8_t *panel);

/* The inverse: dst [n_rows][stride] f32, the first `cols` columns written. Exact up to one rounding per value. */
void nb_dequantize_panel(nb_type type, const int8_t codebook[NB_CODEBOOK_SIZE], const uint8_t *panel, size_t n_rows,
                         size_t cols, size_t stride, float *dst);

/* Row `row` of a whole panel matrix: dst [cols] f32. */
void nb_dequantize_row(nb_type type, const int8_t codebook[NB_CODEBOOK_SIZE], const uint8_t *panels, size_t row,
                       size_t cols, float *dst);

/* Index of the first NaN or infinity in x[n], or n. */
size_t nb_first_nonfinite(const float *x, size_t n);

/* Accumulated error of an approximation, in doubles. */
typedef struct nb_quant_error {
    double signal;  /* sum of squares of the exact values */
    double noise;   /* sum of squares of the differences */
    double largest; /* largest absolute difference */
    uint64_t count;
} nb_quant_error;
void nb_quant_error_add(nb_quant_error *e, const float *exact, const float *approx, size_t n);
/* Signal-to-noise ratio in decibels, 10 log10(signal / noise); infinite when there is no noise. */
double nb_quant_error_snr(const nb_quant_error *e);

#endif
