/* The 16-lane vector as two AVX2 registers: lanes 0-7 and 8-15. Names and meanings: vec_scalar.h. */
#ifndef NB_SIMD_VEC_AVX2_H
#define NB_SIMD_VEC_AVX2_H

#include <immintrin.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "simd/inline.h"

enum { LANES = 16 };

typedef struct vf {
    __m256 a, b;
} vf;
typedef struct vi {
    __m256i a, b;
} vi;

/* Lanes 0..n-1 of a half as all ones: eight entries from 8 - n on. */
static INLINE __m256i first_lanes(size_t n) {
    static const int32_t mask[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};
    return _mm256_loadu_si256((const __m256i *)(const void *)(mask + 8 - n));
}
static INLINE size_t lanes_in_a(size_t n) { return n < 8 ? n : 8; }
static INLINE size_t lanes_in_b(size_t n) { return n < 8 ? 0 : n - 8; }

static INLINE vf v_set(float x) { return (vf){_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
static INLINE vf v_load(const float *p) { return (vf){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
static INLINE __m256 load_half(const float *p, size_t n, float fill) {
    __m256i mask = first_lanes(n);
    return _mm256_blendv_ps(_mm256_set1_ps(fill), _mm256_maskload_ps(p, mask), _mm256_castsi256_ps(mask));
}
static INLINE vf v_load_part(const float *p, size_t n, float fill) {
    return (vf){load_half(p, lanes_in_a(n), fill), load_half(p + lanes_in_a(n), lanes_in_b(n), fill)};
}
static INLINE void v_store(float *p, vf x) {
    _mm256_storeu_ps(p, x.a);
    _mm256_storeu_ps(p + 8, x.b);
}
static INLINE void v_store_part(float *p, size_t n, vf x) {
    _mm256_maskstore_ps(p, first_lanes(lanes_in_a(n)), x.a);
    _mm256_maskstore_ps(p + lanes_in_a(n), first_lanes(lanes_in_b(n)), x.b);
}

static INLINE vf v_add(vf x, vf y) { return (vf){_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
static INLINE vf v_sub(vf x, vf y) { return (vf){_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
static INLINE vf v_mul(vf x, vf y) { return (vf){_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
static INLINE vf v_div(vf x, vf y) { return (vf){_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
static INLINE vf v_fma(vf x, vf y, vf z) {
    return (vf){_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}
static INLINE vf v_neg(vf x) {
    __m256 bit = _mm256_set1_ps(-0.0f);
    return (vf){_mm256_xor_ps(x.a, bit), _mm256_xor_ps(x.b, bit)};
}
static INLINE vf v_abs(vf x) {
    __m256 bit = _mm256_set1_ps(-0.0f);
    return (vf){_mm256_andnot_ps(bit, x.a), _mm256_andnot_ps(bit, x.b)};
}
static INLINE vf v_copysign(vf magnitude, vf sign) {
    __m256 bit = _mm256_set1_ps(-0.0f);
    return (vf){_mm256_or_ps(_mm256_andnot_ps(bit, magnitude.a), _mm256_and_ps(bit, sign.a)),
                _mm256_or_ps(_mm256_andnot_ps(bit, magnitude.b), _mm256_and_ps(bit, sign.b))};
}
/* maxps and minps give their second operand for equal operands and NaN: exactly a > b ? a : b. */
static INLINE vf v_max(vf x, vf y) { return (vf){_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
static INLINE vf v_min(vf x, vf y) { return (vf){_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)}; }
static INLINE vf v_less(vf x, vf y, vf yes, vf no) {
    return (vf){_mm256_blendv_ps(no.a, yes.a, _mm256_cmp_ps(x.a, y.a, _CMP_LT_OQ)),
                _mm256_blendv_ps(no.b, yes.b, _mm256_cmp_ps(x.b, y.b, _CMP_LT_OQ))};
}
static INLINE vf v_round(vf x) { /* as scalar does, so that the sign of zero is the same */
    vf magic = v_set(12582912.0f);
    return v_sub(v_add(x, magic), magic);
}
static INLINE vf v_float(vi x) { return (vf){_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)}; }
/* Bits 0 to 2 of an index choose within eight entries, bits 3 and 4 (as signs) among the four eights. */
static INLINE __m256 pick_half(const float table[32], __m256 index) {
    __m256i i = _mm256_cvttps_epi32(index);
    __m256 bit3 = _mm256_castsi256_ps(_mm256_slli_epi32(i, 28)), bit4 = _mm256_castsi256_ps(_mm256_slli_epi32(i, 27));
    __m256 low = _mm256_blendv_ps(_mm256_permutevar8x32_ps(_mm256_loadu_ps(table), i),
                                  _mm256_permutevar8x32_ps(_mm256_loadu_ps(table + 8), i), bit3);
    __m256 high = _mm256_blendv_ps(_mm256_permutevar8x32_ps(_mm256_loadu_ps(table + 16), i),
                                   _mm256_permutevar8x32_ps(_mm256_loadu_ps(table + 24), i), bit3);
    return _mm256_blendv_ps(low, high, bit4);
}
static INLINE vf v_pick(const float table[32], vf index) {
    return (vf){pick_half(table, index.a), pick_half(table, index.b)};
}
static INLINE void store_bytes_half(uint8_t *p, __m256 a, __m256 b, __m256 c, __m256 d) {
    __m256i byte = _mm256_set1_epi32(255), low = _mm256_and_si256(_mm256_cvttps_epi32(a), byte);
    __m256i second = _mm256_slli_epi32(_mm256_and_si256(_mm256_cvttps_epi32(b), byte), 8);
    __m256i third = _mm256_slli_epi32(_mm256_and_si256(_mm256_cvttps_epi32(c), byte), 16);
    __m256i fourth = _mm256_slli_epi32(_mm256_cvttps_epi32(d), 24);
    _mm256_storeu_si256((__m256i *)(void *)p,
                        _mm256_or_si256(_mm256_or_si256(low, second), _mm256_or_si256(third, fourth)));
}
static INLINE void v_store_bytes(uint8_t *p, vf a, vf b, vf c, vf d) {
    store_bytes_half(p, a.a, b.a, c.a, d.a);
    store_bytes_half(p + 32, a.b, b.b, c.b, d.b);
}
/* 8 x 8: within the 4 x 4 blocks of each part of a register, then the parts. */
static INLINE void turn_8(__m256 r[8]) {
    __m256 t[8];
    UNROLL for (int i = 0; i < 8; i += 4) {
        __m256 a = _mm256_unpacklo_ps(r[i], r[i + 1]), b = _mm256_unpackhi_ps(r[i], r[i + 1]);
        __m256 c = _mm256_unpacklo_ps(r[i + 2], r[i + 3]), d = _mm256_unpackhi_ps(r[i + 2], r[i + 3]);
        t[i] = _mm256_shuffle_ps(a, c, 0x44);
        t[i + 1] = _mm256_shuffle_ps(a, c, 0xee);
        t[i + 2] = _mm256_shuffle_ps(b, d, 0x44);
        t[i + 3] = _mm256_shuffle_ps(b, d, 0xee);
    }
    UNROLL for (int i = 0; i < 4; i++) {
        r[i] = _mm256_permute2f128_ps(t[i], t[4 + i], 0x20);
        r[4 + i] = _mm256_permute2f128_ps(t[i], t[4 + i], 0x31);
    }
}
static INLINE void v_turn(vf rows[LANES]) {
    __m256 a[8], b[8], c[8], d[8];
    UNROLL for (int i = 0; i < 8; i++) a[i] = rows[i].a, b[i] = rows[i].b, c[i] = rows[8 + i].a, d[i] = rows[8 + i].b;
    turn_8(a);
    turn_8(b);
    turn_8(c);
    turn_8(d);
    UNROLL for (int i = 0; i < 8; i++) rows[i] = (vf){a[i], c[i]}, rows[8 + i] = (vf){b[i], d[i]};
}
static INLINE __m256 pow2_half(__m256 n) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvttps_epi32(n), _mm256_set1_epi32(127)), 23));
}
static INLINE vf v_pow2(vf n) { return (vf){pow2_half(n.a), pow2_half(n.b)}; }

static INLINE vf v_whole(vf x) { return v_add(x, v_set(12582912.0f)); }
static INLINE vf v_rest(vf x, vf whole) { return v_sub(x, v_sub(whole, v_set(12582912.0f))); }
static INLINE __m256 raise_half(__m256 x, __m256 shifted) {
    return _mm256_castsi256_ps(
        _mm256_add_epi32(_mm256_castps_si256(x), _mm256_slli_epi32(_mm256_castps_si256(shifted), 23)));
}
static INLINE vf v_raise(vf x, vf shifted) { return (vf){raise_half(x.a, shifted.a), raise_half(x.b, shifted.b)}; }

static INLINE float v_sum(vf x) {
    __m256 b = _mm256_add_ps(x.a, x.b);
    __m128 c = _mm_add_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
    c = _mm_add_ps(c, _mm_movehl_ps(c, c));
    return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
}
static INLINE float v_largest(vf x) {
    __m256 b = _mm256_max_ps(x.a, x.b);
    __m128 c = _mm_max_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
    c = _mm_max_ps(c, _mm_movehl_ps(c, c));
    return _mm_cvtss_f32(_mm_max_ss(c, _mm_movehdup_ps(c)));
}

static INLINE __m256i quantize_16(vf x, int8_t *q) { /* eight sums of two codes */
    x = v_round(x);
    __m256i a = _mm256_cvttps_epi32(x.a), b = _mm256_cvttps_epi32(x.b);
    __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xd8); /* undo the packing within halves */
    __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storeu_si128((__m128i *)(void *)q, bytes);
    return _mm256_add_epi32(a, b);
}
static INLINE int32_t v_quantize(vf a, vf b, int8_t *q) {
    __m256i sum = _mm256_add_epi32(quantize_16(a, q), quantize_16(b, q + LANES));
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}

static INLINE __m256i words_of(vf x) {
    return _mm256_packs_epi32(_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b));
}
static INLINE void store_codes_half(uint8_t *p, vf x, vf y) {
    __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7); /* undo the packing within halves */
    __m256i bytes = _mm256_packus_epi16(words_of(x), words_of(y));
    _mm256_storeu_si256((__m256i *)(void *)p, _mm256_permutevar8x32_epi32(bytes, order));
}
static INLINE void v_store_codes(uint8_t *p, vf a, vf b, vf c, vf d) {
    store_codes_half(p, a, b);
    store_codes_half(p + 32, c, d);
}

static INLINE __m128i load_128(const void *p) { return _mm_loadu_si128((const __m128i *)p); }
static INLINE vf v_load_f32(const uint8_t *p) { return v_load((const float *)(const void *)p); }
static INLINE __m256 bf16_half(const uint8_t *p) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load_128(p)), 16));
}
static INLINE vf v_load_bf16(const uint8_t *p) { return (vf){bf16_half(p), bf16_half(p + 16)}; }
static INLINE __m256 low_bf16(__m256 pair) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(pair), 16));
}
static INLINE vf v_low_bf16(vf pair) { return (vf){low_bf16(pair.a), low_bf16(pair.b)}; }
static INLINE vf v_high_bf16(vf pair) {
    __m256 high = _mm256_castsi256_ps(_mm256_set1_epi32((int)0xffff0000u));
    return (vf){_mm256_and_ps(pair.a, high), _mm256_and_ps(pair.b, high)};
}
static INLINE vf v_load_f16(const uint8_t *p) {
    return (vf){_mm256_cvtph_ps(load_128(p)), _mm256_cvtph_ps(load_128(p + 16))};
}

static INLINE __m256i load_256(const void *p) { return _mm256_loadu_si256((const __m256i *)p); }
static INLINE vi vi_zero(void) { return (vi){_mm256_setzero_si256(), _mm256_setzero_si256()}; }
static INLINE vi vi_load(const int32_t *p) { return (vi){load_256(p), load_256(p + 8)}; }
static INLINE void vi_store(int32_t *p, vi x) {
    _mm256_storeu_si256((__m256i *)(void *)p, x.a);
    _mm256_storeu_si256((__m256i *)(void *)(p + 8), x.b);
}
static INLINE vi vi_load_i8(const int8_t *p) {
    __m128i bytes = load_128(p);
    return (vi){_mm256_cvtepi8_epi32(bytes), _mm256_cvtepi8_epi32(_mm_srli_si128(bytes, 8))};
}
static INLINE vi vi_mla(vi x, vi y, vi z) {
    return (vi){_mm256_add_epi32(_mm256_mullo_epi32(x.a, y.a), z.a),
                _mm256_add_epi32(_mm256_mullo_epi32(x.b, y.b), z.b)};
}

#endif
