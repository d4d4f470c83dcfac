#include "core/attend.h"

#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "core/kv_form.h"

enum { TILE_ROWS = 32 };

uint32_t nb_attend_tile(uint32_t group) { return group < TILE_ROWS ? TILE_ROWS / group : 1; }

/* ---- a thread's scratch ---- */

static size_t most_rows(uint32_t group) { return nb_round_up((size_t)nb_attend_tile(group) * group, NB_PANEL_ROWS); }

static size_t state_floats(const nb_kv_shape *s, size_t rows) { return rows * (2 + (size_t)s->value_rows); }

static size_t form_floats(size_t bytes) { return nb_round_up(bytes, NB_ALIGN) / sizeof(float); }

size_t nb_attend_scratch(const nb_kv_shape *s, uint32_t group) {
    size_t rows = most_rows(group), floats = s->key_cols + NB_KV_PAGE + 2 * sizeof(uint8_t);
    size_t forms = form_floats(s->keys->room(s, rows)) + form_floats(s->values->room(s, rows));
    return rows * floats + 2 * state_floats(s, rows) + forms;
}

size_t nb_attend_part(const nb_kv_shape *s, uint32_t group) {
    return nb_round_up(state_floats(s, most_rows(group)), NB_ALIGN / sizeof(float));
}

static nb_attend_state carve_state(const nb_kv_shape *s, size_t rows, float **p) {
    nb_attend_state state = {.m = *p, .l = *p + rows, .o = *p + 2 * rows};
    *p += state_floats(s, rows);
    return state;
}

static nb_attend_work carve(const nb_kv_shape *s, const nb_attention *a, float *p) {
    size_t rows = most_rows(a->group);
    nb_attend_work w = {.n = (size_t)a->n * a->group};
    w.key_room = (uint8_t *)p; /* first: it wants to be aligned */
    w.value_room = (uint8_t *)(p += form_floats(s->keys->room(s, rows)));
    w.q = p += form_floats(s->values->room(s, rows));
    w.scores = w.q + rows * s->key_cols;
    p = w.scores + rows * NB_KV_PAGE;
    w.span = carve_state(s, rows, &p);
    w.total = carve_state(s, rows, &p);
    w.from = (uint8_t *)p;
    w.to = w.from + rows;
    return w;
}

static void reset(nb_attend_state *s, size_t rows, size_t value_rows) {
    for (size_t r = 0; r < rows; r++) {
        s->m[r] = -INFINITY;
        s->l[r] = 0.0f;
    }
    memset(s->o, 0, rows * value_rows * sizeof *s->o);
}

/* ---- the rows' sums ---- */

/* Without the kernel where the bits are known. A maximum seldom changes. */
float nb_attend_exp(const nb_kernels *k, float x) {
    if (x == 0.0f) return 1.0f;
    if (x < -87.0f) return 0.0f;
    k->exp_sum(&x, 0.0f, 1);
    return x;
}

/* Rows that have seen nothing of the span leave their totals as they are. */
static void merge_span(const nb_kv_shape *s, const nb_kernels *k, const nb_attend_state *span,
                       const nb_attend_work *w) {
    const float base = s->values->unit == 1.0f ? 1.0f : 0.693147181f; /* of the maxima: 1 / unit */
    float *share = w->scores;                                         /* [rows][2] of the total and of the span */
    for (size_t r = 0; r < w->n; r++) {
        float m = w->total.m[r] > span->m[r] ? w->total.m[r] : span->m[r];
        share[2 * r] = span->l[r] == 0.0f ? 0.0f : (w->total.m[r] - m) * base;
        share[2 * r + 1] = span->l[r] == 0.0f ? 0.0f : (span->m[r] - m) * base;
        w->total.m[r] = m;
    }
    k->exp_sum(share, 0.0f, 2 * w->n);
    for (size_t r = 0; r < w->n; r++) {
        if (span->l[r] == 0.0f) continue;
        w->total.l[r] = fmaf(w->total.l[r], share[2 * r], span->l[r] * share[2 * r + 1]);
        size_t at = r * s->value_rows;
        k->blend(w->total.o + at, share[2 * r], span->o + at, share[2 * r + 1], s->value_rows);
    }
}

/* ---- the readers ---- */

static size_t first_seen(const nb_attention *a, const nb_reader *r) {
    return a->window && r->position > a->window ? r->position - a->window : 0;
}

/* The page at `at`, or NULL when reader i sees nothing of it; else what its rows see. */
static const uint8_t *look(const nb_attention *a, nb_attend_work *w, size_t i, size_t at) {
    const nb_reader *r = &a->readers[i];
    size_t begin = first_seen(a, r), end = (size_t)r->position + 1;
    if (end <= at || begin >= at + NB_KV_PAGE) return NULL;
    uint8_t from = begin > at ? (uint8_t)(begin - at) : 0, to = (uint8_t)nb_min_size(NB_KV_PAGE, end - at);
    if (w->from[i * a->group] != from) memset(w->from + i * a->group, from, a->group);
    if (w->to[i * a->group] != to) memset(w->to + i * a->group, to, a->group);
    return nb_kv_page_seen(a->kv, r->text, a->layer, a->head, (uint32_t)(at / NB_KV_PAGE), r->position);
}

/* The page that reader i looks at after the one at `at`, or NULL. */
static const uint8_t *ahead(const nb_attention *a, size_t i, size_t at) {
    const nb_reader *r = &a->readers[i];
    at += NB_KV_PAGE;
    return at <= r->position ? nb_kv_page_at(a->kv, r->text, a->layer, a->head, (uint32_t)(at / NB_KV_PAGE)) : NULL;
}

static const float *offset_of(const nb_kv_shape *s, const uint8_t *page) {
    return page && s->values->offset ? s->values->offset(s, page + s->key_bytes) : NULL;
}

/* The pages at `at`: neighbours whose page is the same go together. */
static void attend_page(const nb_kv_shape *s, const nb_kernels *k, const nb_attention *a, size_t at,
                        nb_attend_work *w) {
    nb_attend_page page = {.data = look(a, w, 0, at)};
    for (size_t i = 0, next; i < a->n; i = next) {
        const uint8_t *other = NULL;
        for (next = i + 1; next < a->n && (other = look(a, w, next, at)) == page.data; next++) continue;
        if (page.data) {
            page.first = i * a->group;
            page.end = next * a->group;
            page.next = ahead(a, next - 1, at);
            page.offset = offset_of(s, page.data);
            page.next_offset = offset_of(s, page.next);
            s->keys->scores(s, k, &page, w);
            s->values->add(s, k, &page, w);
        }
        page.data = other;
    }
}

/* Where among a reader's heads a row's is. */
static size_t head_at(const nb_kv_shape *s, const nb_attention *a, size_t r) {
    return ((size_t)a->head * a->group + r % a->group) * s->head_dim;
}

static void take_queries(const nb_kv_shape *s, const nb_kernels *k, const nb_attention *a, nb_attend_work *w) {
    for (size_t r = 0; r < w->n; r++) {
        float *q = w->q + r * s->key_cols;
        memcpy(q, a->readers[r / a->group].q + head_at(s, a, r), s->head_dim * sizeof *q);
        memset(q + s->head_dim, 0, (s->key_cols - s->head_dim) * sizeof *q);
        if (s->values->unit != 1.0f) k->scale(q, s->values->unit, s->head_dim);
    }
}

static void give_outputs(const nb_kv_shape *s, const nb_kernels *k, const nb_attention *a, const nb_attend_work *w) {
    for (size_t r = 0; r < w->n; r++) {
        float *o = w->total.o + r * s->value_rows;
        k->scale(o, 1.0f / w->total.l[r], s->head_dim);
        memcpy(a->readers[r / a->group].out + head_at(s, a, r), o, s->head_dim * sizeof *o);
    }
}

/* A span's pages, into w->span. */
static void attend_span(const nb_kv_shape *s, const nb_kernels *k, const nb_attention *a, size_t span,
                        nb_attend_work *w) {
    size_t begin = SIZE_MAX, end = 0; /* of what any reader sees */
    for (size_t i = 0; i < a->n; i++) {
        begin = nb_min_size(begin, first_seen(a, &a->readers[i]));
        end = nb_max_size(end, (size_t)a->readers[i].position + 1);
    }
    begin = nb_max_size(begin / NB_KV_PAGE * NB_KV_PAGE, span * NB_ATTEND_SPAN);
    end = nb_min_size(end, (span + 1) * NB_ATTEND_SPAN);
    reset(&w->span, w->n, s->value_rows);
    memset(w->to, 0, w->n); /* nothing yet */
    memset(w->from, NB_KV_PAGE, w->n);
    for (size_t at = begin; at < end; at += NB_KV_PAGE) attend_page(s, k, a, at, w);
    if (s->values->finish) s->values->finish(s, k, w);
}

void nb_attend_spans(const nb_attention *a, uint32_t *first, uint32_t *end) {
    for (size_t i = 0; i < a->n; i++) {
        *first = (uint32_t)nb_min_size(*first, first_seen(a, &a->readers[i]) / NB_ATTEND_SPAN);
        *end = (uint32_t)nb_max_size(*end, a->readers[i].position / NB_ATTEND_SPAN + 1);
    }
}

static nb_attend_work begin_work(const nb_attention *a, const nb_kernels *k, float *room) {
    const nb_kv_shape *s = &a->kv->shape;
    nb_attend_work w = carve(s, a, room);
    take_queries(s, k, a, &w);
    s->keys->enter(s, k, &w);
    return w;
}

void nb_attend(const nb_attention *a, const nb_kernels *k, float *room) {
    const nb_kv_shape *s = &a->kv->shape;
    nb_attend_work w = begin_work(a, k, room);
    uint32_t first = UINT32_MAX, end = 0;
    nb_attend_spans(a, &first, &end);
    reset(&w.total, w.n, s->value_rows);
    for (uint32_t span = first; span < end; span++) {
        attend_span(s, k, a, span, &w);
        merge_span(s, k, &w.span, &w);
    }
    give_outputs(s, k, a, &w);
}

void nb_attend_span(const nb_attention *a, const nb_kernels *k, uint32_t span, float *part, float *room) {
    nb_attend_work w = begin_work(a, k, room);
    w.span = carve_state(&a->kv->shape, most_rows(a->group), &part);
    attend_span(&a->kv->shape, k, a, span, &w);
}

void nb_attend_merge(const nb_attention *a, const nb_kernels *k, float *parts, uint32_t n_parts, float *room) {
    const nb_kv_shape *s = &a->kv->shape;
    nb_attend_work w = carve(s, a, room);
    reset(&w.total, w.n, s->value_rows);
    for (uint32_t i = 0; i < n_parts; i++) {
        float *part = parts + i * nb_attend_part(s, a->group);
        nb_attend_state span = carve_state(s, most_rows(a->group), &part);
        merge_span(s, k, &span, &w);
    }
    give_outputs(s, k, a, &w);
}
