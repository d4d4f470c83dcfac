/* Keys and values in 8 bits: K is a q8 panel matrix [64 positions][head_dim], with scales of its own for every position; V is one of its
 * transpose whose scales are 1, and each position's scale is multiplied into the exponentials. Heads of more than 128
 * channels have a scale for every 128 of V, and are mixed 128 by 128. */
#include <string.h>

#include "base/checked.h"
#include "core/kv_form.h"

enum { PAGE_BLOCKS = NB_KV_PAGE / NB_BLOCK_COLS, GROUP_COLS = 4, GROUP_BYTES = NB_PANEL_ROWS * GROUP_COLS,
       BLOCK_BYTES = NB_PANEL_ROWS * NB_BLOCK_COLS, STRIP_BYTES = NB_SCALE_LINE_BYTES + NB_STRIP_BLOCKS * BLOCK_BYTES,
       VALUE_PANEL_BYTES = NB_ROW_SCALE_BYTES + NB_SCALE_LINE_BYTES + PAGE_BLOCKS * BLOCK_BYTES };
_Static_assert((int)PAGE_BLOCKS <= (int)NB_STRIP_BLOCKS, "a page's positions are one strip");

static size_t strips(const nb_kv_shape *s) { return nb_div_up(s->key_cols, NB_STRIP_COLS); }

static size_t key_panel_bytes(const nb_kv_shape *s) {
    uint64_t panel = 0;
    (void)nb_panel_bytes(NB_TYPE_Q8, s->key_cols, &panel); /* key_cols is far below where that overflows */
    return (size_t)panel;
}
static size_t key_bytes(const nb_kv_shape *s) { return key_panel_bytes(s) * (NB_KV_PAGE / NB_PANEL_ROWS); }

/* After V's panels come its scales, [strips][64]. */
static size_t value_scales_at(const nb_kv_shape *s) { return s->value_rows / NB_PANEL_ROWS * (size_t)VALUE_PANEL_BYTES; }
static size_t value_bytes(const nb_kv_shape *s) { return value_scales_at(s) + strips(s) * NB_KV_PAGE * sizeof(float); }

/* Where the four columns from `col` on of a row lie, and the row's scale of a block. */
static uint8_t *codes_at(uint8_t *panel, size_t row, size_t col) {
    size_t block = col / NB_BLOCK_COLS;
    return panel + NB_ROW_SCALE_BYTES + block / NB_STRIP_BLOCKS * STRIP_BYTES + NB_SCALE_LINE_BYTES +
           block % NB_STRIP_BLOCKS * BLOCK_BYTES + col % NB_BLOCK_COLS / GROUP_COLS * GROUP_BYTES + row * GROUP_COLS;
}
static uint8_t *block_scale_at(uint8_t *panel, size_t row, size_t block) {
    return panel + NB_ROW_SCALE_BYTES + block / NB_STRIP_BLOCKS * STRIP_BYTES + block % NB_STRIP_BLOCKS * NB_PANEL_ROWS + row;
}

/* x[head_dim] with zeros up to whole blocks: x itself where there is nothing to add. */
static const float *whole_blocks(const nb_kv_shape *s, const float *x, float room[NB_HEAD_DIM_MAX + NB_BLOCK_COLS]) {
    if (s->head_dim == s->key_cols) return x;
    memcpy(room, x, s->head_dim * sizeof *x);
    memset(room + s->head_dim, 0, (s->key_cols - s->head_dim) * sizeof *x);
    return room;
}

static void store_key(const nb_kv_shape *s, const nb_kernels *k, uint8_t *keys, size_t at, const float *key) {
    float scale, room[NB_HEAD_DIM_MAX + NB_BLOCK_COLS];
    int8_t q[NB_HEAD_DIM_MAX + NB_BLOCK_COLS], blocks[NB_HEAD_DIM_MAX / NB_BLOCK_COLS + 1];
    uint8_t *panel = keys + at / NB_PANEL_ROWS * key_panel_bytes(s);
    size_t row = at % NB_PANEL_ROWS;
    k->quantize_row(whole_blocks(s, key, room), s->key_cols, q, blocks, &scale);
    memcpy(panel + row * sizeof scale, &scale, sizeof scale);
    for (size_t b = 0; b < s->key_cols / NB_BLOCK_COLS; b++) *block_scale_at(panel, row, b) = (uint8_t)blocks[b];
    for (size_t col = 0; col < s->key_cols; col += GROUP_COLS) memcpy(codes_at(panel, row, col), q + col, GROUP_COLS);
}

/* The first position of a page, which is stored before any later one is read, writes the scales that are 1. */
static void start_values(const nb_kv_shape *s, uint8_t *values) {
    const float one = 1.0f;
    for (size_t p = 0; p < s->value_rows / NB_PANEL_ROWS; p++, values += VALUE_PANEL_BYTES)
        for (size_t row = 0; row < NB_PANEL_ROWS; row++) {
            memcpy(values + row * sizeof one, &one, sizeof one);
            for (size_t b = 0; b < PAGE_BLOCKS; b++) *block_scale_at(values, row, b) = 1;
        }
}

static void store_value(const nb_kv_shape *s, const nb_kernels *k, uint8_t *values, size_t at, const float *value) {
    float room[NB_HEAD_DIM_MAX + NB_BLOCK_COLS], scale[NB_HEAD_DIM_MAX / NB_STRIP_COLS + 1];
    int8_t q[NB_HEAD_DIM_MAX + NB_BLOCK_COLS];
    int32_t start[NB_HEAD_DIM_MAX / NB_BLOCK_COLS + 1];
    float *scales = (float *)(void *)(values + value_scales_at(s));
    if (at == 0) start_values(s, values);
    k->quantize_acts(whole_blocks(s, value, room), s->key_cols, q, scale, start);
    for (size_t i = 0; i < strips(s); i++) scales[i * NB_KV_PAGE + at] = scale[i];
    for (size_t d = 0; d < s->head_dim; d++)
        codes_at(values + d / NB_PANEL_ROWS * VALUE_PANEL_BYTES, d % NB_PANEL_ROWS, at)[at % GROUP_COLS] = (uint8_t)q[d];
}

/* ---- attention ---- */

/* Quantized rows: of queries [key_cols], and of a page's exponentials [64]. */
typedef struct quantized {
    int8_t *q;
    float *scale;
    int32_t *start;
    size_t cols;
} quantized;

static size_t quantized_bytes(size_t rows, size_t cols) {
    return nb_round_up(rows * (cols + nb_div_up(cols, NB_STRIP_COLS) * sizeof(float) + cols / NB_BLOCK_COLS * sizeof(int32_t)),
                       NB_ALIGN);
}
static quantized carve(uint8_t *at, size_t rows, size_t cols) {
    quantized x = {.scale = (float *)(void *)at, .cols = cols};
    x.start = (int32_t *)(void *)(x.scale + rows * nb_div_up(cols, NB_STRIP_COLS));
    x.q = (int8_t *)(x.start + rows * (cols / NB_BLOCK_COLS));
    return x;
}
static void quantize(const nb_kernels *k, const quantized *to, size_t row, const float *x) {
    k->quantize_acts(x, to->cols, to->q + row * to->cols, to->scale + row * nb_div_up(to->cols, NB_STRIP_COLS),
                     to->start + row * (to->cols / NB_BLOCK_COLS));
}
static nb_acts acts_of(const quantized *x, size_t first) {
    size_t n_strips = nb_div_up(x->cols, NB_STRIP_COLS), n_blocks = x->cols / NB_BLOCK_COLS;
    return (nb_acts){.q = x->q + first * x->cols, .q_stride = x->cols, .scale = x->scale + first * n_strips,
                     .scale_stride = n_strips, .start = x->start + first * n_blocks, .start_stride = n_blocks};
}

static size_t key_room(const nb_kv_shape *s, size_t rows) { return quantized_bytes(rows, s->key_cols); }
static size_t value_room(const nb_kv_shape *s, size_t rows) {
    (void)s;
    return quantized_bytes(rows, NB_KV_PAGE);
}
static quantized queries(const nb_kv_shape *s, const nb_attend_work *w) { return carve(w->key_room, w->n, s->key_cols); }

static void enter(const nb_kv_shape *s, const nb_kernels *k, nb_attend_work *w) {
    quantized q = queries(s, w);
    for (size_t r = 0; r < w->n; r++) quantize(k, &q, r, w->q + r * s->key_cols);
}

static void scores(const nb_kv_shape *s, const nb_kernels *k, const uint8_t *keys, nb_attend_work *w, size_t first, size_t end) {
    quantized q = queries(s, w);
    size_t to = 0;
    for (size_t r = first; r < end; r++) to = nb_max_size(to, w->to[r]);
    nb_matmul product = {.w = keys, .panel_bytes = key_panel_bytes(s), .cols = s->key_cols, .x = acts_of(&q, first),
                         .n_tokens = end - first, .y = w->scores + first * NB_KV_PAGE, .y_stride = NB_KV_PAGE};
    k->matmul_q8(&product, 0, nb_div_up(to, NB_PANEL_ROWS));
}

const nb_kv_key_form nb_kv_keys_q8 = {NB_TYPE_Q8, key_bytes, key_room, store_key, enter, scores};

/* Exponentials times V's scales, 0 where nothing is seen: then V's codes there do not matter. */
static void mix(const nb_kv_shape *s, const nb_kernels *k, const uint8_t *values, nb_attend_work *w, size_t first, size_t end) {
    const size_t strip_panels = NB_STRIP_COLS / NB_PANEL_ROWS, panels = s->value_rows / NB_PANEL_ROWS;
    quantized e = carve(w->value_room, w->n, NB_KV_PAGE);
    for (size_t i = 0; i < strips(s); i++) {
        const float *scale = (const float *)(const void *)(values + value_scales_at(s)) + i * NB_KV_PAGE;
        for (size_t r = first; r < end; r++) {
            float weight[NB_KV_PAGE] = {0};
            size_t from = w->from[r], n = w->to[r] - from;
            memcpy(weight + from, w->scores + r * NB_KV_PAGE + from, n * sizeof *weight);
            k->mul(weight + from, scale + from, n);
            quantize(k, &e, r, weight);
        }
        nb_matmul product = {.w = values, .panel_bytes = VALUE_PANEL_BYTES, .cols = NB_KV_PAGE,
                             .x = acts_of(&e, first), .n_tokens = end - first,
                             .y = w->page_o + first * s->value_rows, .y_stride = s->value_rows};
        k->matmul_q8(&product, i * strip_panels, nb_min_size(panels, (i + 1) * strip_panels));
    }
}

const nb_kv_value_form nb_kv_values_q8 = {NB_TYPE_Q8, value_bytes, value_room, store_value, mix};
