#include "quant/codebook.h"

#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "quant/panel.h"
#include "quant/quantize.h"

/* 16 levels that minimise the squared error of Gaussian weights in blocks of 32 with the best scale of either sign:
 * Lloyd's algorithm over 40,000 random blocks, then rounding to integers. */
const int8_t nb_q4_codebook[NB_CODEBOOK_SIZE] = {-64, -51, -40, -32, -24, -17, -11, -5, 1, 7, 13, 19, 25, 33, 42, 55};

enum { ROUNDS = 12, FACTORS = 64 };
static const double LEAST_FACTOR = 0.8; /* of the largest that keeps levels in range */

static size_t evenly(size_t n, size_t wanted, size_t i) { return n <= wanted ? i : (2 * i + 1) * n / (2 * wanted); }

void nb_sample_init(nb_codebook_sample *s, float *memory) {
    *s = (nb_codebook_sample){.blocks = memory, .importance = memory + (size_t)NB_SAMPLE_BLOCKS * NB_BLOCK_CODES};
}

size_t nb_sample_panel(size_t n_panels, size_t i) {
    return i < nb_min_size(n_panels, NB_SAMPLE_PANELS) ? evenly(n_panels, NB_SAMPLE_PANELS, i) : n_panels;
}

bool nb_sample_add(nb_codebook_sample *s, const nb_search *search, const nb_rows *rows, const float *importance) {
    float factor[NB_PANEL_ROWS];
    size_t n_blocks = nb_panel_blocks(rows->cols), wanted = nb_min_size(n_blocks, NB_SAMPLE_PANEL_BLOCKS);
    if (!nb_row_factors(search, rows, factor)) return false;
    for (size_t r = 0; r < NB_PANEL_ROWS; r++) /* rows of extraordinary numbers would count in other units */
        if (factor[r] != 1.0f) factor[r] = 0.0f;
    s->weighed = s->weighed || importance;
    for (size_t i = 0; i < wanted && s->n < NB_SAMPLE_BLOCKS; i++, s->n++) {
        size_t block = evenly(n_blocks, wanted, i);
        float *x = s->blocks + s->n * NB_BLOCK_CODES, *weight = s->importance + s->n * NB_BLOCK_COLS;
        memset(x, 0, NB_BLOCK_CODES * sizeof *x);
        size_t n = nb_block_load(search, rows, factor, block, x);
        s->cols[s->n] = (uint8_t)n;
        for (size_t c = 0; c < NB_BLOCK_COLS; c++)
            weight[c] = c >= n ? 0.0f : importance ? importance[block * NB_BLOCK_COLS + c] : 1.0f;
    }
    return true;
}

/* What chose each level: sums of importance * scale * weight and of importance * scale^2. */
typedef struct sums {
    struct {
        double weights, scales;
    } of[NB_CODEBOOK_SIZE];
} sums;

static void add_block(sums *s, const float *x, const float *importance, const float *scale, const uint8_t *codes) {
    double a[NB_PANEL_ROWS], square[NB_PANEL_ROWS];
    for (size_t r = 0; r < NB_PANEL_ROWS; r++) {
        a[r] = (double)scale[r];
        square[r] = a[r] * a[r];
    }
    for (size_t c = 0; c < NB_BLOCK_COLS; c++) {
        const uint8_t *code = codes + c / NB_GROUP_COLS * NB_GROUP_CODES + c % NB_GROUP_COLS;
        double w = (double)importance[c];
        for (size_t r = 0; r < NB_PANEL_ROWS; r++) {
            unsigned k = code[r * NB_GROUP_COLS];
            s->of[k].weights += w * a[r] * (double)x[c * NB_PANEL_ROWS + r];
            s->of[k].scales += w * square[r];
        }
    }
}

static sums assign(const nb_search *search, const nb_codebook_sample *s, const float level[NB_CODEBOOK_SIZE]) {
    sums all = {{{0, 0}}};
    nb_grid grid;
    nb_grid_of_levels(&grid, level);
    for (size_t i = 0; i < s->n; i++) {
        const float *x = s->blocks + i * NB_BLOCK_CODES, *importance = s->importance + i * NB_BLOCK_COLS;
        nb_block_fit fit;
        nb_block_error lost;
        uint8_t codes[NB_BLOCK_CODES];
        search->scales(&grid, x, s->cols[i], s->weighed ? importance : NULL, &fit);
        search->codes(&grid, x, s->cols[i], fit.scale, codes, &lost);
        add_block(&all, x, importance, fit.scale, codes);
    }
    return all;
}

/* The squared error of an assignment to these levels, less the energy of the sample: the sum of (w - scale * level)^2 - w^2. */
static double loss_of(const sums *s, const float level[NB_CODEBOOK_SIZE]) {
    double loss = 0;
    for (int k = 0; k < NB_CODEBOOK_SIZE; k++)
        loss += ((double)level[k] * s->of[k].scales - 2 * s->of[k].weights) * (double)level[k];
    return loss;
}

/* The largest factor that keeps levels of both signs within [-64, 63]. */
static double range_factor(const double level[NB_CODEBOOK_SIZE]) {
    double low = (double)NB_LEVEL_MIN / level[0], high = (double)NB_LEVEL_MAX / level[NB_CODEBOOK_SIZE - 1];
    return low < high ? low : high;
}

/* Real levels in the range, ascending and far enough apart for a grid; false: there are none. */
static bool next_levels(const sums *s, const float level[NB_CODEBOOK_SIZE], float next[NB_CODEBOOK_SIZE]) {
    double mean[NB_CODEBOOK_SIZE];
    for (int i = 0; i < NB_CODEBOOK_SIZE; i++) mean[i] = s->of[i].scales > 0 ? s->of[i].weights / s->of[i].scales : (double)level[i];
    if (!(mean[0] < 0 && mean[NB_CODEBOOK_SIZE - 1] > 0)) return false;
    double factor = range_factor(mean);
    for (int i = 0; i < NB_CODEBOOK_SIZE; i++) {
        next[i] = (float)(mean[i] * factor);
        if (i && next[i] - next[i - 1] < NB_GRID_CELL_WIDTH) return false;
    }
    return true;
}

static double nearest_integer(double v) { return floor(v + 0.5); }

/* Integers near a multiple of the levels, with the factor whose rounding costs least where weights are. */
static void round_levels(const sums *s, const float level[NB_CODEBOOK_SIZE], int8_t codebook[NB_CODEBOOK_SIZE]) {
    double best = (double)INFINITY;
    for (int f = 0; f < FACTORS; f++) {
        double factor = 1.0 - (1.0 - LEAST_FACTOR) * f / FACTORS, cost = 0;
        for (int i = 0; i < NB_CODEBOOK_SIZE; i++) {
            double d = nearest_integer((double)level[i] * factor) / factor - (double)level[i];
            cost += s->of[i].scales * d * d;
        }
        if (cost >= best) continue;
        int8_t rounded[NB_CODEBOOK_SIZE];
        for (int i = 0; i < NB_CODEBOOK_SIZE; i++) rounded[i] = (int8_t)nearest_integer((double)level[i] * factor);
        if (!nb_codebook_fits(rounded)) continue;
        best = cost;
        memcpy(codebook, rounded, sizeof rounded);
    }
}

static void as_floats(const int8_t codebook[NB_CODEBOOK_SIZE], float level[NB_CODEBOOK_SIZE]) {
    for (int i = 0; i < NB_CODEBOOK_SIZE; i++) level[i] = (float)codebook[i];
}

bool nb_codebook_learn(const nb_search *search, const nb_codebook_sample *sample, int8_t codebook[NB_CODEBOOK_SIZE]) {
    float level[NB_CODEBOOK_SIZE], next[NB_CODEBOOK_SIZE];
    int8_t learned[NB_CODEBOOK_SIZE];
    memcpy(codebook, nb_q4_codebook, NB_CODEBOOK_SIZE);
    memcpy(learned, nb_q4_codebook, sizeof learned);
    as_floats(nb_q4_codebook, level);
    sums s = assign(search, sample, level);
    double fixed = loss_of(&s, level);
    for (int i = 0; i < ROUNDS && next_levels(&s, level, next); i++) {
        memcpy(level, next, sizeof level);
        s = assign(search, sample, level);
    }
    round_levels(&s, level, learned);
    as_floats(learned, level);
    s = assign(search, sample, level);
    if (!(loss_of(&s, level) < fixed)) return false;
    memcpy(codebook, learned, sizeof learned);
    return true;
}
