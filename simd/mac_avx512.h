/* Integer multiply-accumulate for AVX-512 without VNNI: 8-bit products into pairs of 16 bits, then 32. Names and
 * meanings: mac_scalar.h. */
#ifndef NB_SIMD_MAC_AVX512_H
#define NB_SIMD_MAC_AVX512_H

#include "simd/codes_avx512.h"
#include "simd/acts_memory.h"

enum { OFFSET_Q8 = 0, OFFSET_Q6 = 32, OFFSET_Q4 = 64 };
enum { STREAM_PANELS = 2, STREAM_TOKENS = 4, TILE_PANELS = 2, TILE_TOKENS = 5, FLOAT_PANELS = 4, FLOAT_TOKENS = 4 };

static INLINE book make_book(const int8_t *codebook) { return book_of(codebook, OFFSET_Q4); }
static INLINE void decode_q8(const uint8_t *half, int pair, book b, vc *low, vc *high) {
    const uint8_t *codes = half + 128 * pair;
    (void)b;
    *low = load_codes(codes);
    *high = load_codes(codes + 64);
}

/* vpmaddwd, which adds pairs of 16-bit sums, multiplies them too: by the block scale, which each lane holds twice. So
 * the dot products of a strip are one sum, and scales cost nothing. */
static INLINE vi load_scales(const int8_t *p) {
    __m128i twice = _mm_setr_epi8(0, 1, 0, 1, 4, 5, 4, 5, 8, 9, 8, 9, 12, 13, 12, 13);
    return _mm512_shuffle_epi8(vi_load_i8(p), _mm512_broadcast_i32x4(twice));
}
/* `start` is for an offset of 128; 64 takes half of it and 32 a quarter, which is exact. */
static INLINE vi dot_open(vi sum, vi scales, const int32_t *start, int32_t offset) {
    if (!offset) return sum;
    return vi_mla(_mm512_srai_epi32(scales, 16), _mm512_srai_epi32(_mm512_set1_epi32(*start), offset == 64 ? 1 : 2),
                  sum);
}
static INLINE vi dot_close(vi sum, vi scales, vi dot) {
    (void)sum, (void)scales;
    return dot;
}

static INLINE vi add_products(vi dot, vc magnitudes, vi scales, vc x) {
    __m512i pairs = _mm512_maddubs_epi16(magnitudes, x);
    dot = _mm512_add_epi32(dot, _mm512_madd_epi16(pairs, scales));
    /* gcc would put off the additions of a whole block, and every product would have to wait on the stack. */
    __asm__("" : "+v"(dot));
    return dot;
}
/* |code| <= 128, |x| <= 127: a pair sums to at most 32512, so 16 bits cannot saturate; the code's sign moves to x. */
static INLINE vi mac_q8(vi dot, vc codes, vi scales, acts x, int g) {
    vc v = four_of(x + 4 * g);
    v = _mm512_mask_sub_epi8(v, _mm512_movepi8_mask(codes), _mm512_setzero_si512(), v);
    return add_products(dot, _mm512_abs_epi8(codes), scales, v);
}
/* 0 <= code <= 127, |x| <= 127: a pair sums to at most 32258. */
static INLINE vi mac_q4(vi dot, vc codes, vi scales, acts x, int g) {
    return add_products(dot, codes, scales, four_of(x + 4 * g));
}
/* 0 <= x <= 127, |code| <= 127: a pair sums to at most 32258. */
static INLINE vi mac_weights(vi dot, vc codes, vi scales, acts x, int g) {
    return add_products(dot, four_of(x + 4 * g), scales, codes);
}

typedef struct stairs {
    vc low, high;
} stairs;
typedef vc treads;
static INLINE vc in_all_parts(const uint8_t *p) {
    return _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)p));
}
static INLINE stairs make_stairs(const uint8_t *cells) {
    return (stairs){in_all_parts(cells), in_all_parts(cells + 16)};
}
static INLINE treads make_treads(const uint8_t *values) { return in_all_parts(values); }
static INLINE vc climb(vc cell, vc rest, stairs s) { /* vpshufb looks at the low four bits */
    __mmask64 upper = _mm512_test_epi8_mask(cell, _mm512_set1_epi8(16));
    return _mm512_add_epi8(_mm512_mask_shuffle_epi8(_mm512_shuffle_epi8(s.low, cell), upper, s.high, cell), rest);
}
static INLINE vc step_values(vc height, treads values) {
    return _mm512_shuffle_epi8(values, _mm512_and_si512(_mm512_srli_epi16(height, 3), _mm512_set1_epi8(15)));
}

/* A pair sums to at most 32258. */
static INLINE vi mac_bytes(vi sum, vc a, vc b) {
    return _mm512_add_epi32(sum, _mm512_madd_epi16(_mm512_maddubs_epi16(a, b), _mm512_set1_epi16(1)));
}

#include "simd/tile_by_group.h"

#endif
