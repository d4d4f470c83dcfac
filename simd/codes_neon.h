/* Unpacked codes of a group as four NEON registers (four rows each), signed, and their decoding: shared by the
 * multiply-accumulate headers of arm64, which differ in how they multiply. */
#ifndef NB_SIMD_CODES_NEON_H
#define NB_SIMD_CODES_NEON_H

#include "simd/vec_neon.h"

enum { OFFSET_Q8 = 0, OFFSET_Q6 = 0, OFFSET_Q4 = 0 };

typedef struct vc {
    int8x16_t v[4];
} vc;
typedef int8x16_t book;

static INLINE int8x16_t load_16(const uint8_t *p) { return vreinterpretq_s8_u8(vld1q_u8(p)); }
static INLINE void store_16(uint8_t *p, int8x16_t x) { vst1q_u8(p, vreinterpretq_u8_s8(x)); }
static INLINE vc load_codes(const uint8_t *p) { return (vc){{load_16(p), load_16(p + 16), load_16(p + 32), load_16(p + 48)}}; }
static INLINE vc flip_codes(vc c) {
    EACH_QUARTER c.v[i] = veorq_s8(c.v[i], vdupq_n_s8(-128));
    return c;
}
static INLINE void store_codes(uint8_t *p, vc c) { EACH_QUARTER store_16(p + 16 * i, c.v[i]); }

static INLINE book make_book(const int8_t *codebook) { return vld1q_s8(codebook); }
static INLINE void decode_q8(const uint8_t *half, int pair, book b, vc *low, vc *high) {
    const uint8_t *codes = half + 128 * pair;
    (void)b;
    *low = load_codes(codes);
    *high = load_codes(codes + 64);
}
/* The upper two bits, which come shifted to bits 0 and 1 of `bits`, are put above a nibble; what comes above them goes. */
static INLINE int8x16_t join_q6(uint8x16_t nibbles, uint8x16_t bits) {
    uint8x16_t code = vandq_u8(vsliq_n_u8(nibbles, bits, 4), vdupq_n_u8(63));
    return vsubq_s8(vreinterpretq_s8_u8(code), vdupq_n_s8(32));
}
static INLINE void decode_q6(const uint8_t *half, int pair, book b, vc *low, vc *high) {
    (void)b;
    EACH_QUARTER {
        uint8x16_t raw = vld1q_u8(half + 64 * pair + 16 * i), bits = vld1q_u8(half + 128 + 16 * i);
        low->v[i] = join_q6(raw, pair ? vshrq_n_u8(bits, 4) : bits);
        high->v[i] = join_q6(vshrq_n_u8(raw, 4), pair ? vshrq_n_u8(bits, 6) : vshrq_n_u8(bits, 2));
    }
}
static INLINE void decode_q4(const uint8_t *half, int pair, book b, vc *low, vc *high) {
    EACH_QUARTER {
        uint8x16_t raw = vld1q_u8(half + 64 * pair + 16 * i);
        low->v[i] = vqtbl1q_s8(b, vandq_u8(raw, vdupq_n_u8(15)));
        high->v[i] = vqtbl1q_s8(b, vshrq_n_u8(raw, 4));
    }
}

typedef struct stairs {
    uint8x16x2_t cells;
    uint8x16_t values;
} stairs;
static INLINE stairs make_stairs(const uint8_t *cells, const uint8_t *values) {
    return (stairs){{{vld1q_u8(cells), vld1q_u8(cells + 16)}}, vld1q_u8(values)};
}
static INLINE vc step_codes(vc cell, vc rest, stairs s) {
    EACH_QUARTER {
        uint8x16_t start = vqtbl2q_u8(s.cells, vreinterpretq_u8_s8(cell.v[i]));
        uint8x16_t step = vshrq_n_u8(vaddq_u8(start, vreinterpretq_u8_s8(rest.v[i])), 3);
        cell.v[i] = vreinterpretq_s8_u8(vqtbl1q_u8(s.values, step));
    }
    return cell;
}

#endif
