/* A register tile that takes one group of codes per step, with mac_q8 and mac_q4. Include at the end of a mac_*.h.
 * Names and meanings: mac_scalar.h. */
#ifndef NB_SIMD_TILE_BY_GROUP_H
#define NB_SIMD_TILE_BY_GROUP_H

#include "simd/by_group.h"
#include "simd/tile_of_one.h"

enum { TILE_GROUPS = 1 };

typedef vc tile_codes;

static INLINE void store_pair(uint8_t *p, vc low, vc high) {
    store_codes(p, low);
    store_codes(p + 64, high);
}
static INLINE tile_codes load_tile_codes(const uint8_t *p) { return load_codes(p); }
static INLINE tile_dot tile_q8(tile_dot dot, tile_codes codes, tile_scales scales, tile_acts x, int step) {
    return mac_q8(dot, codes, scales, x, step);
}
static INLINE tile_dot tile_q4(tile_dot dot, tile_codes codes, tile_scales scales, tile_acts x, int step) {
    return mac_q4(dot, codes, scales, x, step);
}

#endif
