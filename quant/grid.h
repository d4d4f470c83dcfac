/* What a code of a scaled type can stand for: the levels of a linear grid, or those of a codebook.
 *
 * Levels are integers and weights are rowscale * blockscale * level, so a search asks one thing of a grid: the level
 * nearest to t = weight / scale. In a codebook the border between two levels is a multiple of 1/2; its range [-64, 64) is
 * cut into 32 cells of width 4, and as levels are at least 4 apart, so are the borders: a cell holds at most one, and
 * three lookups and one comparison find the level exactly. */
#ifndef NB_QUANT_GRID_H
#define NB_QUANT_GRID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "quant/types.h"

enum { NB_GRID_CELLS = 32, NB_GRID_CELL_WIDTH = 4, NB_GRID_SHARES = 8, NB_LEVEL_MIN = -64, NB_LEVEL_MAX = 63 };

typedef struct nb_grid {
    float low, high;              /* the outermost levels */
    float shares[NB_GRID_SHARES]; /* [n_shares]: what share of (largest weight / outermost level) a search tries as scale */
    int n_shares;                 /* 0: a grid so fine that the largest weight decides the scale */
    bool linear;                  /* every integer from low to high is a level, and its own code */
    /* Of a codebook: t in [4 i - 64, 4 i - 60) has the level `below` when t < border, else `above`, whose code is the next one. */
    float border[NB_GRID_CELLS], below[NB_GRID_CELLS], above[NB_GRID_CELLS], code_below[NB_GRID_CELLS];
} nb_grid;

/* The grid of a scaled type. codebook: ascending, levels from -64 to 63 at least 4 apart; not looked at by types without. */
void nb_grid_init(nb_grid *g, nb_type type, const int8_t codebook[NB_CODEBOOK_SIZE]);

/* Whether a codebook is one that nb_grid_init takes. */
bool nb_codebook_fits(const int8_t codebook[NB_CODEBOOK_SIZE]);

#endif
