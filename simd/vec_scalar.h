/* The 16-lane vector in plain C: the form every other tier must equal bit for bit.
 *
 * Every vec_*.h has these names. vf is 16 floats, vi 16 int32. Operations work lane by lane with IEEE 754 binary32
 * semantics (round to nearest even, subnormals kept); comparisons with NaN are false. */
#ifndef NB_SIMD_VEC_SCALAR_H
#define NB_SIMD_VEC_SCALAR_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "quant/half.h"
#include "simd/inline.h"

enum { LANES = 16 };

typedef struct vf {
    float v[LANES];
} vf;
typedef struct vi {
    int32_t v[LANES];
} vi;

#define EACH_LANE for (int i = 0; i < LANES; i++)

static INLINE vf v_set(float x) {
    vf r;
    EACH_LANE r.v[i] = x;
    return r;
}
static INLINE vf v_load(const float *p) {
    vf r;
    memcpy(r.v, p, sizeof r.v);
    return r;
}
/* The first n of 16 lanes; the others are `fill`. Reads n floats only. */
static INLINE vf v_load_part(const float *p, size_t n, float fill) {
    vf r = v_set(fill);
    memcpy(r.v, p, n * sizeof *p);
    return r;
}
static INLINE void v_store(float *p, vf a) { memcpy(p, a.v, sizeof a.v); }
static INLINE void v_store_part(float *p, size_t n, vf a) { memcpy(p, a.v, n * sizeof *p); }

static INLINE vf v_add(vf a, vf b) {
    EACH_LANE a.v[i] += b.v[i];
    return a;
}
static INLINE vf v_sub(vf a, vf b) {
    EACH_LANE a.v[i] -= b.v[i];
    return a;
}
static INLINE vf v_mul(vf a, vf b) {
    EACH_LANE a.v[i] *= b.v[i];
    return a;
}
static INLINE vf v_div(vf a, vf b) {
    EACH_LANE a.v[i] /= b.v[i];
    return a;
}
/* a * b + c with one rounding */
static INLINE vf v_fma(vf a, vf b, vf c) {
    EACH_LANE c.v[i] = fmaf(a.v[i], b.v[i], c.v[i]);
    return c;
}
static INLINE vf v_neg(vf a) {
    EACH_LANE a.v[i] = -a.v[i];
    return a;
}
static INLINE vf v_abs(vf a) {
    EACH_LANE a.v[i] = fabsf(a.v[i]);
    return a;
}
static INLINE vf v_copysign(vf magnitude, vf sign) {
    EACH_LANE magnitude.v[i] = copysignf(magnitude.v[i], sign.v[i]);
    return magnitude;
}
static INLINE vf v_max(vf a, vf b) { /* a > b ? a : b */
    EACH_LANE a.v[i] = a.v[i] > b.v[i] ? a.v[i] : b.v[i];
    return a;
}
static INLINE vf v_min(vf a, vf b) { /* a < b ? a : b */
    EACH_LANE a.v[i] = a.v[i] < b.v[i] ? a.v[i] : b.v[i];
    return a;
}
/* a < b ? yes : no */
static INLINE vf v_less(vf a, vf b, vf yes, vf no) {
    EACH_LANE no.v[i] = a.v[i] < b.v[i] ? yes.v[i] : no.v[i];
    return no;
}
/* To the nearest integer, ties to even; |a| < 2^22. */
static INLINE vf v_round(vf a) {
    EACH_LANE a.v[i] = (a.v[i] + 12582912.0f) - 12582912.0f; /* 1.5 * 2^23: the sum's last bit is worth 1 */
    return a;
}
/* Rounded to the nearest float, ties to even. */
static INLINE vf v_float(vi a) {
    vf r;
    EACH_LANE r.v[i] = (float)a.v[i];
    return r;
}
/* table[i], i being the whole part of index, 0 <= index < 32 */
static INLINE vf v_pick(const float table[32], vf index) {
    EACH_LANE index.v[i] = table[(int)index.v[i]];
    return index;
}
/* Integral values in [-128, 255]: the low bytes of a, b, c and d of each lane side by side, 64 bytes. */
static INLINE void v_store_bytes(uint8_t *p, vf a, vf b, vf c, vf d) {
    EACH_LANE {
        p[4 * i] = (uint8_t)(int)a.v[i];
        p[4 * i + 1] = (uint8_t)(int)b.v[i];
        p[4 * i + 2] = (uint8_t)(int)c.v[i];
        p[4 * i + 3] = (uint8_t)(int)d.v[i];
    }
}
/* 16 rows become 16 columns. */
static INLINE void v_turn(vf rows[LANES]) {
    for (int r = 0; r < LANES; r++)
        for (int c = 0; c < r; c++) {
            float below = rows[r].v[c];
            rows[r].v[c] = rows[c].v[r];
            rows[c].v[r] = below;
        }
}
/* 2^n for integral n in [-126, 127] */
static INLINE vf v_pow2(vf n) {
    vf r;
    EACH_LANE {
        uint32_t bits = (uint32_t)((int32_t)n.v[i] + 127) << 23;
        memcpy(&r.v[i], &bits, sizeof bits);
    }
    return r;
}

/* For powers of 2: the integer n nearest to x, ties to even, in a form that v_rest and v_raise know (here x + 1.5 *
 * 2^23, whose low bits are n); x - n; and a * 2^n for a in [0.5, 2) and n >= -125. |x| < 2^22. */
static INLINE vf v_whole(vf x) { return v_add(x, v_set(12582912.0f)); }
static INLINE vf v_rest(vf x, vf whole) { return v_sub(x, v_sub(whole, v_set(12582912.0f))); }
static INLINE vf v_raise(vf a, vf whole) {
    EACH_LANE {
        uint32_t bits, n;
        memcpy(&bits, &a.v[i], sizeof bits);
        memcpy(&n, &whole.v[i], sizeof n);
        bits += n << 23;
        memcpy(&a.v[i], &bits, sizeof bits);
    }
    return a;
}

/* The sum of all lanes, folded 8-4-2-1. */
static INLINE float v_sum(vf a) {
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++) a.v[i] += a.v[i + half];
    return a.v[0];
}
/* The largest lane, folded in the same order. */
static INLINE float v_largest(vf a) {
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++) a.v[i] = a.v[i] > a.v[i + half] ? a.v[i] : a.v[i + half];
    return a.v[0];
}

/* Round to int8 (|a|, |b| <= 127 after rounding), store 32 bytes, return their sum. */
static INLINE int32_t v_quantize(vf a, vf b, int8_t *q) {
    a = v_round(a);
    b = v_round(b);
    int32_t sum = 0;
    EACH_LANE {
        q[i] = (int8_t)a.v[i];
        q[LANES + i] = (int8_t)b.v[i];
        sum += q[i] + q[LANES + i];
    }
    return sum;
}

/* Round 0 <= a < 255 to the nearest integer, ties to even, and store bytes. */
static INLINE void store_16_codes(uint8_t *p, vf a) {
    a = v_round(a);
    EACH_LANE p[i] = (uint8_t)a.v[i];
}
static INLINE void v_store_codes(uint8_t *p, vf a, vf b, vf c, vf d) {
    store_16_codes(p, a);
    store_16_codes(p + 16, b);
    store_16_codes(p + 32, c);
    store_16_codes(p + 48, d);
}

/* 16 values as they lie in a panel column, widened exactly. */
static INLINE vf v_load_f32(const uint8_t *p) {
    vf r;
    memcpy(r.v, p, sizeof r.v);
    return r;
}
static INLINE vf v_load_bf16(const uint8_t *p) {
    vf r;
    EACH_LANE {
        uint16_t h;
        memcpy(&h, p + 2 * i, sizeof h);
        uint32_t bits = (uint32_t)h << 16;
        memcpy(&r.v[i], &bits, sizeof bits);
    }
    return r;
}
/* An element's lower or upper 16 bits, as a number in bf16. */
static INLINE vf v_low_bf16(vf pair) {
    EACH_LANE {
        uint32_t bits;
        memcpy(&bits, &pair.v[i], sizeof bits);
        bits <<= 16;
        memcpy(&pair.v[i], &bits, sizeof bits);
    }
    return pair;
}
static INLINE vf v_high_bf16(vf pair) {
    EACH_LANE {
        uint32_t bits;
        memcpy(&bits, &pair.v[i], sizeof bits);
        bits &= 0xffff0000u;
        memcpy(&pair.v[i], &bits, sizeof bits);
    }
    return pair;
}
static INLINE vf v_load_f16(const uint8_t *p) {
    vf r;
    EACH_LANE {
        uint16_t h;
        memcpy(&h, p + 2 * i, sizeof h);
        r.v[i] = nb_f16_to_f32(h);
    }
    return r;
}

/* Integers. Their sums must fit. */
static INLINE vi vi_zero(void) {
    vi r;
    EACH_LANE r.v[i] = 0;
    return r;
}
static INLINE vi vi_load(const int32_t *p) {
    vi r;
    memcpy(r.v, p, sizeof r.v);
    return r;
}
static INLINE void vi_store(int32_t *p, vi a) { memcpy(p, a.v, sizeof a.v); }
static INLINE vi vi_load_i8(const int8_t *p) {
    vi r;
    EACH_LANE r.v[i] = p[i];
    return r;
}
/* a * b + c */
static INLINE vi vi_mla(vi a, vi b, vi c) {
    EACH_LANE c.v[i] += a.v[i] * b.v[i];
    return c;
}

#endif
