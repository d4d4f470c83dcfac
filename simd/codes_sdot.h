/* Multiply-accumulate with sdot: four signed products per lane and instruction, no saturation. The by-lane form lets one
 * load of sixteen activations serve four groups. Names and meanings: mac_scalar.h. */
#ifndef NB_SIMD_CODES_SDOT_H
#define NB_SIMD_CODES_SDOT_H

#include "simd/codes_neon.h"

typedef int8x16_t acts;
typedef vi vd;

static INLINE acts load_acts(const int8_t *x) { return vld1q_s8(x); }
static INLINE vi mac_start(const int32_t *start, int32_t offset) { /* signed codes: the offset is 0 */
    (void)start, (void)offset;
    return vi_zero();
}
/* The lane must be written as a constant. */
static INLINE int32x4_t sdot_lane(int32x4_t dot, int8x16_t codes, acts x, int lane) {
    switch (lane) {
    case 0: return vdotq_laneq_s32(dot, codes, x, 0);
    case 1: return vdotq_laneq_s32(dot, codes, x, 1);
    case 2: return vdotq_laneq_s32(dot, codes, x, 2);
    default: return vdotq_laneq_s32(dot, codes, x, 3);
    }
}
static INLINE vi mac_q8(vi dot, vc codes, vi scales, acts x, int g) {
    (void)scales;
    EACH_QUARTER dot.v[i] = sdot_lane(dot.v[i], codes.v[i], x, g);
    return dot;
}
static INLINE vi mac_bytes(vi sum, vc a, vc b) {
    EACH_QUARTER sum.v[i] = vdotq_s32(sum.v[i], a.v[i], b.v[i]);
    return sum;
}
static INLINE vi mac_q4(vi dot, vc codes, vi scales, acts x, int g) { return mac_q8(dot, codes, scales, x, g); }
static INLINE vi mac_weights(vi dot, vc codes, vi scales, acts x, int g) { return mac_q8(dot, codes, scales, x, g); }
static INLINE vi dot_sum(vd dot) { return dot; }

#include "simd/scale_last.h"

#endif
