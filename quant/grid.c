#include "quant/grid.h"

#include <math.h>
#include <string.h>

bool nb_codebook_fits(const int8_t codebook[NB_CODEBOOK_SIZE]) {
    bool fits = codebook[0] >= NB_LEVEL_MIN && codebook[NB_CODEBOOK_SIZE - 1] <= NB_LEVEL_MAX;
    for (int i = 1; i < NB_CODEBOOK_SIZE; i++) fits = fits && codebook[i] - codebook[i - 1] >= NB_GRID_CELL_WIDTH;
    return fits;
}

static void cells_init(nb_grid *g, const int8_t *codebook) {
    int code = 0; /* of the level at the cell's left edge */
    for (int cell = 0; cell < NB_GRID_CELLS; cell++) {
        int left = 2 * (NB_LEVEL_MIN + cell * NB_GRID_CELL_WIDTH), right = left + 2 * NB_GRID_CELL_WIDTH; /* halves */
        while (code + 1 < NB_CODEBOOK_SIZE && codebook[code] + codebook[code + 1] < left) code++;
        bool two = code + 1 < NB_CODEBOOK_SIZE && codebook[code] + codebook[code + 1] < right;
        g->border[cell] = two ? (float)(codebook[code] + codebook[code + 1]) / 2 : INFINITY;
        g->below[cell] = (float)codebook[code];
        g->above[cell] = (float)codebook[code + two];
        g->code_below[cell] = (float)code;
    }
}

void nb_grid_init(nb_grid *g, nb_type type, const int8_t codebook[NB_CODEBOOK_SIZE]) {
    static const float by_codebook[] = {0.74f, 0.80f, 0.85f, 0.90f, 0.95f, 1.0f, 1.05f, 1.11f};
    static const float by_levels[] = {0.88f, 0.92f, 0.96f, 1.0f};
    enum { FINE = 200 }; /* levels with which clipping the largest weight never pays */
    const nb_type_info *info = &nb_types[type];
    memset(g, 0, sizeof *g);
    g->linear = info->high > 0;
    g->low = (float)(g->linear ? info->low : codebook[0]);
    g->high = (float)(g->linear ? info->high : codebook[NB_CODEBOOK_SIZE - 1]);
    if (!g->linear) cells_init(g, codebook);
    const float *shares = g->linear ? by_levels : by_codebook;
    size_t n = g->linear ? sizeof by_levels / sizeof *by_levels : sizeof by_codebook / sizeof *by_codebook;
    if (g->linear && info->high - info->low > FINE) n = 0;
    memcpy(g->shares, shares, n * sizeof *shares);
    g->n_shares = (int)n;
}
