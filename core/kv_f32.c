/* Keys and values in f32: K is a panel matrix [64 positions][head_dim], V one of its transpose. */
#include <string.h>

#include "base/checked.h"
#include "core/kv_form.h"

enum { COLUMN = NB_PANEL_ROWS * sizeof(float) }; /* bytes of one column of a panel */

static size_t no_room(const nb_kv_shape *s, size_t rows) {
    (void)s, (void)rows;
    return 0;
}

/* ---- keys ---- */

static size_t key_bytes(const nb_kv_shape *s) { return (size_t)NB_KV_PAGE * s->head_dim * sizeof(float); }

static void store_key(const nb_kv_shape *s, const nb_kernels *k, uint8_t *keys, size_t at, const float *key) {
    (void)k;
    float *row = (float *)(void *)keys + at / NB_PANEL_ROWS * s->head_dim * NB_PANEL_ROWS + at % NB_PANEL_ROWS;
    for (size_t d = 0; d < s->head_dim; d++) row[d * NB_PANEL_ROWS] = key[d];
}

static void enter(const nb_kv_shape *s, const nb_kernels *k, nb_attend_work *w) { (void)s, (void)k, (void)w; }

static void scores(const nb_kv_shape *s, const nb_kernels *k, const uint8_t *keys, nb_attend_work *w, size_t first, size_t end) {
    size_t from = NB_KV_PAGE, to = 0;
    for (size_t r = first; r < end; r++) {
        from = nb_min_size(from, w->from[r]);
        to = nb_max_size(to, w->to[r]);
    }
    nb_matmul product = {.w = keys, .panel_bytes = (size_t)s->head_dim * COLUMN, .cols = s->head_dim,
                         .x = {.f = w->q + first * s->key_cols, .f_stride = s->key_cols}, .n_tokens = end - first,
                         .y = w->scores + first * NB_KV_PAGE, .y_stride = NB_KV_PAGE};
    k->matmul_f32(&product, from / NB_PANEL_ROWS, nb_div_up(to, NB_PANEL_ROWS));
}

const nb_kv_key_form nb_kv_keys_f32 = {key_bytes, no_room, store_key, enter, scores};

/* ---- values ---- */

static size_t value_bytes(const nb_kv_shape *s) { return (size_t)NB_KV_PAGE * s->value_rows * sizeof(float); }

static void store_value(const nb_kv_shape *s, const nb_kernels *k, uint8_t *values, size_t at, const float *value) {
    (void)k;
    float *column = (float *)(void *)values + at * NB_PANEL_ROWS; /* a panel is [64 columns][16 channels] */
    for (size_t d = 0; d < s->head_dim; d += NB_PANEL_ROWS)
        memcpy(column + d * NB_KV_PAGE, value + d, nb_min_size(NB_PANEL_ROWS, s->head_dim - d) * sizeof *value);
}

/* Rows that see the same go together: what is not seen must not be added, for it may be anything. */
static void mix(const nb_kv_shape *s, const nb_kernels *k, const uint8_t *values, nb_attend_work *w, size_t first, size_t end) {
    for (size_t next; first < end; first = next) {
        size_t from = w->from[first], to = w->to[first];
        for (next = first + 1; next < end && w->from[next] == from && w->to[next] == to; next++) continue;
        nb_matmul product = {.w = values + from * COLUMN, .panel_bytes = (size_t)NB_KV_PAGE * COLUMN, .cols = to - from,
                             .x = {.f = w->scores + first * NB_KV_PAGE + from, .f_stride = NB_KV_PAGE}, .n_tokens = next - first,
                             .y = w->page_o + first * s->value_rows, .y_stride = s->value_rows};
        k->matmul_f32(&product, 0, s->value_rows / NB_PANEL_ROWS);
    }
}

const nb_kv_value_form nb_kv_values_f32 = {value_bytes, no_room, store_value, mix};
