/* Block scales for tiers that multiply a block's dot product by them when it is complete. Include after mac_start,
 * where a dot product begins, and dot_sum, its 16 sums. Names and meanings: mac_scalar.h. */
#ifndef NB_SIMD_SCALE_LAST_H
#define NB_SIMD_SCALE_LAST_H

static INLINE vi load_scales(const int8_t *p) { return vi_load_i8(p); }
static INLINE vd dot_open(vi sum, vi scales, const int32_t *start, int32_t offset) {
    (void)sum, (void)scales;
    return mac_start(start, offset);
}
static INLINE vi dot_close(vi sum, vi scales, vd dot) { return vi_mla(dot_sum(dot), scales, sum); }

#endif
