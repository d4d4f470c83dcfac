/* Integer multiply-accumulate and code unpacking in plain C.
 *
 * Every mac_*.h has these names. A block is 16 rows x 32 columns; unpacked it is 512 signed bytes [8 groups][16 rows]
 * [4 columns], which is how q8 stores it. */
#ifndef NB_SIMD_MAC_SCALAR_H
#define NB_SIMD_MAC_SCALAR_H

#include "simd/vec_scalar.h"

enum { BLOCK_CODES = 512, GROUP_CODES = 64, GROUPS = 8 };

/* The block's codes as signed bytes: q8 is used in place. */
static inline const int8_t *unpack_q8(const uint8_t *codes, const int8_t *codebook, int8_t *room) {
    (void)codebook;
    (void)room;
    return (const int8_t *)codes;
}

/* A q4 byte holds column c of group 2g in its low nibble and of group 2g + 1 in its high one. */
static inline const int8_t *unpack_q4(const uint8_t *codes, const int8_t *codebook, int8_t *room) {
    for (int pair = 0; pair < GROUPS / 2; pair++)
        for (int i = 0; i < GROUP_CODES; i++) {
            uint8_t byte = codes[pair * GROUP_CODES + i];
            room[2 * pair * GROUP_CODES + i] = codebook[byte & 15];
            room[(2 * pair + 1) * GROUP_CODES + i] = codebook[byte >> 4];
        }
    return room;
}

/* dot[r] = sum over 32 columns of code(r, c) * q[c]. Exact: |dot| <= 32 * 127 * 127. `sum` is the sum of q, for forms that
 * offset the codes to unsigned. */
static inline vi mac_block(const int8_t *codes, const int8_t *q, int32_t sum) {
    (void)sum;
    vi dot = {{0}};
    for (int g = 0; g < GROUPS; g++)
        for (int r = 0; r < LANES; r++) {
            const int8_t *w = codes + g * GROUP_CODES + r * 4, *x = q + g * 4;
            dot.v[r] += w[0] * x[0] + w[1] * x[1] + w[2] * x[2] + w[3] * x[3];
        }
    return dot;
}

#endif
