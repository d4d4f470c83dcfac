#include "convert/dtype.h"

#include "base/bytes.h"
#include "convert/dtype_ggml.h"
#include "quant/half.h"

static void widen_f32(const uint8_t *src, size_t step, size_t n, float *dst) {
    for (size_t i = 0; i < n; i++) dst[i] = nb_get_f32(src + i * step);
}
static void widen_f16(const uint8_t *src, size_t step, size_t n, float *dst) {
    for (size_t i = 0; i < n; i++) dst[i] = nb_f16_to_f32(nb_get_u16(src + i * step));
}
static void widen_bf16(const uint8_t *src, size_t step, size_t n, float *dst) {
    if (step == 2) { /* a constant: the compiler makes vectors of the loop */
        for (size_t i = 0; i < n; i++) dst[i] = nb_bf16_to_f32(nb_get_u16(src + 2 * i));
        return;
    }
    for (size_t i = 0; i < n; i++) dst[i] = nb_bf16_to_f32(nb_get_u16(src + i * step));
}
static void widen_i8(const uint8_t *src, size_t step, size_t n, float *dst) {
    for (size_t i = 0; i < n; i++) dst[i] = (float)(int8_t)src[i * step];
}
static void widen_f64(const uint8_t *src, size_t step, size_t n, float *dst) {
    for (size_t i = 0; i < n; i++) {
        double v = nb_get_f64(src + i * step);
        /* A cast of a double beyond f32's range is undefined; it becomes an infinity, which is refused later. */
        dst[i] = v >= 0x1.ffffffp127    ? nb_f32_from_bits(0x7f800000u)
                 : v <= -0x1.ffffffp127 ? nb_f32_from_bits(0xff800000u)
                                        : (float)v;
    }
}

const nb_dtype_info nb_dtypes[NB_DTYPE_COUNT] = {
    [NB_DTYPE_F32] = {"f32", 1, 4, widen_f32},
    [NB_DTYPE_F16] = {"f16", 1, 2, widen_f16},
    [NB_DTYPE_BF16] = {"bf16", 1, 2, widen_bf16},
    [NB_DTYPE_F64] = {"f64", 1, 8, widen_f64},
    [NB_DTYPE_F8_E5M2] = {"f8_e5m2", 1, 1, NULL},
    [NB_DTYPE_F8_E4M3] = {"f8_e4m3", 1, 1, NULL},
    [NB_DTYPE_I8_SCALED] = {"scaled i8", 1, 1, widen_i8},
    [NB_DTYPE_Q4_0] = {"q4_0", 32, 18, nb_widen_q4_0},
    [NB_DTYPE_Q4_1] = {"q4_1", 32, 20, nb_widen_q4_1},
    [NB_DTYPE_Q5_0] = {"q5_0", 32, 22, nb_widen_q5_0},
    [NB_DTYPE_Q5_1] = {"q5_1", 32, 24, nb_widen_q5_1},
    [NB_DTYPE_Q8_0] = {"q8_0", 32, 34, nb_widen_q8_0},
    [NB_DTYPE_Q4_K] = {"q4_k", 256, 144, nb_widen_q4_k},
    [NB_DTYPE_Q5_K] = {"q5_k", 256, 176, nb_widen_q5_k},
    [NB_DTYPE_Q6_K] = {"q6_k", 256, 210, nb_widen_q6_k},
    [NB_DTYPE_IQ4_NL] = {"iq4_nl", 32, 18, nb_widen_iq4_nl},
    [NB_DTYPE_C64] = {"c64", 1, 8, NULL},
    [NB_DTYPE_I64] = {"i64", 1, 8, NULL},
    [NB_DTYPE_I32] = {"i32", 1, 4, NULL},
    [NB_DTYPE_I16] = {"i16", 1, 2, NULL},
    [NB_DTYPE_I8] = {"i8", 1, 1, NULL},
    [NB_DTYPE_U64] = {"u64", 1, 8, NULL},
    [NB_DTYPE_U32] = {"u32", 1, 4, NULL},
    [NB_DTYPE_U16] = {"u16", 1, 2, NULL},
    [NB_DTYPE_U8] = {"u8", 1, 1, NULL},
    [NB_DTYPE_BOOL] = {"bool", 1, 1, NULL},
};
