/* Integer multiply-accumulate with 512-bit vpdpbusd: four unsigned x signed products per lane and instruction, no
 * saturation. Names and meanings: mac_scalar.h. Codes are offset to unsigned by 128, those of q6 by 32. */
#ifndef NB_SIMD_MAC_AVX512VNNI_H
#define NB_SIMD_MAC_AVX512VNNI_H

#include "simd/codes_avx512.h"
#include "simd/acts_memory.h"

/* Of 32 registers a tile of 2 panels x 4 tokens takes 8 for each of dot products, a strip's sums and sums, and 2 for
 * codes: one of 6 tokens would load less, but its sums would go through memory at every strip, which costs more. A
 * stream takes as many. */
enum { OFFSET_Q8 = 128, OFFSET_Q6 = 32, OFFSET_Q4 = 128 };
enum { STREAM_PANELS = 2, STREAM_TOKENS = 4, TILE_PANELS = 2, TILE_TOKENS = 4, FLOAT_PANELS = 4, FLOAT_TOKENS = 4 };

static INLINE book make_book(const int8_t *codebook) { return book_of(codebook, OFFSET_Q4); }
static INLINE void decode_q8(const uint8_t *half, int pair, book b, vc *low, vc *high) {
    const uint8_t *codes = half + 128 * pair;
    (void)b;
    vc flip = _mm512_set1_epi8((char)OFFSET_Q8); /* adding 128 to a byte is flipping its top bit */
    *low = _mm512_xor_si512(load_codes(codes), flip);
    *high = _mm512_xor_si512(load_codes(codes + 64), flip);
}

static INLINE vi mac_start(const int32_t *start, int32_t offset) {
    vi v = _mm512_set1_epi32(*start); /* for 128, of which 32 takes a quarter: that is exact */
    return offset == 32 ? _mm512_srai_epi32(v, 2) : v;
}
/* For attention, which is 3 to 10 % slower with the form below: beside its other loads each activation is better loaded
 * once. */
static INLINE vi mac_q8(vi dot, vc codes, vi scales, acts x, int g) {
    (void)scales;
    return _mm512_dpbusd_epi32(dot, codes, four_of(x + 4 * g));
}
/* The products': the instruction repeats the four activations in all lanes as it loads them. gcc would load them into a
 * register first, one instruction and one register in flight more for every one or two products, and how far the
 * processor looks ahead is bound by these. */
static INLINE vi mac_q4(vi dot, vc codes, vi scales, acts x, int g) {
    typedef struct four {
        int8_t v[4];
    } four;
    (void)scales;
    __asm__("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(dot) : "v"(codes), "m"(*(const four *)(const void *)(x + 4 * g)));
    return dot;
}
/* Codes in a register: gcc would load them anew for every row. */
static INLINE vi mac_weights(vi dot, vc codes, vi scales, acts x, int g) {
    (void)scales;
    __asm__("vpdpbusd %2, %1, %0" : "+v"(dot) : "v"(four_of(x + 4 * g)), "v"(codes));
    return dot;
}

/* vpermb has all 32 cells in one register (it looks at the low six bits), vpermi2b all 128 heights in two. */
typedef vc stairs;
typedef struct treads {
    vc low, high; /* values[height >> 3] of heights below 64, and above */
} treads;
static INLINE stairs make_stairs(const uint8_t *cells) {
    return _mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)(const void *)cells));
}
static INLINE treads make_treads(const uint8_t *values) {
    vc all = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)values));
    vc eights = _mm512_setr_epi64(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303, 0x0404040404040404,
                                  0x0505050505050505, 0x0606060606060606, 0x0707070707070707);
    return (treads){_mm512_shuffle_epi8(all, eights),
                    _mm512_shuffle_epi8(all, _mm512_add_epi8(eights, _mm512_set1_epi8(8)))};
}
static INLINE vc climb(vc cell, vc rest, stairs s) { return _mm512_add_epi8(_mm512_permutexvar_epi8(cell, s), rest); }
static INLINE vc step_values(vc height, treads s) { return _mm512_permutex2var_epi8(s.low, height, s.high); }

static INLINE vi mac_bytes(vi sum, vc a, vc b) { return _mm512_dpbusd_epi32(sum, a, b); }

#include "simd/scale_last.h"
#include "simd/tile_by_group.h"

#endif
