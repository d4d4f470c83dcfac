/* f16 (IEEE 754 binary16) and bf16 (the upper half of binary32) to and from f32, round to nearest, ties to even.
 * Widening is exact; NaN stays NaN; f32 values beyond the f16 range become infinities. */
#ifndef NB_QUANT_HALF_H
#define NB_QUANT_HALF_H

#include <stdint.h>
#include <string.h>

static inline float nb_f32_from_bits(uint32_t bits) {
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}
static inline uint32_t nb_f32_bits(float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

static inline float nb_bf16_to_f32(uint16_t h) { return nb_f32_from_bits((uint32_t)h << 16); }

static inline uint16_t nb_f32_to_bf16(float f) {
    uint32_t u = nb_f32_bits(f);
    if ((u & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(u >> 16 | 0x40u); /* NaN: keep it quiet */
    return (uint16_t)((u + 0x7fffu + (u >> 16 & 1u)) >> 16);
}

/* The smallest bf16 that is not below f >= 0. */
static inline uint16_t nb_f32_up_to_bf16(float f) { return (uint16_t)((nb_f32_bits(f) + 0xffffu) >> 16); }

static inline float nb_f16_to_f32(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, rest = h & 0x7fffu;
    if (rest >= 0x7c00u) return nb_f32_from_bits(sign | 0x7f800000u | (rest & 0x3ffu) << 13); /* Inf, NaN */
    if (rest >= 0x400u) return nb_f32_from_bits(sign | ((rest << 13) + 0x38000000u));       /* rebias 15 -> 127 */
    float tiny = (float)rest * 0x1p-24f; /* subnormal: rest units of 2^-24, exact in f32 */
    return sign ? -tiny : tiny;
}

static inline uint16_t nb_f32_to_f16(float f) {
    uint32_t u = nb_f32_bits(f), sign = u >> 16 & 0x8000u, a = u & 0x7fffffffu;
    if (a > 0x7f800000u) return (uint16_t)(sign | 0x7e00u);
    if (a >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u); /* rounds to 65536 or more */
    if (a >= 0x38800000u) {                                  /* normal in f16 */
        a -= 0x38000000u;
        return (uint16_t)(sign | (a + 0xfffu + (a >> 13 & 1u)) >> 13);
    }
    /* Subnormal: adding 0.5 leaves a multiple of 2^-24 in the low bits, rounded to nearest even by the addition. */
    float shifted = nb_f32_from_bits(a) + 0.5f;
    return (uint16_t)(sign | (nb_f32_bits(shifted) - 0x3f000000u));
}

#endif
