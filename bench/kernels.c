/* Kernels on vectors. A kernel's type says how it is called, so a new row of kernels.def of a known type is measured
 * without another line here, and one of an unknown type does not compile. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "bench/bench.h"

typedef enum form {
    MATMUL, SCORES, WEIGH, QUANTIZE, QUANTIZE_ROW, QUANTIZE_HEAD, QUANTIZE_KEY, NORM, NORM_BIAS, ROTATE, WITH_VECTOR,
    WITH_NUMBER, BLEND, ALONE, FIND_VALUE, FIND_INDEX, FIND_LEAST, SUM, SEARCH
} form;

typedef union any_kernel {
    nb_matmul_fn matmul;
    void (*quantize)(const float *, size_t, int8_t *, float *, int32_t *);
    void (*quantize_row)(const float *, size_t, int8_t *, int8_t *, float *);
    float (*quantize_head)(const float *, size_t, int8_t *, int32_t *);
    void (*quantize_key)(const float *, size_t, int8_t *, uint16_t *);
    void (*norm)(float *, const float *, const float *, size_t, float);
    void (*norm_bias)(float *, const float *, const float *, const float *, size_t, float);
    void (*rotate)(float *, const float *, const float *, size_t);
    void (*with_vector)(float *, const float *, size_t);
    void (*with_number)(float *, float, size_t);
    void (*blend)(float *, float, const float *, float, size_t);
    void (*alone)(float *, size_t);
    float (*find_value)(const float *, size_t);
    size_t (*find_index)(const float *, size_t);
    size_t (*find_least)(const float *, size_t, float);
    float (*sum)(float *, float, size_t);
} any_kernel;

/* One row per form: how it is called on n elements, and the bytes per element that it reads and writes. */
typedef struct operands {
    size_t n;
    float *y, *x, *w, *b;
    int8_t *q, *blocks;
    int32_t *starts;
    float found; /* what a kernel returned, so that it is not left out */
} operands;

static void call_quantize(any_kernel k, operands *o) { k.quantize(o->x, o->n, o->q, o->b, o->starts); }
static void call_quantize_row(any_kernel k, operands *o) { k.quantize_row(o->x, o->n, o->q, o->blocks, o->b); }
static void call_quantize_head(any_kernel k, operands *o) { o->found += k.quantize_head(o->x, o->n, o->q, o->starts); }
static void call_quantize_key(any_kernel k, operands *o) {
    k.quantize_key(o->x, o->n, o->q, (uint16_t *)(void *)o->starts);
}
static void call_norm(any_kernel k, operands *o) { k.norm(o->y, o->x, o->w, o->n, 1e-5f); }
static void call_norm_bias(any_kernel k, operands *o) { k.norm_bias(o->y, o->x, o->w, o->b, o->n, 1e-5f); }
static void call_rotate(any_kernel k, operands *o) { k.rotate(o->y, o->x, o->b, o->n / 2); }
static void call_with_vector(any_kernel k, operands *o) { k.with_vector(o->y, o->x, o->n); }
static void call_with_number(any_kernel k, operands *o) { k.with_number(o->y, 1.0f, o->n); }
static void call_blend(any_kernel k, operands *o) { k.blend(o->y, 1.0f, o->x, 0.0f, o->n); }
static void call_alone(any_kernel k, operands *o) { k.alone(o->y, o->n); }
static void call_find_value(any_kernel k, operands *o) { o->found += k.find_value(o->y, o->n); }
static void call_find_index(any_kernel k, operands *o) { o->found += (float)k.find_index(o->y, o->n); }
static void call_find_least(any_kernel k, operands *o) { o->found += (float)k.find_least(o->y, o->n, 51.0f); }
static void call_sum(any_kernel k, operands *o) { o->found += k.sum(o->y, 50.0f, o->n); }

static const struct {
    /* NULL: a matrix product (products.c), attention over pages (attention.c), or a step of quantizing
     * (quantizers.c) */
    void (*call)(any_kernel k, operands *o);
    double bytes;
} forms[] = {
    [MATMUL] = {NULL, 0},
    [SCORES] = {NULL, 0},
    [WEIGH] = {NULL, 0},
    [QUANTIZE] = {call_quantize, 5},
    [QUANTIZE_ROW] = {call_quantize_row, 5},
    [QUANTIZE_HEAD] = {call_quantize_head, 5},
    [QUANTIZE_KEY] = {call_quantize_key, 5},
    [NORM] = {call_norm, 12},
    [NORM_BIAS] = {call_norm_bias, 16},
    [ROTATE] = {call_rotate, 12}, /* of n / 2 pairs: two in, two out, a cosine and a sine */
    [WITH_VECTOR] = {call_with_vector, 12},
    [WITH_NUMBER] = {call_with_number, 8},
    [BLEND] = {call_blend, 12},
    [ALONE] = {call_alone, 8},
    [FIND_VALUE] = {call_find_value, 4},
    [FIND_INDEX] = {call_find_index, 4},
    [FIND_LEAST] = {call_find_least, 4},
    [SUM] = {call_sum, 8},
    [SEARCH] = {NULL, 0},
};

#define FORM(fn)                                                                     \
    _Generic((fn),                                                                   \
        nb_matmul_fn: MATMUL,                                                        \
        void (*)(const nb_scores_q8 *): SCORES,                                      \
        void (*)(const nb_weigh_q8 *): WEIGH,                                        \
        float (*)(const float *, size_t, int8_t *, int32_t *): QUANTIZE_HEAD,        \
        void (*)(const float *, size_t, int8_t *, uint16_t *): QUANTIZE_KEY,         \
        void (*)(const float *, size_t, int8_t *, float *, int32_t *): QUANTIZE,     \
        void (*)(const float *, size_t, int8_t *, int8_t *, float *): QUANTIZE_ROW,  \
        void (*)(float *, const float *, const float *, size_t, float): NORM,        \
        void (*)(float *, const float *, const float *, const float *, size_t, float): NORM_BIAS, \
        void (*)(float *, const float *, const float *, size_t): ROTATE,             \
        void (*)(float *, const float *, size_t): WITH_VECTOR,                       \
        void (*)(float *, float, size_t): WITH_NUMBER,                               \
        void (*)(float *, float, const float *, float, size_t): BLEND,               \
        void (*)(float *, size_t): ALONE,                                            \
        float (*)(const float *, size_t): FIND_VALUE,                                \
        size_t (*)(const float *, size_t): FIND_INDEX,                               \
        size_t (*)(const float *, size_t, float): FIND_LEAST,                        \
        float (*)(float *, float, size_t): SUM,                                      \
        float (*)(const uint8_t *, size_t): SEARCH,                                  \
        void (*)(const uint8_t *, size_t, size_t, size_t, const float *, float *): SEARCH,      \
        void (*)(const nb_grid *, const float *, size_t, const float *, nb_block_fit *): SEARCH, \
        void (*)(const uint8_t *, size_t, float *): SEARCH,                          \
        void (*)(const nb_grid *, const float *, size_t, const float *, const float *, const float *, int8_t *): SEARCH, \
        void (*)(const nb_grid *, const float *, size_t, const float *, uint8_t *, nb_block_error *): SEARCH, \
        void (*)(const nb_grid *, const float *, size_t, const float *, float *): SEARCH, \
        void (*)(const float *, size_t, const float *, size_t, size_t, float *): SEARCH)

static const struct kernel {
    const char *name;
    size_t offset; /* in nb_kernels */
    form form;
} kernels[] = {
#define KERNEL(name, ret, args) {#name, offsetof(nb_kernels, name), FORM(((nb_kernels *)NULL)->name)},
#include "simd/kernels.def"
#undef KERNEL
};
enum { N_KERNELS = sizeof kernels / sizeof *kernels };

const char *bench_kernel_name(size_t i) { return i < N_KERNELS ? kernels[i].name : NULL; }

typedef struct vector_case {
    const nb_kernels *tier;
    const struct kernel *kernel;
    size_t n;
} vector_case;

/* Values that come back the same, or at least not smaller and smaller: denormal numbers are slow. */
static bool operands_make(operands *o, size_t n) {
    *o = (operands){.n = n};
    o->y = nb_alloc(5 * n * sizeof(float) + 2 * n);
    if (!o->y) return false;
    o->x = o->y + n;
    o->w = o->x + n;
    o->b = o->w + n;
    void *rest = o->b + n;
    o->starts = rest;
    o->q = (int8_t *)(o->starts + n);
    o->blocks = o->q + n;
    for (size_t i = 0; i < n; i++) {
        o->y[i] = 50.0f;
        o->x[i] = 1.0f;
        o->w[i] = 1.0f + 0.01f * (float)(i % 7);
        o->b[i] = 0.0f;
    }
    return true;
}

static void run_case(shim_state *s, void *arg) {
    const vector_case *c = arg;
    operands o;
    any_kernel k;
    if (!operands_make(&o, c->n)) {
        shim_skip(s, "out of memory");
        return;
    }
    memcpy(&k, (const char *)c->tier + c->kernel->offset, sizeof k);
    void (*call)(any_kernel, operands *) = forms[c->kernel->form].call;
    double begin = bench_now();
    while (shim_next(s)) call(k, &o);
    bench_count(s, bench_now() - begin, forms[c->kernel->form].bytes * (double)c->n, 0);
    nb_free(o.y);
}

/* A head, a residual stream and a hidden layer. */
void bench_add_kernels(const nb_kernels *tier) {
    static const size_t lengths[] = {128, 2048, 8192};
    char name[96];
    for (size_t i = 0; i < N_KERNELS; i++)
        for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
            vector_case *c = forms[kernels[i].form].call ? malloc(sizeof *c) : NULL; /* until the process ends */
            if (!c) continue;
            *c = (vector_case){.tier = tier, .kernel = &kernels[i], .n = lengths[l]};
            snprintf(name, sizeof name, "%s/%s/n%zu", tier->isa, kernels[i].name, lengths[l]);
            shim_register(name, run_case, c);
        }
}
