#include "quant/drift.h"

#include <string.h>

#include "base/checked.h"
#include "quant/panel.h"

enum { LANES = NB_PANEL_ROWS, BLOCK = NB_BLOCK_COLS, TILE = 64 };

void nb_feedback_set_drift(nb_feedback *f, float *drift, double share) {
    f->drift = drift;
    for (size_t i = 0; i < f->n * f->n; i++) drift[i] = (float)((double)drift[i] * (share / f->unit));
}

/* x[n][16] from x (I + U)' = given: x[k] = given[k] - sum over j > k of U[k][j] x[j], by blocks from the last. back[n][16]
 * becomes -x, so that sums can only add. */
static void solve_transposed(const nb_search *search, const nb_feedback *f, float *x, float *back) {
    float u[BLOCK * TILE];
    for (size_t end = f->n, begin; end > 0; end = begin) {
        begin = (end - 1) / BLOCK * BLOCK;
        for (size_t at = end; at < f->n; at += TILE) {
            size_t m = nb_min_size(TILE, f->n - at);
            for (size_t j = 0; j < m; j++)
                for (size_t k = begin; k < end; k++) u[(k - begin) * TILE + j] = f->carry[(at + j) * f->n + k];
            search->sums(back + at * LANES, m, u, TILE, end - begin, x + begin * LANES);
        }
        for (size_t k = end; k-- > begin;) {
            for (size_t j = k + 1; j < end; j++) u[j - k - 1] = f->carry[j * f->n + k];
            search->sums(back + (k + 1) * LANES, end - k - 1, u, TILE, 1, x + k * LANES);
            for (size_t r = 0; r < LANES; r++) back[k * LANES + r] = -x[k * LANES + r];
        }
    }
}

/* x[n][16] from x (I + U) = given: x[k] = given[k] - sum over j < k of x[j] U[j][k]. */
static void solve(const nb_search *search, const nb_feedback *f, float *x, float *back) {
    for (size_t begin = 0, end; begin < f->n; begin = end) {
        end = nb_min_size(begin + BLOCK, f->n);
        search->sums(back, begin, f->carry + begin * f->n, f->n, end - begin, x + begin * LANES);
        for (size_t k = begin; k < end; k++) {
            search->sums(back + begin * LANES, k - begin, f->carry + k * f->n + begin, f->n, 1, x + k * LANES);
            for (size_t r = 0; r < LANES; r++) back[k * LANES + r] = -x[k * LANES + r];
        }
    }
}

void nb_drift_correct(const nb_search *search, const nb_feedback *f, float *w, float *scratch) {
    size_t floats = f->n * LANES;
    float *b = scratch, *back = scratch + floats;
    if (!f->drift) return;
    memset(b, 0, floats * sizeof *b);
    search->sums(w, f->n, f->drift, f->n, f->n, b);
    solve_transposed(search, f, b, back);
    for (size_t k = 0; k < f->n; k++)
        for (size_t r = 0; r < LANES; r++) b[k * LANES + r] /= f->weight[k];
    solve(search, f, b, back);
    for (size_t i = 0; i < floats; i++) w[i] += b[i];
}
