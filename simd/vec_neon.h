/* The 16-lane vector as four NEON registers: lanes 0-3, 4-7, 8-11 and 12-15. Names and meanings: vec_scalar.h. */
#ifndef NB_SIMD_VEC_NEON_H
#define NB_SIMD_VEC_NEON_H

#include <arm_neon.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "simd/inline.h"

enum { LANES = 16 };

typedef struct vf {
    float32x4_t v[4];
} vf;
typedef struct vi {
    int32x4_t v[4];
} vi;

#define EACH_QUARTER UNROLL for (int i = 0; i < 4; i++)

static INLINE vf v_set(float x) {
    float32x4_t r = vdupq_n_f32(x);
    return (vf){{r, r, r, r}};
}
static INLINE vf v_load(const float *p) {
    return (vf){{vld1q_f32(p), vld1q_f32(p + 4), vld1q_f32(p + 8), vld1q_f32(p + 12)}};
}
static INLINE void v_store(float *p, vf x) { EACH_QUARTER vst1q_f32(p + 4 * i, x.v[i]); }
/* Tails go through memory of the function's own: NEON has no masked loads and stores. */
static INLINE vf v_load_part(const float *p, size_t n, float fill) {
    if (n == LANES) return v_load(p);
    float copy[LANES];
    v_store(copy, v_set(fill));
    memcpy(copy, p, n * sizeof *p);
    return v_load(copy);
}
static INLINE void v_store_part(float *p, size_t n, vf x) {
    if (n == LANES) {
        v_store(p, x);
        return;
    }
    float copy[LANES];
    v_store(copy, x);
    memcpy(p, copy, n * sizeof *p);
}

static INLINE vf v_add(vf x, vf y) {
    EACH_QUARTER x.v[i] = vaddq_f32(x.v[i], y.v[i]);
    return x;
}
static INLINE vf v_sub(vf x, vf y) {
    EACH_QUARTER x.v[i] = vsubq_f32(x.v[i], y.v[i]);
    return x;
}
static INLINE vf v_mul(vf x, vf y) {
    EACH_QUARTER x.v[i] = vmulq_f32(x.v[i], y.v[i]);
    return x;
}
static INLINE vf v_div(vf x, vf y) {
    EACH_QUARTER x.v[i] = vdivq_f32(x.v[i], y.v[i]);
    return x;
}
static INLINE vf v_fma(vf x, vf y, vf z) {
    EACH_QUARTER z.v[i] = vfmaq_f32(z.v[i], x.v[i], y.v[i]);
    return z;
}
static INLINE vf v_neg(vf x) {
    EACH_QUARTER x.v[i] = vnegq_f32(x.v[i]);
    return x;
}
static INLINE vf v_abs(vf x) {
    EACH_QUARTER x.v[i] = vabsq_f32(x.v[i]);
    return x;
}
static INLINE vf v_copysign(vf magnitude, vf sign) {
    uint32x4_t bit = vdupq_n_u32(0x80000000u);
    EACH_QUARTER magnitude.v[i] = vbslq_f32(bit, sign.v[i], magnitude.v[i]);
    return magnitude;
}
/* fmax and fmaxnm treat NaN and zeros of either sign otherwise than a > b ? a : b: hence a comparison and a
 * selection. */
static INLINE float32x4_t larger(float32x4_t a, float32x4_t b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
static INLINE vf v_max(vf x, vf y) {
    EACH_QUARTER x.v[i] = larger(x.v[i], y.v[i]);
    return x;
}
static INLINE vf v_min(vf x, vf y) {
    EACH_QUARTER x.v[i] = vbslq_f32(vcltq_f32(x.v[i], y.v[i]), x.v[i], y.v[i]);
    return x;
}
static INLINE vf v_less(vf x, vf y, vf yes, vf no) {
    EACH_QUARTER no.v[i] = vbslq_f32(vcltq_f32(x.v[i], y.v[i]), yes.v[i], no.v[i]);
    return no;
}
static INLINE vf v_round(vf x) { /* as scalar does, so that the sign of zero is the same */
    vf magic = v_set(12582912.0f);
    return v_sub(v_add(x, magic), magic);
}
static INLINE vf v_float(vi x) {
    vf r;
    EACH_QUARTER r.v[i] = vcvtq_f32_s32(x.v[i]);
    return r;
}
/* Through memory: a table of 128 bytes is more than the table instructions take, and only converting asks for it. */
static INLINE vf v_pick(const float table[32], vf index) {
    int32_t i[LANES];
    float r[LANES];
    for (int q = 0; q < 4; q++) vst1q_s32(i + 4 * q, vcvtq_s32_f32(index.v[q]));
    for (int lane = 0; lane < LANES; lane++) r[lane] = table[i[lane]];
    return v_load(r);
}
static INLINE void v_store_bytes(uint8_t *p, vf a, vf b, vf c, vf d) {
    uint32x4_t byte = vdupq_n_u32(255);
    EACH_QUARTER {
        uint32x4_t low = vandq_u32(vreinterpretq_u32_s32(vcvtq_s32_f32(a.v[i])), byte);
        uint32x4_t second = vandq_u32(vreinterpretq_u32_s32(vcvtq_s32_f32(b.v[i])), byte);
        uint32x4_t third = vandq_u32(vreinterpretq_u32_s32(vcvtq_s32_f32(c.v[i])), byte);
        uint32x4_t fourth = vreinterpretq_u32_s32(vcvtq_s32_f32(d.v[i]));
        low = vorrq_u32(low, vshlq_n_u32(second, 8));
        low = vorrq_u32(low, vorrq_u32(vshlq_n_u32(third, 16), vshlq_n_u32(fourth, 24)));
        vst1q_u8(p + 16 * i, vreinterpretq_u8_u32(low));
    }
}
static INLINE void turn_4(float32x4_t *a, float32x4_t *b, float32x4_t *c, float32x4_t *d) {
    float32x4x2_t ab = vtrnq_f32(*a, *b), cd = vtrnq_f32(*c, *d);
    *a = vcombine_f32(vget_low_f32(ab.val[0]), vget_low_f32(cd.val[0]));
    *b = vcombine_f32(vget_low_f32(ab.val[1]), vget_low_f32(cd.val[1]));
    *c = vcombine_f32(vget_high_f32(ab.val[0]), vget_high_f32(cd.val[0]));
    *d = vcombine_f32(vget_high_f32(ab.val[1]), vget_high_f32(cd.val[1]));
}
/* Blocks of 4 x 4 in themselves, and those above the diagonal for those below it. */
static INLINE void v_turn(vf rows[LANES]) {
    for (int r = 0; r < LANES; r += 4)
        for (int i = 0; i < 4; i++) turn_4(&rows[r].v[i], &rows[r + 1].v[i], &rows[r + 2].v[i], &rows[r + 3].v[i]);
    for (int r = 0; r < LANES; r++)
        for (int i = 0; i < r / 4; i++) {
            float32x4_t below = rows[r].v[i];
            rows[r].v[i] = rows[4 * i + r % 4].v[r / 4];
            rows[4 * i + r % 4].v[r / 4] = below;
        }
}
static INLINE vf v_pow2(vf n) {
    EACH_QUARTER n.v[i] = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vcvtq_s32_f32(n.v[i]), vdupq_n_s32(127)), 23));
    return n;
}

static INLINE vf v_whole(vf x) { return v_add(x, v_set(12582912.0f)); }
static INLINE vf v_rest(vf x, vf whole) { return v_sub(x, v_sub(whole, v_set(12582912.0f))); }
static INLINE vf v_raise(vf x, vf shifted) {
    EACH_QUARTER x.v[i] = vreinterpretq_f32_s32(
        vaddq_s32(vreinterpretq_s32_f32(x.v[i]), vshlq_n_s32(vreinterpretq_s32_f32(shifted.v[i]), 23)));
    return x;
}

static INLINE float v_sum(vf x) {
    float32x4_t four = vaddq_f32(vaddq_f32(x.v[0], x.v[2]), vaddq_f32(x.v[1], x.v[3]));
    return vaddv_f32(vadd_f32(vget_low_f32(four), vget_high_f32(four)));
}
static INLINE float v_largest(vf x) {
    float32x4_t four = larger(larger(x.v[0], x.v[2]), larger(x.v[1], x.v[3]));
    float32x2_t a = vget_low_f32(four), b = vget_high_f32(four), two = vbsl_f32(vcgt_f32(a, b), a, b);
    float first = vget_lane_f32(two, 0), second = vget_lane_f32(two, 1);
    return first > second ? first : second;
}

static INLINE int16x8_t quantize_16(vf x, int8_t *q) { /* eight sums of two codes */
    vi n;
    x = v_round(x);
    EACH_QUARTER n.v[i] = vcvtq_s32_f32(x.v[i]);
    int16x8_t low = vcombine_s16(vmovn_s32(n.v[0]), vmovn_s32(n.v[1])),
              high = vcombine_s16(vmovn_s32(n.v[2]), vmovn_s32(n.v[3]));
    vst1q_s8(q, vcombine_s8(vmovn_s16(low), vmovn_s16(high)));
    return vaddq_s16(low, high);
}
static INLINE int32_t v_quantize(vf a, vf b, int8_t *q) {
    return vaddlvq_s16(vaddq_s16(quantize_16(a, q), quantize_16(b, q + LANES)));
}

static INLINE void store_16_codes(uint8_t *p, vf x) { /* the sum's low byte is the rounded number */
    uint16x4_t n[4];
    x = v_add(x, v_set(12582912.0f));
    EACH_QUARTER n[i] = vmovn_u32(vreinterpretq_u32_f32(x.v[i]));
    vst1q_u8(p, vcombine_u8(vmovn_u16(vcombine_u16(n[0], n[1])), vmovn_u16(vcombine_u16(n[2], n[3]))));
}
static INLINE void v_store_codes(uint8_t *p, vf a, vf b, vf c, vf d) {
    store_16_codes(p, a);
    store_16_codes(p + 16, b);
    store_16_codes(p + 32, c);
    store_16_codes(p + 48, d);
}

static INLINE vf v_load_f32(const uint8_t *p) { /* as bytes: panels need not be aligned to floats for the compiler */
    vf r;
    EACH_QUARTER r.v[i] = vreinterpretq_f32_u8(vld1q_u8(p + 16 * i));
    return r;
}
static INLINE uint16x4_t four_halves(const uint8_t *p) { return vreinterpret_u16_u8(vld1_u8(p)); }
static INLINE vf v_load_bf16(const uint8_t *p) {
    vf r;
    EACH_QUARTER r.v[i] = vreinterpretq_f32_u32(vshll_n_u16(four_halves(p + 8 * i), 16));
    return r;
}
static INLINE vf v_low_bf16(vf pair) {
    EACH_QUARTER pair.v[i] = vreinterpretq_f32_u32(vshlq_n_u32(vreinterpretq_u32_f32(pair.v[i]), 16));
    return pair;
}
static INLINE vf v_high_bf16(vf pair) {
    uint32x4_t high = vdupq_n_u32(0xffff0000u);
    EACH_QUARTER pair.v[i] = vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(pair.v[i]), high));
    return pair;
}
static INLINE vf v_load_f16(const uint8_t *p) {
    vf r;
    EACH_QUARTER r.v[i] = vcvt_f32_f16(vreinterpret_f16_u16(four_halves(p + 8 * i)));
    return r;
}

static INLINE vi vi_zero(void) {
    int32x4_t r = vdupq_n_s32(0);
    return (vi){{r, r, r, r}};
}
static INLINE vi vi_load(const int32_t *p) {
    return (vi){{vld1q_s32(p), vld1q_s32(p + 4), vld1q_s32(p + 8), vld1q_s32(p + 12)}};
}
static INLINE void vi_store(int32_t *p, vi x) { EACH_QUARTER vst1q_s32(p + 4 * i, x.v[i]); }
static INLINE vi vi_load_i8(const int8_t *p) {
    int8x16_t bytes = vld1q_s8(p);
    int16x8_t low = vmovl_s8(vget_low_s8(bytes)), high = vmovl_high_s8(bytes);
    return (vi){
        {vmovl_s16(vget_low_s16(low)), vmovl_high_s16(low), vmovl_s16(vget_low_s16(high)), vmovl_high_s16(high)}};
}
static INLINE vi vi_mla(vi x, vi y, vi z) {
    EACH_QUARTER z.v[i] = vmlaq_s32(z.v[i], x.v[i], y.v[i]);
    return z;
}

#endif
