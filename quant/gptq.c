#include "quant/gptq.h"

#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "base/mem.h"
#include "quant/drift.h"
#include "quant/panel.h"
#include "quant/refine.h"

/* ---- the factors ----
 *
 * With rows and columns in reverse order H is A = L D L', L lower triangular with ones: the usual Cholesky factorization, from
 * which U[j][k] = L[n-1-j][n-1-k]. It goes by blocks of columns, left-looking, so that nearly all work is a product of
 * finished columns; rows are shared over the team, and an element is summed over the columns in order. */

enum { BLOCK = 32, TILE = 4, SHARE = 8 * TILE }; /* columns of a block; rows that share what is read of it; rows of a share of work */

typedef struct factoring {
    size_t n, begin, width; /* the block of columns */
    double *a;              /* [n][n], lower triangle; becomes the Cholesky factor */
    double *turned;         /* [n][BLOCK]: finished columns of the block's rows, transposed */
} factoring;

/* a[r][block] -= sum over finished columns c of a[r][c] a[block][c]', for `rows` <= TILE neighbouring rows. */
static void subtract_product(const factoring *f, size_t row, size_t rows) {
    double sum[TILE][BLOCK] = {{0}};
    const double *a = f->a + row * f->n;
    for (size_t c = 0; c < f->begin; c++) {
        const double *t = f->turned + c * BLOCK;
        for (size_t r = 0; r < rows; r++) {
            double x = a[r * f->n + c];
            for (size_t i = 0; i < BLOCK; i++) sum[r][i] += x * t[i];
        }
    }
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < f->width; i++) f->a[(row + r) * f->n + f->begin + i] -= sum[r][i];
}

/* a[row][block] = a[row][block] / L' of the block's own triangle. */
static void divide_by_triangle(const factoring *f, size_t row) {
    double *x = f->a + row * f->n + f->begin;
    for (size_t i = 0; i < f->width; i++) {
        const double *l = f->a + (f->begin + i) * f->n + f->begin;
        double sum = x[i];
        for (size_t c = 0; c < i; c++) sum -= x[c] * l[c];
        x[i] = sum / l[i];
    }
}

static bool factor_triangle(const factoring *f) {
    for (size_t i = 0; i < f->width; i++) {
        double *x = f->a + (f->begin + i) * f->n + f->begin, sum = x[i];
        for (size_t j = 0; j < i; j++) {
            const double *l = f->a + (f->begin + j) * f->n + f->begin;
            double s = x[j];
            for (size_t c = 0; c < j; c++) s -= x[c] * l[c];
            x[j] = s / l[j];
            sum -= x[j] * x[j];
        }
        if (!(sum > 0.0) || !isfinite(sum)) return false;
        x[i] = sqrt(sum);
    }
    return true;
}

static void factor_rows(void *arg, size_t begin, size_t end, int member) {
    (void)member;
    const factoring *f = arg;
    for (size_t i = begin; i < end; i += TILE) {
        size_t row = f->begin + f->width + i, rows = nb_min_size(TILE, end - i);
        subtract_product(f, row, rows);
        for (size_t r = 0; r < rows; r++) divide_by_triangle(f, row + r);
    }
}

static bool factor(factoring *f, nb_team *team) {
    for (f->begin = 0; f->begin < f->n; f->begin += f->width) {
        f->width = nb_min_size(BLOCK, f->n - f->begin);
        for (size_t c = 0; c < f->begin; c++)
            for (size_t i = 0; i < BLOCK; i++)
                f->turned[c * BLOCK + i] = i < f->width ? f->a[(f->begin + i) * f->n + c] : 0.0;
        for (size_t i = 0; i < f->width; i += TILE) subtract_product(f, f->begin + i, nb_min_size(TILE, f->width - i));
        if (!factor_triangle(f)) return false;
        nb_team_for(team, f->n - f->begin - f->width, SHARE, factor_rows, f);
    }
    return true;
}

static double mean_moment(const float *moments, size_t n) {
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) sum += (double)moments[i * n + i];
    return sum / (double)n;
}

/* Reversed, damped, in doubles. */
static void load_moments(const float *moments, size_t n, double damping, double *a) {
    for (size_t r = 0; r < n; r++)
        for (size_t c = 0; c <= r; c++) a[r * n + c] = (double)moments[(n - 1 - c) * n + (n - 1 - r)];
    for (size_t i = 0; i < n; i++) a[i * n + i] += damping;
}

/* H, the lower triangle of the moments, moves to the upper one. */
static void store_moments(float *carry, size_t n, double damping, double unit) {
    for (size_t k = 0; k < n; k++) {
        for (size_t j = 0; j < k; j++) carry[j * n + k] = (float)((double)carry[k * n + j] / unit);
        carry[k * n + k] = (float)(((double)carry[k * n + k] + damping) / unit);
    }
}

static void store_factors(const double *a, size_t n, double damping, nb_feedback *f) {
    double mean = 0.0;
    for (size_t i = 0; i < n; i++) mean += a[i * n + i] * a[i * n + i];
    mean /= (double)n;
    f->unit = mean;
    store_moments(f->carry, n, damping, mean);
    for (size_t k = 0; k < n; k++) {
        size_t column = n - 1 - k;
        double diagonal = a[column * n + column];
        f->weight[k] = (float)fmin(fmax(diagonal * diagonal / mean, 0x1p-20), 0x1p20); /* a search's range */
        for (size_t j = 0; j < k; j++) f->carry[k * n + j] = (float)(a[(n - 1 - j) * n + column] / diagonal);
    }
}

nb_status nb_feedback_make(nb_feedback *f, float *moments, size_t n, double damp, nb_team *team, nb_error *err) {
    *f = (nb_feedback){.n = n, .carry = moments};
    size_t elements, bytes;
    if (!nb_mul_size(n, n, &elements) || !nb_mul_size(elements, sizeof(double), &bytes))
        return nb_fail(err, NB_LIMIT, "second moments of %zu inputs do not fit this machine", n);
    factoring g = {.n = n, .a = nb_alloc(bytes), .turned = nb_alloc(n * BLOCK * sizeof(double))};
    f->weight = nb_alloc(n * sizeof *f->weight);
    nb_status st = g.a && g.turned && f->weight ? NB_OK : nb_oom(err, "the factors of second moments", bytes);
    if (!st) {
        double damping = damp * mean_moment(moments, n);
        load_moments(moments, n, damping, g.a);
        if (factor(&g, team)) store_factors(g.a, n, damping, f);
        else st = nb_fail(err, NB_FORMAT, "the second moments of %zu inputs are not finite, or all are zero", n);
    }
    nb_free(g.a);
    nb_free(g.turned);
    return st;
}

void nb_feedback_free(nb_feedback *f) {
    nb_free(f->carry);
    nb_free(f->weight);
    nb_free(f->drift);
    *f = (nb_feedback){0};
}

/* ---- a panel ---- */

enum {
    LAZY_COLS = NB_STRIP_COLS, /* errors reach the columns beyond a strip when the strip is done */
    LANES = NB_PANEL_ROWS,
    NEARBY = 3 /* block scales that are tried on either side of the search's */
};

typedef struct panel_job {
    const nb_quantizer *q;
    const nb_feedback *f;
    float *target; /* [cols][16]: the weights, with the errors of columns before them as far as they were carried; then
                      what stands for them */
    float *exact;  /* [cols][16]: the weights, for the inputs that there are */
    float *lost;   /* [cols][16]: exact minus quantized, of finished columns */
    int8_t *scale; /* [blocks][16] */
    size_t cols;
    float factor[LANES], row_scale[LANES];
} panel_job;

size_t nb_gptq_scratch(size_t cols) { return 3 * cols * LANES + nb_panel_blocks(cols) * LANES / sizeof(float); }

/* to[n][16], columns from k on, += sums over columns [begin, end) of their errors' shares in each */
static void carry(const panel_job *p, size_t k, size_t n, size_t begin, size_t end, float *to) {
    p->q->search.sums(p->lost + begin * LANES, end - begin, p->f->carry + k * p->f->n + begin, p->f->n, n, to);
}

/* Quantize block columns [begin, begin + n) one after the other with these scales: their targets become final, `lost` is
 * filled, and what it costs is the result, per row. x[n][16] begins as the block's targets. */
static void run_block(const panel_job *p, size_t begin, size_t n, const float scale[LANES], float *x, float cost[LANES]) {
    float value[LANES];
    memset(cost, 0, LANES * sizeof *cost);
    for (size_t c = 0; c < n; c++) {
        float *t = x + c * LANES, *lost = p->lost + (begin + c) * LANES;
        const float *exact = p->exact + (begin + c) * LANES;
        carry(p, begin + c, 1, begin, begin + c, t);
        p->q->search.values(&p->q->grid, t, 1, scale, value);
        for (size_t r = 0; r < LANES; r++) {
            float d = t[r] - value[r];
            lost[r] = exact[r] - value[r];
            cost[r] += d * d * p->f->weight[begin + c];
            t[r] = value[r];
        }
    }
}

/* Block scales near those of the search: the ones that cost least when the block's columns make up for one another. */
static void choose_scales(const panel_job *p, size_t begin, size_t n, int8_t best[LANES]) {
    float x[NB_BLOCK_COLS * LANES], cost[LANES], least[LANES], scale[LANES];
    int8_t middle[LANES], code[LANES];
    memcpy(middle, best, sizeof middle);
    for (size_t r = 0; r < LANES; r++) least[r] = INFINITY;
    for (int step = 0; step <= 2 * NEARBY; step++) {
        int offset = step % 2 ? (step + 1) / 2 : -step / 2; /* 0, 1, -1, 2, ... */
        nb_scales_beside(middle, offset, p->row_scale, code, scale);
        memcpy(x, p->target + begin * LANES, n * LANES * sizeof *x);
        run_block(p, begin, n, scale, x, cost);
        for (size_t r = 0; r < LANES; r++) {
            if (!(cost[r] < least[r])) continue;
            least[r] = cost[r];
            best[r] = code[r];
        }
    }
}

static void quantize_block(const panel_job *p, size_t block) {
    size_t begin = block * NB_BLOCK_COLS, n = nb_block_cols(p->cols, block);
    float *x = p->target + begin * LANES, scale[LANES], cost[LANES];
    const float *weight = p->f->weight + begin;
    int8_t *code = p->scale + block * LANES;
    nb_block_fit fit;
    p->q->search.scales(&p->q->grid, x, n, weight, &fit);
    p->q->search.blocks(&p->q->grid, x, n, weight, p->row_scale, fit.scale, code);
    choose_scales(p, begin, n, code);
    for (size_t r = 0; r < LANES; r++) scale[r] = p->row_scale[r] * (float)code[r];
    run_block(p, begin, n, scale, x, cost);
}

static void quantize_columns(const panel_job *p) {
    for (size_t begin = 0; begin < p->cols; begin += LAZY_COLS) {
        size_t end = nb_min_size(begin + LAZY_COLS, p->cols);
        for (size_t at = begin; at < end; at += NB_BLOCK_COLS) {
            size_t stop = nb_min_size(at + NB_BLOCK_COLS, end);
            carry(p, at, stop - at, begin, at, p->target + at * LANES);
            quantize_block(p, at / NB_BLOCK_COLS);
        }
        carry(p, end, p->cols - end, begin, end, p->target + end * LANES);
    }
}

static void refine(const panel_job *p, int passes) {
    const nb_refinement r = {.q = p->q, .f = p->f, .exact = p->exact, .value = p->target, .lost = p->lost,
                             .row_scale = p->row_scale, .scale = p->scale};
    while (passes-- > 0 && nb_refine_pass(&r)) {}
}

static void put_blocks(const panel_job *p, uint8_t *panel) {
    nb_block_error ignored;
    for (size_t b = 0; b < nb_panel_blocks(p->cols); b++)
        nb_block_put(p->q, p->target + b * NB_BLOCK_COLS * LANES, nb_block_cols(p->cols, b), p->row_scale,
                     p->scale + b * LANES, b, panel, &ignored);
}

/* Sum over the rows x[cols][16] of x H x' = sum over k of D[k] (x (I + U))[k]^2. The targets are no longer needed. */
static double output_energy(const panel_job *p, const float *x) {
    const nb_feedback *f = p->f;
    double energy = 0.0;
    float *y = p->target;
    memcpy(y, x, p->cols * LANES * sizeof *y);
    for (size_t begin = 0; begin < p->cols; begin += NB_BLOCK_COLS) {
        size_t end = nb_min_size(begin + NB_BLOCK_COLS, p->cols);
        p->q->search.sums(x, begin, f->carry + begin * f->n, f->n, end - begin, y + begin * LANES);
        for (size_t k = begin; k < end; k++)
            p->q->search.sums(x + begin * LANES, k - begin, f->carry + k * f->n + begin, f->n, 1, y + k * LANES);
    }
    for (size_t k = 0; k < p->cols; k++)
        for (size_t r = 0; r < LANES; r++) {
            double v = p->factor[r] > 0.0f ? (double)y[k * LANES + r] / (double)p->factor[r] : 0.0;
            energy += (double)f->weight[k] * f->unit * v * v;
        }
    return energy;
}

static void add_lost(const panel_job *p, const float *src, size_t n_rows, size_t stride, nb_quant_error *error) {
    for (size_t r = 0; r < n_rows; r++) {
        double unit = p->factor[r] > 0.0f ? 1.0 / (double)p->factor[r] : 1.0;
        for (size_t c = 0; c < p->cols; c++) {
            double w = (double)src[r * stride + c], d = w - (double)p->target[c * LANES + r] * unit;
            error->signal += w * w;
            error->noise += d * d;
            error->largest = fmax(error->largest, fabs(d));
        }
    }
    error->count += (uint64_t)n_rows * p->cols;
    error->output += output_energy(p, p->exact);
    error->output_noise += output_energy(p, p->lost);
}

/* The row scales follow from blocks as they are before errors reach them: what is carried moves them by little. */
static void fix_rows(panel_job *p, uint8_t *panel) {
    size_t n_blocks = nb_panel_blocks(p->cols);
    nb_block_fit fit;
    uint8_t *fits = (uint8_t *)p->lost; /* not in use yet: 128 bytes a block, of 64 a column */
    for (size_t b = 0; b < n_blocks; b++) {
        size_t begin = b * NB_BLOCK_COLS;
        p->q->search.scales(&p->q->grid, p->exact + begin * LANES, nb_block_cols(p->cols, b), p->f->weight + begin, &fit);
        memcpy(fits + b * sizeof fit, &fit, sizeof fit);
    }
    nb_row_scales(p->q, fits, n_blocks, p->factor, panel, p->row_scale);
}

void nb_gptq_panel(const nb_quantizer *q, const nb_feedback *f, int passes, const float *src, size_t n_rows, size_t cols,
                   size_t stride, float *scratch, uint8_t *panel, nb_quant_error *error) {
    size_t floats = cols * LANES;
    panel_job p = {.q = q, .f = f, .cols = cols, .exact = scratch, .target = scratch + floats, .lost = scratch + 2 * floats,
                   .scale = (int8_t *)(scratch + 3 * floats)};
    const nb_rows rows = {src, n_rows, cols, stride, NB_TYPE_F32};
    nb_row_factors(&q->search, &rows, p.factor);
    for (size_t b = 0; b < nb_panel_blocks(cols); b++)
        nb_block_load(&q->search, &rows, p.factor, b, p.exact + b * NB_BLOCK_COLS * LANES);
    nb_drift_correct(&q->search, f, p.exact, scratch + floats);
    fix_rows(&p, panel);
    memcpy(p.target, p.exact, floats * sizeof *p.target);
    quantize_columns(&p);
    refine(&p, passes);
    put_blocks(&p, panel);
    if (error) add_lost(&p, src, n_rows, stride, error);
}

double nb_feedback_cost(const nb_feedback *f, const float *w, const float *v, size_t n_rows, size_t stride) {
    double cost = 0.0;
    for (size_t r = 0; r < n_rows; r++, w += stride, v += stride)
        for (size_t k = 0; k < f->n; k++) {
            double e = (double)w[k] - (double)v[k];
            for (size_t j = 0; j < k; j++) e += ((double)w[j] - (double)v[j]) * (double)f->carry[k * f->n + j];
            cost += (double)f->weight[k] * e * e;
        }
    return cost;
}
