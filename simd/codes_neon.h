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

static INLINE int16x8_t floor_pair(float32x4_t a, float32x4_t b) {
    return vcombine_s16(vqmovn_s32(vcvtmq_s32_f32(a)), vqmovn_s32(vcvtmq_s32_f32(b)));
}
static INLINE vc floor_codes(vf a, vf b, vf c, vf d) {
    static const uint8_t rows[16] = {0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15};
    vc codes;
    EACH_QUARTER {
        int8x8_t low = vqmovn_s16(floor_pair(a.v[i], b.v[i])), high = vqmovn_s16(floor_pair(c.v[i], d.v[i]));
        codes.v[i] = vqtbl1q_s8(vcombine_s8(low, high), vld1q_u8(rows));
    }
    return codes;
}
static INLINE vf code_floats(vc codes, int j, float offset) {
    vf r;
    EACH_QUARTER {
        uint32x4_t shifted = vshlq_u32(vreinterpretq_u32_s8(codes.v[i]), vdupq_n_s32(-8 * j));
        r.v[i] = vsubq_f32(vcvtq_f32_u32(vandq_u32(shifted, vdupq_n_u32(255))), vdupq_n_f32(offset));
    }
    return r;
}
static INLINE void split_codes(vc u, vc *cell, vc *rest) {
    EACH_QUARTER {
        cell->v[i] = vreinterpretq_s8_u8(vshrq_n_u8(vreinterpretq_u8_s8(u.v[i]), 3));
        rest->v[i] = vandq_s8(u.v[i], vdupq_n_s8(7));
    }
}

typedef uint8x16x2_t stairs;
typedef uint8x16_t treads;
static INLINE stairs make_stairs(const uint8_t *cells) { return (stairs){{vld1q_u8(cells), vld1q_u8(cells + 16)}}; }
static INLINE treads make_treads(const uint8_t *values) { return vld1q_u8(values); }
static INLINE vc climb(vc cell, vc rest, stairs s) {
    EACH_QUARTER {
        uint8x16_t start = vqtbl2q_u8(s, vreinterpretq_u8_s8(cell.v[i]));
        cell.v[i] = vreinterpretq_s8_u8(vaddq_u8(start, vreinterpretq_u8_s8(rest.v[i])));
    }
    return cell;
}
static INLINE vc step_values(vc height, treads s) {
    EACH_QUARTER height.v[i] = vreinterpretq_s8_u8(vqtbl1q_u8(s, vshrq_n_u8(vreinterpretq_u8_s8(height.v[i]), 3)));
    return height;
}

#endif
