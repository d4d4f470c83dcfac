#include "convert/moments.h"

#include <string.h>

#include "base/checked.h"
#include "base/mem.h"

enum { MOMENT_ROWS = 64 }; /* rows of the triangle that are computed together: a multiple of 16 */

static size_t padded(size_t n) { return nb_round_up(n, NB_BLOCK_COLS); }

nb_status nb_moments_create(nb_moments *m, const nb_kernels *k, nb_team *team, size_t chunk, size_t widest,
                            nb_error *err) {
    *m = (nb_moments){.k = k, .team = team, .chunk = padded(chunk), .widest = padded(widest)};
    size_t inputs = m->chunk * m->widest * sizeof(float);
    size_t products = (size_t)nb_team_size(team) * MOMENT_ROWS * m->widest * sizeof(float);
    m->turned = nb_alloc(inputs);
    m->panels = nb_alloc(inputs);
    m->product = nb_alloc(products);
    if (m->turned && m->panels && m->product) return NB_OK;
    nb_moments_free(m);
    return nb_oom(err, "the inputs of matrices", 2 * inputs + products);
}

void nb_moments_clear(nb_moments *m) {
    for (size_t i = 0; i < m->size; i++) nb_free(m->list[i].sum);
    m->size = 0;
}

void nb_moments_free(nb_moments *m) {
    nb_moments_clear(m);
    nb_free(m->list);
    nb_free(m->turned);
    nb_free(m->panels);
    nb_free(m->product);
    *m = (nb_moments){0};
}

nb_status nb_moments_watch(nb_moments *m, const nb_weight *w, nb_error *err) {
    if (m->size == m->capacity) {
        size_t more = m->capacity ? 2 * m->capacity : 16;
        nb_moment *list = nb_realloc(m->list, m->capacity * sizeof *list, more * sizeof *list);
        if (!list) return nb_oom(err, "second moments", more * sizeof *list);
        m->list = list;
        m->capacity = more;
    }
    size_t n = (size_t)w->cols, elements = 0;
    float *sum = nb_mul_size(n, n, &elements) ? nb_calloc(elements, sizeof *sum) : NULL;
    if (!sum) return nb_oom(err, "second moments", elements * sizeof *sum);
    m->list[m->size++] = (nb_moment){.w = w, .n = n, .sum = sum};
    return NB_OK;
}

nb_moment *nb_moments_find(const nb_moments *m, const nb_weight *w) {
    for (size_t i = 0; i < m->size; i++)
        if (m->list[i].w == w) return &m->list[i];
    return NULL;
}

/* Rows [begin, end) of MOMENT_ROWS channels each: their products with all channels up to themselves. */
static void add_rows(void *arg, size_t begin, size_t end, int member) {
    const nb_moments *m = arg;
    const nb_moment *to = m->at_work;
    float *y = m->product + (size_t)member * MOMENT_ROWS * m->widest;
    size_t stride = padded(to->n);
    for (size_t block = begin; block < end; block++) {
        size_t first = block * MOMENT_ROWS, n = nb_min_size(MOMENT_ROWS, to->n - first);
        const nb_matmul job = {.w = (const uint8_t *)m->panels,
                               .panel_bytes = m->n_chunk * NB_PANEL_ROWS * sizeof(float),
                               .cols = m->n_chunk, .n_tokens = n, .y = y, .y_stride = stride,
                               .x = {.f = m->turned + first * m->n_chunk, .f_stride = m->n_chunk}};
        nb_kernels_matmul(m->k, NB_TYPE_F32)(&job, 0, nb_div_up(first + n, NB_PANEL_ROWS));
        for (size_t r = 0; r < n; r++) {
            float *row = to->sum + (first + r) * to->n;
            for (size_t c = 0; c <= first + r; c++) row[c] += y[r * stride + c];
        }
    }
}

/* Channels [16 begin, 16 end) of the chunk, turned and in panels; tokens and channels beyond are zero. */
typedef struct turning {
    nb_moments *m;
    const float *x;
    size_t stride, n;
} turning;

static void turn_channels(void *arg, size_t begin, size_t end, int member) {
    (void)member;
    const turning *t = arg;
    const nb_moments *m = t->m;
    for (size_t p = begin; p < end; p++)
        for (size_t r = 0; r < NB_PANEL_ROWS; r++) {
            size_t channel = p * NB_PANEL_ROWS + r;
            float *turned = m->turned + channel * m->n_chunk, *panel = m->panels + p * m->n_chunk * NB_PANEL_ROWS + r;
            for (size_t i = 0; i < m->n_chunk; i++) {
                float x = i < t->n && channel < m->at_work->n ? t->x[i * t->stride + channel] : 0.0f;
                turned[i] = panel[i * NB_PANEL_ROWS] = x;
            }
        }
}

void nb_moments_observe(void *moments, const nb_weight *w, const float *x, size_t stride, size_t n) {
    nb_moments *m = moments;
    m->at_work = nb_moments_find(m, w);
    if (!m->at_work) return;
    m->n_chunk = padded(n);
    turning t = {.m = m, .x = x, .stride = stride, .n = n};
    nb_team_for(m->team, nb_div_up(m->at_work->n, NB_PANEL_ROWS), 1, turn_channels, &t);
    nb_team_for(m->team, nb_div_up(m->at_work->n, MOMENT_ROWS), 1, add_rows, m);
    m->at_work->tokens += n;
}
