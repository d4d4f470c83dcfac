#include "quant/refine.h"

#include <string.h>

#include "base/checked.h"
#include "quant/panel.h"

enum {
    LANES = NB_PANEL_ROWS,
    TILE = 64,   /* columns whose moments with a block's are gathered together */
    NEARBY = 2,  /* block scales that are tried on either side */
    ROUNDS = 2   /* times that a block's codes are chosen for a scale */
};

typedef struct block {
    size_t begin, n;
    float h[NB_BLOCK_COLS][NB_BLOCK_COLS]; /* its moments */
    float value[NB_BLOCK_COLS][LANES], gradient[NB_BLOCK_COLS][LANES];
} block;

/* h[n][stride]: moments of the block's columns with columns [at, at + m). Half of them are kept: those of a column with
 * columns behind it lie side by side. */
static void gather_moments(const nb_feedback *f, const block *b, size_t at, size_t m, size_t stride, float *h) {
    if (at + m <= b->begin) {
        for (size_t j = 0; j < m; j++)
            for (size_t k = 0; k < b->n; k++) h[k * stride + j] = f->carry[(at + j) * f->n + b->begin + k];
        return;
    }
    for (size_t k = 0; k < b->n; k++)
        for (size_t j = 0; j < m; j++) h[k * stride + j] = nb_feedback_moment(f, at + j, b->begin + k);
}

static void load_block(const nb_refinement *p, block *b) {
    float h[NB_BLOCK_COLS * TILE];
    memset(b->gradient, 0, sizeof b->gradient);
    memcpy(b->value, p->value + b->begin * LANES, b->n * sizeof *b->value);
    for (size_t at = 0; at < p->f->n; at += TILE) {
        size_t m = nb_min_size(TILE, p->f->n - at);
        gather_moments(p->f, b, at, m, TILE, h);
        p->q->search.sums(p->lost + at * LANES, m, h, TILE, b->n, b->gradient[0]);
    }
    gather_moments(p->f, b, b->begin, b->n, NB_BLOCK_COLS, b->h[0]);
}

/* Every column's best level given all others, one after the other. cost[16] += what that changes. */
static void choose_codes(const nb_quantizer *q, block *b, const float scale[LANES], float cost[LANES]) {
    for (size_t k = 0; k < b->n; k++) {
        float best[LANES], back[LANES], h = b->h[k][k], *v = b->value[k], *g = b->gradient[k];
        for (size_t r = 0; r < LANES; r++) best[r] = v[r] + g[r] / h;
        q->search.values(&q->grid, best, 1, scale, best);
        for (size_t r = 0; r < LANES; r++) {
            float move = best[r] - v[r];
            cost[r] += move * (move * h - 2.0f * g[r]);
            v[r] = best[r];
            back[r] = -move;
        }
        q->search.sums(back, 1, b->h[k], 1, b->n, b->gradient[0]);
    }
}

/* The block's values and scales become those of the trial in lanes where it costs less than what was best. */
static void keep_better(const nb_refinement *p, const block *trial, const int8_t code[LANES], const float cost[LANES],
                        float least[LANES]) {
    int8_t *scale = p->scale + trial->begin / NB_BLOCK_COLS * LANES;
    for (size_t r = 0; r < LANES; r++) {
        if (!(cost[r] < least[r])) continue;
        least[r] = cost[r];
        scale[r] = code[r];
        for (size_t k = 0; k < trial->n; k++) p->value[(trial->begin + k) * LANES + r] = trial->value[k][r];
    }
}

static bool refine_block(const nb_refinement *p, size_t begin, size_t n) {
    block b = {.begin = begin, .n = n}, trial;
    int8_t middle[LANES], code[LANES];
    float scale[LANES], cost[LANES], least[LANES] = {0};
    bool changed = false;
    memcpy(middle, p->scale + begin / NB_BLOCK_COLS * LANES, sizeof middle);
    load_block(p, &b);
    for (int offset = -NEARBY; offset <= NEARBY; offset++) {
        nb_scales_beside(middle, offset, p->row_scale, code, scale);
        memset(cost, 0, sizeof cost);
        trial = b;
        for (int i = 0; i < ROUNDS; i++) choose_codes(p->q, &trial, scale, cost);
        keep_better(p, &trial, code, cost, least);
    }
    for (size_t i = begin * LANES; i < (begin + n) * LANES; i++) p->lost[i] = p->exact[i] - p->value[i];
    for (size_t r = 0; r < LANES; r++) changed |= least[r] < 0.0f;
    return changed;
}

bool nb_refine_pass(const nb_refinement *p) {
    bool changed = false;
    for (size_t at = 0; at < p->f->n; at += NB_BLOCK_COLS)
        changed |= refine_block(p, at, nb_min_size(NB_BLOCK_COLS, p->f->n - at));
    return changed;
}
