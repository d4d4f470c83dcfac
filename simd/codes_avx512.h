/* Unpacked codes of a group as one AVX-512 register, and their decoding: shared by the 512-bit multiply-accumulate headers,
 * which differ in how they multiply. */
#ifndef NB_SIMD_CODES_AVX512_H
#define NB_SIMD_CODES_AVX512_H

#include "simd/vec_avx512.h"

typedef __m512i vc;
typedef __m512i book;

static INLINE vc load_codes(const uint8_t *p) { return _mm512_loadu_si512(p); }
static INLINE vc flip_codes(vc c) { return _mm512_xor_si512(c, _mm512_set1_epi8((char)128)); }
/* gcc would move all prefetches of a block to its beginning. */
#define FETCH_AFTER(dot, p) __asm__ volatile("prefetcht1 %1" : "+v"(dot) : "m"(*(p)))
static INLINE void store_codes(uint8_t *p, vc c) { _mm512_storeu_si512(p, c); }

/* The codebook, offset to unsigned, in all four parts of a register. */
static INLINE book book_of(const int8_t *codebook, int offset) {
    __m128i levels = _mm_loadu_si128((const __m128i *)(const void *)codebook);
    return _mm512_broadcast_i32x4(_mm_add_epi8(levels, _mm_set1_epi8((char)offset)));
}
static INLINE void decode_q4(const uint8_t *half, int pair, book b, vc *low, vc *high) {
    vc raw = load_codes(half + 64 * pair), nibble = _mm512_set1_epi8(15);
    *low = _mm512_shuffle_epi8(b, _mm512_and_si512(raw, nibble));
    *high = _mm512_shuffle_epi8(b, _mm512_and_si512(_mm512_srli_epi16(raw, 4), nibble));
}
/* Bits 0 to 3 of `nibbles` and bits 4 and 5 of `bits`; what shifts bring into the others goes. */
static INLINE vc join_q6(vc nibbles, vc bits) {
    enum { CHOOSE = 0xca }; /* the first operand's bits choose between the second's and the third's */
    return _mm512_and_si512(_mm512_ternarylogic_epi32(_mm512_set1_epi8(15), nibbles, bits, CHOOSE), _mm512_set1_epi8(63));
}
static INLINE void decode_q6(const uint8_t *half, int pair, book b, vc *low, vc *high) {
    vc raw = load_codes(half + 64 * pair), bits = load_codes(half + 128);
    (void)b;
    *low = join_q6(raw, pair ? bits : _mm512_slli_epi16(bits, 4));
    *high = join_q6(_mm512_srli_epi16(raw, 4), pair ? _mm512_srli_epi16(bits, 2) : _mm512_slli_epi16(bits, 2));
}

static INLINE vc floor_codes(vf a, vf b, vf c, vf d) { /* packing keeps to the parts of a register, and so does the shuffle */
    enum { DOWN = _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC };
    vc low = _mm512_packs_epi32(_mm512_cvt_roundps_epi32(a, DOWN), _mm512_cvt_roundps_epi32(b, DOWN));
    vc high = _mm512_packs_epi32(_mm512_cvt_roundps_epi32(c, DOWN), _mm512_cvt_roundps_epi32(d, DOWN));
    __m128i rows = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    return _mm512_shuffle_epi8(_mm512_packs_epi16(low, high), _mm512_broadcast_i32x4(rows));
}
/* Put where the mantissa of 2^(23 - 8 j) has its ones, a byte adds itself to that power; the last one moves down first. */
static INLINE vf code_floats(vc codes, int j, float offset) {
    enum { OR_AND = 0xf8 }; /* the first operand, or both others */
    int at = j < 3 ? j : 2;
    vc shifted = j < 3 ? codes : _mm512_srli_epi32(codes, 8);
    vf power = v_set((float)(1 << (23 - 8 * at)));
    vc sum = _mm512_ternarylogic_epi32(_mm512_castps_si512(power), shifted, _mm512_set1_epi32(127 << 8 * at), OR_AND);
    return _mm512_sub_ps(_mm512_castsi512_ps(sum), _mm512_add_ps(power, v_set(offset)));
}
static INLINE void split_codes(vc u, vc *cell, vc *rest) {
    *cell = _mm512_and_si512(_mm512_srli_epi16(u, 3), _mm512_set1_epi8(31));
    *rest = _mm512_and_si512(u, _mm512_set1_epi8(7));
}

static INLINE vc four_of(const int8_t *x) {
    int32_t four;
    memcpy(&four, x, sizeof four);
    return _mm512_set1_epi32(four);
}

#endif
