/* Pairs of groups for a mac_*.h whose mac_q8 and mac_q4 take one group. Include at the end of it. Names and meanings:
 * mac_scalar.h. */
#ifndef NB_SIMD_BY_GROUP_H
#define NB_SIMD_BY_GROUP_H

static INLINE vd pair_q8(vd dot, vc low, vc high, vi scales, acts x, int pair) {
    return mac_q8(mac_q8(dot, low, scales, x, 2 * pair), high, scales, x, 2 * pair + 1);
}
static INLINE vd pair_q4(vd dot, vc low, vc high, vi scales, acts x, int pair) {
    return mac_q4(mac_q4(dot, low, scales, x, 2 * pair), high, scales, x, 2 * pair + 1);
}
static INLINE vd pair_weights(vd dot, vc low, vc high, vi scales, acts x, int pair) {
    return mac_weights(mac_weights(dot, low, scales, x, 2 * pair), high, scales, x, 2 * pair + 1);
}

#endif
