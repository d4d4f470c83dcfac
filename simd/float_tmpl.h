/* Every kernel that is not a matrix product, once, over the 16-lane vector. Include after a vec_*.h; the functions are
 * static and a tier file puts them into its table.
 *
 * Tails: a vector's last, partial group of 16 is loaded with neutral lanes, so that reductions stay in one order. */
#ifndef NB_SIMD_FLOAT_TMPL_H
#define NB_SIMD_FLOAT_TMPL_H

#include "quant/half.h"
#include "quant/types.h"

/* e^x. |relative error| < 2e-7 on [-87, 88.37]; below it gives 0, above it stays at e^88.37.
 * x = n ln 2 + r with |r| <= ln2/2 (ln 2 in two parts, Cody and Waite), e^r = 1 + r + r^2 P(r); P is a minimax fit of
 * degree 4 (weighted least squares iterated to equal ripples), largest relative error 3.1e-9 before rounding. */
static INLINE vf v_exp(vf x) {
    vf c = v_min(v_max(x, v_set(-87.0f)), v_set(88.37f));
    vf n = v_round(v_mul(c, v_set(1.44269504f)));
    vf r = v_fma(n, v_set(-0.693359375f), c);
    r = v_fma(n, v_set(2.12194440e-4f), r);
    vf p = v_set(1.395049156e-03f);
    p = v_fma(p, r, v_set(8.368889801e-03f));
    p = v_fma(p, r, v_set(4.166620597e-02f));
    p = v_fma(p, r, v_set(1.666651815e-01f));
    p = v_fma(p, r, v_set(5.000000000e-01f));
    p = v_add(v_fma(p, v_mul(r, r), r), v_set(1.0f));
    return v_less(x, v_set(-87.0f), v_set(0.0f), v_mul(p, v_pow2(n)));
}

/* 2^x for x <= 127, and 2^-125 below -125. |relative error| < 3e-6: 1 + r P(r) with r = x - round(x), P a minimax fit
 * of degree 3 (weighted least squares iterated to equal ripples); exact for whole x. */
static INLINE vf v_exp2(vf x) {
    vf c = v_max(x, v_set(-125.0f)), n = v_whole(c), r = v_rest(c, n);
    vf p = v_set(9.582853169e-03f);
    p = v_fma(p, r, v_set(5.590642504e-02f));
    p = v_fma(p, r, v_set(2.402409861e-01f));
    p = v_fma(p, r, v_set(6.931241934e-01f));
    return v_raise(v_fma(p, r, v_set(1.0f)), n);
}

/* tanh x: below 0.625 an odd minimax polynomial (error 4.2e-9 before rounding), above 1 - 2 / (e^2|x| + 1). */
static INLINE vf v_tanh(vf x) {
    vf a = v_abs(x), t = v_mul(x, x);
    vf p = v_set(-5.709497258e-03f);
    p = v_fma(p, t, v_set(2.064413577e-02f));
    p = v_fma(p, t, v_set(-5.374162272e-02f));
    p = v_fma(p, t, v_set(1.333146989e-01f));
    p = v_fma(p, t, v_set(-3.333328366e-01f));
    vf small = v_fma(v_mul(x, t), p, x);
    vf e = v_exp(v_add(a, a));
    vf large = v_sub(v_set(1.0f), v_div(v_set(2.0f), v_add(e, v_set(1.0f))));
    return v_less(a, v_set(0.625f), small, v_copysign(large, x));
}

/* erf x: below 1, x P(x^2) (error 1.2e-9); above, 1 - e^Q(|x|) with Q a fit of ln erfc (error in erfc 2.1e-11). Beyond
 * 4 it is 1 in f32. */
static INLINE vf v_erf(vf x) {
    vf a = v_abs(x), t = v_mul(x, x);
    vf p = v_set(7.889122935e-05f);
    p = v_fma(p, t, v_set(-8.020842215e-04f));
    p = v_fma(p, t, v_set(5.189535674e-03f));
    p = v_fma(p, t, v_set(-2.685444430e-02f));
    p = v_fma(p, t, v_set(1.128360033e-01f));
    p = v_fma(p, t, v_set(-3.761262596e-01f));
    p = v_fma(p, t, v_set(1.128379107e+00f));
    vf b = v_min(a, v_set(4.0f));
    vf q = v_set(-2.168675383e-05f);
    q = v_fma(q, b, v_set(4.413351999e-04f));
    q = v_fma(q, b, v_set(-4.204555880e-03f));
    q = v_fma(q, b, v_set(2.520823851e-02f));
    q = v_fma(q, b, v_set(-1.084185466e-01f));
    q = v_fma(q, b, v_set(-6.332198977e-01f));
    q = v_fma(q, b, v_set(-1.129578352e+00f));
    q = v_fma(q, b, v_set(1.880366908e-04f));
    vf large = v_sub(v_set(1.0f), v_exp(q));
    return v_less(a, v_set(1.0f), v_mul(x, p), v_copysign(large, x));
}

/* y[n] = f(x[n], w[n], a, b), 16 at a time; y may be x or w. `f` is a constant at every call, so that it is inlined. */
typedef vf (*map_fn)(vf x, vf w, vf a, vf b);
static INLINE void map(float *y, const float *x, const float *w, size_t n, float a, float b,
                                                      map_fn f) {
    vf va = v_set(a), vb = v_set(b);
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) v_store(y + i, f(v_load(x + i), v_load(w + i), va, vb));
    if (i < n) {
        vf vx = v_load_part(x + i, n - i, 0.0f), vw = v_load_part(w + i, n - i, 0.0f);
        v_store_part(y + i, n - i, f(vx, vw, va, vb));
    }
}

/* The sum of f(acc, x[i]) in 16 partial sums; lanes beyond the end hold 0 and must add 0. */
typedef vf (*sum_fn)(vf acc, vf x);
static INLINE float sum_over(const float *x, size_t n, sum_fn f) {
    vf acc = v_set(0.0f);
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) acc = f(acc, v_load(x + i));
    if (i < n) acc = f(acc, v_load_part(x + i, n - i, 0.0f));
    return v_sum(acc);
}

static INLINE vf v_square_add(vf acc, vf x) { return v_fma(x, x, acc); }

/* A function for `map`, of the vectors x, w and the constants a, b. */
#define MAPPED(name, expr)                                       \
    static INLINE vf name(vf x, vf w, vf a, vf b) {              \
        (void)x, (void)w, (void)a, (void)b;                      \
        return expr;                                             \
    }
MAPPED(f_add, v_add(x, w))
MAPPED(f_mul, v_mul(x, w))
MAPPED(f_scale, v_mul(x, a))
MAPPED(f_subtract, v_sub(x, a))
MAPPED(f_scale_weigh, v_mul(v_mul(x, a), w))
MAPPED(f_blend, v_fma(x, a, v_mul(w, b)))
MAPPED(f_softcap, v_mul(v_tanh(v_div(x, a)), a))
MAPPED(f_relu2, v_mul(v_max(x, v_set(0.0f)), v_max(x, v_set(0.0f))))
/* x Phi(x) = x/2 (1 + erf(x / sqrt 2)) */
MAPPED(f_gelu_erf, v_fma(v_mul(x, v_set(0.5f)), v_erf(v_mul(x, v_set(0.707106781f))), v_mul(x, v_set(0.5f))))
/* x/2 (1 + tanh(u)) */
static INLINE vf gelu_tanh_argument(vf x) { /* u = sqrt(2/pi) (x + 0.044715 x^3) */
    return v_mul(v_fma(v_mul(v_mul(x, x), x), v_set(0.044715f), x), v_set(0.797884561f));
}
MAPPED(f_gelu_tanh, v_fma(v_mul(x, v_set(0.5f)), v_tanh(gelu_tanh_argument(x)), v_mul(x, v_set(0.5f))))
MAPPED(f_silu, v_div(x, v_add(v_set(1.0f), v_exp(v_neg(x)))))
#undef MAPPED

static void add(float *y, const float *x, size_t n) { map(y, y, x, n, 0, 0, f_add); }
static void mul(float *y, const float *x, size_t n) { map(y, y, x, n, 0, 0, f_mul); }
static void scale(float *y, float a, size_t n) { map(y, y, y, n, a, 0, f_scale); }
static void blend(float *y, float a, const float *x, float b, size_t n) { map(y, y, x, n, a, b, f_blend); }
static void relu2(float *x, size_t n) { map(x, x, x, n, 0, 0, f_relu2); }
static void gelu_erf(float *x, size_t n) { map(x, x, x, n, 0, 0, f_gelu_erf); }
static void gelu_tanh(float *x, size_t n) { map(x, x, x, n, 0, 0, f_gelu_tanh); }
static void silu(float *x, size_t n) { map(x, x, x, n, 0, 0, f_silu); }
static void softcap(float *x, float cap, size_t n) { map(x, x, x, n, cap, 0, f_softcap); }

static void rmsnorm(float *y, const float *x, const float *w, size_t n, float eps) {
    float r = 1.0f / sqrtf(sum_over(x, n, v_square_add) / (float)n + eps);
    if (w) map(y, x, w, n, r, 0, f_scale_weigh);
    else map(y, x, x, n, r, 0, f_scale);
}

static void layernorm(float *y, const float *x, const float *w, const float *b, size_t n, float eps) {
    map(y, x, x, n, sum_over(x, n, v_add) / (float)n, 0, f_subtract);
    float r = 1.0f / sqrtf(sum_over(y, n, v_square_add) / (float)n + eps);
    if (w) map(y, y, w, n, r, 0, f_scale_weigh);
    else map(y, y, y, n, r, 0, f_scale);
    if (b) map(y, y, b, n, 0, 0, f_add);
}

static INLINE void rotate(float *a, float *b, vf va, vf vb, vf c, vf s, size_t n) {
    v_store_part(a, n, v_fma(va, c, v_neg(v_mul(vb, s))));
    v_store_part(b, n, v_fma(vb, c, v_mul(va, s)));
}

static void rope(float *x, const float *c, const float *s, size_t half) {
    for (size_t i = 0; i < half; i += LANES) {
        size_t n = half - i < LANES ? half - i : LANES;
        rotate(x + i, x + half + i, v_load_part(x + i, n, 0.0f), v_load_part(x + half + i, n, 0.0f),
               v_load_part(c + i, n, 0.0f), v_load_part(s + i, n, 0.0f), n);
    }
}

static void hadamard(float *x, size_t n) {
    size_t size = n & (~n + 1); /* the lowest bit that is set */
    for (size_t apart = 1; apart < size; apart *= 2)
        for (size_t i = 0; i < n; i += 2 * apart)
            for (size_t j = i; j < i + apart; j++) {
                float a = x[j], b = x[j + apart];
                x[j] = a + b;
                x[j + apart] = a - b;
            }
    scale(x, 1.0f / sqrtf((float)size), n);
}

static float max(const float *x, size_t n) {
    vf best = v_set(-INFINITY);
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) best = v_max(v_load(x + i), best);
    if (i < n) best = v_max(v_load_part(x + i, n - i, -INFINITY), best);
    return v_largest(best);
}

static float exp_sum(float *x, float shift, size_t n) {
    vf acc = v_set(0.0f), m = v_set(shift);
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        vf e = v_exp(v_sub(v_load(x + i), m));
        v_store(x + i, e);
        acc = v_add(acc, e);
    }
    if (i < n) {
        v_store_part(x + i, n - i, v_exp(v_sub(v_load_part(x + i, n - i, 0.0f), m)));
        acc = v_add(acc, v_load_part(x + i, n - i, 0.0f));
    }
    return v_sum(acc);
}

/* Long pieces are passed over by their maximum. */
static size_t find(const float *x, size_t n, float least) {
    enum { PIECE = 256 };
    for (size_t at = 0; at < n; at += PIECE) {
        size_t end = n - at < PIECE ? n : at + PIECE;
        if (!(max(x + at, end - at) >= least)) continue;
        for (size_t i = at; i < end; i++)
            if (x[i] >= least) return i;
    }
    return n;
}

static size_t argmax(const float *x, size_t n) {
    size_t best = find(x, n, max(x, n));
    return best < n ? best : 0; /* nothing but NaN */
}

/* The largest |x|; n is a multiple of 32. */
static INLINE float strip_absmax(const float *x, size_t n) {
    vf best = v_set(0.0f);
    for (size_t i = 0; i < n; i += LANES) best = v_max(v_abs(v_load(x + i)), best);
    return v_largest(best);
}

_Static_assert((int)NB_BLOCK_COLS == 2 * (int)LANES, "v_quantize takes a block");

static void quantize_row(const float *x, size_t cols, int8_t *q, int8_t *blocks, float *scale) {
    float largest = 0.0f;
    for (size_t col = 0; col < cols; col += NB_BLOCK_COLS) {
        float a = strip_absmax(x + col, NB_BLOCK_COLS);
        largest = a > largest ? a : largest;
    }
    float inverse = 16129.0f / largest; /* infinite for 0 and the smallest numbers: those rows are 0 */
    int zero = !(inverse <= 3.0e38f);
    *scale = zero ? 0.0f : largest / 16129.0f;
    for (size_t b = 0; b < cols / NB_BLOCK_COLS; b++) {
        const float *block = x + b * NB_BLOCK_COLS;
        float share = zero ? 0.0f : strip_absmax(block, NB_BLOCK_COLS) * (127.0f / largest);
        int code = (int)share;
        if ((float)code < share || code == 0) code++;
        blocks[b] = (int8_t)(code < 127 ? code : 127);
        vf factor = v_set(zero ? 0.0f : inverse / (float)blocks[b]);
        (void)v_quantize(v_mul(v_load(block), factor), v_mul(v_load(block + LANES), factor), q + b * NB_BLOCK_COLS);
    }
}

static float quantize_head(const float *x, size_t cols, int8_t *q, int32_t *start) {
    float absmax = strip_absmax(x, cols), inverse = 127.0f / absmax;
    int zero = !(inverse <= 3.0e38f); /* as in quantize_acts */
    vf factor = v_set(zero ? 0.0f : inverse);
    for (size_t b = 0; b < cols / NB_BLOCK_COLS; b++) {
        const float *block = x + b * NB_BLOCK_COLS;
        start[b] = -128 * v_quantize(v_mul(v_load(block), factor), v_mul(v_load(block + LANES), factor),
                                     q + b * NB_BLOCK_COLS);
    }
    return zero ? 0.0f : absmax / 127.0f;
}

static void quantize_key(const float *x, size_t cols, int8_t *q, uint16_t *scales) {
    for (size_t b = 0; b < cols / NB_BLOCK_COLS; b++) {
        const float *block = x + b * NB_BLOCK_COLS;
        uint16_t half = nb_f32_up_to_bf16(strip_absmax(block, NB_BLOCK_COLS) / 127.0f);
        float inverse = 1.0f / nb_bf16_to_f32(half);
        int zero = !(inverse <= 3.0e38f);
        scales[b] = zero ? 0 : half;
        vf factor = v_set(zero ? 0.0f : inverse);
        (void)v_quantize(v_mul(v_load(block), factor), v_mul(v_load(block + LANES), factor), q + b * NB_BLOCK_COLS);
    }
}

static void quantize_acts(const float *x, size_t cols, int8_t *q, float *scales, int32_t *starts) {
    for (size_t s = 0; s * NB_STRIP_COLS < cols; s++) {
        const float *strip = x + s * NB_STRIP_COLS;
        size_t n = cols - s * NB_STRIP_COLS < NB_STRIP_COLS ? cols - s * NB_STRIP_COLS : NB_STRIP_COLS;
        float absmax = strip_absmax(strip, n);
        float inverse = 127.0f / absmax; /* infinite for 0 and the smallest numbers: those strips are 0 */
        int zero = !(inverse <= 3.0e38f);
        scales[s] = zero ? 0.0f : absmax / 127.0f;
        vf factor = v_set(zero ? 0.0f : inverse);
        for (size_t b = 0; b < n / NB_BLOCK_COLS; b++) {
            const float *block = strip + b * NB_BLOCK_COLS;
            starts[s * NB_STRIP_BLOCKS + b] =
                -128 * v_quantize(v_mul(v_load(block), factor), v_mul(v_load(block + LANES), factor),
                                  q + s * NB_STRIP_COLS + b * NB_BLOCK_COLS);
        }
    }
}

#endif
