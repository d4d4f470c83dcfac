/* Integer multiply-accumulate with 256-bit vpdpbusd, in its VEX form (AVX-VNNI) or, where that is not compiled for, its
 * EVEX form (AVX-512 VNNI with VL). Names and meanings: mac_scalar.h. */
#ifndef NB_SIMD_MAC_AVXVNNI_H
#define NB_SIMD_MAC_AVXVNNI_H

#include "simd/codes_avx2.h"
#include "simd/acts_memory.h"

#if defined(__AVXVNNI__)
#define DPBUSD _mm256_dpbusd_avx_epi32
#else
#define DPBUSD _mm256_dpbusd_epi32
#endif

enum { OFFSET_Q8 = 128, OFFSET_Q6 = 32, OFFSET_Q4 = 128 };
enum { STREAM_PANELS = 1, STREAM_TOKENS = 2, FLOAT_PANELS = 2, FLOAT_TOKENS = 2 };
#if defined(__AVX512VL__) /* 32 registers: 12 for dot products, 12 for a strip's sums, 4 for codes */
enum { TILE_PANELS = 2, TILE_TOKENS = 3 };
#else
/* 16 registers: 10 for dot products, 2 for codes; a strip's sums, one operation in nine, stay in the first-level cache */
enum { TILE_PANELS = 1, TILE_TOKENS = 5 };
#endif

static INLINE book make_book(const int8_t *codebook) { return book_of(codebook, OFFSET_Q4); }
static INLINE void decode_q8(const uint8_t *half, int pair, book b, vc *low, vc *high) {
    const uint8_t *codes = half + 128 * pair;
    (void)b;
    __m256i flip = _mm256_set1_epi8((char)OFFSET_Q8); /* adding 128 to a byte is flipping its top bit */
    vc first = load_codes(codes), second = load_codes(codes + 64);
    *low = (vc){_mm256_xor_si256(first.a, flip), _mm256_xor_si256(first.b, flip)};
    *high = (vc){_mm256_xor_si256(second.a, flip), _mm256_xor_si256(second.b, flip)};
}

static INLINE vi mac_start(const int32_t *start, int32_t offset) {
    __m256i v = _mm256_set1_epi32(*start); /* for 128, of which 32 takes a quarter: that is exact */
    if (offset == 32) v = _mm256_srai_epi32(v, 2);
    return (vi){v, v};
}
static INLINE vi mac_q8(vi dot, vc codes, vi scales, acts x, int g) {
    (void)scales;
    __m256i v = four_of(x + 4 * g);
    return (vi){DPBUSD(dot.a, codes.a, v), DPBUSD(dot.b, codes.b, v)};
}
static INLINE vi mac_q4(vi dot, vc codes, vi scales, acts x, int g) { return mac_q8(dot, codes, scales, x, g); }
static INLINE vi mac_weights(vi dot, vc codes, vi scales, acts x, int g) {
    (void)scales;
    __m256i v = four_of(x + 4 * g);
    return (vi){DPBUSD(dot.a, v, codes.a), DPBUSD(dot.b, v, codes.b)};
}

static INLINE vi mac_bytes(vi sum, vc a, vc b) { return (vi){DPBUSD(sum.a, a.a, b.a), DPBUSD(sum.b, a.b, b.b)}; }

#include "simd/scale_last.h"
#include "simd/tile_by_group.h"

#endif
