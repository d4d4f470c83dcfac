/* Keys and values in f32 or f16: K is a panel matrix [64 positions][head_dim], V one of its transpose. */
#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "core/kv_form.h"
#include "quant/half.h"

static size_t no_room(const nb_kv_shape *s, size_t rows) {
    (void)s, (void)rows;
    return 0;
}

static size_t column_bytes(nb_type type) { return NB_PANEL_ROWS * (size_t)nb_types[type].plain_bytes; }

/* What f16 cannot hold becomes the largest number that it can, since an infinity would spoil every position after it. */
static void put(nb_type type, uint8_t *at, float x) {
    const float most = 65504.0f;
    if (type == NB_TYPE_F32) {
        memcpy(at, &x, sizeof x);
    } else {
        uint16_t half = nb_f32_to_f16(x > most ? most : x < -most ? -most : x);
        memcpy(at, &half, sizeof half);
    }
}

/* ---- keys ---- */

static size_t key_bytes(const nb_kv_shape *s) {
    return (size_t)s->head_dim * (NB_KV_PAGE / NB_PANEL_ROWS) * column_bytes(s->keys->type);
}

static void store_key(const nb_kv_shape *s, const nb_kernels *k, uint8_t *keys, size_t at, const float *key) {
    (void)k;
    nb_type type = s->keys->type;
    size_t column = column_bytes(type);
    uint8_t *row = keys + at / NB_PANEL_ROWS * s->head_dim * column + at % NB_PANEL_ROWS * nb_types[type].plain_bytes;
    for (size_t d = 0; d < s->head_dim; d++) put(type, row + d * column, key[d]);
}

static void enter(const nb_kv_shape *s, const nb_kernels *k, nb_attend_work *w) { (void)s, (void)k, (void)w; }

static void scores(const nb_kv_shape *s, const nb_kernels *k, const nb_attend_page *page, nb_attend_work *w) {
    size_t from = NB_KV_PAGE, to = 0;
    nb_attend_seen(w, page, &from, &to);
    nb_matmul product = {.w = page->data, .panel_bytes = s->head_dim * column_bytes(s->keys->type), .cols = s->head_dim,
                         .x = {.f = w->q + page->first * s->key_cols, .f_stride = s->key_cols},
                         .n_tokens = page->end - page->first, .y = w->scores + page->first * NB_KV_PAGE, .y_stride = NB_KV_PAGE};
    nb_kernels_matmul(k, s->keys->type)(&product, from / NB_PANEL_ROWS, nb_div_up(to, NB_PANEL_ROWS));
    if (!page->offset) return;
    for (size_t r = page->first; r < page->end; r++) k->add(w->scores + r * NB_KV_PAGE + from, page->offset + from, to - from);
}

const nb_kv_key_form nb_kv_keys_f32 = {NB_TYPE_F32, key_bytes, no_room, store_key, enter, scores};
const nb_kv_key_form nb_kv_keys_f16 = {NB_TYPE_F16, key_bytes, no_room, store_key, enter, scores};

/* ---- values ---- */

static size_t panel_bytes(const nb_kv_shape *s) { return NB_KV_PAGE * column_bytes(s->values->type); }

static size_t value_bytes(const nb_kv_shape *s) { return s->value_rows / NB_PANEL_ROWS * panel_bytes(s); }

static void store_value(const nb_kv_shape *s, const nb_kernels *k, uint8_t *values, size_t at, const float *value) {
    (void)k;
    nb_type type = s->values->type;
    uint8_t *column = values + at * column_bytes(type); /* a panel is [64 columns][16 channels] */
    for (size_t d = 0; d < s->head_dim; d++)
        put(type, column + d / NB_PANEL_ROWS * panel_bytes(s) + d % NB_PANEL_ROWS * nb_types[type].plain_bytes, value[d]);
}

/* What a page leaves of the rows' earlier sums, and what it adds. */
static float *carries(const nb_attend_work *w) { return (float *)(void *)w->value_room; }
static float *sums(const nb_attend_work *w) { return carries(w) + w->n; }
static size_t value_room(const nb_kv_shape *s, size_t rows) { return rows * (1 + (size_t)s->value_rows) * sizeof(float); }

/* Rows that see the same go together: what is not seen must not be added, for it may be anything. */
static void mix(const nb_kv_shape *s, const nb_kernels *k, const uint8_t *values, nb_attend_work *w, size_t first, size_t end) {
    size_t column = column_bytes(s->values->type);
    for (size_t next; first < end; first = next) {
        size_t from = w->from[first], to = w->to[first];
        for (next = first + 1; next < end && w->from[next] == from && w->to[next] == to; next++) continue;
        nb_matmul product = {.w = values + from * column, .panel_bytes = panel_bytes(s), .cols = to - from,
                             .x = {.f = w->scores + first * NB_KV_PAGE + from, .f_stride = NB_KV_PAGE}, .n_tokens = next - first,
                             .y = sums(w) + first * s->value_rows, .y_stride = s->value_rows};
        nb_kernels_matmul(k, s->values->type)(&product, 0, s->value_rows / NB_PANEL_ROWS);
    }
}

static void add(const nb_kv_shape *s, const nb_kernels *k, const nb_attend_page *page, nb_attend_work *w) {
    for (size_t r = page->first; r < page->end; r++) {
        size_t n = (size_t)(w->to[r] - w->from[r]);
        float *e = w->scores + r * NB_KV_PAGE + w->from[r], best = k->max(e, n), before = w->span.m[r];
        float m = best > before ? best : before, carry = nb_attend_exp(k, before - m);
        w->span.l[r] = fmaf(w->span.l[r], carry, k->exp_sum(e, m, n));
        w->span.m[r] = m;
        carries(w)[r] = carry;
    }
    mix(s, k, page->data + s->key_bytes, w, page->first, page->end);
    for (size_t r = page->first; r < page->end; r++)
        k->blend(w->span.o + r * s->value_rows, carries(w)[r], sums(w) + r * s->value_rows, 1.0f, s->value_rows);
}

const nb_kv_value_form nb_kv_values_f32 = {NB_TYPE_F32, 1.0f, value_bytes, value_room, store_value, NULL, add, NULL};
const nb_kv_value_form nb_kv_values_f16 = {NB_TYPE_F16, 1.0f, value_bytes, value_room, store_value, NULL, add, NULL};
