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
    for (size_t i = 0; i < m->size; i++) {
        nb_free(m->list[i].sum);
        nb_free(m->list[i].drift);
        nb_free(m->list[i].exact);
    }
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

nb_status nb_moments_watch(nb_moments *m, const nb_weight *w, bool drift, nb_error *err) {
    if (m->size == m->capacity) {
        size_t more = m->capacity ? 2 * m->capacity : 16;
        nb_moment *list = nb_realloc(m->list, m->capacity * sizeof *list, more * sizeof *list);
        if (!list) return nb_oom(err, "second moments", more * sizeof *list);
        m->list = list;
        m->capacity = more;
    }
    size_t n = (size_t)w->cols, elements = 0;
    if (!nb_mul_size(n, n, &elements)) return nb_oom(err, "second moments", SIZE_MAX);
    nb_moment *to = &m->list[m->size++];
    *to = (nb_moment){.w = w, .n = n, .sum = nb_calloc(elements, sizeof *to->sum)};
    if (drift) {
        to->drift = nb_calloc(elements, sizeof *to->drift);
        to->exact = nb_calloc(m->chunk * n, sizeof *to->exact);
    }
    if (to->sum && (!drift || (to->drift && to->exact))) return NB_OK;
    return nb_oom(err, "second moments", elements * sizeof *to->sum);
}

nb_moment *nb_moments_find(const nb_moments *m, const nb_weight *w) {
    for (size_t i = 0; i < m->size; i++)
        if (m->list[i].w == w) return &m->list[i];
    return NULL;
}

/* Rows [begin, end) of MOMENT_ROWS channels each: their products with all channels, or with those up to themselves. */
static void add_products(const nb_moments *m, size_t begin, size_t end, int member, float *sum, bool all) {
    size_t n = m->at_work->n, stride = padded(n);
    float *y = m->product + (size_t)member * MOMENT_ROWS * m->widest;
    for (size_t block = begin; block < end; block++) {
        size_t first = block * MOMENT_ROWS, rows = nb_min_size(MOMENT_ROWS, n - first);
        const nb_matmul job = {.w = (const uint8_t *)m->panels,
                               .panel_bytes = m->n_chunk * NB_PANEL_ROWS * sizeof(float),
                               .cols = m->n_chunk, .n_tokens = rows, .y = y, .y_stride = stride,
                               .x = {.f = m->turned + first * m->n_chunk, .f_stride = m->n_chunk}};
        nb_kernels_matmul(m->k, NB_TYPE_F32)(&job, 0, nb_div_up(all ? n : first + rows, NB_PANEL_ROWS));
        for (size_t r = 0; r < rows; r++) {
            float *row = sum + (first + r) * n;
            for (size_t c = 0; c < (all ? n : first + r + 1); c++) row[c] += y[r * stride + c];
        }
    }
}

static void add_moments(void *arg, size_t begin, size_t end, int member) {
    const nb_moments *m = arg;
    add_products(m, begin, end, member, m->at_work->sum, false);
}

static void add_drift(void *arg, size_t begin, size_t end, int member) {
    const nb_moments *m = arg;
    add_products(m, begin, end, member, m->at_work->drift, true);
}

/* Channels [16 begin, 16 end) of the chunk, turned and in panels; tokens and channels beyond are zero. */
typedef struct turning {
    nb_moments *m;
    const float *x;
    size_t stride, n;
    float *turned; /* NULL: not wanted */
} turning;

static void turn_channels(void *arg, size_t begin, size_t end, int member) {
    (void)member;
    const turning *t = arg;
    const nb_moments *m = t->m;
    for (size_t p = begin; p < end; p++)
        for (size_t r = 0; r < NB_PANEL_ROWS; r++) {
            size_t channel = p * NB_PANEL_ROWS + r;
            float *turned = t->turned ? t->turned + channel * m->n_chunk : NULL;
            float *panel = m->panels + p * m->n_chunk * NB_PANEL_ROWS + r;
            for (size_t i = 0; i < m->n_chunk; i++) {
                float x = i < t->n && channel < m->at_work->n ? t->x[i * t->stride + channel] : 0.0f;
                panel[i * NB_PANEL_ROWS] = x;
                if (turned) turned[i] = x;
            }
        }
}

void nb_moments_note(void *moments, const nb_weight *w, const float *x, size_t stride, size_t n) {
    const nb_moment *to = nb_moments_find(moments, w);
    for (size_t i = 0; to && to->exact && i < n; i++) memcpy(to->exact + i * to->n, x + i * stride, to->n * sizeof *x);
}

void nb_moments_observe(void *moments, const nb_weight *w, const float *x, size_t stride, size_t n) {
    nb_moments *m = moments;
    nb_moment *to = m->at_work = nb_moments_find(m, w);
    if (!to) return;
    m->n_chunk = padded(n);
    turning t = {.m = m, .x = x, .stride = stride, .n = n, .turned = m->turned};
    size_t panels = nb_div_up(to->n, NB_PANEL_ROWS), blocks = nb_div_up(to->n, MOMENT_ROWS);
    nb_team_for(m->team, panels, 1, turn_channels, &t);
    nb_team_for(m->team, blocks, 1, add_moments, m);
    to->tokens += n;
    if (!to->drift) return;
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < to->n; c++) to->exact[i * to->n + c] -= x[i * stride + c];
    t = (turning){.m = m, .x = to->exact, .stride = to->n, .n = n};
    nb_team_for(m->team, panels, 1, turn_channels, &t);
    nb_team_for(m->team, blocks, 1, add_drift, m);
}
