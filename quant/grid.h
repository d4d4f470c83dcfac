/* What a code of a scaled type can stand for: the levels of a linear grid, or those of a codebook.
 *
 * Levels are integers and weights are rowscale * blockscale * level, so a search asks one thing of a grid: the level
 * nearest to t = weight / scale. In a codebook the border between two levels is a multiple of 1/2; its range [-64, 64) is
 * cut into 32 cells of width 4, and as levels are at least 4 apart, so are the borders: a cell holds at most one, and
 * three lookups and one comparison find the level exactly.
 *
 * Which scale suits a block is asked of bytes, 64 of which fit where 16 floats do: u = 128 + round(127 w / largest), and for
 * scales that put the largest weight near the lowest level the same of -w. With a share given, the level nearest to a weight
 * is a function of u that rises by steps. So is the level of a codebook nearest to t, one of floor(2 t). A table has what it
 * begins with in each of 32 cells of eight values of u: 8 * code, plus so much that adding u's low three bits carries into
 * the next code where that begins. A second border in a cell, which narrow levels can have where shares are tried, is passed
 * over until the next cell. */
#ifndef NB_QUANT_GRID_H
#define NB_QUANT_GRID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "quant/types.h"

enum { NB_GRID_CELLS = 32, NB_GRID_CELL_WIDTH = 4, NB_GRID_SHARES = 8, NB_GRID_STEPS = 11, NB_LEVEL_MIN = -64, NB_LEVEL_MAX = 63 };

typedef struct nb_grid {
    float low, high;              /* the outermost levels */
    float shares[NB_GRID_SHARES]; /* [n_shares]: what share of (largest weight / outermost level) a search tries as scale */
    int n_shares;                 /* 0: a grid so fine that the largest weight decides the scale */
    float step_shares[NB_GRID_STEPS]; /* of a codebook: the shares that bytes are asked of */
    uint8_t steps[2][NB_GRID_STEPS][NB_GRID_CELLS]; /* for the low and the high end, by share */
    uint8_t magnitude[NB_CODEBOOK_SIZE];             /* 127/64 |level|, rounded and at most 127 */
    bool integers; /* levels are, so borders are multiples of 1/2, and the level nearest to t is one of u = 128 + floor(2 t): */
    uint8_t halves[NB_GRID_CELLS];                       /* its steps */
    uint8_t above_64[NB_CODEBOOK_SIZE], distance[NB_CODEBOOK_SIZE]; /* 64 + level, |level| */
    bool linear;                  /* every integer from low to high is a level, and its own code */
    /* Of a codebook: t in [4 i - 64, 4 i - 60) has the level `below` when t < border, else `above`, whose code is the next one. */
    float border[NB_GRID_CELLS], below[NB_GRID_CELLS], above[NB_GRID_CELLS], code_below[NB_GRID_CELLS];
} nb_grid;

/* The grid of a scaled type. codebook: ascending, levels from -64 to 63 at least 4 apart; not looked at by types without. */
void nb_grid_init(nb_grid *g, nb_type type, const int8_t codebook[NB_CODEBOOK_SIZE]);

/* Whether a codebook is one that nb_grid_init takes. */
bool nb_codebook_fits(const int8_t codebook[NB_CODEBOOK_SIZE]);

#endif
