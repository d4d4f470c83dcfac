/* Codebooks learned from a tensor's own weights: Lloyd's algorithm (1982; Max 1960) with a scale per block.
 *
 * In turns, every block gets its best scale and codes, and every level becomes the weighted mean of the weights that
 * chose it, in units of their scales. Levels are real numbers until the end, when they are rounded to integers with the
 * common factor that costs least. Sums are doubles, in the order of the sample, so the result is the same everywhere. */
#ifndef NB_QUANT_CODEBOOK_H
#define NB_QUANT_CODEBOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "quant/search.h"

/* The fixed q4 codebook: where learning begins, and what is kept when that does not lower the error. */
extern const int8_t nb_q4_codebook[NB_CODEBOOK_SIZE];

/* The grid (quant/grid.h) of levels that are not rounded yet: ascending, at least 4 apart, in [-64, 64). */
void nb_grid_of_levels(nb_grid *g, const float level[NB_CODEBOOK_SIZE]);

/* Blocks of a tensor, as a search wants them. */
enum {
    NB_SAMPLE_PANELS = 16, /* 65,536 weights in all; what twice as many gain is lost in the noise */
    NB_SAMPLE_PANEL_BLOCKS = 8,
    NB_SAMPLE_BLOCKS = NB_SAMPLE_PANELS * NB_SAMPLE_PANEL_BLOCKS,
    NB_SAMPLE_FLOATS = NB_SAMPLE_BLOCKS * NB_BLOCK_COLS * (NB_PANEL_ROWS + 1)
};
typedef struct nb_codebook_sample {
    float *blocks;     /* [NB_SAMPLE_BLOCKS][32][16] */
    float *importance; /* [NB_SAMPLE_BLOCKS][32]; 0 in absent columns */
    bool weighed;      /* importance was given: it is not 1 everywhere */
    uint8_t cols[NB_SAMPLE_BLOCKS];
    size_t n; /* blocks so far */
} nb_codebook_sample;

/* An empty sample in memory of the caller's, NB_SAMPLE_FLOATS floats. */
void nb_sample_init(nb_codebook_sample *s, float *memory);

/* The i-th panel of a matrix of n_panels that belongs into a sample, evenly spread; n_panels: there are no more. */
size_t nb_sample_panel(size_t n_panels, size_t i);

/* Up to 8 blocks of a panel, evenly spread. importance [cols]; NULL: all 1. false: a row holds a NaN or an infinity. */
bool nb_sample_add(nb_codebook_sample *s, const nb_search *search, const nb_rows *rows, const float *importance);

/* A codebook for weights like these. Returns whether it is better for them than the fixed one, which it is otherwise. */
bool nb_codebook_learn(const nb_search *search, const nb_codebook_sample *sample, int8_t codebook[NB_CODEBOOK_SIZE]);

#endif
