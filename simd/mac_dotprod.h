/* Integer multiply-accumulate with sdot. Names and meanings: mac_scalar.h. */
#ifndef NB_SIMD_MAC_DOTPROD_H
#define NB_SIMD_MAC_DOTPROD_H

#include "simd/codes_sdot.h"

/* Of 32 registers a tile of one panel x 3 tokens takes 12 for dot products, 12 for a strip's sums, 3 for activations
 * and 4 for codes; so does a stream of 2 tokens, which also keeps 8 for sums. */
enum { STREAM_PANELS = 1, STREAM_TOKENS = 2, TILE_PANELS = 1, TILE_TOKENS = 3, FLOAT_PANELS = 2, FLOAT_TOKENS = 2 };

#include "simd/tile_by_group.h"

#endif
