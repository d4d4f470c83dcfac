/* Integer multiply-accumulate with AVX2's vpmaddubsw and vpmaddwd. Names and meanings: mac_scalar.h. */
#ifndef NB_SIMD_MAC_AVX2_H
#define NB_SIMD_MAC_AVX2_H

#include "simd/codes_avx2.h"
#include "simd/acts_memory.h"

/* Of 16 registers a tile of one panel x 4 tokens takes 8 for a strip's sums and 2 for codes. */
enum { OFFSET_Q8 = 0, OFFSET_Q6 = 32, OFFSET_Q4 = 64 };
enum { STREAM_PANELS = 1, STREAM_TOKENS = 2, TILE_PANELS = 1, TILE_TOKENS = 4, FLOAT_PANELS = 2, FLOAT_TOKENS = 2 };

static INLINE book make_book(const int8_t *codebook) { return book_of(codebook, OFFSET_Q4); }
static INLINE void decode_q8(const uint8_t *half, int pair, book b, vc *low, vc *high) {
    const uint8_t *codes = half + 128 * pair;
    (void)b;
    *low = load_codes(codes);
    *high = load_codes(codes + 64);
}

/* vpmaddwd, which adds pairs of 16-bit sums, multiplies them too: by the block scale, which each lane holds twice. So
 * the dot products of a strip are one sum, and scales cost nothing. */
static INLINE __m256i twice(__m256i wide) {
    __m128i low = _mm_setr_epi8(0, 1, 0, 1, 4, 5, 4, 5, 8, 9, 8, 9, 12, 13, 12, 13);
    return _mm256_shuffle_epi8(wide, _mm256_broadcastsi128_si256(low));
}
static INLINE vi load_scales(const int8_t *p) {
    vi wide = vi_load_i8(p);
    return (vi){twice(wide.a), twice(wide.b)};
}
/* `start` is for an offset of 128; 64 takes half of it and 32 a quarter, which is exact. */
static INLINE vi dot_open(vi sum, vi scales, const int32_t *start, int32_t offset) {
    if (!offset) return sum;
    __m256i share = _mm256_srai_epi32(_mm256_set1_epi32(*start), offset == 64 ? 1 : 2);
    return vi_mla((vi){_mm256_srai_epi32(scales.a, 16), _mm256_srai_epi32(scales.b, 16)}, (vi){share, share}, sum);
}
static INLINE vi dot_close(vi sum, vi scales, vi dot) {
    (void)sum, (void)scales;
    return dot;
}

static INLINE __m256i add_products(__m256i dot, __m256i magnitudes, __m256i scales, __m256i x) {
    __m256i pairs = _mm256_maddubs_epi16(magnitudes, x);
    dot = _mm256_add_epi32(dot, _mm256_madd_epi16(pairs, scales));
    /* gcc would put off the additions of a whole block, and every product would have to wait on the stack. */
    __asm__("" : "+v"(dot));
    return dot;
}
/* |code| <= 128, |x| <= 127: a pair sums to at most 32512, so 16 bits cannot saturate; the code's sign moves to x. */
static INLINE vi mac_q8(vi dot, vc codes, vi scales, acts x, int g) {
    __m256i v = four_of(x + 4 * g);
    return (vi){add_products(dot.a, _mm256_abs_epi8(codes.a), scales.a, _mm256_sign_epi8(v, codes.a)),
                add_products(dot.b, _mm256_abs_epi8(codes.b), scales.b, _mm256_sign_epi8(v, codes.b))};
}
/* 0 <= code <= 127, |x| <= 127: a pair sums to at most 32258. */
static INLINE vi mac_q4(vi dot, vc codes, vi scales, acts x, int g) {
    __m256i v = four_of(x + 4 * g);
    return (vi){add_products(dot.a, codes.a, scales.a, v), add_products(dot.b, codes.b, scales.b, v)};
}
/* 0 <= x <= 127, |code| <= 127: a pair sums to at most 32258. */
static INLINE vi mac_weights(vi dot, vc codes, vi scales, acts x, int g) {
    __m256i v = four_of(x + 4 * g);
    return (vi){add_products(dot.a, v, scales.a, codes.a), add_products(dot.b, v, scales.b, codes.b)};
}

/* A pair sums to at most 32258. */
static INLINE __m256i add_bytes(__m256i sum, __m256i a, __m256i b) {
    return _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), _mm256_set1_epi16(1)));
}
static INLINE vi mac_bytes(vi sum, vc a, vc b) { return (vi){add_bytes(sum.a, a.a, b.a), add_bytes(sum.b, a.b, b.b)}; }

#include "simd/tile_by_group.h"

#endif
