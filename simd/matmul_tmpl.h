/* Matrix products, once, over a 16-lane vector and an integer multiply-accumulate. Include after a mac_*.h.
 *
 * Scaled types (q8, q6, q4) have two forms. Up to STREAM_MOST tokens, packed panels stream by once and are decoded in
 * registers. For more, a pair of panels is unpacked into the first-level cache, COLUMN_BLOCKS blocks at a time, and a
 * register tile of TILE_PANELS x TILE_TOKENS runs over it; between column blocks the sums wait beside it. Both forms
 * add in the order of the numerics contract (simd/kernels.h). */
#ifndef NB_SIMD_MATMUL_TMPL_H
#define NB_SIMD_MATMUL_TMPL_H

#include "simd/inline.h"
#include "simd/kernels.h"

/* 16 blocks of two panels unpack into 16 KB of codes: half of a first-level cache, which the activations of a tile and
 * perhaps another thread of the core share. With fewer, sums and the ends of tiles weigh more. A multiple of
 * NB_STRIP_BLOCKS, so that strips stay whole. The sums of BATCH_TOKENS tokens take 33 KB; y itself would not do, since
 * what the last column block has not finished would be written and read once per column block. */
enum { COLUMN_BLOCKS = 16, BATCH_TOKENS = 264 / TILE_TOKENS * TILE_TOKENS, GROUP_BYTES = 64, BLOCK_GROUPS = 8 };
enum { STREAM_MOST = NB_STREAM_TOKENS };
/* One load of activations serves four groups; a unit of a tile is TILE_UNIT tokens, of which the last may be absent. */
enum { ACT_COLS = 16, ACT_GROUPS = 4, TILE_UNITS = (TILE_TOKENS + TILE_UNIT - 1) / TILE_UNIT };
enum { UNIT_SCALES = NB_PANEL_ROWS * TILE_UNIT };

typedef void (*decode_fn)(const uint8_t *half, int pair, book b, vc *low, vc *high);
typedef vd (*pair_fn)(vd dot, vc low, vc high, vi scales, acts x, int pair);
typedef tile_dot (*step_fn)(tile_dot dot, tile_codes codes, tile_scales scales, tile_acts x, int step);

/* How a scaled type is read. Always a constant, so that everything below is specialised for it. */
typedef struct codec {
    decode_fn decode;
    pair_fn pair;
    step_fn step;
    int32_t offset;
    size_t half_bytes; /* packed bytes of the ACT_GROUPS groups that one load of activations serves */
    int coded;         /* codes are looked up in a codebook */
} codec;

static INLINE size_t least(size_t a, size_t b) { return a < b ? a : b; }
static INLINE size_t strip_bytes(const codec c) {
    return NB_SCALE_LINE_BYTES + NB_STRIP_BLOCKS * c.half_bytes * BLOCK_GROUPS / ACT_GROUPS;
}
static INLINE const uint8_t *strip_at(const codec c, const uint8_t *panel, size_t strip) {
    return panel + NB_ROW_SCALE_BYTES + strip * strip_bytes(c);
}
static INLINE book levels_of(const nb_matmul *m, const codec c) {
    static const int8_t none[NB_CODEBOOK_SIZE] = {0};
    return make_book(c.coded ? m->codebook : none);
}
static INLINE const int8_t *acts_at(const nb_matmul *m, size_t t, size_t block) {
    return m->x.q + t * m->x.q_stride + block * NB_BLOCK_COLS;
}
static INLINE const int32_t *start_at(const nb_matmul *m, size_t t, size_t block) {
    return m->x.start + t * m->x.start_stride + block;
}
static INLINE vf act_scale(const nb_matmul *m, size_t t, size_t strip) {
    return v_set(m->x.scale[t * m->x.scale_stride + strip]);
}

/* ---- few tokens: packed panels stream by ---- */

#ifndef FETCH_AFTER /* a prefetch of p that the compiler leaves behind the products in `dot` */
#define FETCH_AFTER(dot, p) ((void)(dot), __builtin_prefetch(p, 0, 2))
#endif

/* The lines of packed codes in a block of so many panels. */
static INLINE int block_lines(const codec c, const int panels) {
    return panels * (int)(c.half_bytes * (BLOCK_GROUPS / ACT_GROUPS) / 64);
}

/* The integer sums of a strip, whose codes are decoded in registers, for tokens from t0. Meanwhile `lines` lines per
 * block are fetched from `ahead`. `panels`, `tokens` and `lines` are constants. */
static INLINE void stream_strip(const nb_matmul *m, const codec c, const uint8_t *panel, size_t b0, size_t t0,
                                const int panels, const int tokens, const uint8_t *ahead, const int lines,
                                vi part[STREAM_PANELS][STREAM_TOKENS]) {
    const int steps = NB_BLOCK_COLS / ACT_COLS * (ACT_GROUPS / 2) * panels;
    const uint8_t *line = strip_at(c, panel, b0 / NB_STRIP_BLOCKS), *p = line + NB_SCALE_LINE_BYTES;
    size_t end = least(m->cols / NB_BLOCK_COLS, b0 + NB_STRIP_BLOCKS);
    book levels = levels_of(m, c);
    UNROLL for (int i = 0; i < panels; i++)
        UNROLL for (int t = 0; t < tokens; t++) part[i][t] = vi_zero();
    for (size_t b = b0; b < end; b++, line += NB_PANEL_ROWS, ahead += lines * 64) {
        vd dot[STREAM_PANELS][STREAM_TOKENS];
        vi scales[STREAM_PANELS];
        int step = 0;
        UNROLL for (int i = 0; i < panels; i++) {
            scales[i] = load_scales((const int8_t *)line + (size_t)i * m->panel_bytes);
            UNROLL for (int t = 0; t < tokens; t++)
                dot[i][t] = dot_open(part[i][t], scales[i], start_at(m, t0 + (size_t)t, b), c.offset);
        }
        UNROLL for (int col = 0; col < NB_BLOCK_COLS; col += ACT_COLS, p += c.half_bytes) {
            acts x[STREAM_TOKENS];
            UNROLL for (int t = 0; t < tokens; t++) x[t] = load_acts(acts_at(m, t0 + (size_t)t, b) + col);
            UNROLL for (int pair = 0; pair < ACT_GROUPS / 2; pair++)
                UNROLL for (int i = 0; i < panels; i++, step++) {
                    vc low, high;
                    UNROLL for (int l = step * lines / steps; l < (step + 1) * lines / steps; l++)
                        FETCH_AFTER(dot[i][0], ahead + 64 * l);
                    c.decode(p + (size_t)i * m->panel_bytes, pair, levels, &low, &high);
                    UNROLL for (int t = 0; t < tokens; t++)
                        dot[i][t] = c.pair(dot[i][t], low, high, scales[i], x[t], pair);
                }
        }
        /* Loaded again, where registers are free, by tiers that have not looked at them before. */
        UNROLL for (int i = 0; i < panels; i++) {
            scales[i] = load_scales((const int8_t *)line + (size_t)i * m->panel_bytes);
            UNROLL for (int t = 0; t < tokens; t++) part[i][t] = dot_close(part[i][t], scales[i], dot[i][t]);
        }
    }
}

/* So few tokens (a constant) that nothing is fetched: the processor's own prefetching follows one run as fast as memory
 * allows, and only suffers from more. */
static INLINE void stream_few(const nb_matmul *m, const codec c, const uint8_t *panel, float *y, const int tokens) {
    vf acc[STREAM_TOKENS];
    UNROLL for (int t = 0; t < tokens; t++) acc[t] = v_set(0.0f);
    for (size_t b0 = 0; b0 < m->cols / NB_BLOCK_COLS; b0 += NB_STRIP_BLOCKS) {
        vi part[STREAM_PANELS][STREAM_TOKENS];
        stream_strip(m, c, panel, b0, 0, 1, tokens, panel, 0, part);
        UNROLL for (int t = 0; t < tokens; t++)
            acc[t] = v_fma(v_float(part[0][t]), act_scale(m, (size_t)t, b0 / NB_STRIP_BLOCKS), acc[t]);
    }
    vf row_scale = v_load_f32(panel);
    UNROLL for (int t = 0; t < tokens; t++) v_store(y + (size_t)t * m->y_stride, v_mul(acc[t], row_scale));
}

/* sums += a strip. */
static INLINE void stream_add(const nb_matmul *m, const codec c, const uint8_t *panel, size_t b0, size_t t0,
                              const int panels, const int tokens, const uint8_t *ahead, const int lines,
                              float (*sums)[STREAM_PANELS][NB_PANEL_ROWS]) {
    vi part[STREAM_PANELS][STREAM_TOKENS];
    stream_strip(m, c, panel, b0, t0, panels, tokens, ahead, lines, part);
    UNROLL for (int t = 0; t < tokens; t++) {
        vf scale = act_scale(m, t0 + (size_t)t, b0 / NB_STRIP_BLOCKS);
        UNROLL for (int i = 0; i < panels; i++)
            v_store(sums[t0 + (size_t)t][i], v_fma(v_float(part[i][t]), scale, v_load(sums[t0 + (size_t)t][i])));
    }
}

/* More tokens: a strip stays in the first-level cache while a register tile of all panels goes from token to token.
 * Their activations and the codes of a panel are more than that cache, and the processor's own prefetching, which
 * follows one run well, loses it among them: so panels are fetched into the second-level cache, about a panel ahead.
 * The lines are in the order in which they lie, and spaced evenly between the products: Zen 4 drops prefetches that
 * come in bursts, and in any other order, from each panel in turn too, they are no better than none. n may be a
 * constant. */
static INLINE void stream_panels(const nb_matmul *m, const codec c, const uint8_t *panel, float *y, const int panels,
                                 size_t n) {
    const int all = block_lines(c, panels);
    float sums[STREAM_MOST][STREAM_PANELS][NB_PANEL_ROWS];
    for (size_t t = 0; t < n; t++)
        UNROLL for (int i = 0; i < panels; i++) v_store(sums[t][i], v_set(0.0f));
    const uint8_t *ahead = panel + ((size_t)panels * m->panel_bytes - least(m->panel_bytes / 2, 4096)) / 64 * 64;
    for (size_t b0 = 0; b0 < m->cols / NB_BLOCK_COLS; b0 += NB_STRIP_BLOCKS) {
        const uint8_t *codes = ahead + panels * NB_SCALE_LINE_BYTES, *half = codes + all / 2 * 64 * NB_STRIP_BLOCKS;
        size_t t = 0;
        UNROLL for (int i = 0; i < panels; i++) __builtin_prefetch(ahead + 64 * i, 0, 2);
        if (n >= 2 * STREAM_TOKENS) {
            stream_add(m, c, panel, b0, 0, panels, STREAM_TOKENS, codes, all / 2, sums);
            stream_add(m, c, panel, b0, STREAM_TOKENS, panels, STREAM_TOKENS, half, all / 2, sums);
            t = 2 * STREAM_TOKENS;
        } else {
            stream_add(m, c, panel, b0, 0, panels, STREAM_TOKENS, codes, all, sums);
            t = STREAM_TOKENS;
        }
        for (; t + STREAM_TOKENS <= n; t += STREAM_TOKENS)
            stream_add(m, c, panel, b0, t, panels, STREAM_TOKENS, codes, 0, sums);
        for (; STREAM_TOKENS > 2 && t + 2 <= n; t += 2) stream_add(m, c, panel, b0, t, panels, 2, codes, 0, sums);
        for (; t < n; t++) stream_add(m, c, panel, b0, t, panels, 1, codes, 0, sums);
        ahead = codes + all * 64 * NB_STRIP_BLOCKS;
    }
    UNROLL for (int i = 0; i < panels; i++) {
        vf row_scale = v_load_f32(panel + (size_t)i * m->panel_bytes);
        for (size_t t = 0; t < n; t++)
            v_store(y + t * m->y_stride + i * NB_PANEL_ROWS, v_mul(v_load(sums[t][i]), row_scale));
    }
}

/* `tokens` is n_tokens. With all sums of a full tile in registers products of 4 and 8 tokens take 3 to 6 % less. */
static INLINE void stream_more(const nb_matmul *m, const codec c, size_t begin, size_t end, size_t tokens) {
    size_t i = begin;
    for (; i + STREAM_PANELS <= end; i += STREAM_PANELS)
        stream_panels(m, c, m->w + i * m->panel_bytes, m->y + i * NB_PANEL_ROWS, STREAM_PANELS, tokens);
    for (; i < end; i++) stream_panels(m, c, m->w + i * m->panel_bytes, m->y + i * NB_PANEL_ROWS, 1, m->n_tokens);
}

static INLINE void stream_each(const nb_matmul *m, const codec c, size_t begin, size_t end, const int tokens) {
    for (size_t i = begin; i < end; i++) stream_few(m, c, m->w + i * m->panel_bytes, m->y + i * NB_PANEL_ROWS, tokens);
}

/* A number of tokens for which there is room; tiers with narrower tiles are not asked for more. */
#define FEW(n) ((n) < STREAM_TOKENS ? (n) : STREAM_TOKENS)

static INLINE void stream(const nb_matmul *m, const codec c, size_t begin, size_t end) {
    size_t n = m->n_tokens;
    if (n == 1) stream_each(m, c, begin, end, 1);
    else if (STREAM_TOKENS >= 2 && n == 2) stream_each(m, c, begin, end, FEW(2));
    else if (STREAM_TOKENS >= 4 && n == 3) stream_each(m, c, begin, end, FEW(3));
    else if (STREAM_TOKENS >= 4 && n == 4) stream_more(m, c, begin, end, 4);
    else if (STREAM_TOKENS >= 4 && n == 8) stream_more(m, c, begin, end, 8);
    else stream_more(m, c, begin, end, n);
}

/* ---- many tokens: panels are unpacked once per column block ---- */

typedef struct room {
    _Alignas(64) uint8_t codes[TILE_PANELS][COLUMN_BLOCKS][BLOCK_GROUPS * GROUP_BYTES];
    _Alignas(64) int32_t scales[TILE_PANELS][COLUMN_BLOCKS][UNIT_SCALES];
    _Alignas(64) float sums[BATCH_TOKENS][TILE_PANELS][NB_PANEL_ROWS];
} room;

static INLINE void unpack(const nb_matmul *m, const codec c, const uint8_t *panel, size_t from, size_t to,
                          uint8_t (*codes)[BLOCK_GROUPS * GROUP_BYTES], int32_t (*scales)[UNIT_SCALES]) {
    book levels = levels_of(m, c);
    for (size_t b = from; b < to; b++) {
        const uint8_t *line = strip_at(c, panel, b / NB_STRIP_BLOCKS);
        const uint8_t *p = line + NB_SCALE_LINE_BYTES;
        p += b % NB_STRIP_BLOCKS * c.half_bytes * (BLOCK_GROUPS / ACT_GROUPS);
        store_tile_scales(scales[b - from], load_scales((const int8_t *)line + b % NB_STRIP_BLOCKS * NB_PANEL_ROWS));
        for (int half = 0; half < BLOCK_GROUPS / ACT_GROUPS; half++, p += c.half_bytes)
            UNROLL for (int pair = 0; pair < ACT_GROUPS / 2; pair++) {
                vc low, high;
                c.decode(p, pair, levels, &low, &high);
                store_pair(codes[b - from] + (half * ACT_GROUPS + 2 * pair) * GROUP_BYTES, low, high);
            }
    }
}

/* The tile's integer sums of one unpacked strip. `panels` and `tokens` are constants. */
static INLINE void tile_strip(const nb_matmul *m, const codec c, const room *r, size_t from, size_t b0, size_t end,
                              size_t t0, const int panels, const int tokens, tile_sum part[TILE_PANELS][TILE_UNITS]) {
    const int units = (tokens + TILE_UNIT - 1) / TILE_UNIT;
    UNROLL for (int p = 0; p < panels; p++)
        UNROLL for (int u = 0; u < units; u++) part[p][u] = tile_zero();
    for (size_t b = b0; b < end; b++) {
        tile_dot dot[TILE_PANELS][TILE_UNITS];
        tile_scales scales[TILE_PANELS];
        UNROLL for (int p = 0; p < panels; p++) {
            scales[p] = load_tile_scales(r->scales[p][b - from]);
            UNROLL for (int u = 0; u < units; u++)
                dot[p][u] = tile_open(part[p][u], scales[p], start_at(m, t0 + (size_t)(u * TILE_UNIT), b), c.offset);
        }
        UNROLL for (int half = 0; half < NB_BLOCK_COLS / ACT_COLS; half++) {
            const int first = half * ACT_GROUPS;
            tile_acts x[TILE_UNITS];
            UNROLL for (int u = 0; u < units; u++)
                x[u] = load_tile_acts(acts_at(m, t0 + (size_t)(u * TILE_UNIT), b) + half * ACT_COLS,
                                      u * TILE_UNIT + 1 < tokens ? m->x.q_stride : 0);
            UNROLL for (int step = 0; step < ACT_GROUPS / TILE_GROUPS; step++) {
                tile_codes w[TILE_PANELS];
                UNROLL for (int p = 0; p < panels; p++)
                    w[p] = load_tile_codes(r->codes[p][b - from] + (first + step * TILE_GROUPS) * GROUP_BYTES);
                UNROLL for (int u = 0; u < units; u++)
                    UNROLL for (int p = 0; p < panels; p++) dot[p][u] = c.step(dot[p][u], w[p], scales[p], x[u], step);
            }
        }
        UNROLL for (int p = 0; p < panels; p++) {
            scales[p] = load_tile_scales(r->scales[p][b - from]);
            UNROLL for (int u = 0; u < units; u++) part[p][u] = tile_close(part[p][u], scales[p], dot[p][u]);
        }
    }
}

/* A register tile over blocks [from, to): sums += strips, and after the last column y = sums * row scale. The tile's
 * first token is t0 + t. Its lines of y come from far away while it runs, or its last stores would hold up the tiles
 * behind it. */
static INLINE void tile(const nb_matmul *m, const codec c, room *r, size_t panel, size_t from, size_t to, size_t t0,
                        size_t t, const int panels, const int tokens) {
    float(*sums)[TILE_PANELS][NB_PANEL_ROWS] = r->sums + t, *y = m->y + (t0 + t) * m->y_stride + panel * NB_PANEL_ROWS;
    const int last = to == m->cols / NB_BLOCK_COLS;
    vf acc[TILE_TOKENS][TILE_PANELS];
    if (last)
        UNROLL for (int i = 0; i < tokens; i++)
            UNROLL for (int p = 0; p < panels; p++)
                __builtin_prefetch(y + (size_t)i * m->y_stride + p * NB_PANEL_ROWS, 1);
    UNROLL for (int i = 0; i < tokens; i++)
        UNROLL for (int p = 0; p < panels; p++) acc[i][p] = from == 0 ? v_set(0.0f) : v_load(sums[i][p]);
    for (size_t b0 = from; b0 < to; b0 += NB_STRIP_BLOCKS) {
        tile_sum part[TILE_PANELS][TILE_UNITS];
        tile_strip(m, c, r, from, b0, least(to, b0 + NB_STRIP_BLOCKS), t0 + t, panels, tokens, part);
        UNROLL for (int i = 0; i < tokens; i++) {
            vf scale = act_scale(m, t0 + t + (size_t)i, b0 / NB_STRIP_BLOCKS);
            UNROLL for (int p = 0; p < panels; p++)
                acc[i][p] = v_fma(v_float(tile_token(part[p][i / TILE_UNIT], i % TILE_UNIT)), scale, acc[i][p]);
        }
    }
    if (!last) {
        UNROLL for (int i = 0; i < tokens; i++)
            UNROLL for (int p = 0; p < panels; p++) v_store(sums[i][p], acc[i][p]);
        return;
    }
    UNROLL for (int p = 0; p < panels; p++) {
        vf row_scale = v_load_f32(m->w + (panel + (size_t)p) * m->panel_bytes);
        UNROLL for (int i = 0; i < tokens; i++)
            v_store(y + (size_t)i * m->y_stride + p * NB_PANEL_ROWS, v_mul(acc[i][p], row_scale));
    }
}

/* Packed bytes that the next column block will unpack, of every panel. */
typedef struct ahead {
    const uint8_t *p;
    size_t panel_bytes, bytes;
} ahead;

/* The share of them that goes with a tile at token t of n: memory works while tiles compute. */
static INLINE void fetch(const ahead *a, size_t t, size_t n, const int panels) {
    size_t begin = a->bytes * t / n / 64 * 64, end = a->bytes * (t + TILE_TOKENS) / n;
    for (size_t at = begin; at < end; at += 64)
        UNROLL for (int p = 0; p < panels; p++) __builtin_prefetch(a->p + (size_t)p * a->panel_bytes + at);
}

/* n tokens from t0 in tiles, those that are left over in half tiles and singles. */
static INLINE void tile_tokens(const nb_matmul *m, const codec c, room *r, size_t panel, size_t from, size_t to,
                               size_t t0, size_t n, const int panels, const ahead *next) {
    size_t t = 0;
    for (; t + TILE_TOKENS <= n; t += TILE_TOKENS) {
        fetch(next, t, n, panels);
        tile(m, c, r, panel, from, to, t0, t, panels, TILE_TOKENS);
    }
    for (; TILE_TOKENS >= 2 && t + TILE_TOKENS / 2 <= n; t += TILE_TOKENS / 2)
        tile(m, c, r, panel, from, to, t0, t, panels, TILE_TOKENS / 2);
    for (; t < n; t++) tile(m, c, r, panel, from, to, t0, t, panels, 1);
}

static INLINE void batch(const nb_matmul *m, const codec c, room *r, size_t panel, const int panels, size_t t0,
                         size_t n) {
    size_t blocks = m->cols / NB_BLOCK_COLS;
    for (size_t from = 0; from < blocks; from += COLUMN_BLOCKS) {
        size_t to = least(blocks, from + COLUMN_BLOCKS);
        for (int p = 0; p < panels; p++)
            unpack(m, c, m->w + (panel + (size_t)p) * m->panel_bytes, from, to, r->codes[p], r->scales[p]);
        const uint8_t *w = m->w + panel * m->panel_bytes;
        ahead next = {.p = to < blocks ? strip_at(c, w, to / NB_STRIP_BLOCKS) : w + (size_t)panels * m->panel_bytes,
                      .panel_bytes = m->panel_bytes,
                      .bytes = COLUMN_BLOCKS / NB_STRIP_BLOCKS * strip_bytes(c)};
        tile_tokens(m, c, r, panel, from, to, t0, n, panels, &next);
    }
}

static INLINE void unpacked(const nb_matmul *m, const codec c, size_t begin, size_t end) {
    room r;
    /* Batches of one size, so that none is too small to pay for its unpacking, and of whole tiles but for the last. */
    size_t batches = (m->n_tokens + BATCH_TOKENS - 1) / BATCH_TOKENS, even = (m->n_tokens + batches - 1) / batches;
    size_t size = (even + TILE_TOKENS - 1) / TILE_TOKENS * TILE_TOKENS;
    for (size_t t0 = 0; t0 < m->n_tokens; t0 += size) {
        size_t n = least(size, m->n_tokens - t0), i = begin;
        for (; i + TILE_PANELS <= end; i += TILE_PANELS) batch(m, c, &r, i, TILE_PANELS, t0, n);
        for (; i < end; i++) batch(m, c, &r, i, 1, t0, n);
    }
}

/* ---- f32, f16, bf16: one fused multiply-add per weight ---- */

typedef vf (*widen_fn)(const uint8_t *column);

static INLINE void float_tile(const nb_matmul *m, size_t panel, size_t t0, size_t column_bytes, widen_fn widen,
                              const int panels, const int tokens) {
    const uint8_t *w = m->w + panel * m->panel_bytes;
    vf acc[2 * FLOAT_PANELS][FLOAT_TOKENS];
    UNROLL for (int p = 0; p < panels; p++)
        UNROLL for (int t = 0; t < tokens; t++) acc[p][t] = v_set(0.0f);
    for (size_t col = 0; col < m->cols; col++) {
        vf x[FLOAT_TOKENS];
        UNROLL for (int t = 0; t < tokens; t++) x[t] = v_set(m->x.f[(t0 + (size_t)t) * m->x.f_stride + col]);
        UNROLL for (int p = 0; p < panels; p++) {
            vf weight = widen(w + (size_t)p * m->panel_bytes + col * column_bytes);
            UNROLL for (int t = 0; t < tokens; t++) acc[p][t] = v_fma(weight, x[t], acc[p][t]);
        }
    }
    UNROLL for (int p = 0; p < panels; p++)
        UNROLL for (int t = 0; t < tokens; t++)
            v_store(m->y + (t0 + (size_t)t) * m->y_stride + (panel + (size_t)p) * NB_PANEL_ROWS, acc[p][t]);
}

/* One token has twice the panels in flight: every sum is a chain of dependent additions, and only more chains hide
 * it. */
static INLINE void unscaled(const nb_matmul *m, size_t begin, size_t end, size_t column_bytes, widen_fn widen) {
    size_t t = 0;
    for (; t + FLOAT_TOKENS <= m->n_tokens; t += FLOAT_TOKENS) {
        size_t i = begin;
        for (; i + FLOAT_PANELS <= end; i += FLOAT_PANELS)
            float_tile(m, i, t, column_bytes, widen, FLOAT_PANELS, FLOAT_TOKENS);
        for (; i < end; i++) float_tile(m, i, t, column_bytes, widen, 1, FLOAT_TOKENS);
    }
    for (; t < m->n_tokens; t++) {
        size_t i = begin;
        for (; i + 2 * FLOAT_PANELS <= end; i += 2 * FLOAT_PANELS)
            float_tile(m, i, t, column_bytes, widen, 2 * FLOAT_PANELS, 1);
        for (; i < end; i++) float_tile(m, i, t, column_bytes, widen, 1, 1);
    }
}

/* ---- the kernels ---- */

static INLINE void scaled(const nb_matmul *m, const codec c, size_t begin, size_t end) {
    if (m->n_tokens <= STREAM_MOST) stream(m, c, begin, end);
    else unpacked(m, c, begin, end);
}

/* Codes of q8 are multiplied as those of q4 are where they have the same offset, those of q6 everywhere. */
static void matmul_q8(const nb_matmul *m, size_t begin, size_t end) {
    const int alike = OFFSET_Q8 == OFFSET_Q4;
    const codec c = {decode_q8, alike ? pair_q4 : pair_q8, alike ? tile_q4 : tile_q8, OFFSET_Q8,
                     ACT_GROUPS * GROUP_BYTES, 0};
    scaled(m, c, begin, end);
}
static void matmul_q6(const nb_matmul *m, size_t begin, size_t end) {
    scaled(m, (codec){decode_q6, pair_q4, tile_q4, OFFSET_Q6, ACT_GROUPS * GROUP_BYTES * 3 / 4, 0}, begin, end);
}
static void matmul_q4(const nb_matmul *m, size_t begin, size_t end) {
    scaled(m, (codec){decode_q4, pair_q4, tile_q4, OFFSET_Q4, ACT_GROUPS * GROUP_BYTES / 2, 1}, begin, end);
}
static void matmul_f32(const nb_matmul *m, size_t begin, size_t end) { unscaled(m, begin, end, 64, v_load_f32); }
static void matmul_f16(const nb_matmul *m, size_t begin, size_t end) { unscaled(m, begin, end, 32, v_load_f16); }
static void matmul_bf16(const nb_matmul *m, size_t begin, size_t end) { unscaled(m, begin, end, 32, v_load_bf16); }

#endif
