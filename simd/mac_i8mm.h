/* Integer multiply-accumulate with smmla: two rows x eight columns by eight columns x two tokens, 32 products per
 * instruction. Streams, which have few tokens, take sdot. Names and meanings: mac_scalar.h.
 *
 * A tile's unit is a pair of tokens. Two groups zipped at 32 bits are eight columns of two rows in each register, and a
 * dot product is [row r, token 0], [row r, token 1], [row r+1, token 0], [row r+1, token 1]: eight registers for 16
 * rows. Scales are stored twice each, so that the sums stay in that order until a strip is complete. */
#ifndef NB_SIMD_MAC_I8MM_H
#define NB_SIMD_MAC_I8MM_H

#include "simd/codes_sdot.h"
#include "simd/by_group.h"

/* Of 32 registers a tile of one panel x 2 tokens takes 8 for dot products, 8 for a strip's sums, 2 for activations and
 * 8 for codes. With 4 tokens those sums would wait in the first-level cache, which costs more than the loads it
 * saves. */
enum { STREAM_PANELS = 1, STREAM_TOKENS = 2, TILE_PANELS = 1, TILE_TOKENS = 2, FLOAT_PANELS = 2, FLOAT_TOKENS = 2 };
enum { TILE_UNIT = 2, TILE_GROUPS = 2 };

typedef struct tile_codes {
    int8x16_t v[8];
} tile_codes;
typedef struct tile_acts {
    int8x16_t v[2]; /* eight columns of both tokens each */
} tile_acts;
typedef struct tile_dot {
    int32x4_t v[8];
} tile_dot;
typedef tile_dot tile_sum, tile_scales;

#define EACH_ROW_PAIR UNROLL for (int i = 0; i < 8; i++)

static INLINE int8x16_t zip1_32(int8x16_t a, int8x16_t b) {
    return vreinterpretq_s8_s32(vzip1q_s32(vreinterpretq_s32_s8(a), vreinterpretq_s32_s8(b)));
}
static INLINE int8x16_t zip2_32(int8x16_t a, int8x16_t b) {
    return vreinterpretq_s8_s32(vzip2q_s32(vreinterpretq_s32_s8(a), vreinterpretq_s32_s8(b)));
}
static INLINE void store_pair(uint8_t *p, vc low, vc high) {
    EACH_QUARTER {
        store_16(p + 32 * i, zip1_32(low.v[i], high.v[i]));
        store_16(p + 32 * i + 16, zip2_32(low.v[i], high.v[i]));
    }
}
static INLINE tile_codes load_tile_codes(const uint8_t *p) {
    tile_codes c;
    EACH_ROW_PAIR c.v[i] = load_16(p + 16 * i);
    return c;
}
/* The second token is `stride` after the first; 0 for a single token, whose twin's results are not used. */
static INLINE tile_acts load_tile_acts(const int8_t *x, size_t stride) {
    int64x2_t a = vreinterpretq_s64_s8(vld1q_s8(x)), b = vreinterpretq_s64_s8(vld1q_s8(x + stride));
    return (tile_acts){{vreinterpretq_s8_s64(vzip1q_s64(a, b)), vreinterpretq_s8_s64(vzip2q_s64(a, b))}};
}

static INLINE void store_tile_scales(int32_t *p, vi scales) {
    EACH_QUARTER {
        vst1q_s32(p + 8 * i, vzip1q_s32(scales.v[i], scales.v[i]));
        vst1q_s32(p + 8 * i + 4, vzip2q_s32(scales.v[i], scales.v[i]));
    }
}
static INLINE tile_scales load_tile_scales(const int32_t *p) {
    tile_scales scales;
    EACH_ROW_PAIR scales.v[i] = vld1q_s32(p + 4 * i);
    return scales;
}

static INLINE tile_sum tile_zero(void) {
    tile_sum sum;
    EACH_ROW_PAIR sum.v[i] = vdupq_n_s32(0);
    return sum;
}
static INLINE tile_dot tile_open(tile_sum sum, tile_scales scales, const int32_t *start, int32_t offset) {
    (void)sum, (void)scales, (void)start, (void)offset; /* signed codes: the offset is 0 */
    return tile_zero();
}
static INLINE tile_dot tile_q8(tile_dot dot, tile_codes codes, tile_scales scales, tile_acts x, int step) {
    (void)scales;
    EACH_ROW_PAIR dot.v[i] = vmmlaq_s32(dot.v[i], codes.v[i], x.v[step]);
    return dot;
}
static INLINE tile_dot tile_q4(tile_dot dot, tile_codes codes, tile_scales scales, tile_acts x, int step) {
    return tile_q8(dot, codes, scales, x, step);
}
static INLINE tile_sum tile_close(tile_sum sum, tile_scales scales, tile_dot dot) {
    EACH_ROW_PAIR sum.v[i] = vmlaq_s32(sum.v[i], dot.v[i], scales.v[i]);
    return sum;
}
static INLINE vi tile_token(tile_sum sum, int token) {
    vi r;
    EACH_QUARTER r.v[i] = token ? vuzp2q_s32(sum.v[2 * i], sum.v[2 * i + 1])
                                : vuzp1q_s32(sum.v[2 * i], sum.v[2 * i + 1]);
    return r;
}

#endif
