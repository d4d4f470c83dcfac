/* The search for scales and codes (quant/search.h), once, over the 16-lane vector: lanes are the rows of a panel and never
 * mix. Include after a vec_*.h.
 *
 * Products and sums are rounded apart, since machines without a fused multiply-add emulate it at a hundred times the
 * cost, and here it would gain nothing. */
#ifndef NB_SIMD_SEARCH_TMPL_H
#define NB_SIMD_SEARCH_TMPL_H

#include "quant/panel.h"
#include "quant/search.h"

enum { SEARCH_REFITS = 2, SEARCH_SCALE_MAX = 127, SEARCH_SUMS = 4 };

/* Below this a scale is none: its inverse would leave the range in which products are finite. */
#define SEARCH_LEAST 0x1p-100f

/* 1 / scale, and 0 where there is no scale. */
static INLINE vf inverse_of(vf scale) {
    return v_less(v_abs(scale), v_set(SEARCH_LEAST), v_set(0.0f), v_div(v_set(1.0f), scale));
}

static INLINE vf cell_of(vf t) {
    vf cell = v_add(v_mul(t, v_set(1.0f / NB_GRID_CELL_WIDTH)), v_set(-(float)NB_LEVEL_MIN / NB_GRID_CELL_WIDTH));
    return v_min(v_max(cell, v_set(0.0f)), v_set((float)(NB_GRID_CELLS - 1)));
}

/* The level nearest to t. A sum that rounds t into the next cell does no harm: there t is still below the border, and the
 * level below it is the same. */
static INLINE vf level_of(const nb_grid *g, vf t, bool linear) {
    if (linear) return v_round(v_min(v_max(t, v_set(g->low)), v_set(g->high)));
    vf cell = cell_of(t);
    return v_less(t, v_pick(g->border, cell), v_pick(g->below, cell), v_pick(g->above, cell));
}

/* The code of that level. */
static INLINE vf code_of(const nb_grid *g, vf t, vf level, bool linear) {
    if (linear) return level;
    vf cell = cell_of(t), code = v_pick(g->code_below, cell);
    return v_less(t, v_pick(g->border, cell), code, v_add(code, v_set(1.0f)));
}

/* The weight of column c: constant conditions, so that a search without importance does not multiply. */
static INLINE vf weighed(vf v, const float *importance, size_t c) {
    return importance ? v_mul(v, v_set(importance[c])) : v;
}

/* Magnitudes are ordered as their bits are, and a maximum of integers is one that compilers vectorize. */
static float search_largest(const uint8_t *w, size_t n) {
    uint32_t most = 0;
    float largest;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, w + 4 * i, sizeof bits);
        bits &= 0x7fffffffu;
        most = bits > most ? bits : most;
    }
    memcpy(&largest, &most, sizeof largest);
    return largest;
}

static float search_largest_bf16(const uint8_t *w, size_t n) {
    uint16_t most = 0;
    float largest;
    for (size_t i = 0; i < n; i++) {
        uint16_t bits;
        memcpy(&bits, w + 2 * i, sizeof bits);
        bits &= 0x7fff;
        most = bits > most ? bits : most;
    }
    uint32_t wide = (uint32_t)most << 16;
    memcpy(&largest, &wide, sizeof largest);
    return largest;
}

/* The 64 bytes at p, of which n exist; the others are zero. */
static INLINE vf load_line(const uint8_t *p, size_t n) {
    uint8_t line[LANES * sizeof(float)] = {0};
    if (n >= sizeof line) return v_load_f32(p);
    memcpy(line, p, n);
    return v_load_f32(line);
}

/* Element i of row r becomes element r of line i. */
static INLINE void load_lines(const uint8_t *src, size_t n_rows, size_t bytes, size_t stride, vf line[LANES]) {
    UNROLL for (size_t r = 0; r < LANES; r++) line[r] = r < n_rows ? load_line(src + r * stride, bytes) : v_set(0.0f);
    v_turn(line);
}

static void search_load(const uint8_t *src, size_t n_rows, size_t n, size_t stride, const float *factor, float *x) {
    vf unit = v_load(factor), column[LANES];
    for (size_t begin = 0; begin < n; begin += LANES) {
        load_lines(src + 4 * begin, n_rows, 4 * (n - begin), stride, column);
        UNROLL for (size_t c = 0; c < LANES; c++)
            if (begin + c < n) v_store(x + (begin + c) * LANES, v_mul(column[c], unit));
    }
}

/* Columns travel in pairs, of which the lower half of an element is the first (weights are little-endian). */
static void search_load_bf16(const uint8_t *src, size_t n_rows, size_t n, size_t stride, const float *factor, float *x) {
    vf unit = v_load(factor), pair[LANES];
    load_lines(src, n_rows, 2 * n, stride, pair);
    UNROLL for (size_t c = 0; c < LANES; c++) {
        if (2 * c < n) v_store(x + 2 * c * LANES, v_mul(v_low_bf16(pair[c]), unit));
        if (2 * c + 1 < n) v_store(x + (2 * c + 1) * LANES, v_mul(v_high_bf16(pair[c]), unit));
    }
}

typedef struct trial {
    vf scale, weight, explained;
} trial;

/* The fit of the codes that are nearest with `scale`. */
static INLINE trial refit(const nb_grid *g, const float *x, size_t n, const float *importance, vf scale, bool linear) {
    vf inverse = inverse_of(scale), xq = v_set(0.0f), qq = v_set(0.0f);
    for (size_t c = 0; c < n; c++) {
        vf w = v_load(x + c * LANES), q = level_of(g, v_mul(w, inverse), linear);
        vf weighed_q = weighed(q, importance, c);
        xq = v_add(xq, v_mul(w, weighed_q));
        qq = v_add(qq, v_mul(q, weighed_q));
    }
    vf best = v_less(v_set(0.0f), qq, v_div(xq, qq), v_set(0.0f));
    return (trial){.scale = best, .weight = qq, .explained = v_mul(xq, best)};
}

static INLINE trial better(trial a, trial b) { /* a wins a tie */
    return (trial){.scale = v_less(a.explained, b.explained, b.scale, a.scale),
                 .weight = v_less(a.explained, b.explained, b.weight, a.weight),
                 .explained = v_max(b.explained, a.explained)};
}

/* The value of the largest magnitude, with its sign; the positive one of two. */
static INLINE vf largest_of(const float *x, size_t n) {
    vf high = v_set(0.0f), low = v_set(0.0f);
    for (size_t c = 0; c < n; c++) {
        vf w = v_load(x + c * LANES);
        high = v_max(w, high);
        low = v_min(w, low);
    }
    return v_less(high, v_neg(low), low, high);
}

/* Where bytes would not do: levels as fine as they are, or columns that count differently. Candidates put the largest value
 * near either end of the grid; the best of them is refitted to its own codes. */
static INLINE void scales_form(const nb_grid *g, const float *x, size_t n, const float *importance, nb_block_fit *out,
                               bool linear) {
    vf largest = largest_of(x, n);
    trial best = {.scale = v_set(0.0f), .weight = v_set(0.0f), .explained = v_set(0.0f)};
    const float ends[2] = {g->low, g->high};
    for (int e = 0; e < 2; e++)
        for (int i = 0; i < g->n_shares; i++)
            best = better(best, refit(g, x, n, importance, v_mul(largest, v_set(g->shares[i] / ends[e])), linear));
    for (int i = 0; g->n_shares && i < SEARCH_REFITS; i++) best = better(best, refit(g, x, n, importance, best.scale, linear));
    if (!g->n_shares) best.scale = v_div(v_abs(largest), v_set(g->high));
    v_store(out->scale, best.scale);
    v_store(out->weight, best.weight);
}

/* The heights of four columns on the stairs that lead to the levels nearest to w / scale. */
static INLINE vc heights_of(const float *x, vf twice, stairs halves) {
    vc cell, rest;
    vc u = flip_codes(floor_codes(v_mul(v_load(x), twice), v_mul(v_load(x + LANES), twice), v_mul(v_load(x + 2 * LANES), twice),
                                  v_mul(v_load(x + 3 * LANES), twice)));
    split_codes(u, &cell, &rest);
    return climb(cell, rest, halves);
}

/* refit of a whole block with a codebook of integers: the same operations on the same levels. */
static INLINE trial refit_bytes(const nb_grid *g, const float *x, vf scale) {
    vf twice = v_mul(inverse_of(scale), v_set(2.0f)), xq = v_set(0.0f);
    stairs halves = make_stairs(g->halves);
    treads above = make_treads(g->above_64), distance = make_treads(g->distance);
    vi squares = vi_zero();
    for (size_t c = 0; c < NB_BLOCK_COLS; c += 4) {
        vc height = heights_of(x + c * LANES, twice, halves), q = step_values(height, above), size = step_values(height, distance);
        squares = mac_bytes(squares, size, size);
        UNROLL for (int j = 0; j < 4; j++)
            xq = v_add(xq, v_mul(v_load(x + (c + (size_t)j) * LANES), code_floats(q, j, -(float)NB_LEVEL_MIN)));
    }
    vf qq = v_float(squares), best = v_less(v_set(0.0f), qq, v_div(xq, qq), v_set(0.0f));
    return (trial){.scale = best, .weight = qq, .explained = v_mul(xq, best)};
}

/* A block's weights as bytes u (quant/grid.h), those of the negative weights first, in groups of four columns as codes are, and
 * |u - 128|. Absent columns are zero weights, which move the sums of all candidates alike. */
typedef struct block_bytes {
    uint8_t u[2][NB_BLOCK_CODES], magnitude[NB_BLOCK_CODES];
} block_bytes;

static INLINE void bytes_of(const float *x, size_t n, vf largest, block_bytes *b) {
    vf unit = v_mul(v_set(127.0f), inverse_of(largest)), zero = v_set(0.0f);
    for (size_t c = 0; c < NB_BLOCK_COLS; c += 4) {
        vf u[4];
        UNROLL for (size_t j = 0; j < 4; j++) u[j] = c + j < n ? v_round(v_mul(v_load(x + (c + j) * LANES), unit)) : zero;
        store_codes(&b->u[1][c / 4 * 64], flip_codes(floor_codes(u[0], u[1], u[2], u[3])));
    }
    for (size_t i = 0; i < NB_BLOCK_CODES; i++) { /* u is at least 1, at most 255 */
        uint8_t u = b->u[1][i];
        b->u[0][i] = (uint8_t)-u;
        b->magnitude[i] = (uint8_t)(u < 128 ? 128 - u : u - 128);
    }
}

/* The best of the scales that put the largest weight near one end, as a share: five to nine instructions for 64 weights. Signs are
 * left out of products: where a weight and its level differ in theirs, both are next to zero. Sums are below 2^20, so exact as
 * floats. */
static INLINE vf best_share(const nb_grid *g, int end, const block_bytes *b) {
    vc cell[NB_BLOCK_CODES / 64], rest[NB_BLOCK_CODES / 64];
    UNROLL for (size_t i = 0; i < NB_BLOCK_CODES / 64; i++) split_codes(load_codes(b->u[end] + 64 * i), &cell[i], &rest[i]);
    treads magnitude = make_treads(g->magnitude);
    vf best = v_set(0.0f), most = v_set(0.0f);
    for (int s = 0; s < NB_GRID_STEPS; s++) {
        stairs share = make_stairs(g->steps[end][s]);
        vi xq = vi_zero(), qq = vi_zero();
        UNROLL for (size_t i = 0; i < NB_BLOCK_CODES / 64; i++) {
            vc q = step_values(climb(cell[i], rest[i], share), magnitude);
            xq = mac_bytes(xq, load_codes(b->magnitude + 64 * i), q);
            qq = mac_bytes(qq, q, q);
        }
        vf product = v_float(xq), explained = v_div(v_mul(product, product), v_max(v_float(qq), v_set(1.0f)));
        best = v_less(most, explained, v_set(g->step_shares[s]), best);
        most = v_max(explained, most);
    }
    return best;
}

/* Bytes are precise enough to tell a good share, not to tell the better end: both are fitted to the weights as they are. */
static INLINE void scales_by_bytes(const nb_grid *g, const float *x, size_t n, nb_block_fit *out) {
    vf largest = largest_of(x, n);
    block_bytes b;
    bytes_of(x, n, largest, &b);
    vf low = v_mul(largest, v_mul(best_share(g, 0, &b), v_set(1.0f / g->low)));
    vf high = v_mul(largest, v_mul(best_share(g, 1, &b), v_set(1.0f / g->high)));
    trial best = g->integers && n == NB_BLOCK_COLS
                     ? better(refit_bytes(g, x, low), refit_bytes(g, x, high))
                     : better(refit(g, x, n, NULL, low, false), refit(g, x, n, NULL, high, false));
    v_store(out->scale, best.scale);
    v_store(out->weight, best.weight);
}

static void search_scales(const nb_grid *g, const float *x, size_t n, const float *importance, nb_block_fit *fit) {
    if (g->linear && importance) scales_form(g, x, n, importance, fit, true);
    else if (g->linear) scales_form(g, x, n, NULL, fit, true);
    else if (importance) scales_form(g, x, n, importance, fit, false);
    else scales_by_bytes(g, x, n, fit);
}

/* The row scale makes the largest block scale one of the codes below; more than 127 clips it. */
static const float search_row_codes[] = {127, 126, 125, 124, 123, 122, 121, 120, 118, 116, 114, 112, 130, 134, 138, 144};

static INLINE vf scale_code(vf scale, vf inverse) {
    vf limit = v_set((float)SEARCH_SCALE_MAX);
    return v_round(v_min(v_max(v_mul(scale, inverse), v_neg(limit)), limit));
}

/* What rounding all block scales to multiples of row_scale costs. */
static INLINE vf rows_cost(const uint8_t *fits, size_t n_blocks, vf row_scale) {
    vf cost = v_set(0.0f), inverse = inverse_of(row_scale);
    for (size_t b = 0; b < n_blocks; b++) {
        const uint8_t *fit = fits + b * sizeof(nb_block_fit);
        vf scale = v_load_f32(fit + offsetof(nb_block_fit, scale)), weight = v_load_f32(fit + offsetof(nb_block_fit, weight));
        vf d = v_sub(scale, v_mul(scale_code(scale, inverse), row_scale));
        cost = v_add(cost, v_mul(v_mul(d, d), weight));
    }
    return cost;
}

static void search_rows(const uint8_t *fits, size_t n_blocks, float *row_scale) {
    vf largest = v_set(0.0f), best = v_set(0.0f), least = v_set(INFINITY);
    for (size_t b = 0; b < n_blocks; b++)
        largest = v_max(v_abs(v_load_f32(fits + b * sizeof(nb_block_fit) + offsetof(nb_block_fit, scale))), largest);
    for (size_t i = 0; i < sizeof search_row_codes / sizeof *search_row_codes; i++) {
        vf candidate = v_div(largest, v_set(search_row_codes[i])), cost = rows_cost(fits, n_blocks, candidate);
        best = v_less(cost, least, candidate, best);
        least = v_min(cost, least);
    }
    v_store(row_scale, best);
}

/* The squared error of a block with a linear grid's codes chosen for `scale`. */
static INLINE vf block_loss(const nb_grid *g, const float *x, size_t n, const float *importance, vf scale) {
    vf inverse = inverse_of(scale), loss = v_set(0.0f);
    for (size_t c = 0; c < n; c++) {
        vf w = v_load(x + c * LANES);
        vf d = v_sub(w, v_mul(scale, level_of(g, v_mul(w, inverse), true)));
        loss = v_add(loss, v_mul(weighed(d, importance, c), d));
    }
    return loss;
}

static INLINE void store_scale_codes(vf codes, int8_t *scale) {
    float code[LANES];
    v_store(code, codes);
    for (int i = 0; i < LANES; i++) scale[i] = (int8_t)code[i];
}

static INLINE vf blocks_form(const nb_grid *g, const float *x, size_t n, const float *importance, vf row, vf middle) {
    static const float offsets[] = {0.0f, 1.0f, -1.0f};
    vf limit = v_set((float)SEARCH_SCALE_MAX), best = middle, least = v_set(INFINITY);
    for (int i = 0; i < (int)(sizeof offsets / sizeof *offsets); i++) {
        vf code = v_max(v_min(v_add(middle, v_set(offsets[i])), limit), v_neg(limit));
        vf loss = block_loss(g, x, n, importance, v_mul(row, code));
        best = v_less(loss, least, code, best);
        least = v_min(loss, least);
    }
    return best;
}

/* Of a codebook the scale nearest to the ideal one, which was fitted to the codes: to try its neighbours gains nothing. The
 * ideal scale of a linear grid may have been that of its largest weight alone. */
static void search_blocks(const nb_grid *g, const float *x, size_t n, const float *importance, const float *row_scale,
                          const float *ideal, int8_t *scale) {
    vf row = v_load(row_scale), nearest = scale_code(v_load(ideal), inverse_of(row));
    if (g->linear && importance) nearest = blocks_form(g, x, n, importance, row, nearest);
    else if (g->linear) nearest = blocks_form(g, x, n, NULL, row, nearest);
    store_scale_codes(nearest, scale);
}

/* What codes lose, column by column. */
typedef struct lost_sums {
    vf signal, noise, largest;
} lost_sums;

static INLINE lost_sums lost_none(void) { return (lost_sums){v_set(0.0f), v_set(0.0f), v_set(0.0f)}; }
static INLINE lost_sums lost_add(lost_sums s, vf w, vf value) {
    vf d = v_sub(w, value);
    return (lost_sums){v_add(s.signal, v_mul(w, w)), v_add(s.noise, v_mul(d, d)), v_max(v_abs(d), s.largest)};
}
static INLINE void lost_store(lost_sums s, nb_block_error *error) {
    v_store(error->signal, s.signal);
    v_store(error->noise, s.noise);
    v_store(error->largest, s.largest);
}

static INLINE void codes_form(const nb_grid *g, const float *x, size_t n, const float *scale, uint8_t *codes,
                              nb_block_error *error, bool linear) {
    vf s = v_load(scale), inverse = inverse_of(s), zero = v_set(0.0f);
    lost_sums lost = lost_none();
    for (size_t c = 0; c < NB_BLOCK_COLS; c += 4) {
        vf code[4];
        UNROLL for (size_t j = 0; j < 4; j++) {
            code[j] = zero;
            if (c + j >= n) continue;
            vf w = v_load(x + (c + j) * LANES), t = v_mul(w, inverse), level = level_of(g, t, linear);
            code[j] = v_less(zero, v_abs(s), code_of(g, t, level, linear), zero);
            lost = lost_add(lost, w, v_mul(s, level));
        }
        v_store_bytes(codes + c / 4 * 64, code[0], code[1], code[2], code[3]);
    }
    lost_store(lost, error);
}

/* The same of a whole block with a codebook of integers and no scale that is 0. */
static INLINE void codes_bytes(const nb_grid *g, const float *x, const float *scale, uint8_t *codes, nb_block_error *error) {
    static const uint8_t numbers[NB_CODEBOOK_SIZE] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    vf s = v_load(scale), twice = v_mul(inverse_of(s), v_set(2.0f));
    stairs halves = make_stairs(g->halves);
    treads above = make_treads(g->above_64), number = make_treads(numbers);
    lost_sums lost = lost_none();
    for (size_t c = 0; c < NB_BLOCK_COLS; c += 4) {
        vc height = heights_of(x + c * LANES, twice, halves), q = step_values(height, above);
        store_codes(codes + c / 4 * 64, step_values(height, number));
        UNROLL for (int j = 0; j < 4; j++)
            lost = lost_add(lost, v_load(x + (c + (size_t)j) * LANES), v_mul(s, code_floats(q, j, -(float)NB_LEVEL_MIN)));
    }
    lost_store(lost, error);
}

static INLINE bool all_scales(const float *scale) {
    int zeros = 0;
    for (int r = 0; r < LANES; r++) zeros += scale[r] == 0.0f;
    return !zeros;
}

static void search_codes(const nb_grid *g, const float *x, size_t n, const float *scale, uint8_t *codes,
                         nb_block_error *error) {
    if (g->linear) codes_form(g, x, n, scale, codes, error, true);
    else if (g->integers && n == NB_BLOCK_COLS && all_scales(scale)) codes_bytes(g, x, scale, codes, error);
    else codes_form(g, x, n, scale, codes, error, false);
}

static void search_values(const nb_grid *g, const float *x, size_t n, const float *scale, float *value) {
    vf s = v_load(scale), inverse = inverse_of(s);
    for (size_t c = 0; c < n; c++)
        v_store(value + c * LANES, v_mul(s, level_of(g, v_mul(v_load(x + c * LANES), inverse), g->linear)));
}

static INLINE void sums_form(const float *x, size_t n, const float *factor, size_t stride, size_t m, float *sum) {
    vf acc[SEARCH_SUMS];
    UNROLL for (size_t i = 0; i < m; i++) acc[i] = v_load(sum + i * LANES);
    for (size_t j = 0; j < n; j++) {
        vf v = v_load(x + j * LANES);
        UNROLL for (size_t i = 0; i < m; i++) acc[i] = v_add(acc[i], v_mul(v, v_set(factor[i * stride + j])));
    }
    UNROLL for (size_t i = 0; i < m; i++) v_store(sum + i * LANES, acc[i]);
}

static void search_sums(const float *x, size_t n, const float *factor, size_t stride, size_t m, float *sum) {
    size_t i = 0;
    for (; i + SEARCH_SUMS <= m; i += SEARCH_SUMS)
        sums_form(x, n, factor + i * stride, stride, SEARCH_SUMS, sum + i * LANES);
    for (; i < m; i++) sums_form(x, n, factor + i * stride, stride, 1, sum + i * LANES);
}

#endif
