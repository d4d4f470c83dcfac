/* Integer multiply-accumulate and code unpacking in plain C: the form every other mac_*.h must equal.
 *
 * Every mac_*.h has these names. A group is 16 rows x 4 columns of codes, 64 bytes; a block is 8 groups. Unpacked codes
 * may be offset to unsigned: a dot product then starts at -OFFSET * (sum of x), which costs nothing and stays exact.
 *   vc, load_codes, store_codes   the unpacked codes of a group
 *   book, make_book               the codebook as decode_q4 wants it
 *   decode_q8, decode_q4          two groups from 128 packed bytes (q8) or 64 (q4)
 *   mac_start                     a block's dot product before its first group
 *   mac_q8, mac_q4                add a group times four activations x[0..3] to all 16 lanes
 *   STREAM_TOKENS                 tokens whose sums stay in registers while packed panels stream by
 *   TILE_PANELS, TILE_TOKENS      register tile of the unpacked form
 *   FLOAT_PANELS, FLOAT_TOKENS    register tile of f32, f16 and bf16 */
#ifndef NB_SIMD_MAC_SCALAR_H
#define NB_SIMD_MAC_SCALAR_H

#include "simd/vec_scalar.h"

enum { OFFSET_Q8 = 0, OFFSET_Q4 = 0 };
enum { STREAM_TOKENS = 4, TILE_PANELS = 1, TILE_TOKENS = 4, FLOAT_PANELS = 1, FLOAT_TOKENS = 4 };

typedef struct vc {
    int8_t v[64];
} vc;
typedef const int8_t *book;

static INLINE vc load_codes(const uint8_t *p) {
    vc c;
    memcpy(c.v, p, sizeof c.v);
    return c;
}
static INLINE void store_codes(uint8_t *p, vc c) { memcpy(p, c.v, sizeof c.v); }

static INLINE book make_book(const int8_t *codebook) { return codebook; }
static INLINE void decode_q8(const uint8_t *codes, book b, vc *low, vc *high) {
    (void)b;
    *low = load_codes(codes);
    *high = load_codes(codes + 64);
}
static INLINE void decode_q4(const uint8_t *codes, book b, vc *low, vc *high) {
    for (int i = 0; i < 64; i++) {
        low->v[i] = b[codes[i] & 15];
        high->v[i] = b[codes[i] >> 4];
    }
}

static INLINE vi mac_start(int32_t sum, int32_t offset) {
    vi dot;
    EACH_LANE dot.v[i] = -offset * sum;
    return dot;
}
/* Exact: a block's |dot| <= 32 * 128 * 127 < 2^24. */
static INLINE vi mac_q8(vi dot, vc codes, const int8_t *x) {
    EACH_LANE {
        const int8_t *w = codes.v + 4 * i;
        dot.v[i] += w[0] * x[0] + w[1] * x[1] + w[2] * x[2] + w[3] * x[3];
    }
    return dot;
}
static INLINE vi mac_q4(vi dot, vc codes, const int8_t *x) { return mac_q8(dot, codes, x); }

#endif
