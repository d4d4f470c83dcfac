/* Keys and values in 8 bits, as the kernels scores_q8 and weigh_q8 read them (simd/kernels.h): K as panels of positions
 * with a scale for every position and 32 channels, V as panels of channels with a scale for every position. */
#include <string.h>

#include "base/checked.h"
#include "base/dmath.h"
#include "core/kv_form.h"

_Static_assert((int)NB_KV_PAGE == (int)NB_PAGE_POSITIONS, "a page of the cache is one of the kernels'");

/* A panel has 64 bytes for every four columns, four of each row. */
enum { GROUP_COLS = 4, GROUP_BYTES = NB_PANEL_ROWS * GROUP_COLS };
enum { VALUE_PANEL_BYTES = NB_KV_PAGE / GROUP_COLS * GROUP_BYTES };
enum { MOST_COLS = NB_HEAD_DIM_MAX + NB_BLOCK_COLS, MOST_BLOCKS = NB_HEAD_DIM_MAX / NB_BLOCK_COLS + 1 };

/* x[head_dim] with zeros up to whole blocks: x itself where there is nothing to add. */
static const float *whole_blocks(const nb_kv_shape *s, const float *x, float room[MOST_COLS]) {
    if (s->head_dim == s->key_cols) return x;
    memcpy(room, x, s->head_dim * sizeof *x);
    memset(room + s->head_dim, 0, (s->key_cols - s->head_dim) * sizeof *x);
    return room;
}

/* ---- keys ---- */

static size_t key_bytes(const nb_kv_shape *s) { return nb_keys_q8_bytes(s->key_cols); }

static void store_key(const nb_kv_shape *s, const nb_kernels *k, uint8_t *keys, size_t at, const float *key) {
    float room[MOST_COLS];
    int8_t q[MOST_COLS];
    uint16_t scales[MOST_BLOCKS];
    k->quantize_key(whole_blocks(s, key, room), s->key_cols, q, scales);
    for (size_t i = 0; i < s->key_cols; i++) q[i] = (int8_t)(q[i] ^ -128); /* adding 128 flips a byte's top bit */
    uint8_t *row = keys + at / NB_PANEL_ROWS * s->key_cols * NB_PANEL_ROWS + at % NB_PANEL_ROWS * GROUP_COLS;
    for (size_t col = 0; col < s->key_cols; col += GROUP_COLS) memcpy(row + col * NB_PANEL_ROWS, q + col, GROUP_COLS);
    uint8_t *scale = keys + (size_t)NB_KV_PAGE * s->key_cols + at * sizeof *scales;
    for (size_t b = 0; b < s->key_cols / NB_BLOCK_COLS; b++)
        memcpy(scale + b * NB_KV_PAGE * sizeof *scales, &scales[b], sizeof *scales);
}

/* Quantized queries. */
typedef struct queries {
    float *scale;   /* [rows] */
    int32_t *start; /* [rows][key_cols / 32] */
    int8_t *q;      /* [rows][key_cols] */
} queries;

static size_t key_room(const nb_kv_shape *s, size_t rows) {
    return rows * (sizeof(float) + s->key_cols / NB_BLOCK_COLS * sizeof(int32_t) + s->key_cols);
}
static queries carve(const nb_kv_shape *s, const nb_attend_work *w) {
    queries x = {.scale = (float *)(void *)w->key_room};
    x.start = (int32_t *)(void *)(x.scale + w->n);
    x.q = (int8_t *)(x.start + w->n * (s->key_cols / NB_BLOCK_COLS));
    return x;
}

static void enter(const nb_kv_shape *s, const nb_kernels *k, nb_attend_work *w) {
    queries x = carve(s, w);
    for (size_t r = 0; r < w->n; r++)
        x.scale[r] = k->quantize_head(w->q + r * s->key_cols, s->key_cols, x.q + r * s->key_cols,
                                      x.start + r * (s->key_cols / NB_BLOCK_COLS));
}

static void scores(const nb_kv_shape *s, const nb_kernels *k, const nb_attend_page *page, nb_attend_work *w) {
    queries x = carve(s, w);
    size_t first = page->first, from = NB_KV_PAGE, to = 0;
    nb_attend_seen(w, page, &from, &to);
    static const float none[NB_KV_PAGE];
    nb_scores_q8 job = {.keys = page->data, .next = page->next, .cols = s->key_cols, .begin = from / NB_PANEL_ROWS,
                        .end = nb_div_up(to, NB_PANEL_ROWS), .n = page->end - first, .q = x.q + first * s->key_cols,
                        .scale = x.scale + first, .start = x.start + first * (s->key_cols / NB_BLOCK_COLS),
                        .offset = page->offset ? page->offset : none, .next_offset = page->next_offset,
                        .y = w->scores + first * NB_KV_PAGE};
    k->scores_q8(&job);
}

const nb_kv_key_form nb_kv_keys_q8 = {NB_TYPE_Q8, key_bytes, key_room, store_key, enter, scores};

/* ---- values ---- */

static size_t value_bytes(const nb_kv_shape *s) { return nb_values_q8_bytes(s->value_rows); }

static void store_value(const nb_kv_shape *s, const nb_kernels *k, uint8_t *values, size_t at, const float *value) {
    static const float least = 0x1p-60f; /* what is smaller counts as 0; it leaves room for the exponentials in f32 */
    float room[MOST_COLS];
    int8_t q[MOST_COLS];
    int32_t start[MOST_BLOCKS];
    float scale = k->quantize_head(whole_blocks(s, value, room), s->key_cols, q, start);
    if (!(scale >= least)) {
        scale = least;
        memset(q, 0, s->head_dim);
    }
    uint8_t *row = values + at / GROUP_COLS * GROUP_BYTES + at % GROUP_COLS;
    for (size_t d = 0; d < s->head_dim; d++)
        row[d / NB_PANEL_ROWS * VALUE_PANEL_BYTES + d % NB_PANEL_ROWS * GROUP_COLS] = (uint8_t)q[d];
    float *logs = (float *)(void *)(values + (size_t)NB_KV_PAGE * s->value_rows);
    logs[at] = (float)(nb_log((double)scale) * 1.4426950408889634);
    logs[NB_KV_PAGE + at] = 1.0f / scale;
}

/* So V's scale is a factor of the exponential. */
static const float *offset(const nb_kv_shape *s, const uint8_t *values) {
    return nb_values_q8_logs(values, s->value_rows);
}

/* A page may be weighed while the one before it is added: what weighing leaves for adding is there twice, in turns. */
typedef struct weights {
    float *carry, *share; /* [rows] */
    uint8_t *codes;       /* [rows][64] */
} weights;
typedef struct value_rooms {
    float *page_m, *page_l; /* [rows] */
    weights now, before;
} value_rooms;

static size_t value_room(const nb_kv_shape *s, size_t rows) {
    (void)s;
    return rows * (6 * sizeof(float) + 2 * (size_t)NB_KV_PAGE);
}
static value_rooms carve_values(const nb_attend_work *w) {
    size_t n = w->n;
    float *p = (float *)(void *)w->value_room;
    uint8_t *codes = (uint8_t *)(p + 6 * n);
    weights one = {p + 2 * n, p + 3 * n, codes}, other = {p + 4 * n, p + 5 * n, codes + n * NB_KV_PAGE};
    return (value_rooms){p, p + n, w->turn ? one : other, w->turn ? other : one};
}

/* Whether n rows' values wait until the next page is weighed. Eight rows and more are bound by arithmetic, and one by
 * the time that its steps take one after the other; those between are bound by memory, which is faster where a page's
 * values are read right after its keys. */
static bool values_wait(size_t n) { return n == 1 || n >= 8; }

/* V times the weights of a page, if there is one. */
static nb_values_q8 values_of(const nb_kv_shape *s, const nb_attend_page *page, const weights *x,
                              const nb_attend_work *w) {
    size_t first = page->first;
    if (!page->data) return (nb_values_q8){.n = 0};
    return (nb_values_q8){.values = page->data + s->key_bytes, .channels = s->value_rows, .n = page->end - first,
                          .codes = x->codes + first * NB_KV_PAGE, .carry = x->carry + first, .share = x->share + first,
                          .o = w->span.o + first * s->value_rows};
}

static void finish(const nb_kv_shape *s, const nb_kernels *k, nb_attend_work *w) {
    value_rooms x = carve_values(w);
    nb_weigh_q8 job = {.before = values_of(s, &w->waiting, &x.before, w)};
    if (job.before.n) k->weigh_q8(&job);
    w->waiting.data = NULL;
}

static void add(const nb_kv_shape *s, const nb_kernels *k, const nb_attend_page *page, nb_attend_work *w) {
    size_t first = page->first, n = page->end - first;
    bool waits = values_wait(n);
    if (!waits) finish(s, k, w);
    value_rooms x = carve_values(w);
    nb_weigh_q8 job = {.inverses = offset(s, page->data + s->key_bytes) + NB_KV_PAGE, .n = n,
                       .scores = w->scores + first * NB_KV_PAGE, .from = w->from + first, .to = w->to + first,
                       .page_m = x.page_m, .page_l = x.page_l, .m = w->span.m + first, .l = w->span.l + first,
                       .codes = x.now.codes + first * NB_KV_PAGE, .carry = x.now.carry + first,
                       .share = x.now.share + first,
                       .before = waits ? values_of(s, &w->waiting, &x.before, w) : values_of(s, page, &x.now, w),
                       .next = page->next ? page->next + s->key_bytes : NULL, .channels = s->value_rows};
    k->weigh_q8(&job);
    if (!waits) return;
    w->waiting = *page;
    w->turn = !w->turn;
}

const nb_kv_value_form nb_kv_values_q8 = {NB_TYPE_Q8,  1.44269504f, value_bytes, value_room,
                                          store_value, offset,      add,         finish};
