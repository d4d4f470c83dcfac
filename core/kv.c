#include "core/kv.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/checked.h"
#include "core/kv_form.h"

/* Leaves and table entries are numbered in 32 bits, 0 being none. */
enum { MOST_LEAVES = UINT32_MAX / 2 };

/* Tables of the texts, their firsts, and the lists of leaves: one region, zero where it was never touched. */
static nb_status take_tables(nb_kv *kv, nb_error *err) {
    size_t entries = (size_t)kv->n_layer * kv->n_pages, per_text = 0, words = 0;
    if (!nb_add_size(entries, kv->n_layer, &per_text) || !nb_mul_size(per_text, kv->n_texts, &words) ||
        !nb_add_size(words, 2 * (size_t)kv->n_leaves, &words) || !nb_mul_size(words, sizeof(uint32_t), &words))
        return nb_fail(err, NB_LIMIT, "tables for %u texts of %u pages do not fit this machine's address space", kv->n_texts,
                       kv->n_pages);
    nb_status st = nb_region_reserve(&kv->tables, words, "the KV cache's tables", err);
    if (st) return st;
    kv->texts = nb_calloc(kv->n_texts, sizeof *kv->texts);
    if (!kv->texts) return nb_oom(err, "the KV cache's texts", kv->n_texts * sizeof *kv->texts);
    kv->refs = kv->tables.data;
    kv->free = kv->refs + kv->n_leaves;
    uint32_t *at = kv->free + kv->n_leaves;
    for (nb_kv_text *t = kv->texts; t < kv->texts + kv->n_texts; t++, at += per_text)
        *t = (nb_kv_text){.table = at, .first = at + entries};
    return NB_OK;
}

nb_status nb_kv_create(nb_kv *kv, const nb_hparams *h, const nb_kv_plan *plan, nb_error *err) {
    static const nb_kv_form *const forms[] = {[NB_KV_F32] = &nb_kv_form_f32, [NB_KV_Q8] = &nb_kv_form_q8};
    *kv = (nb_kv){.form = forms[plan->type], .n_layer = h->n_layer, .n_kv_head = h->n_kv_head, .head_dim = h->head_dim,
                  .n_texts = plan->n_texts, .n_sink = plan->n_sink};
    kv->key_cols = (uint32_t)nb_round_up(h->head_dim, NB_BLOCK_COLS);
    kv->value_rows = (uint32_t)nb_round_up(h->head_dim, NB_PANEL_ROWS);
    kv->n_pages = (uint32_t)nb_div_up(plan->n_positions, NB_KV_PAGE);
    kv->form->plan(kv);
    size_t pages = plan->n_pages, leaves = 0, bytes = 0;
    if ((!pages && !nb_mul_size(kv->n_pages, plan->n_texts, &pages)) || !nb_mul_size(pages, h->n_layer, &leaves) ||
        leaves > MOST_LEAVES || !nb_mul_size(nb_kv_leaf_bytes(kv), leaves, &bytes))
        return nb_fail(err, NB_LIMIT, "a KV cache for %u positions of %u texts does not fit this machine's address space",
                       plan->n_positions, plan->n_texts);
    kv->n_leaves = (uint32_t)leaves;
    nb_status st = take_tables(kv, err);
    if (!st) st = nb_region_reserve(&kv->region, bytes, "the KV cache", err);
    if (st) nb_kv_free(kv);
    return st;
}

void nb_kv_free(nb_kv *kv) {
    nb_region_free(&kv->region);
    nb_region_free(&kv->tables);
    nb_free(kv->texts);
    *kv = (nb_kv){0};
}

/* ---- whose leaves ---- */

static uint32_t take(nb_kv *kv) {
    uint32_t leaf = kv->n_free ? kv->free[--kv->n_free] : kv->n_fresh++;
    kv->refs[leaf] = 1;
    return leaf;
}

void nb_kv_hold(nb_kv *kv, uint32_t leaf) { kv->refs[leaf]++; }

void nb_kv_release(nb_kv *kv, uint32_t leaf) {
    if (--kv->refs[leaf] == 0) kv->free[kv->n_free++] = leaf;
}

static uint32_t *row_of(const nb_kv *kv, const nb_kv_text *t, uint32_t layer) { return t->table + (size_t)layer * kv->n_pages; }

/* Empty the entries of pages [from, to). */
static void clear(nb_kv *kv, uint32_t *row, size_t from, size_t to) {
    for (size_t p = from; p < to; p++) {
        if (row[p]) nb_kv_release(kv, row[p] - 1);
        row[p] = 0;
    }
}

size_t nb_kv_left(const nb_kv *kv) { return (size_t)kv->n_leaves - kv->n_fresh + kv->n_free; }

/* The page that the next position continues is there, and others have it too. */
static bool to_be_copied(const nb_kv *kv, const uint32_t *row, uint32_t length) {
    uint32_t entry = length % NB_KV_PAGE ? row[length / NB_KV_PAGE] : 0;
    return entry && kv->refs[entry - 1] > 1;
}

size_t nb_kv_need(const nb_kv *kv, const nb_kv_text *t, uint32_t n) {
    size_t pages = nb_div_up((size_t)t->length + n, NB_KV_PAGE) - nb_div_up(t->length, NB_KV_PAGE), copies = 0;
    for (uint32_t layer = 0; n && layer < kv->n_layer; layer++) copies += to_be_copied(kv, row_of(kv, t, layer), t->length);
    return pages * kv->n_layer + copies;
}

void nb_kv_extend(nb_kv *kv, nb_kv_text *t, uint32_t n) {
    if (!n) return;
    size_t held = nb_div_up(t->length, NB_KV_PAGE), pages = nb_div_up((size_t)t->length + n, NB_KV_PAGE);
    for (uint32_t layer = 0; layer < kv->n_layer; layer++) {
        uint32_t *row = row_of(kv, t, layer);
        if (to_be_copied(kv, row, t->length)) {
            uint32_t *entry = &row[t->length / NB_KV_PAGE], copy = take(kv);
            memcpy(nb_kv_leaf(kv, copy), nb_kv_leaf(kv, *entry - 1), nb_kv_leaf_bytes(kv));
            nb_kv_release(kv, *entry - 1);
            *entry = 1 + copy;
        }
        for (size_t p = held; p < pages; p++) row[p] = 1 + take(kv);
    }
    t->length += n;
}

void nb_kv_share(nb_kv *kv, nb_kv_text *to, const nb_kv_text *from, uint32_t length) {
    size_t pages = nb_div_up(length, NB_KV_PAGE);
    for (uint32_t layer = 0; layer < kv->n_layer; layer++) {
        const uint32_t *row = row_of(kv, from, layer);
        uint32_t *copy = row_of(kv, to, layer);
        for (size_t p = 0; p < pages; p++) {
            copy[p] = row[p];
            if (row[p]) nb_kv_hold(kv, row[p] - 1);
        }
        to->first[layer] = from->first[layer];
    }
    to->length = length;
}

void nb_kv_rewind(nb_kv *kv, nb_kv_text *t, uint32_t length) {
    if (length >= t->length) return;
    for (uint32_t layer = 0; layer < kv->n_layer; layer++) {
        clear(kv, row_of(kv, t, layer), nb_div_up(length, NB_KV_PAGE), nb_div_up(t->length, NB_KV_PAGE));
        if (!length) t->first[layer] = 0;
    }
    t->length = length;
}

void nb_kv_drop(nb_kv *kv, nb_kv_text *t, uint32_t layer, uint32_t position) {
    uint32_t end = (uint32_t)nb_min_size(position, t->length) / NB_KV_PAGE;
    uint32_t begin = t->first[layer] > kv->n_sink ? t->first[layer] : kv->n_sink;
    if (end <= begin) return;
    clear(kv, row_of(kv, t, layer), begin, end);
    t->first[layer] = end;
}

void nb_kv_store(const nb_kv *kv, const nb_kernels *k, const nb_kv_text *t, uint32_t layer, uint32_t position, const float *keys,
                 const float *values) {
    for (uint32_t head = 0; head < kv->n_kv_head; head++, keys += kv->head_dim, values += kv->head_dim)
        kv->form->store(kv, k, nb_kv_page_at(kv, t, layer, head, position / NB_KV_PAGE), position % NB_KV_PAGE, keys, values);
}

/* ---- attention ---- */

enum { TILE_ROWS = 32 };

uint32_t nb_kv_tile(uint32_t group) { return group < TILE_ROWS ? TILE_ROWS / group : 1; }

static size_t most_rows(uint32_t group) { return nb_round_up((size_t)nb_kv_tile(group) * group, NB_PANEL_ROWS); }

static size_t state_floats(const nb_kv *kv, size_t rows) { return rows * (2 + (size_t)kv->value_rows); }

size_t nb_kv_scratch(const nb_kv *kv, uint32_t group) {
    size_t rows = most_rows(group), floats = kv->key_cols + NB_KV_PAGE + 1 + kv->value_rows + sizeof(uint32_t) / sizeof(float);
    return rows * floats + 2 * state_floats(kv, rows) + kv->form->room(kv, rows) / sizeof(float);
}

static nb_kv_state carve_state(const nb_kv *kv, size_t rows, float **p) {
    nb_kv_state s = {.m = *p, .l = *p + rows, .o = *p + 2 * rows};
    *p += state_floats(kv, rows);
    return s;
}

static nb_kv_work carve(const nb_kv *kv, uint32_t group, size_t n, float *p) {
    size_t rows = most_rows(group);
    nb_kv_work w = {.n = n, .room = (uint8_t *)p}; /* first: it wants to be aligned */
    p += kv->form->room(kv, rows) / sizeof(float);
    w.q = p;
    w.scores = w.q + rows * kv->key_cols;
    w.carry = w.scores + rows * NB_KV_PAGE;
    w.page_o = w.carry + rows;
    w.seen = (uint32_t *)(void *)(w.page_o + rows * kv->value_rows);
    p = (float *)(void *)(w.seen + rows);
    w.span = carve_state(kv, rows, &p);
    w.total = carve_state(kv, rows, &p);
    return w;
}

static void reset(nb_kv_state *s, size_t rows, size_t value_rows) {
    for (size_t r = 0; r < rows; r++) {
        s->m[r] = -INFINITY;
        s->l[r] = 0.0f;
    }
    memset(s->o, 0, rows * value_rows * sizeof *s->o);
}

/* e^x for x <= 0: the kernel's bits, and without it where they are known. A maximum seldom changes. */
static float exp1(const nb_kernels *k, float x) {
    if (x == 0.0f) return 1.0f;
    if (x < -87.0f) return 0.0f;
    k->exp_sum(&x, 0.0f, 1);
    return x;
}

/* The page that begins at position `at`, for the rows that see any of it. */
static void attend_page(const nb_kv *kv, const nb_kernels *k, const nb_kv_query *query, size_t at, nb_kv_work *w) {
    const uint8_t *page = nb_kv_page_at(kv, query->text, query->layer, query->head, (uint32_t)(at / NB_KV_PAGE));
    if (!page) return;
    size_t first = query->position < at ? (at - query->position) * query->group : 0;
    for (size_t r = first; r < w->n; r++)
        w->seen[r] = (uint32_t)nb_min_size(NB_KV_PAGE, query->position + r / query->group + 1 - at);
    kv->form->scores(kv, k, page, w, first);
    for (size_t r = first; r < w->n; r++) {
        float *e = w->scores + r * NB_KV_PAGE, best = k->max(e, w->seen[r]), before = w->span.m[r];
        float m = best > before ? best : before;
        w->carry[r] = exp1(k, before - m);
        w->span.l[r] = fmaf(w->span.l[r], w->carry[r], k->exp_sum(e, m, w->seen[r]));
        w->span.m[r] = m;
    }
    kv->form->mix(kv, k, page, w, first);
    for (size_t r = first; r < w->n; r++)
        k->blend(w->span.o + r * kv->value_rows, w->carry[r], w->page_o + r * kv->value_rows, 1.0f, kv->value_rows);
}

/* Rows that have seen nothing of the span leave their totals as they are. */
static void merge_span(const nb_kv *kv, const nb_kernels *k, const nb_kv_work *w) {
    for (size_t r = 0; r < w->n; r++) {
        if (w->span.l[r] == 0.0f) continue;
        float m = w->total.m[r] > w->span.m[r] ? w->total.m[r] : w->span.m[r];
        float a = exp1(k, w->total.m[r] - m), b = exp1(k, w->span.m[r] - m);
        w->total.l[r] = fmaf(w->total.l[r], a, w->span.l[r] * b);
        w->total.m[r] = m;
        k->blend(w->total.o + r * kv->value_rows, a, w->span.o + r * kv->value_rows, b, kv->value_rows);
    }
}

static void take_queries(const nb_kv *kv, const nb_kv_query *query, nb_kv_work *w) {
    for (size_t r = 0; r < w->n; r++) {
        float *q = w->q + r * kv->key_cols;
        memcpy(q, query->q + r / query->group * query->q_stride + r % query->group * kv->head_dim, kv->head_dim * sizeof *q);
        memset(q + kv->head_dim, 0, (kv->key_cols - kv->head_dim) * sizeof *q);
    }
}

void nb_kv_attend(const nb_kv *kv, const nb_kernels *k, const nb_kv_query *query, float *room) {
    nb_kv_work w = carve(kv, query->group, (size_t)query->n * query->group, room);
    size_t end = (size_t)query->position + query->n;
    take_queries(kv, query, &w);
    kv->form->enter(kv, k, &w);
    reset(&w.total, w.n, kv->value_rows);
    for (size_t span = 0; span < end; span += NB_KV_SPAN) {
        reset(&w.span, w.n, kv->value_rows);
        for (size_t at = span; at < nb_min_size(end, span + NB_KV_SPAN); at += NB_KV_PAGE) attend_page(kv, k, query, at, &w);
        merge_span(kv, k, &w);
    }
    for (size_t r = 0; r < w.n; r++) {
        float *o = w.total.o + r * kv->value_rows;
        k->scale(o, 1.0f / w.total.l[r], kv->head_dim);
        memcpy(query->out + r / query->group * query->out_stride + r % query->group * kv->head_dim, o, kv->head_dim * sizeof *o);
    }
}
