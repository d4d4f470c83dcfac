#include "core/kv.h"

#include <math.h>
#include <string.h>

#include "base/checked.h"

enum { COLUMN = NB_PANEL_ROWS * sizeof(float) }; /* bytes of one column of an f32 panel */

nb_status nb_kv_create(nb_kv *kv, const nb_hparams *h, uint32_t n_ctx, nb_kv_type type, nb_error *err) {
    *kv = (nb_kv){.n_kv_head = h->n_kv_head, .head_dim = h->head_dim, .type = type};
    kv->value_rows = (uint32_t)nb_round_up(h->head_dim, NB_PANEL_ROWS);
    kv->n_pages = (uint32_t)nb_div_up(n_ctx, NB_KV_PAGE);
    kv->k_bytes = (size_t)NB_KV_PAGE * h->head_dim * sizeof(float);
    kv->page_bytes = kv->k_bytes + (size_t)NB_KV_PAGE * kv->value_rows * sizeof(float);
    size_t bytes;
    if (!nb_mul_size(kv->page_bytes, kv->n_pages, &bytes) || !nb_mul_size(bytes, h->n_kv_head, &bytes) ||
        !nb_mul_size(bytes, h->n_layer, &bytes))
        return nb_fail(err, NB_LIMIT, "a KV cache for %u positions does not fit this machine's address space", n_ctx);
    return nb_region_alloc(&kv->region, bytes, "the KV cache", err);
}

void nb_kv_free(nb_kv *kv) { nb_region_free(&kv->region); }

static float *page_at(const nb_kv *kv, uint32_t layer, uint32_t head, uint32_t page) {
    size_t index = ((size_t)layer * kv->n_kv_head + head) * kv->n_pages + page;
    return (float *)(void *)((uint8_t *)kv->region.data + index * kv->page_bytes);
}

void nb_kv_store(nb_kv *kv, uint32_t layer, uint32_t position, const float *k, const float *v) {
    size_t at = position % NB_KV_PAGE, d_count = kv->head_dim;
    for (uint32_t head = 0; head < kv->n_kv_head; head++, k += d_count, v += d_count) {
        float *page = page_at(kv, layer, head, position / NB_KV_PAGE);
        /* K: row `at`; a panel is [head_dim columns][16 rows] */
        float *row = page + at / NB_PANEL_ROWS * d_count * NB_PANEL_ROWS + at % NB_PANEL_ROWS;
        for (size_t d = 0; d < d_count; d++) row[d * NB_PANEL_ROWS] = k[d];
        /* V transposed: column `at`; a panel is [64 columns][16 channels] */
        float *column = page + kv->k_bytes / sizeof(float) + at * NB_PANEL_ROWS;
        for (size_t d = 0; d < d_count; d += NB_PANEL_ROWS)
            memcpy(column + d * NB_KV_PAGE, v + d, nb_min_size(NB_PANEL_ROWS, d_count - d) * sizeof *v);
    }
}

/* The state of online softmax for each query head of a group. */
typedef struct state {
    float *m, *l; /* [group] */
    float *o;     /* [group][value_rows] */
} state;

typedef struct scratch {
    float *scores; /* [group][64] */
    float *carry;  /* [group]: what the page leaves of the earlier sums */
    float *page_o; /* [group][value_rows] */
    state span, total;
} scratch;

static size_t state_floats(const nb_kv *kv, uint32_t group) {
    return 2 * nb_round_up(group, NB_PANEL_ROWS) + (size_t)group * kv->value_rows;
}

size_t nb_kv_scratch(const nb_kv *kv, uint32_t group) {
    return (size_t)group * (NB_KV_PAGE + kv->value_rows) + nb_round_up(group, NB_PANEL_ROWS) + 2 * state_floats(kv, group);
}

static state carve_state(const nb_kv *kv, uint32_t group, float **p) {
    size_t heads = nb_round_up(group, NB_PANEL_ROWS);
    state s = {.m = *p, .l = *p + heads, .o = *p + 2 * heads};
    *p += state_floats(kv, group);
    return s;
}

static scratch carve(const nb_kv *kv, uint32_t group, float *p) {
    scratch s = {.scores = p, .page_o = p + (size_t)group * NB_KV_PAGE};
    s.carry = s.page_o + (size_t)group * kv->value_rows;
    p = s.carry + nb_round_up(group, NB_PANEL_ROWS);
    s.span = carve_state(kv, group, &p);
    s.total = carve_state(kv, group, &p);
    return s;
}

static void reset(state *s, uint32_t group, size_t value_rows) {
    for (uint32_t g = 0; g < group; g++) {
        s->m[g] = -INFINITY;
        s->l[g] = 0.0f;
    }
    memset(s->o, 0, group * value_rows * sizeof *s->o);
}

static float exp1(const nb_kernels *k, float x) {
    k->exp_sum(&x, 0.0f, 1);
    return x;
}

/* One page, of which the first n positions are visible. */
static void attend_page(const nb_kv *kv, const nb_kernels *k, const float *page, size_t n, const float *q, uint32_t group,
                        const scratch *s) {
    const uint8_t *keys = (const uint8_t *)page, *values = keys + kv->k_bytes;
    nb_matmul scores = {.w = keys, .panel_bytes = (size_t)kv->head_dim * COLUMN, .cols = kv->head_dim,
                        .x = {.f = q, .f_stride = kv->head_dim}, .n_tokens = group, .y = s->scores, .y_stride = NB_KV_PAGE};
    k->matmul_f32(&scores, 0, nb_div_up(n, NB_PANEL_ROWS));
    const state *span = &s->span;
    for (uint32_t g = 0; g < group; g++) {
        float *e = s->scores + (size_t)g * NB_KV_PAGE, best = k->max(e, n);
        float m = best > span->m[g] ? best : span->m[g];
        s->carry[g] = exp1(k, span->m[g] - m);
        span->l[g] = fmaf(span->l[g], s->carry[g], k->exp_sum(e, m, n));
        span->m[g] = m;
    }
    nb_matmul mix = {.w = values, .panel_bytes = (size_t)NB_KV_PAGE * COLUMN, .cols = n,
                     .x = {.f = s->scores, .f_stride = NB_KV_PAGE}, .n_tokens = group, .y = s->page_o,
                     .y_stride = kv->value_rows};
    k->matmul_f32(&mix, 0, kv->value_rows / NB_PANEL_ROWS);
    for (uint32_t g = 0; g < group; g++) {
        size_t at = (size_t)g * kv->value_rows;
        k->blend(span->o + at, s->carry[g], s->page_o + at, 1.0f, kv->value_rows);
    }
}

static void merge_span(const nb_kv *kv, const nb_kernels *k, state *total, const state *span, uint32_t group) {
    for (uint32_t g = 0; g < group; g++) {
        float m = total->m[g] > span->m[g] ? total->m[g] : span->m[g];
        float a = exp1(k, total->m[g] - m), b = exp1(k, span->m[g] - m);
        total->l[g] = fmaf(total->l[g], a, span->l[g] * b);
        total->m[g] = m;
        k->blend(total->o + (size_t)g * kv->value_rows, a, span->o + (size_t)g * kv->value_rows, b, kv->value_rows);
    }
}

void nb_kv_attend(const nb_kv *kv, const nb_kernels *k, uint32_t layer, uint32_t head, uint32_t position, const float *q,
                  uint32_t group, float *out, float *room) {
    scratch s = carve(kv, group, room);
    size_t end = (size_t)position + 1;
    reset(&s.total, group, kv->value_rows);
    for (size_t span = 0; span < end; span += NB_KV_SPAN) {
        reset(&s.span, group, kv->value_rows);
        for (size_t at = span; at < nb_min_size(end, span + NB_KV_SPAN); at += NB_KV_PAGE)
            attend_page(kv, k, page_at(kv, layer, head, (uint32_t)(at / NB_KV_PAGE)), nb_min_size(NB_KV_PAGE, end - at), q,
                        group, &s);
        merge_span(kv, k, &s.total, &s.span, group);
    }
    for (uint32_t g = 0; g < group; g++) {
        float *o = s.total.o + (size_t)g * kv->value_rows;
        k->scale(o, 1.0f / s.total.l[g], kv->head_dim);
        memcpy(out + (size_t)g * kv->head_dim, o, kv->head_dim * sizeof *out);
    }
}
