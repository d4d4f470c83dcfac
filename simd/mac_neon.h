/* Integer multiply-accumulate for ARMv8.0: 8-bit multiplies into 16-bit sums (smull, smlal), added in pairs to 32 bits
 * (sadalp). Tuned for Cortex-A72, whose one multiplying pipe it keeps busy while the other one adds, and Cortex-A53.
 * Names and meanings: mac_scalar.h.
 *
 * A register of codes is four rows x four columns, the activations four columns repeated four times. The 16-bit sums of
 * two groups hold one product of each:
 *     q8: 2 * 128 * 127 = 32512 < 32768;    q4: 2 * 64 * 127 = 16256.
 * sadalp adds neighbouring columns, which leaves two 32-bit sums per row; they are folded once per block. */
#ifndef NB_SIMD_MAC_NEON_H
#define NB_SIMD_MAC_NEON_H

#include "simd/codes_neon.h"

/* Of 32 registers one token takes 8 for dot products, 4 for a strip's sums and 2 for activations; codes and 16-bit sums
 * take the rest. More tokens would save loads of codes only, and there is one for two multiplications: the loads are
 * free. */
enum { STREAM_PANELS = 1, STREAM_TOKENS = 1, TILE_PANELS = 1, TILE_TOKENS = 1, FLOAT_PANELS = 2, FLOAT_TOKENS = 2 };

typedef int8x16_t acts;
typedef struct vd {
    int32x4_t v[8];
} vd;

static INLINE acts load_acts(const int8_t *x) { return vld1q_s8(x); }
static INLINE vd mac_start(const int32_t *start, int32_t offset) { /* signed codes: the offset is 0 */
    (void)start, (void)offset;
    vd dot;
    UNROLL for (int i = 0; i < 8; i++) dot.v[i] = vdupq_n_s32(0);
    return dot;
}
static INLINE vi dot_sum(vd dot) {
    vi r;
    EACH_QUARTER r.v[i] = vpaddq_s32(dot.v[2 * i], dot.v[2 * i + 1]);
    return r;
}

/* Pairs of products, at most 32258, and then pairs of pairs. */
static INLINE vi mac_bytes(vi sum, vc a, vc b) {
    EACH_QUARTER {
        int16x8_t low = vmull_s8(vget_low_s8(a.v[i]), vget_low_s8(b.v[i])), high = vmull_high_s8(a.v[i], b.v[i]);
        sum.v[i] = vpadalq_s16(sum.v[i], vpaddq_s16(low, high));
    }
    return sum;
}

#include "simd/scale_last.h"

/* Four of sixteen activations, repeated. The lane must be written as a constant. The empty statement hides from the
 * compiler that both halves are equal: it would replace smull2 by ext and smull. */
static INLINE int8x16_t four_of(acts x, int lane) {
    int32x4_t fours = vreinterpretq_s32_s8(x);
    switch (lane) {
    case 0: fours = vdupq_laneq_s32(fours, 0); break;
    case 1: fours = vdupq_laneq_s32(fours, 1); break;
    case 2: fours = vdupq_laneq_s32(fours, 2); break;
    default: fours = vdupq_laneq_s32(fours, 3); break;
    }
    __asm__("" : "+w"(fours));
    return vreinterpretq_s8_s32(fours);
}
/* Eight rows at a time: four multiplications in a row do not wait for each other, which Cortex-A53 needs. */
static INLINE vd pair_q8(vd dot, vc low, vc high, vi scales, acts x, int pair) {
    (void)scales;
    int8x16_t a = four_of(x, 2 * pair), b = four_of(x, 2 * pair + 1);
    UNROLL for (int i = 0; i < 4; i += 2) {
        int16x8_t sum[4];
        UNROLL for (int j = 0; j < 2; j++) {
            sum[2 * j] = vmull_s8(vget_low_s8(low.v[i + j]), vget_low_s8(a));
            sum[2 * j + 1] = vmull_high_s8(low.v[i + j], a);
        }
        UNROLL for (int j = 0; j < 2; j++) {
            sum[2 * j] = vmlal_s8(sum[2 * j], vget_low_s8(high.v[i + j]), vget_low_s8(b));
            sum[2 * j + 1] = vmlal_high_s8(sum[2 * j + 1], high.v[i + j], b);
        }
        UNROLL for (int j = 0; j < 4; j++) dot.v[2 * i + j] = vpadalq_s16(dot.v[2 * i + j], sum[j]);
    }
    return dot;
}
static INLINE vd pair_weights(vd dot, vc low, vc high, vi scales, acts x, int pair) {
    return pair_q8(dot, low, high, scales, x, pair);
}
static INLINE vd pair_q4(vd dot, vc low, vc high, vi scales, acts x, int pair) {
    return pair_q8(dot, low, high, scales, x, pair);
}

/* ---- the tile: two groups per step ---- */

#include "simd/tile_of_one.h"

enum { TILE_GROUPS = 2 };

typedef struct tile_codes {
    vc low, high;
} tile_codes;

static INLINE void store_pair(uint8_t *p, vc low, vc high) {
    store_codes(p, low);
    store_codes(p + 64, high);
}
static INLINE tile_codes load_tile_codes(const uint8_t *p) { return (tile_codes){load_codes(p), load_codes(p + 64)}; }
static INLINE tile_dot tile_q8(tile_dot dot, tile_codes codes, tile_scales scales, tile_acts x, int step) {
    return pair_q8(dot, codes.low, codes.high, scales, x, step);
}
static INLINE tile_dot tile_q4(tile_dot dot, tile_codes codes, tile_scales scales, tile_acts x, int step) {
    return tile_q8(dot, codes, scales, x, step);
}

#endif
