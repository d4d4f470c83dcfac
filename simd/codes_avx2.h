/* Unpacked codes of a group as two AVX2 registers (rows 0-7 and 8-15), and their decoding: shared by the 256-bit
 * multiply-accumulate headers, which differ in how they multiply. */
#ifndef NB_SIMD_CODES_AVX2_H
#define NB_SIMD_CODES_AVX2_H

#include "simd/vec_avx2.h"

typedef vi vc;
typedef __m256i book;

static INLINE vc load_codes(const uint8_t *p) { return (vc){load_256(p), load_256(p + 32)}; }
static INLINE vc flip_codes(vc c) {
    __m256i flip = _mm256_set1_epi8((char)128);
    return (vc){_mm256_xor_si256(c.a, flip), _mm256_xor_si256(c.b, flip)};
}
static INLINE void store_codes(uint8_t *p, vc c) {
    _mm256_storeu_si256((__m256i *)(void *)p, c.a);
    _mm256_storeu_si256((__m256i *)(void *)(p + 32), c.b);
}

/* The codebook, offset to unsigned, in both halves of a register. */
static INLINE book book_of(const int8_t *codebook, int offset) {
    return _mm256_broadcastsi128_si256(_mm_add_epi8(load_128(codebook), _mm_set1_epi8((char)offset)));
}
static INLINE void decode_half_q4(__m256i raw, book b, __m256i *low, __m256i *high) {
    __m256i nibble = _mm256_set1_epi8(15);
    *low = _mm256_shuffle_epi8(b, _mm256_and_si256(raw, nibble));
    *high = _mm256_shuffle_epi8(b, _mm256_and_si256(_mm256_srli_epi16(raw, 4), nibble));
}
static INLINE void decode_q4(const uint8_t *half, int pair, book b, vc *low, vc *high) {
    vc raw = load_codes(half + 64 * pair);
    decode_half_q4(raw.a, b, &low->a, &high->a);
    decode_half_q4(raw.b, b, &low->b, &high->b);
}

/* Bits 0 to 3 of `nibbles` and bits 4 and 5 of `bits`; what shifts bring into the others goes. */
static INLINE __m256i join_q6(__m256i nibbles, __m256i bits) {
    return _mm256_or_si256(_mm256_and_si256(nibbles, _mm256_set1_epi8(15)), _mm256_and_si256(bits, _mm256_set1_epi8(48)));
}
static INLINE void decode_half_q6(__m256i raw, __m256i bits, int pair, __m256i *low, __m256i *high) {
    *low = join_q6(raw, pair ? bits : _mm256_slli_epi16(bits, 4));
    *high = join_q6(_mm256_srli_epi16(raw, 4), pair ? _mm256_srli_epi16(bits, 2) : _mm256_slli_epi16(bits, 2));
}
static INLINE void decode_q6(const uint8_t *half, int pair, book b, vc *low, vc *high) {
    vc raw = load_codes(half + 64 * pair), bits = load_codes(half + 128);
    (void)b;
    decode_half_q6(raw.a, bits.a, pair, &low->a, &high->a);
    decode_half_q6(raw.b, bits.b, pair, &low->b, &high->b);
}

static INLINE __m256i floor_half(__m256 a, __m256 b, __m256 c, __m256 d) { /* packing keeps to halves, and so does the shuffle */
    __m256i low = _mm256_packs_epi32(_mm256_cvtps_epi32(_mm256_floor_ps(a)), _mm256_cvtps_epi32(_mm256_floor_ps(b)));
    __m256i high = _mm256_packs_epi32(_mm256_cvtps_epi32(_mm256_floor_ps(c)), _mm256_cvtps_epi32(_mm256_floor_ps(d)));
    __m128i rows = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    return _mm256_shuffle_epi8(_mm256_packs_epi16(low, high), _mm256_broadcastsi128_si256(rows));
}
static INLINE vc floor_codes(vf a, vf b, vf c, vf d) {
    return (vc){floor_half(a.a, b.a, c.a, d.a), floor_half(a.b, b.b, c.b, d.b)};
}
static INLINE __m256 floats_half(__m256i codes, int j, float offset) {
    __m256i code = _mm256_and_si256(_mm256_srli_epi32(codes, 8 * j), _mm256_set1_epi32(255));
    return _mm256_sub_ps(_mm256_cvtepi32_ps(code), _mm256_set1_ps(offset));
}
static INLINE vf code_floats(vc codes, int j, float offset) {
    return (vf){floats_half(codes.a, j, offset), floats_half(codes.b, j, offset)};
}
static INLINE void split_codes(vc u, vc *cell, vc *rest) {
    __m256i cells = _mm256_set1_epi8(31), rests = _mm256_set1_epi8(7);
    *cell = (vc){_mm256_and_si256(_mm256_srli_epi16(u.a, 3), cells), _mm256_and_si256(_mm256_srli_epi16(u.b, 3), cells)};
    *rest = (vc){_mm256_and_si256(u.a, rests), _mm256_and_si256(u.b, rests)};
}

typedef struct stairs {
    __m256i low, high;
} stairs;
typedef __m256i treads;
static INLINE treads make_treads(const uint8_t *values) { return _mm256_broadcastsi128_si256(load_128(values)); }
static INLINE stairs make_stairs(const uint8_t *cells) { return (stairs){make_treads(cells), make_treads(cells + 16)}; }
static INLINE __m256i climb_half(__m256i cell, __m256i rest, stairs s) { /* vpshufb looks at the low four bits, the choice at bit 7 */
    return _mm256_add_epi8(_mm256_blendv_epi8(_mm256_shuffle_epi8(s.low, cell), _mm256_shuffle_epi8(s.high, cell),
                                              _mm256_slli_epi16(cell, 3)), rest);
}
static INLINE vc climb(vc cell, vc rest, stairs s) {
    return (vc){climb_half(cell.a, rest.a, s), climb_half(cell.b, rest.b, s)};
}
static INLINE __m256i values_half(__m256i height, treads values) {
    return _mm256_shuffle_epi8(values, _mm256_and_si256(_mm256_srli_epi16(height, 3), _mm256_set1_epi8(15)));
}
static INLINE vc step_values(vc height, treads s) { return (vc){values_half(height.a, s), values_half(height.b, s)}; }

static INLINE __m256i four_of(const int8_t *x) {
    int32_t four;
    memcpy(&four, x, sizeof four);
    return _mm256_set1_epi32(four);
}

#endif
