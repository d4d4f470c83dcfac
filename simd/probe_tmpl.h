/* What a tier can do at most, once, over its vectors and its integer multiply-accumulate. Include after matmul_tmpl.h.
 *
 * Addresses change from round to round, so that nothing is computed once for all; everything is in the first-level
 * cache, except what is read. Loads are as rare as in the tiles of matmul_tmpl.h, so they do not limit. */
#ifndef NB_SIMD_PROBE_TMPL_H
#define NB_SIMD_PROBE_TMPL_H

#include "simd/kernels.h"

_Static_assert(TILE_PANELS <= 4 && TILE_UNITS <= 8 && FLOAT_PANELS <= 8 && FLOAT_TOKENS <= 8,
               "rounds stay in the 4096 bytes that they may read");

/* Bytes read in 64-byte pieces; four sums hide the additions' latency behind the reads. */
static uint64_t probe_read(const uint8_t *data, size_t n, float sink[NB_PANEL_ROWS]) {
    enum { SUMS = 4, PIECE = SUMS * 64 };
    vf sum[SUMS];
    UNROLL for (int i = 0; i < SUMS; i++) sum[i] = v_set(0.0f);
    for (size_t at = 0; at + PIECE <= n; at += PIECE)
        UNROLL for (int i = 0; i < SUMS; i++) sum[i] = v_add(sum[i], v_load_f32(data + at + 64 * i));
    v_store(sink, v_add(v_add(sum[0], sum[1]), v_add(sum[2], sum[3])));
    return n / PIECE * PIECE;
}

/* n rounds of the register tile of 8-bit dot products over half a block, as the product does it on unpacked codes:
 * vpdpbusd; vpmaddubsw, vpmaddwd and vpaddd, for q8 also vpsignb or its like; smull, smlal and sadalp; sdot; smmla. Two
 * operations per weight. */
static INLINE uint64_t probe_int8(const uint8_t *data, size_t n, step_fn add_step, float sink[NB_PANEL_ROWS]) {
    enum { MOST = 256 }; /* rounds before sums start anew: 256 * 16 * 128 * 128 < 2^31, times scales of at most 1 */
    static const int32_t none = 0;
    int8_t bits[NB_PANEL_ROWS];
    _Alignas(64) int32_t lanes[UNIT_SCALES];
    for (size_t i = 0; i < NB_PANEL_ROWS; i++) bits[i] = data[i] & 1;
    store_tile_scales(lanes, load_scales(bits));
    tile_scales scales = load_tile_scales(lanes);
    for (size_t first = 0; first < n; first += MOST) {
        tile_dot dot[TILE_PANELS][TILE_UNITS];
        UNROLL for (int p = 0; p < TILE_PANELS; p++)
            UNROLL for (int u = 0; u < TILE_UNITS; u++) dot[p][u] = tile_open(tile_zero(), scales, &none, 0);
        for (size_t r = 0; r < MOST; r++) {
            const uint8_t *codes = data + r % 8 * 256;
            tile_acts x[TILE_UNITS];
            UNROLL for (int u = 0; u < TILE_UNITS; u++)
                x[u] = load_tile_acts((const int8_t *)codes + 1536 + 64 * u, 32);
            UNROLL for (int step = 0; step < ACT_GROUPS / TILE_GROUPS; step++) {
                tile_codes w[TILE_PANELS];
                UNROLL for (int p = 0; p < TILE_PANELS; p++)
                    w[p] = load_tile_codes(codes + 256 * p + step * TILE_GROUPS * GROUP_BYTES);
                UNROLL for (int u = 0; u < TILE_UNITS; u++)
                    UNROLL for (int p = 0; p < TILE_PANELS; p++)
                        dot[p][u] = add_step(dot[p][u], w[p], scales, x[u], step);
            }
        }
        UNROLL for (int p = 0; p < TILE_PANELS; p++)
            UNROLL for (int u = 0; u < TILE_UNITS; u++)
                v_store(sink, v_add(v_load(sink), v_float(tile_token(tile_close(tile_zero(), scales, dot[p][u]), 0))));
    }
    uint64_t weights = (uint64_t)TILE_PANELS * NB_PANEL_ROWS * ACT_COLS;
    return (n + MOST - 1) / MOST * MOST * weights * TILE_UNITS * TILE_UNIT * 2;
}

static uint64_t probe_q4(const uint8_t *data, size_t n, float sink[NB_PANEL_ROWS]) {
    return probe_int8(data, n, tile_q4, sink);
}
static uint64_t probe_q8(const uint8_t *data, size_t n, float sink[NB_PANEL_ROWS]) {
    return probe_int8(data, n, tile_q8, sink);
}

/* n rounds of a register tile of fused multiply-adds over eight columns, as matmul_f32 does them. */
static uint64_t probe_fma(const uint8_t *data, size_t n, float sink[NB_PANEL_ROWS]) {
    enum { COLUMNS = 8 };
    vf acc[FLOAT_PANELS][FLOAT_TOKENS];
    UNROLL for (int p = 0; p < FLOAT_PANELS; p++)
        UNROLL for (int t = 0; t < FLOAT_TOKENS; t++) acc[p][t] = v_set(0.0f);
    for (size_t r = 0; r < n; r++) {
        const uint8_t *column = data + r % 4 * 512;
        UNROLL for (int c = 0; c < COLUMNS; c++) {
            vf x[FLOAT_TOKENS];
            UNROLL for (int t = 0; t < FLOAT_TOKENS; t++) x[t] = v_load_f32(column + 2048 + 64 * (c ^ t));
            UNROLL for (int p = 0; p < FLOAT_PANELS; p++) {
                vf w = v_load_f32(column + 64 * (c ^ p));
                UNROLL for (int t = 0; t < FLOAT_TOKENS; t++) acc[p][t] = v_fma(w, x[t], acc[p][t]);
            }
        }
    }
    UNROLL for (int p = 0; p < FLOAT_PANELS; p++)
        UNROLL for (int t = 0; t < FLOAT_TOKENS; t++) v_store(sink, v_add(v_load(sink), acc[p][t]));
    return (uint64_t)n * COLUMNS * FLOAT_PANELS * FLOAT_TOKENS * NB_PANEL_ROWS * 2;
}

#endif
