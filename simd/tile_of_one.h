/* The register tile of tiers that keep one token's sums in a 16-lane vector: dot products and sums are the stream's
 * own. Names and meanings: mac_scalar.h. */
#ifndef NB_SIMD_TILE_OF_ONE_H
#define NB_SIMD_TILE_OF_ONE_H

enum { TILE_UNIT = 1 };

typedef acts tile_acts;
typedef vd tile_dot;
typedef vi tile_sum, tile_scales;

static INLINE tile_acts load_tile_acts(const int8_t *x, size_t stride) {
    (void)stride;
    return load_acts(x);
}
static INLINE void store_tile_scales(int32_t *p, vi scales) { vi_store(p, scales); }
static INLINE tile_scales load_tile_scales(const int32_t *p) { return vi_load(p); }
static INLINE tile_sum tile_zero(void) { return vi_zero(); }
static INLINE tile_dot tile_open(tile_sum sum, tile_scales scales, const int32_t *start, int32_t offset) {
    return dot_open(sum, scales, start, offset);
}
static INLINE tile_sum tile_close(tile_sum sum, tile_scales scales, tile_dot dot) {
    return dot_close(sum, scales, dot);
}
static INLINE vi tile_token(tile_sum sum, int token) {
    (void)token;
    return sum;
}

#endif
