/* The 16-lane vector as one AVX-512 register. Names and meanings: vec_scalar.h. */
#ifndef NB_SIMD_VEC_AVX512_H
#define NB_SIMD_VEC_AVX512_H

#include <immintrin.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "simd/inline.h"

enum { LANES = 16 };

typedef __m512 vf;
typedef __m512i vi;

static INLINE __mmask16 first_lanes(size_t n) { return (__mmask16)((1u << n) - 1); }

static INLINE vf v_set(float x) { return _mm512_set1_ps(x); }
static INLINE vf v_load(const float *p) { return _mm512_loadu_ps(p); }
static INLINE vf v_load_part(const float *p, size_t n, float fill) {
    return _mm512_mask_loadu_ps(_mm512_set1_ps(fill), first_lanes(n), p);
}
static INLINE void v_store(float *p, vf a) { _mm512_storeu_ps(p, a); }
static INLINE void v_store_part(float *p, size_t n, vf a) { _mm512_mask_storeu_ps(p, first_lanes(n), a); }

static INLINE vf v_add(vf a, vf b) { return _mm512_add_ps(a, b); }
static INLINE vf v_sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
static INLINE vf v_mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
static INLINE vf v_div(vf a, vf b) { return _mm512_div_ps(a, b); }
static INLINE vf v_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
static INLINE vf v_neg(vf a) { return _mm512_xor_ps(a, _mm512_set1_ps(-0.0f)); }
static INLINE vf v_abs(vf a) { return _mm512_andnot_ps(_mm512_set1_ps(-0.0f), a); }
static INLINE vf v_copysign(vf magnitude, vf sign) {
    vf bit = _mm512_set1_ps(-0.0f);
    return _mm512_or_ps(_mm512_andnot_ps(bit, magnitude), _mm512_and_ps(bit, sign));
}
/* maxps and minps give their second operand for equal operands and NaN: exactly a > b ? a : b. */
static INLINE vf v_max(vf a, vf b) { return _mm512_max_ps(a, b); }
static INLINE vf v_min(vf a, vf b) { return _mm512_min_ps(a, b); }
static INLINE vf v_less(vf a, vf b, vf yes, vf no) {
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), no, yes);
}
static INLINE vf v_round(vf a) { /* as scalar does, so that the sign of zero is the same */
    vf magic = _mm512_set1_ps(12582912.0f);
    return _mm512_sub_ps(_mm512_add_ps(a, magic), magic);
}
static INLINE vf v_float(vi a) { return _mm512_cvtepi32_ps(a); }
static INLINE vf v_pick(const float table[32], vf index) {
    return _mm512_permutex2var_ps(_mm512_loadu_ps(table), _mm512_cvttps_epi32(index), _mm512_loadu_ps(table + LANES));
}
static INLINE void v_store_bytes(uint8_t *p, vf a, vf b, vf c, vf d) {
    vi byte = _mm512_set1_epi32(255), low = _mm512_and_si512(_mm512_cvttps_epi32(a), byte);
    vi second = _mm512_slli_epi32(_mm512_and_si512(_mm512_cvttps_epi32(b), byte), 8);
    vi third = _mm512_slli_epi32(_mm512_and_si512(_mm512_cvttps_epi32(c), byte), 16);
    vi fourth = _mm512_slli_epi32(_mm512_cvttps_epi32(d), 24);
    _mm512_storeu_si512(p, _mm512_or_si512(_mm512_or_si512(low, second), _mm512_or_si512(third, fourth)));
}
/* Within the 4 x 4 blocks of each part of a register, then the parts. */
static INLINE void v_turn(vf rows[LANES]) {
    vf t[LANES];
    UNROLL for (int i = 0; i < LANES; i += 4) {
        vf a = _mm512_unpacklo_ps(rows[i], rows[i + 1]), b = _mm512_unpackhi_ps(rows[i], rows[i + 1]);
        vf c = _mm512_unpacklo_ps(rows[i + 2], rows[i + 3]), d = _mm512_unpackhi_ps(rows[i + 2], rows[i + 3]);
        t[i] = _mm512_shuffle_ps(a, c, 0x44);
        t[i + 1] = _mm512_shuffle_ps(a, c, 0xee);
        t[i + 2] = _mm512_shuffle_ps(b, d, 0x44);
        t[i + 3] = _mm512_shuffle_ps(b, d, 0xee);
    }
    UNROLL for (int i = 0; i < 4; i++) {
        vf a = _mm512_shuffle_f32x4(t[i], t[4 + i], 0x44), b = _mm512_shuffle_f32x4(t[i], t[4 + i], 0xee);
        vf c = _mm512_shuffle_f32x4(t[8 + i], t[12 + i], 0x44), d = _mm512_shuffle_f32x4(t[8 + i], t[12 + i], 0xee);
        rows[i] = _mm512_shuffle_f32x4(a, c, 0x88);
        rows[4 + i] = _mm512_shuffle_f32x4(a, c, 0xdd);
        rows[8 + i] = _mm512_shuffle_f32x4(b, d, 0x88);
        rows[12 + i] = _mm512_shuffle_f32x4(b, d, 0xdd);
    }
}
static INLINE vf v_pow2(vf n) {
    vi biased = _mm512_add_epi32(_mm512_cvttps_epi32(n), _mm512_set1_epi32(127));
    return _mm512_castsi512_ps(_mm512_slli_epi32(biased, 23));
}

static INLINE vf v_whole(vf a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
static INLINE vf v_rest(vf a, vf whole) { return _mm512_sub_ps(a, whole); }
static INLINE vf v_raise(vf a, vf whole) { return _mm512_scalef_ps(a, whole); }

static INLINE float v_sum(vf a) {
    __m256 b = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    __m128 c = _mm_add_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
    c = _mm_add_ps(c, _mm_movehl_ps(c, c));
    return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
}
static INLINE float v_largest(vf a) {
    __m256 b = _mm256_max_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    __m128 c = _mm_max_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
    c = _mm_max_ps(c, _mm_movehl_ps(c, c));
    return _mm_cvtss_f32(_mm_max_ss(c, _mm_movehdup_ps(c)));
}

static INLINE vi quantize_16(vf a, int8_t *q) {
    vi codes = _mm512_cvttps_epi32(v_round(a));
    _mm_storeu_si128((__m128i *)(void *)q, _mm512_cvtepi32_epi8(codes));
    return codes;
}
static INLINE int32_t v_quantize(vf a, vf b, int8_t *q) {
    return _mm512_reduce_add_epi32(_mm512_add_epi32(quantize_16(a, q), quantize_16(b, q + LANES)));
}

static INLINE void v_store_codes(uint8_t *p, vf a, vf b, vf c, vf d) {
    vi low = _mm512_packs_epi32(_mm512_cvtps_epi32(a), _mm512_cvtps_epi32(b));
    vi high = _mm512_packs_epi32(_mm512_cvtps_epi32(c), _mm512_cvtps_epi32(d));
    vi order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15); /* undo packing in quarters */
    _mm512_storeu_si512(p, _mm512_permutexvar_epi32(order, _mm512_packus_epi16(low, high)));
}

static INLINE vf v_load_f32(const uint8_t *p) { return _mm512_loadu_ps(p); }
static INLINE vf v_load_bf16(const uint8_t *p) {
    vi wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}
static INLINE vf v_low_bf16(vf pair) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(pair), 16)); }
static INLINE vf v_high_bf16(vf pair) {
    return _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(pair), _mm512_set1_epi32((int)0xffff0000u)));
}
static INLINE vf v_load_f16(const uint8_t *p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}

static INLINE vi vi_zero(void) { return _mm512_setzero_si512(); }
static INLINE vi vi_load(const int32_t *p) { return _mm512_loadu_si512(p); }
static INLINE void vi_store(int32_t *p, vi a) { _mm512_storeu_si512(p, a); }
static INLINE vi vi_load_i8(const int8_t *p) {
    return _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
}
static INLINE vi vi_mla(vi a, vi b, vi c) { return _mm512_add_epi32(_mm512_mullo_epi32(a, b), c); }

#endif
