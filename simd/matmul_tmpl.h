/* Matrix products, once, over a 16-lane vector and an integer multiply-accumulate. Include after a mac_*.h. */
#ifndef NB_SIMD_MATMUL_TMPL_H
#define NB_SIMD_MATMUL_TMPL_H

#include "simd/kernels.h"

/* Tokens whose sums are kept in registers while a panel streams by. */
enum { TILE = 4 };

typedef const int8_t *(*unpack_fn)(const uint8_t *codes, const int8_t *codebook, int8_t *room);

/* One panel for up to TILE tokens from t0. `unpack` is a constant at every call, so that it is inlined. */
static inline void panel_scaled(const nb_matmul *m, const uint8_t *panel, float *y, size_t t0, size_t tile,
                                size_t block_bytes, unpack_fn unpack) {
    const uint8_t *p = panel + NB_ROW_SCALE_BYTES;
    size_t blocks = m->cols / NB_BLOCK_COLS;
    vf acc[TILE];
    for (size_t t = 0; t < tile; t++) acc[t] = v_set(0.0f);
    for (size_t b0 = 0, s = 0; b0 < blocks; b0 += NB_STRIP_BLOCKS, s++) {
        size_t n = blocks - b0 < NB_STRIP_BLOCKS ? blocks - b0 : NB_STRIP_BLOCKS;
        const int8_t *line = (const int8_t *)p;
        p += NB_SCALE_LINE_BYTES;
        vf part[TILE];
        for (size_t t = 0; t < tile; t++) part[t] = v_set(0.0f);
        for (size_t b = 0; b < n; b++, p += block_bytes) {
            int8_t room[BLOCK_CODES];
            const int8_t *codes = unpack(p, m->codebook, room);
            vf block_scale = v_load_i8(line + b * NB_PANEL_ROWS);
            for (size_t t = 0; t < tile; t++) {
                const int8_t *q = m->x.q + (t0 + t) * m->x.q_stride + (b0 + b) * NB_BLOCK_COLS;
                int32_t sum = m->x.sum[(t0 + t) * m->x.sum_stride + b0 + b];
                part[t] = v_fma(v_float(mac_block(codes, q, sum)), block_scale, part[t]);
            }
        }
        for (size_t t = 0; t < tile; t++)
            acc[t] = v_fma(part[t], v_set(m->x.scale[(t0 + t) * m->x.scale_stride + s]), acc[t]);
    }
    vf row_scale = v_load_f32(panel);
    for (size_t t = 0; t < tile; t++) v_store(y + t * m->y_stride, v_mul(acc[t], row_scale));
}

static inline void matmul_scaled(const nb_matmul *m, size_t begin, size_t end, size_t block_bytes, unpack_fn unpack) {
    for (size_t i = begin; i < end; i++)
        for (size_t t0 = 0; t0 < m->n_tokens; t0 += TILE) {
            size_t tile = m->n_tokens - t0 < TILE ? m->n_tokens - t0 : TILE;
            panel_scaled(m, m->w + i * m->panel_bytes, m->y + t0 * m->y_stride + i * NB_PANEL_ROWS, t0, tile, block_bytes,
                         unpack);
        }
}

typedef vf (*widen_fn)(const uint8_t *column);

static inline void panel_unscaled(const nb_matmul *m, const uint8_t *p, float *y, size_t t0, size_t tile,
                                  size_t column_bytes, widen_fn widen) {
    vf acc[TILE];
    for (size_t t = 0; t < tile; t++) acc[t] = v_set(0.0f);
    for (size_t c = 0; c < m->cols; c++, p += column_bytes) {
        vf w = widen(p);
        for (size_t t = 0; t < tile; t++) acc[t] = v_fma(w, v_set(m->x.f[(t0 + t) * m->x.f_stride + c]), acc[t]);
    }
    for (size_t t = 0; t < tile; t++) v_store(y + t * m->y_stride, acc[t]);
}

static inline void matmul_unscaled(const nb_matmul *m, size_t begin, size_t end, size_t column_bytes, widen_fn widen) {
    for (size_t i = begin; i < end; i++)
        for (size_t t0 = 0; t0 < m->n_tokens; t0 += TILE) {
            size_t tile = m->n_tokens - t0 < TILE ? m->n_tokens - t0 : TILE;
            panel_unscaled(m, m->w + i * m->panel_bytes, m->y + t0 * m->y_stride + i * NB_PANEL_ROWS, t0, tile,
                           column_bytes, widen);
        }
}

static void matmul_q8(const nb_matmul *m, size_t begin, size_t end) { matmul_scaled(m, begin, end, 512, unpack_q8); }
static void matmul_q4(const nb_matmul *m, size_t begin, size_t end) { matmul_scaled(m, begin, end, 256, unpack_q4); }
static void matmul_f32(const nb_matmul *m, size_t begin, size_t end) { matmul_unscaled(m, begin, end, 64, v_load_f32); }
static void matmul_f16(const nb_matmul *m, size_t begin, size_t end) { matmul_unscaled(m, begin, end, 32, v_load_f16); }
static void matmul_bf16(const nb_matmul *m, size_t begin, size_t end) { matmul_unscaled(m, begin, end, 32, v_load_bf16); }

#endif
