#include "quant/grid.h"

#include <math.h>
#include <string.h>

#include "quant/codebook.h"

bool nb_codebook_fits(const int8_t codebook[NB_CODEBOOK_SIZE]) {
    bool fits = codebook[0] >= NB_LEVEL_MIN && codebook[NB_CODEBOOK_SIZE - 1] <= NB_LEVEL_MAX;
    for (int i = 1; i < NB_CODEBOOK_SIZE; i++) fits = fits && codebook[i] - codebook[i - 1] >= NB_GRID_CELL_WIDTH;
    return fits;
}

/* Levels are multiples of 1/2 at most 2^6, or close to real numbers of that size: sums of two are exact enough to order. */
static void cells_init(nb_grid *g, const float *level) {
    int code = 0; /* of the level at the cell's left edge */
    for (int cell = 0; cell < NB_GRID_CELLS; cell++) {
        float left = (float)(NB_LEVEL_MIN + cell * NB_GRID_CELL_WIDTH), right = left + NB_GRID_CELL_WIDTH;
        while (code + 1 < NB_CODEBOOK_SIZE && (level[code] + level[code + 1]) / 2 < left) code++;
        bool two = code + 1 < NB_CODEBOOK_SIZE && (level[code] + level[code + 1]) / 2 < right;
        g->border[cell] = two ? (level[code] + level[code + 1]) / 2 : INFINITY;
        g->below[cell] = level[code];
        g->above[cell] = level[code + two];
        g->code_below[cell] = (float)code;
    }
}

/* The code of the level nearest to t, of those from `code` on. */
static int nearest_code(const float *level, float t, int code) {
    while (code + 1 < NB_CODEBOOK_SIZE && t >= (level[code] + level[code + 1]) / 2) code++;
    return code;
}

/* `unit` is what 1 of u is worth in levels. */
static void steps_init(uint8_t steps[NB_GRID_CELLS], const float *level, float unit) {
    enum { CELL = 256 / NB_GRID_CELLS, ZERO = 128 };
    int code = 0;
    for (int cell = 0; cell < NB_GRID_CELLS; cell++) {
        int u = cell * CELL - ZERO, same = 1;
        code = nearest_code(level, (float)u * unit, code);
        while (same < CELL && nearest_code(level, (float)(u + same) * unit, code) == code) same++;
        steps[cell] = (uint8_t)(CELL * code + CELL - same);
    }
}

static void bytes_init(nb_grid *g, const float *level) {
    const float largest = 127.0f, ends[2] = {-g->low, g->high};
    for (int i = 0; i < NB_GRID_STEPS; i++) {
        g->step_shares[i] = 0.76f + 0.04f * (float)i;
        for (int e = 0; e < 2; e++) steps_init(g->steps[e][i], level, ends[e] / (largest * g->step_shares[i]));
    }
    for (int i = 0; i < NB_CODEBOOK_SIZE; i++)
        g->magnitude[i] = (uint8_t)fminf(roundf(fabsf(level[i]) * (largest / -(float)NB_LEVEL_MIN)), largest);
}

static void set_shares(nb_grid *g, const float *shares, size_t n) {
    memcpy(g->shares, shares, n * sizeof *shares);
    g->n_shares = (int)n;
}

void nb_grid_of_levels(nb_grid *g, const float level[NB_CODEBOOK_SIZE]) {
    static const float shares[] = {0.74f, 0.80f, 0.85f, 0.90f, 0.95f, 1.0f, 1.05f, 1.11f};
    memset(g, 0, sizeof *g);
    g->low = level[0];
    g->high = level[NB_CODEBOOK_SIZE - 1];
    cells_init(g, level);
    set_shares(g, shares, sizeof shares / sizeof *shares);
    bytes_init(g, level);
}

static void grid_of_integers(nb_grid *g, int low, int high) {
    static const float shares[] = {0.88f, 0.92f, 0.96f, 1.0f};
    enum { FINE = 200 }; /* levels with which clipping the largest weight never pays */
    memset(g, 0, sizeof *g);
    g->linear = true;
    g->low = (float)low;
    g->high = (float)high;
    if (high - low < FINE) set_shares(g, shares, sizeof shares / sizeof *shares);
}

void nb_grid_init(nb_grid *g, nb_type type, const int8_t codebook[NB_CODEBOOK_SIZE]) {
    float level[NB_CODEBOOK_SIZE];
    if (nb_types[type].high) {
        grid_of_integers(g, nb_types[type].low, nb_types[type].high);
        return;
    }
    for (int i = 0; i < NB_CODEBOOK_SIZE; i++) level[i] = (float)codebook[i];
    nb_grid_of_levels(g, level);
    g->integers = true;
    steps_init(g->halves, level, 0.5f);
    for (int i = 0; i < NB_CODEBOOK_SIZE; i++) {
        g->above_64[i] = (uint8_t)(codebook[i] - NB_LEVEL_MIN);
        g->distance[i] = (uint8_t)(codebook[i] < 0 ? -codebook[i] : codebook[i]);
    }
}
