/* Every tier x kernel x length x pattern x side of a guard page. Each tier must equal scalar bit for bit; scalar must
 * equal the formula in double precision. A kernel without a row here fails the first test. */
#include <math.h>

#include "base/mem.h"
#include "quant/half.h"
#include "quant/quantize.h"
#include "simd/kernels.h"
#include "tests/support/guard.h"
#include "tests/support/tiers.h"
#include "tests/support/unit.h"

/* What a vector kernel works on: y is in and out, `value` what it returns. */
typedef struct operands {
    size_t n;
    float *y, *x, *w, *b;
    float value;
} operands;

typedef struct vector_kernel {
    const char *name;
    void (*run)(const nb_kernels *k, operands *o);
    void (*formula)(const operands *in, double *y, double *value); /* y [n] holds in->y */
    double tolerance; /* of the largest |formula| (at least 1) */
    bool even;        /* n must be even */
} vector_kernel;

static const float EPS = 1e-5f, A = 0.7f, B = -1.3f, CAP = 15.0f;

#define RUN(name, call)                                        \
    static void run_##name(const nb_kernels *k, operands *o) { \
        call;                                                  \
    }
#define FORMULA(name) static void formula_##name(const operands *o, double *y, double *value)
#define EACH(expr)                                             \
    do {                                                       \
        (void)value;                                           \
        for (size_t i = 0; i < o->n; i++) {                    \
            double v = y[i];                                   \
            y[i] = (expr);                                     \
        }                                                      \
    } while (0)

RUN(rmsnorm, k->rmsnorm(o->y, o->x, o->w, o->n, EPS))
RUN(rmsnorm_bare, k->rmsnorm(o->y, o->y, NULL, o->n, EPS))
RUN(layernorm, k->layernorm(o->y, o->x, o->w, o->b, o->n, EPS))
RUN(layernorm_bare, k->layernorm(o->y, o->y, NULL, NULL, o->n, EPS))
RUN(rope, k->rope(o->y, o->x, o->w, o->n / 2))
RUN(hadamard, k->hadamard(o->y, o->n))
RUN(add, k->add(o->y, o->x, o->n))
RUN(mul, k->mul(o->y, o->x, o->n))
RUN(scale, k->scale(o->y, A, o->n))
RUN(blend, k->blend(o->y, A, o->x, B, o->n))
RUN(relu2, k->relu2(o->y, o->n))
RUN(gelu_erf, k->gelu_erf(o->y, o->n))
RUN(gelu_tanh, k->gelu_tanh(o->y, o->n))
RUN(silu, k->silu(o->y, o->n))
RUN(softcap, k->softcap(o->y, CAP, o->n))
RUN(max, o->value = k->max(o->y, o->n))
RUN(argmax, o->value = (float)k->argmax(o->y, o->n))
RUN(find, o->value = (float)k->find(o->y, o->n, o->y[o->n / 2]))
RUN(exp_sum, o->value = k->exp_sum(o->y, k->max(o->y, o->n), o->n))

static double sum_of(const double *x, size_t n, double shift, int power) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += power == 2 ? (x[i] - shift) * (x[i] - shift) : x[i] - shift;
    return sum;
}
static void take(const operands *o, double *y) {
    for (size_t i = 0; i < o->n; i++) y[i] = (double)o->x[i];
}
FORMULA(rmsnorm_bare) {
    double r = 1 / sqrt(sum_of(y, o->n, 0, 2) / (double)o->n + (double)EPS);
    EACH(v * r);
}
FORMULA(rmsnorm) {
    take(o, y);
    formula_rmsnorm_bare(o, y, value);
    EACH(v * (double)o->w[i]);
}
FORMULA(layernorm_bare) {
    double mean = sum_of(y, o->n, 0, 1) / (double)o->n;
    double r = 1 / sqrt(sum_of(y, o->n, mean, 2) / (double)o->n + (double)EPS);
    EACH((v - mean) * r);
}
FORMULA(layernorm) {
    take(o, y);
    formula_layernorm_bare(o, y, value);
    EACH(v * (double)o->w[i] + (double)o->b[i]);
}
FORMULA(rope) {
    size_t half = o->n / 2;
    (void)value;
    for (size_t i = 0; i < half; i++) {
        double a = y[i], b = y[half + i], c = (double)o->x[i], s = (double)o->w[i];
        y[i] = a * c - b * s;
        y[half + i] = b * c + a * s;
    }
}
FORMULA(hadamard) {
    size_t size = 1;
    (void)value;
    while (o->n % (2 * size) == 0) size *= 2;
    for (size_t i = 0; i < o->n; i++) {
        double sum = 0;
        for (size_t j = 0; j < size; j++) {
            int odd = 0;
            for (size_t both = i % size & j; both; both &= both - 1) odd = !odd;
            sum += (odd ? -1.0 : 1.0) * (double)o->y[i - i % size + j];
        }
        y[i] = sum / sqrt((double)size);
    }
}
FORMULA(add) { EACH(v + (double)o->x[i]); }
FORMULA(mul) { EACH(v * (double)o->x[i]); }
FORMULA(scale) { EACH(v * (double)A); }
FORMULA(blend) { EACH(v * (double)A + (double)o->x[i] * (double)B); }
FORMULA(relu2) { EACH(v > 0 ? v * v : 0); }
FORMULA(gelu_erf) { EACH(v / 2 * (1 + erf(v / sqrt(2)))); }
FORMULA(gelu_tanh) { EACH(v / 2 * (1 + tanh(sqrt(2 / acos(-1)) * (v + 0.044715 * v * v * v)))); }
FORMULA(silu) { EACH(v / (1 + exp(-v))); }
FORMULA(softcap) { EACH((double)CAP * tanh(v / (double)CAP)); }
FORMULA(max) {
    *value = y[0];
    for (size_t i = 0; i < o->n; i++) *value = fmax(*value, y[i]);
}
FORMULA(argmax) {
    size_t best = 0;
    for (size_t i = 0; i < o->n; i++)
        if (y[i] > y[best]) best = i;
    *value = (double)best;
}
FORMULA(find) {
    *value = 0;
    while (!(y[(size_t)*value] >= y[o->n / 2])) ++*value;
}
FORMULA(exp_sum) {
    double largest;
    formula_max(o, y, &largest);
    EACH(exp(v - largest));
    *value = sum_of(y, o->n, 0, 1);
}

#define ROW(name_, tolerance_) .name = #name_, .run = run_##name_, .formula = formula_##name_, .tolerance = tolerance_
static const vector_kernel vector_kernels[] = {
    {ROW(rmsnorm, 3e-6)},   {ROW(rmsnorm_bare, 3e-6)}, {ROW(layernorm, 3e-6)}, {ROW(layernorm_bare, 3e-6)},
    {ROW(rope, 3e-7), .even = true},
    {ROW(hadamard, 1e-6)},
    {ROW(add, 1e-7)},       {ROW(mul, 1e-7)},          {ROW(scale, 1e-7)},     {ROW(blend, 3e-7)},
    {ROW(relu2, 1e-7)},     {ROW(gelu_erf, 4e-7)},     {ROW(gelu_tanh, 4e-7)}, {ROW(silu, 4e-7)},
    {ROW(softcap, 3e-7)},   {ROW(max, 0)},             {ROW(argmax, 0)},       {ROW(exp_sum, 4e-7)},
    {ROW(find, 0)},
};

static const struct {
    const char *name;
    nb_type type;
} products[] = {{"matmul_f32", NB_TYPE_F32}, {"matmul_f16", NB_TYPE_F16}, {"matmul_bf16", NB_TYPE_BF16},
                {"matmul_q8", NB_TYPE_Q8},   {"matmul_q6", NB_TYPE_Q6},   {"matmul_q4", NB_TYPE_Q4}};

static void test_every_kernel_has_a_row(void **state) {
    (void)state;
    static const char *const kernels[] = {
#define KERNEL(name, ret, args) #name,
#include "simd/kernels.def"
#undef KERNEL
    };
    for (size_t i = 0; i < COUNT_OF(kernels); i++) {
        /* Tested by themselves: below, in test_quant.c, and in test_attend.c. */
        bool found = strncmp(kernels[i], "quantize_", 9) == 0 || strncmp(kernels[i], "search_", 7) == 0 ||
                     strcmp(kernels[i], "scores_q8") == 0 || strcmp(kernels[i], "weigh_q8") == 0;
        for (size_t j = 0; j < COUNT_OF(vector_kernels); j++)
            found = found || strcmp(vector_kernels[j].name, kernels[i]) == 0;
        for (size_t j = 0; j < COUNT_OF(products); j++) found = found || strcmp(products[j].name, kernels[i]) == 0;
        if (!found) fail_msg("no test for kernel %s", kernels[i]);
    }
}

/* ---- patterns ---- */

/* DAMAGED is for products only: the largest sums that a file's bytes can make. */
typedef enum pattern { RANDOM, WIDE, ZERO, NEGATIVE_ZERO, ALTERNATING, LARGE, TINY, N_PATTERNS, DAMAGED = N_PATTERNS } pattern;

static float pattern_at(pattern p, uint64_t *seed, size_t i) {
    float r = (float)unit_random_between(seed, -3, 3);
    switch (p) {
    case RANDOM: return r;
    case WIDE: return r * 12.0f;
    case ZERO: return 0.0f;
    case NEGATIVE_ZERO: return i % 2 ? -0.0f : 0.0f;
    case ALTERNATING: return i % 2 ? 1.0f : -1.0f;
    case LARGE: return i % 3 ? 300.0f : -300.0f;
    case TINY: return r * 1e-30f;
    case DAMAGED: return 1.0f;
    }
    return r;
}

static void fill(float *x, size_t n, pattern p, uint64_t *seed) {
    for (size_t i = 0; i < n; i++) x[i] = pattern_at(p, seed, i);
}

/* ---- vector kernels ---- */

static void check_formula(const vector_kernel *v, const operands *in, const operands *out, pattern p) {
    double *y = nb_calloc(in->n, sizeof *y), value = 0, largest = 1;
    for (size_t i = 0; i < in->n; i++) y[i] = (double)in->y[i];
    v->formula(in, y, &value);
    for (size_t i = 0; i < in->n; i++) largest = fmax(largest, fabs(y[i]));
    for (size_t i = 0; i < in->n; i++)
        if (!(fabs(y[i] - (double)out->y[i]) <= v->tolerance * largest))
            fail_msg("%s, n %zu, pattern %d, element %zu: expected %.9g, found %.9g", v->name, in->n, p, i, y[i],
                     (double)out->y[i]);
    if (!(fabs(value - (double)out->value) <= v->tolerance * fmax(fabs(value), 1)))
        fail_msg("%s, n %zu, pattern %d: expected %.9g, found %.9g", v->name, in->n, p, value, (double)out->value);
    nb_free(y);
}

static void vector_case(const nb_kernels *scalar, const nb_kernels *tier, const vector_kernel *v, size_t n, pattern p,
                        guard_side side) {
    uint64_t seed = n * 31 + (uint64_t)p;
    guard g[5];
    for (int i = 0; i < 5; i++) {
        g[i] = guard_new(n * sizeof(float), side);
        fill(g[i].data, n, i == 0 || i == 1 ? p : RANDOM, &seed);
    }
    operands in = {.n = n, .y = g[0].data, .x = g[1].data, .w = g[2].data, .b = g[3].data};
    operands out = in;
    out.y = g[4].data;
    memcpy(out.y, in.y, n * sizeof(float));
    v->run(scalar, &out);
    check_formula(v, &in, &out, p);
    if (tier != scalar) {
        operands other = in; /* in place, over the input */
        v->run(tier, &other);
        if (memcmp(other.y, out.y, n * sizeof(float)) != 0 || memcmp(&other.value, &out.value, sizeof out.value) != 0)
            fail_msg("%s on %s differs from scalar: n %zu, pattern %d", v->name, tier->isa, n, p);
    }
    for (int i = 0; i < 5; i++) guard_free(&g[i]);
}

static const size_t lengths[] = {1,  2,  3,  4,  5,  7,  8,  12, 15, 16, 17,  24,  31,  32,  33,
                                 47, 48, 49, 63, 64, 65, 96, 100, 128, 130, 192, 333, 768, 2048};

/* Quick runs take every third case of a long list, tiers that are emulated every tenth. */
static bool left_out(const nb_kernels *tier, size_t i) {
    return i % (tier_emulated(tier) ? 10 : unit_quick() ? 3 : 1) != 0;
}

static void vectors(const nb_kernels *scalar, const nb_kernels *tier) {
    for (size_t v = 0; v < COUNT_OF(vector_kernels); v++)
        for (size_t l = 0; l < COUNT_OF(lengths); l++)
            for (int p = 0; p < N_PATTERNS; p++)
                for (int side = GUARD_AFTER; side <= GUARD_BEFORE; side++)
                    if (!left_out(tier, v + l + (size_t)p) && (!vector_kernels[v].even || lengths[l] % 2 == 0))
                        vector_case(scalar, tier, &vector_kernels[v], lengths[l], (pattern)p, (guard_side)side);
}
static void test_vectors(void **state) {
    (void)state;
    tiers_each(vectors);
}

/* Ties, infinities and NaN in a choice. */
static void choices(const nb_kernels *scalar, const nb_kernels *tier) {
    (void)scalar;
    float x[40];
    for (int i = 0; i < 40; i++) x[i] = 1.0f;
    assert_int_equal(tier->argmax(x, 40), 0);
    x[33] = x[17] = 2.0f;
    assert_int_equal(tier->argmax(x, 40), 17);
    x[3] = NAN;
    assert_int_equal(tier->argmax(x, 40), 17);
    for (int i = 0; i < 40; i++) x[i] = -INFINITY;
    assert_int_equal(tier->argmax(x, 40), 0);
    x[39] = -1e30f;
    assert_int_equal(tier->argmax(x, 40), 39);
    for (int i = 0; i < 40; i++) x[i] = NAN;
    assert_int_equal(tier->argmax(x, 40), 0);
    assert_int_equal(tier->find(x, 40, -INFINITY), 40);
    x[21] = x[22] = 3.0f;
    assert_int_equal(tier->find(x, 40, 3.0f), 21);
    assert_int_equal(tier->find(x, 40, 3.1f), 40);
    assert_int_equal(tier->find(x, 0, 0.0f), 0);
    float *far = nb_calloc(1000, sizeof *far); /* more than is passed over at once */
    far[700] = 1.0f;
    assert_int_equal(tier->find(far, 1000, 0.5f), 700);
    assert_int_equal(tier->argmax(far, 1000), 700);
    nb_free(far);
}
static void test_choices(void **state) {
    (void)state;
    tiers_each(choices);
}

/* ---- activation quantization: the contract's words, once more and plainly ---- */

static void plain_quantize(const float *x, size_t cols, int8_t *q, float *scale, int32_t *start) {
    for (size_t s = 0; s * 128 < cols; s++) {
        size_t end = cols < (s + 1) * 128 ? cols : (s + 1) * 128;
        float absmax = 0;
        for (size_t i = s * 128; i < end; i++) absmax = fmaxf(absmax, fabsf(x[i]));
        bool zero = absmax == 0 || isinf(127.0f / absmax);
        scale[s] = zero ? 0 : absmax / 127.0f;
        for (size_t i = s * 128; i < end; i++) q[i] = zero ? 0 : (int8_t)nearbyintf(x[i] * (127.0f / absmax));
    }
    for (size_t b = 0; b < cols / 32; b++) {
        start[b] = 0;
        for (size_t i = 0; i < 32; i++) start[b] -= 128 * q[b * 32 + i];
    }
}

static void quantize_case(const nb_kernels *tier, size_t cols, pattern p, guard_side side) {
    uint64_t seed = cols + (uint64_t)p;
    size_t strips = (cols + 127) / 128, blocks = cols / 32;
    guard x = guard_new(cols * sizeof(float), side), q = guard_new(cols, side);
    guard scale = guard_new(strips * sizeof(float), side), start = guard_new(blocks * sizeof(int32_t), side);
    int8_t *plain_q = nb_calloc(cols, 1);
    float *plain_scale = nb_calloc(strips, sizeof(float));
    int32_t *plain_start = nb_calloc(blocks, sizeof(int32_t));
    fill(x.data, cols, p, &seed);
    tier->quantize_acts(x.data, cols, q.data, scale.data, start.data);
    plain_quantize(x.data, cols, plain_q, plain_scale, plain_start);
    assert_memory_equal(q.data, plain_q, cols);
    assert_memory_equal(scale.data, plain_scale, strips * sizeof(float));
    assert_memory_equal(start.data, plain_start, blocks * sizeof(int32_t));
    nb_free(plain_q);
    nb_free(plain_scale);
    nb_free(plain_start);
    guard_free(&x);
    guard_free(&q);
    guard_free(&scale);
    guard_free(&start);
}

/* The words of kernels.def, once more. */
static void plain_quantize_row(const float *x, size_t cols, int8_t *q, int8_t *blocks, float *scale) {
    float absmax = 0;
    for (size_t i = 0; i < cols; i++) absmax = fmaxf(absmax, fabsf(x[i]));
    bool zero = absmax == 0 || isinf(16129.0f / absmax);
    *scale = zero ? 0 : absmax / 16129.0f;
    for (size_t b = 0; b < cols / 32; b++) {
        float largest = 0;
        for (size_t i = 0; i < 32; i++) largest = fmaxf(largest, fabsf(x[b * 32 + i]));
        float code = zero ? 1 : fminf(fmaxf(ceilf(largest * (127.0f / absmax)), 1), 127);
        blocks[b] = (int8_t)code;
        for (size_t i = b * 32; i < b * 32 + 32; i++)
            q[i] = zero ? 0 : (int8_t)nearbyintf(x[i] * (16129.0f / absmax / code));
    }
}

static void quantize_row_case(const nb_kernels *tier, size_t cols, pattern p, guard_side side) {
    uint64_t seed = cols + (uint64_t)p;
    guard x = guard_new(cols * sizeof(float), side), q = guard_new(cols, side);
    guard blocks = guard_new(cols / 32, side), scale = guard_new(sizeof(float), side);
    int8_t *plain_q = nb_calloc(cols, 1), *plain_blocks = nb_calloc(cols / 32, 1);
    float plain_scale;
    fill(x.data, cols, p, &seed);
    tier->quantize_row(x.data, cols, q.data, blocks.data, scale.data);
    plain_quantize_row(x.data, cols, plain_q, plain_blocks, &plain_scale);
    assert_memory_equal(q.data, plain_q, cols);
    assert_memory_equal(blocks.data, plain_blocks, cols / 32);
    assert_memory_equal(scale.data, &plain_scale, sizeof plain_scale);
    nb_free(plain_q);
    nb_free(plain_blocks);
    guard *all[] = {&x, &q, &blocks, &scale};
    for (size_t i = 0; i < COUNT_OF(all); i++) guard_free(all[i]);
}

static const size_t widths[] = {32, 64, 96, 128, 160, 256, 480, 1024};

static void quantizers(const nb_kernels *scalar, const nb_kernels *tier) {
    (void)scalar;
    for (size_t w = 0; w < COUNT_OF(widths); w++)
        for (int p = 0; p < N_PATTERNS; p++)
            for (int side = GUARD_AFTER; side <= GUARD_BEFORE; side++) {
                quantize_case(tier, widths[w], (pattern)p, (guard_side)side);
                quantize_row_case(tier, widths[w], (pattern)p, (guard_side)side);
            }
}
static void test_quantize(void **state) {
    (void)state;
    tiers_each(quantizers);
}

/* ---- matrix products: the contract's formula, plainly, bit for bit ---- */

/* Where the format puts code (r, c) of a block, written out once more. */
static int code_at(nb_type type, const int8_t *codebook, const uint8_t *block, size_t r, size_t c) {
    if (type == NB_TYPE_Q8) return (int8_t)block[c / 4 * 64 + r * 4 + c % 4];
    if (type == NB_TYPE_Q6) {
        const uint8_t *half = block + c / 16 * 192;
        int low = half[c % 16 / 8 * 64 + r * 4 + c % 4] >> c / 4 % 2 * 4 & 15,
            high = half[128 + r * 4 + c % 4] >> c % 16 / 4 * 2 & 3;
        return high * 16 + low - 32;
    }
    uint8_t byte = block[c / 8 * 64 + r * 4 + c % 4];
    return codebook[c / 4 % 2 ? byte >> 4 : byte & 15];
}

static float plain_scaled(nb_type type, const int8_t *codebook, const uint8_t *panel, const nb_acts *x, size_t t,
                          size_t r, size_t cols) {
    float acc = 0, row_scale;
    const uint8_t *p = panel + 64;
    for (size_t s = 0; s * 128 < cols; s++) {
        const uint8_t *line = p;
        int32_t part = 0;
        p += 64;
        for (size_t b = 0; b < 4 && s * 4 + b < cols / 32; b++, p += nb_types[type].block_bytes) {
            int32_t dot = 0;
            for (size_t c = 0; c < 32; c++)
                dot += code_at(type, codebook, p, r, c) * x->q[t * x->q_stride + s * 128 + b * 32 + c];
            part += dot * (int8_t)line[b * 16 + r];
        }
        acc = fmaf((float)part, x->scale[t * x->scale_stride + s], acc);
    }
    memcpy(&row_scale, panel + r * 4, 4);
    return acc * row_scale;
}

static float plain_unscaled(nb_type type, const uint8_t *panel, const nb_acts *x, size_t t, size_t r, size_t cols) {
    float acc = 0;
    for (size_t c = 0; c < cols; c++) {
        float w;
        uint16_t h;
        size_t at = c * 16 + r;
        memcpy(&h, panel + at * 2, 2);
        if (type == NB_TYPE_F32) memcpy(&w, panel + at * 4, 4);
        else w = type == NB_TYPE_F16 ? nb_f16_to_f32(h) : nb_bf16_to_f32(h);
        acc = fmaf(w, x->f[t * x->f_stride + c], acc);
    }
    return acc;
}

static void product_case(const nb_kernels *k, const nb_search *search, nb_type type, size_t n_panels, size_t cols,
                         size_t n_tokens, pattern p) {
    uint64_t seed = cols * 7 + n_tokens, bytes;
    assert_true(nb_panel_bytes(type, cols, &bytes));
    guard w = guard_new(n_panels * (size_t)bytes, GUARD_AFTER),
          x = guard_new(n_tokens * cols * sizeof(float), GUARD_AFTER);
    guard q = guard_new(n_tokens * cols, GUARD_AFTER), scale = guard_new(n_tokens * (cols / 128 + 1) * 4, GUARD_AFTER);
    guard start = guard_new(n_tokens * (cols / 32) * 4, GUARD_AFTER),
          y = guard_new(n_tokens * n_panels * 64, GUARD_AFTER);
    float *rows = nb_calloc(16 * cols, sizeof(float));
    nb_quantizer quantizer;
    nb_quantizer_init(&quantizer, type, nb_q4_codebook, search);
    for (size_t i = 0; i < n_panels; i++) {
        fill(rows, 16 * cols, p, &seed);
        uint8_t *panel = (uint8_t *)w.data + i * bytes;
        nb_quantize_panel(&quantizer, rows, 16, cols, cols, panel, NULL);
        if (p == DAMAGED && nb_types[type].scaled) memset(panel + 64, 0x80, (size_t)bytes - 64); /* codes and scales of -128 */
    }
    fill(x.data, n_tokens * cols, p == TINY ? RANDOM : p, &seed);
    nb_matmul m = {.w = w.data, .panel_bytes = (size_t)bytes, .cols = cols, .codebook = type == NB_TYPE_Q4 ? nb_q4_codebook : NULL,
                   .n_tokens = n_tokens,
                   .y = y.data, .y_stride = n_panels * 16,
                   .x = {.f = x.data, .f_stride = cols, .q = q.data, .q_stride = cols, .scale = scale.data,
                         .scale_stride = cols / 128 + 1, .start = start.data, .start_stride = cols / 32}};
    for (size_t t = 0; t < n_tokens; t++)
        k->quantize_acts(m.x.f + t * cols, cols, (int8_t *)q.data + t * cols,
                         (float *)scale.data + t * m.x.scale_stride, (int32_t *)start.data + t * m.x.start_stride);
    nb_kernels_matmul(k, type)(&m, 0, n_panels);
    for (size_t t = 0; t < n_tokens; t++)
        for (size_t r = 0; r < n_panels * 16; r++) {
            const uint8_t *panel = m.w + r / 16 * bytes;
            float expected = nb_types[type].scaled ? plain_scaled(type, nb_q4_codebook, panel, &m.x, t, r % 16, cols)
                                                   : plain_unscaled(type, panel, &m.x, t, r % 16, cols);
            if (memcmp(&expected, &m.y[t * m.y_stride + r], 4) != 0)
                fail_msg("matmul_%s on %s, %zu columns, %zu tokens, pattern %d, row %zu: expected %a, found %a",
                         nb_types[type].name, k->isa, cols, n_tokens, p, r, (double)expected,
                         (double)m.y[t * m.y_stride + r]);
        }
    nb_free(rows);
    guard *all[] = {&w, &x, &q, &scale, &start, &y};
    for (size_t i = 0; i < COUNT_OF(all); i++) guard_free(all[i]);
}

static void matmuls(const nb_kernels *scalar, const nb_kernels *tier) {
    nb_search search = nb_kernels_search(tier_emulated(tier) ? scalar : tier); /* only makes the weights */
    static const size_t tokens[] = {1, 2, 3, 4, 5, 7, 8, 9, 13, 24};
    for (size_t i = 0; i < COUNT_OF(products); i++)
        for (size_t w = 0; w < COUNT_OF(widths); w++)
            for (size_t t = 0; t < COUNT_OF(tokens); t++)
                for (int p = 0; p <= DAMAGED; p++)
                    if (!left_out(tier, i + w + t + (size_t)p) && (widths[w] < 480 || p == RANDOM))
                        product_case(tier, &search, products[i].type, 1 + (t * 2) % 9, widths[w], tokens[t],
                                     (pattern)p);
}
static void test_matmul(void **state) {
    (void)state;
    tiers_each(matmuls);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_kernel_has_a_row), cmocka_unit_test(test_vectors), cmocka_unit_test(test_choices),
        cmocka_unit_test(test_quantize),          cmocka_unit_test(test_matmul),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
