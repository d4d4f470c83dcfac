/* Attention over a page in 8 bits, once, over a 16-lane vector and an integer multiply-accumulate: scores of positions
 * in lanes, then their exponentials as codes, then channels in lanes. Include after a mac_*.h and float_tmpl.h. The
 * order of operations is that of nb_scores_q8 and nb_weigh_q8 (simd/kernels.h).
 *
 * K's codes lie as products take them (offset by 128), V's are the signed factor, and a tile of TILE_PANELS x
 * TILE_TOKENS runs over both where they are: nothing is unpacked. */
#ifndef NB_SIMD_ATTEND_TMPL_H
#define NB_SIMD_ATTEND_TMPL_H

#include <stdbool.h>
#include "base/checked.h"
#include "simd/kernels.h"

enum {
    PAGE_PANELS = NB_PAGE_POSITIONS / LANES,
    PAGE_GROUP = 64, /* bytes */
    PAGE_GROUPS = NB_PAGE_POSITIONS / 4,
    KEY_GROUPS = NB_BLOCK_COLS / 4
};

/* The next page is fetched in small steps, so that memory works while tiles compute: in order, and into the
 * second-level cache, since only that has enough requests under way. A burst of them stops everything else. The more
 * rows, the more steps there are; but products of fewer than four wait for each other, and a processor that runs ahead
 * would make one of all steps: they are smaller then. */
typedef struct fetcher {
    const uint8_t *at, *end;
    size_t step; /* bytes */
} fetcher;

enum { LOG_LINES = NB_PAGE_POSITIONS * 4 / 64 }; /* of 64 floats */
static INLINE void fetch_lines(const void *p, const int n) {
    UNROLL for (int i = 0; i < n; i++) __builtin_prefetch((const uint8_t *)p + 64 * i, 0, 2);
}
static INLINE fetcher fetch_in(const uint8_t *next, size_t bytes, size_t rows) {
    size_t step = rows < 4 ? 64 : rows < 8 ? 256 : 128;
    return (fetcher){next, next ? next + bytes : next, step};
}
static INLINE void fetch_step(fetcher *f) {
    if (f->at >= f->end) return;
    fetch_lines(f->at, 1);
    if (f->step > 64) fetch_lines(f->at + 64, 1);
    if (f->step > 128) fetch_lines(f->at + 128, 2);
    f->at += f->step;
}
static INLINE void fetch_rest(fetcher *f) {
    while (f->at < f->end) fetch_step(f);
}

/* Rows in tiles, those that are left over in half tiles and singles; `fn` is a constant. */
typedef void (*tile_fn)(const void *job, size_t panel, size_t row, const int panels, const int rows, fetcher *f);
static INLINE void page_rows(const void *job, size_t r, size_t n, size_t panel, const int panels, fetcher *f,
                             tile_fn fn) {
    for (; r + TILE_TOKENS <= n; r += TILE_TOKENS) fn(job, panel, r, panels, TILE_TOKENS, f);
    for (; TILE_TOKENS >= 2 && r + TILE_TOKENS / 2 <= n; r += TILE_TOKENS / 2)
        fn(job, panel, r, panels, TILE_TOKENS / 2, f);
    for (; r < n; r++) fn(job, panel, r, panels, 1, f);
}
static INLINE void page_panels(const void *job, size_t row, size_t n, size_t begin, size_t end, fetcher *f,
                               tile_fn fn) {
    size_t i = begin;
    for (; i + TILE_PANELS <= end; i += TILE_PANELS) page_rows(job, row, n, i, TILE_PANELS, f, fn);
    for (; i < end; i++) page_rows(job, row, n, i, 1, f, fn);
}

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

static INLINE void scores_tile(const void *job, size_t panel, size_t row, const int panels, const int rows,
                               fetcher *f) {
    const nb_scores_q8 *a = job;
    const size_t blocks = a->cols / NB_BLOCK_COLS, panel_bytes = a->cols * LANES;
    const uint8_t *codes = a->keys + panel * panel_bytes;
    const uint8_t *scales = a->keys + PAGE_PANELS * panel_bytes + panel * LANES * 2;
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
                fetch_step(f);
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
        UNROLL for (int p = 0; p < panels; p++)
            v_store(y + p * LANES, v_fma(acc[p][r], scale, v_load(a->offset + (panel + (size_t)p) * LANES)));
    }
}

static void scores_q8(const nb_scores_q8 *a) {
    fetcher f = fetch_in(a->next, nb_keys_q8_bytes(a->cols), a->n);
    if (a->next_offset) fetch_lines(a->next_offset, LOG_LINES); /* wanted first */
    page_panels(a, 0, a->n, a->begin, a->end, &f, scores_tile);
    fetch_rest(&f);
}

/* ---- exponentials ---- */

static const float positions[NB_PAGE_POSITIONS] = {
    0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
    22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43,
    44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63};

/* lanes whose position is in [from, to): x, others `rest` */
static INLINE vf where_seen(vf x, vf rest, vf position, vf from, vf to) {
    return v_less(position, from, rest, v_less(position, to, x, rest));
}

/* 2^x for exponentials that become codes: as v_exp2, with a polynomial of degree 3 whose error, 1.1e-4, is nothing to
 * half a code. */
static INLINE vf weight_of(vf x) {
    vf c = v_max(x, v_set(-125.0f)), n = v_whole(c), r = v_rest(c, n);
    vf p = v_set(5.500895157e-02f);
    p = v_fma(p, r, v_set(2.422110140e-01f));
    p = v_fma(p, r, v_set(6.932829022e-01f));
    return v_raise(v_fma(p, r, v_set(1.0f)), n);
}

/* A row's exponents of a page; -inf where it sees nothing. `whole`: it sees all 64 positions. */
static INLINE void exponents(const nb_weigh_q8 *a, size_t row, const int whole, vf t[PAGE_PANELS]) {
    vf from = v_set(a->from[row]), to = v_set(a->to[row]);
    UNROLL for (int p = 0; p < PAGE_PANELS; p++) {
        t[p] = v_load(a->scores + row * NB_PAGE_POSITIONS + p * LANES);
        if (!whole) t[p] = where_seen(t[p], v_set(-INFINITY), v_load(positions + p * LANES), from, to);
    }
}

static INLINE void largest_of_row(const nb_weigh_q8 *a, size_t row, const int whole) {
    vf t[PAGE_PANELS];
    exponents(a, row, whole, t);
    a->page_m[row] = v_largest(v_max(v_max(t[0], t[1]), v_max(t[2], t[3])));
}

/* Two rows' weights at a time, in steps of 16 positions of a row, so that they can go between the products of the page
 * before: two pipes multiply and two add, and products leave the latter idle. */
enum { WEIGHED = 2, WEIGH_STEPS = WEIGHED * PAGE_PANELS };
typedef struct weighing {
    vf e[WEIGHED][PAGE_PANELS], shift[WEIGHED], sum[WEIGHED];
} weighing;

static INLINE void weigh_begin(const nb_weigh_q8 *a, size_t row, const int rows, weighing *w) {
    UNROLL for (int r = 0; r < rows; r++) {
        w->shift[r] = v_set(a->page_m[row + (size_t)r] - NB_LOG2_127);
        w->sum[r] = v_set(0.0f);
    }
}
static INLINE void weigh_step(const nb_weigh_q8 *a, size_t row, const int step, const int whole, weighing *w) {
    const int r = step % WEIGHED, p = step / WEIGHED;
    size_t at = row + (size_t)r;
    vf inverse = v_load(a->inverses + p * LANES), t = v_load(a->scores + at * NB_PAGE_POSITIONS + p * LANES);
    if (!whole) {
        vf position = v_load(positions + p * LANES), from = v_set(a->from[at]), to = v_set(a->to[at]);
        t = where_seen(t, v_set(-INFINITY), position, from, to);
        inverse = where_seen(inverse, v_set(0.0f), position, from, to);
    }
    w->e[r][p] = weight_of(v_sub(t, w->shift[r]));
    w->sum[r] = v_fma(w->e[r][p], inverse, w->sum[r]);
}
static INLINE void weigh_end(const nb_weigh_q8 *a, size_t row, const int rows, const weighing *w) {
    UNROLL for (int r = 0; r < rows; r++) {
        size_t at = row + (size_t)r;
        v_store_codes(a->codes + at * NB_PAGE_POSITIONS, w->e[r][0], w->e[r][1], w->e[r][2], w->e[r][3]);
        a->page_l[at] = v_sum(w->sum[r]);
    }
}
static INLINE void weigh_rows(const nb_weigh_q8 *a, size_t row, const int rows, const int whole) {
    weighing w;
    weigh_begin(a, row, rows, &w);
    UNROLL for (int step = 0; step < WEIGH_STEPS; step++)
        if (step % WEIGHED < rows) weigh_step(a, row, step, whole, &w);
    weigh_end(a, row, rows, &w);
}

/* The rows' maxima with the page, and from them what is left of o (carry) and what the page's share is. */
static INLINE void join_maxima(const nb_weigh_q8 *a, size_t row, size_t n) {
    vf one = v_set(1.0f), zero = v_set(0.0f);
    vf page_m = v_load_part(a->page_m + row, n, 0.0f), m = v_load_part(a->m + row, n, 0.0f), change = v_sub(page_m, m);
    vf factor = v_exp2(v_neg(v_abs(change)));
    v_store_part(a->m + row, n, v_max(page_m, m));
    v_store_part(a->carry + row, n, v_less(zero, change, factor, one));
    v_store_part(a->share + row, n, v_less(zero, change, one, factor));
}
static INLINE void join_sums(const nb_weigh_q8 *a, size_t row, size_t n) {
    vf page_l = v_mul(v_load_part(a->page_l + row, n, 0.0f), v_load_part(a->share + row, n, 0.0f));
    v_store_part(a->l + row, n, v_fma(v_load_part(a->l + row, n, 0.0f), v_load_part(a->carry + row, n, 0.0f), page_l));
}

/* ---- values ---- */

/* Tiles of TILE_PANELS x TILE_TOKENS, or, where there are registers enough for weights beside them, of two panels and
 * four rows, so that every code that is loaded serves four, or of four panels and what rows are left. */
enum {
    BESIDE = TILE_PANELS >= 2,
    FEW_PANELS = 2,
    MANY_ROWS = 2 * WEIGHED,
    MANY_PANELS = 4,
    MOST_ROWS = (int)TILE_TOKENS > (int)MANY_ROWS ? (int)TILE_TOKENS : (int)MANY_ROWS
};

/* Meanwhile the weights of `others` rows (a constant) from row `other` of `beside` on, which see its whole page. */
static INLINE void values_beside(const nb_values_q8 *v, size_t panel, size_t row, const int panels, const int rows,
                                 fetcher *f, const nb_weigh_q8 *beside, size_t other, const int others) {
    const uint8_t *codes = v->values + panel * PAGE_GROUPS * PAGE_GROUP;
    static const int32_t none = 0; /* V's codes are signed */
    const vi ones = unit_scales();
    weighing w;
    vd dot[MANY_PANELS][MOST_ROWS];
    if (others) weigh_begin(beside, other, others, &w);
    UNROLL for (int p = 0; p < panels; p++)
        UNROLL for (int r = 0; r < rows; r++) dot[p][r] = dot_open(vi_zero(), ones, &none, OFFSET_Q8);
    UNROLL for (int part = 0; part < PAGE_PANELS; part++) {
        acts x[MOST_ROWS];
        UNROLL for (int r = 0; r < rows; r++)
            x[r] = load_acts((const int8_t *)v->codes + (row + (size_t)r) * NB_PAGE_POSITIONS + part * LANES);
        UNROLL for (int pair = 0; pair < 2; pair++) {
            const int step = part * 2 + pair;
            fetch_step(f);
            if (step % WEIGHED < others) weigh_step(beside, other, step, 1, &w);
            UNROLL for (int p = 0; p < panels; p++) {
                const uint8_t *at = codes + (p * PAGE_GROUPS + part * 4 + pair * 2) * PAGE_GROUP;
                vc low = load_codes(at), high = load_codes(at + PAGE_GROUP);
                UNROLL for (int r = 0; r < rows; r++) dot[p][r] = pair_weights(dot[p][r], low, high, ones, x[r], pair);
            }
        }
    }
    UNROLL for (int r = 0; r < rows; r++) {
        vf carry = v_set(v->carry[row + (size_t)r]), share = v_set(v->share[row + (size_t)r]);
        float *o = v->o + (row + (size_t)r) * v->channels + panel * LANES;
        UNROLL for (int p = 0; p < panels; p++)
            v_store(o + p * LANES, v_fma(v_load(o + p * LANES), carry, v_mul(v_float(dot_sum(dot[p][r])), share)));
    }
    if (others) weigh_end(beside, other, others, &w);
}
static INLINE void values_tile(const void *job, size_t panel, size_t row, const int panels, const int rows,
                               fetcher *f) {
    values_beside(job, panel, row, panels, rows, f, NULL, 0, 0);
}

/* The values of a few rows, in tiles of `panels` from `panel` on. */
static INLINE void values_from(const nb_values_q8 *v, size_t panel, size_t row, const int panels, const int rows,
                               fetcher *f) {
    size_t end = v->channels / LANES;
    for (; panel + (size_t)panels <= end; panel += (size_t)panels)
        values_beside(v, panel, row, panels, rows, f, NULL, 0, 0);
    for (; panel < end; panel++) values_beside(v, panel, row, 1, rows, f, NULL, 0, 0);
}

/* The same, from the first panel on, and meanwhile as many rows' weights of the page that follows. */
static INLINE void many_beside(const nb_weigh_q8 *a, size_t row, fetcher *f) {
    values_beside(&a->before, 0, row, FEW_PANELS, MANY_ROWS, f, a, row, WEIGHED);
    values_beside(&a->before, FEW_PANELS, row, FEW_PANELS, MANY_ROWS, f, a, row + WEIGHED, WEIGHED);
    values_from(&a->before, 2 * FEW_PANELS, row, FEW_PANELS, MANY_ROWS, f);
}
static INLINE void few_beside(const nb_weigh_q8 *a, size_t row, const int rows, fetcher *f) {
    values_beside(&a->before, 0, row, MANY_PANELS, rows, f, a, row, rows);
    values_from(&a->before, MANY_PANELS, row, MANY_PANELS, rows, f);
}

/* The weights of this page and the values of the page before, side by side where both have rows. `whole`: all rows see
 * the whole page. */
static INLINE void weigh_and_add(const nb_weigh_q8 *a, fetcher *f, const int whole) {
    const nb_values_q8 *v = &a->before;
    const bool own = v->codes == a->codes;
    size_t r = 0, both = whole && !own && BESIDE && v->channels >= MANY_PANELS * LANES ? nb_min_size(a->n, v->n) : 0;
    for (; r + MANY_ROWS <= both; r += MANY_ROWS) many_beside(a, r, f);
    for (; r + WEIGHED <= both; r += WEIGHED) few_beside(a, r, WEIGHED, f);
    for (; r < both; r++) few_beside(a, r, 1, f);
    for (r = both; r + WEIGHED <= a->n; r += WEIGHED) weigh_rows(a, r, WEIGHED, whole);
    for (; r < a->n; r++) weigh_rows(a, r, 1, whole);
    page_panels(v, both, v->n, 0, v->channels / LANES, f, values_tile);
}

static INLINE void maxima(const nb_weigh_q8 *a, const int whole) {
    for (size_t r = 0; r < a->n; r++) largest_of_row(a, r, whole);
    for (size_t r = 0; r < a->n; r += LANES) join_maxima(a, r, a->n - r < LANES ? a->n - r : LANES);
}

static void weigh_q8(const nb_weigh_q8 *a) {
    size_t whole = 0;
    while (whole < a->n && a->from[whole] == 0 && a->to[whole] == NB_PAGE_POSITIONS) whole++;
    fetcher f = fetch_in(a->next, a->channels * NB_PAGE_POSITIONS, nb_max_size(a->n, a->before.n));
    if (a->next) fetch_lines(nb_values_q8_logs(a->next, a->channels) + NB_PAGE_POSITIONS, LOG_LINES);
    /* One thing for all rows after the other: what a row waits for would stop it, and the next begins in between. Where
     * one row does not see all of the page, all are looked at closely. */
    if (whole < a->n) {
        maxima(a, 0);
        weigh_and_add(a, &f, 0);
    } else {
        maxima(a, 1);
        weigh_and_add(a, &f, 1);
    }
    fetch_rest(&f);
    for (size_t r = 0; r < a->n; r += LANES) join_sums(a, r, a->n - r < LANES ? a->n - r : LANES);
}

#endif
