/* Attention over a page in 8 bits, once, over a 16-lane vector and an integer multiply-accumulate: scores of positions in
 * lanes, then their exponentials as codes, then channels in lanes. Include after a mac_*.h and float_tmpl.h. The order of
 * operations is that of nb_scores_q8 and nb_weigh_q8 (simd/kernels.h).
 *
 * K's codes lie as products take them (offset by 128), V's are the signed factor, and a tile of TILE_PANELS x TILE_TOKENS runs
 * over both where they are: nothing is unpacked. */
#ifndef NB_SIMD_ATTEND_TMPL_H
#define NB_SIMD_ATTEND_TMPL_H

#include "simd/kernels.h"

enum { PAGE_PANELS = NB_PAGE_POSITIONS / LANES, PAGE_GROUP = 64, PAGE_GROUPS = NB_PAGE_POSITIONS / 4, KEY_GROUPS = NB_BLOCK_COLS / 4 };

/* What will be read next is fetched in even steps, so that memory works while tiles compute: into the second-level cache, since
 * only that has enough requests under way. */
typedef struct fetcher {
    const uint8_t *at, *end;
    size_t step;
} fetcher;

static INLINE fetcher fetch_in(const uint8_t *next, size_t bytes, size_t steps) {
    return (fetcher){next, next ? next + bytes : next, (bytes / steps + 63) / 64 * 64};
}
static INLINE void fetch_step(fetcher *f) {
    const uint8_t *end = (size_t)(f->end - f->at) < f->step ? f->end : f->at + f->step;
    for (; f->at < end; f->at += 64) __builtin_prefetch(f->at, 0, 2);
    f->at = end;
}

/* Rows in tiles, those that are left over in half tiles and singles; `fn` is a constant. */
typedef void (*tile_fn)(const void *job, size_t panel, size_t row, const int panels, const int rows);
static INLINE void page_rows(const void *job, size_t n, size_t panel, const int panels, fetcher *f, tile_fn fn) {
    size_t r = 0;
    for (; r + TILE_TOKENS <= n; r += TILE_TOKENS) {
        fetch_step(f);
        fn(job, panel, r, panels, TILE_TOKENS);
    }
    for (; TILE_TOKENS >= 2 && r + TILE_TOKENS / 2 <= n; r += TILE_TOKENS / 2) fn(job, panel, r, panels, TILE_TOKENS / 2);
    for (; r < n; r++) fn(job, panel, r, panels, 1);
    fetch_step(f);
}
static INLINE void page_panels(const void *job, size_t n, size_t begin, size_t end, fetcher *f, tile_fn fn) {
    size_t i = begin;
    for (; i + TILE_PANELS <= end; i += TILE_PANELS) page_rows(job, n, i, TILE_PANELS, f, fn);
    for (; i < end; i++) page_rows(job, n, i, 1, f, fn);
}
static INLINE size_t tiles_of(size_t n, size_t panels) { return (n / TILE_TOKENS + 1) * ((panels + TILE_PANELS - 1) / TILE_PANELS); }

/* ---- scores ---- */

static INLINE vc key_codes(const uint8_t *p) {
    vc codes = load_codes(p);
    return OFFSET_Q8 == 128 ? codes : flip_codes(codes);
}

/* Block scales of 1, for tiers that multiply by them as they add products: here they are applied to the sums. */
static INLINE vi unit_scales(void) {
    static const int8_t ones[LANES] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    return load_scales(ones);
}

static INLINE void scores_tile(const void *job, size_t panel, size_t row, const int panels, const int rows) {
    const nb_scores_q8 *a = job;
    const size_t blocks = a->cols / NB_BLOCK_COLS, panel_bytes = a->cols * LANES;
    const uint8_t *codes = a->keys + panel * panel_bytes, *scales = a->keys + PAGE_PANELS * panel_bytes + panel * LANES * 2;
    const vi ones = unit_scales();
    vf acc[TILE_PANELS][TILE_TOKENS];
    UNROLL for (int p = 0; p < panels; p++)
        UNROLL for (int r = 0; r < rows; r++) acc[p][r] = v_set(0.0f);
    for (size_t b = 0; b < blocks; b++, codes += KEY_GROUPS * PAGE_GROUP, scales += NB_PAGE_POSITIONS * 2) {
        vd dot[TILE_PANELS][TILE_TOKENS];
        UNROLL for (int r = 0; r < rows; r++) {
            vd start = dot_open(vi_zero(), ones, a->start + (row + (size_t)r) * blocks + b, OFFSET_Q8);
            UNROLL for (int p = 0; p < panels; p++) dot[p][r] = start;
        }
        UNROLL for (int half = 0; half < 2; half++) {
            acts x[TILE_TOKENS];
            UNROLL for (int r = 0; r < rows; r++)
                x[r] = load_acts(a->q + (row + (size_t)r) * a->cols + b * NB_BLOCK_COLS + half * LANES);
            UNROLL for (int pair = 0; pair < 2; pair++) {
                UNROLL for (int p = 0; p < panels; p++) {
                    const uint8_t *at = codes + (size_t)p * panel_bytes + (half * 4 + pair * 2) * PAGE_GROUP;
                    vc low = key_codes(at), high = key_codes(at + PAGE_GROUP);
                    UNROLL for (int r = 0; r < rows; r++) dot[p][r] = pair_q8(dot[p][r], low, high, ones, x[r], pair);
                }
            }
        }
        UNROLL for (int p = 0; p < panels; p++) {
            vf scale = v_load_bf16(scales + p * LANES * 2);
            UNROLL for (int r = 0; r < rows; r++) acc[p][r] = v_fma(v_float(dot_sum(dot[p][r])), scale, acc[p][r]);
        }
    }
    UNROLL for (int r = 0; r < rows; r++) {
        vf scale = v_set(a->scale[row + (size_t)r]);
        float *y = a->y + (row + (size_t)r) * NB_PAGE_POSITIONS + panel * LANES;
        UNROLL for (int p = 0; p < panels; p++) v_store(y + p * LANES, v_mul(acc[p][r], scale));
    }
}

static void scores_q8(const nb_scores_q8 *a) {
    fetcher f = fetch_in(a->next, a->next_bytes, tiles_of(a->n, a->end - a->begin));
    page_panels(a, a->n, a->begin, a->end, &f, scores_tile);
}

/* ---- exponentials ---- */

static const float positions[NB_PAGE_POSITIONS] = {
    0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31,
    32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63};

/* lanes whose position is in [from, to): x, others `rest` */
static INLINE vf where_seen(vf x, vf rest, vf position, vf from, vf to) {
    return v_less(position, from, rest, v_less(position, to, x, rest));
}

/* A row's exponents of a page; -inf where it sees nothing. `whole`: it sees all 64 positions. */
static INLINE void exponents(const nb_weigh_q8 *a, const float *logs, size_t row, const int whole, vf t[PAGE_PANELS]) {
    const float *scores = a->scores + row * NB_PAGE_POSITIONS;
    vf from = v_set(a->from[row]), to = v_set(a->to[row]);
    UNROLL for (int p = 0; p < PAGE_PANELS; p++) {
        t[p] = v_add(v_load(scores + p * LANES), v_load(logs + p * LANES));
        if (!whole) t[p] = where_seen(t[p], v_set(-INFINITY), v_load(positions + p * LANES), from, to);
    }
}

static INLINE void largest_of_row(const nb_weigh_q8 *a, const float *logs, size_t row, const int whole) {
    vf t[PAGE_PANELS];
    exponents(a, logs, row, whole, t);
    a->page_m[row] = v_largest(v_max(v_max(t[0], t[1]), v_max(t[2], t[3])));
}

static INLINE void weigh_row(const nb_weigh_q8 *a, const float *logs, size_t row, const int whole) {
    const float *inverses = logs + NB_PAGE_POSITIONS;
    uint8_t *codes = a->codes + row * NB_PAGE_POSITIONS;
    vf from = v_set(a->from[row]), to = v_set(a->to[row]), t[PAGE_PANELS];
    vf shift = v_set(a->page_m[row] - NB_LOG2_127), sum = v_set(0.0f);
    exponents(a, logs, row, whole, t);
    UNROLL for (int p = 0; p < PAGE_PANELS; p++) {
        vf e = v_exp2(v_sub(t[p], shift)), inverse = v_load(inverses + p * LANES);
        if (!whole) inverse = where_seen(inverse, v_set(0.0f), v_load(positions + p * LANES), from, to);
        sum = v_fma(e, inverse, sum);
        v_store_codes(codes + p * LANES, e);
    }
    a->page_l[row] = v_sum(sum);
}

/* The rows' maxima and sums with the page; page_m and page_l become what is left of o, and what the page's share is. */
static INLINE void join_rows(const nb_weigh_q8 *a, size_t row, size_t n) {
    vf one = v_set(1.0f), zero = v_set(0.0f);
    vf page_m = v_load_part(a->page_m + row, n, 0.0f), m = v_load_part(a->m + row, n, 0.0f), change = v_sub(page_m, m);
    vf factor = v_exp2(v_neg(v_abs(change)));
    vf carry = v_less(zero, change, factor, one), share = v_less(zero, change, one, factor);
    vf page_l = v_mul(v_load_part(a->page_l + row, n, 0.0f), share);
    v_store_part(a->l + row, n, v_fma(v_load_part(a->l + row, n, 0.0f), carry, page_l));
    v_store_part(a->m + row, n, v_max(page_m, m));
    v_store_part(a->page_m + row, n, carry);
    v_store_part(a->page_l + row, n, share);
}

/* ---- values ---- */

static INLINE void values_tile(const void *job, size_t panel, size_t row, const int panels, const int rows) {
    const nb_weigh_q8 *a = job;
    const uint8_t *values = a->values + panel * PAGE_GROUPS * PAGE_GROUP;
    static const int32_t none = 0; /* V's codes are signed */
    const vi ones = unit_scales();
    vd dot[TILE_PANELS][TILE_TOKENS];
    UNROLL for (int p = 0; p < panels; p++)
        UNROLL for (int r = 0; r < rows; r++) dot[p][r] = dot_open(vi_zero(), ones, &none, OFFSET_Q8);
    UNROLL for (int part = 0; part < PAGE_PANELS; part++) {
        acts x[TILE_TOKENS];
        UNROLL for (int r = 0; r < rows; r++)
            x[r] = load_acts((const int8_t *)a->codes + (row + (size_t)r) * NB_PAGE_POSITIONS + part * LANES);
        UNROLL for (int pair = 0; pair < 2; pair++) {
            UNROLL for (int p = 0; p < panels; p++) {
                const uint8_t *at = values + (p * PAGE_GROUPS + part * 4 + pair * 2) * PAGE_GROUP;
                vc low = load_codes(at), high = load_codes(at + PAGE_GROUP);
                UNROLL for (int r = 0; r < rows; r++) dot[p][r] = pair_weights(dot[p][r], low, high, ones, x[r], pair);
            }
        }
    }
    UNROLL for (int r = 0; r < rows; r++) {
        vf carry = v_set(a->page_m[row + (size_t)r]), share = v_set(a->page_l[row + (size_t)r]);
        float *o = a->o + (row + (size_t)r) * a->channels + panel * LANES;
        UNROLL for (int p = 0; p < panels; p++)
            v_store(o + p * LANES, v_fma(v_load(o + p * LANES), carry, v_mul(v_float(dot_sum(dot[p][r])), share)));
    }
}

static void weigh_q8(const nb_weigh_q8 *a) {
    const float *logs = (const float *)(const void *)(a->values + a->channels * NB_PAGE_POSITIONS);
    size_t whole = 0, panels = a->channels / LANES;
    while (whole < a->n && a->from[whole] == 0 && a->to[whole] == NB_PAGE_POSITIONS) whole++;
    fetcher f = fetch_in(a->next, a->next_bytes, a->n + tiles_of(a->n, panels));
    /* One thing for all rows after the other: what a row waits for would stop it, and the next begins in between. Where one row
     * does not see all of the page, all are looked at closely. */
    if (whole == a->n) {
        for (size_t r = 0; r < a->n; r++) largest_of_row(a, logs, r, 1);
        for (size_t r = 0; r < a->n; r++) {
            fetch_step(&f);
            weigh_row(a, logs, r, 1);
        }
    } else {
        for (size_t r = 0; r < a->n; r++) largest_of_row(a, logs, r, 0);
        for (size_t r = 0; r < a->n; r++) {
            fetch_step(&f);
            weigh_row(a, logs, r, 0);
        }
    }
    for (size_t r = 0; r < a->n; r += LANES) join_rows(a, r, a->n - r < LANES ? a->n - r : LANES);
    page_panels(a, a->n, 0, panels, &f, values_tile);
}

#endif
