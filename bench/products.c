/* Matrix products of every type, on one thread and on all. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/checked.h"
#include "base/mem.h"
#include "bench/bench.h"
#include "quant/quantize.h"

/* ---- matrices */

static uint32_t next_random(uint32_t *state) { return *state = *state * 1664525u + 1013904223u; }

/* Bytes that are weights of ordinary size: a random one in every place would make denormals and NaNs. */
static void fill_panel(const bench_matrix *m, uint8_t *panel, uint32_t seed) {
    size_t at = 0;
    for (; nb_types[m->type].scaled && at < NB_ROW_SCALE_BYTES; at += sizeof(float)) {
        float scale = 1e-5f;
        memcpy(panel + at, &scale, sizeof scale);
    }
    while (at < m->panel_bytes) {
        uint32_t r = next_random(&seed) >> 8;
        float x = 0.5f + (float)(r & 0xff) / 512;
        uint16_t half = (uint16_t)(m->type == NB_TYPE_F16 ? 0x3800 | (r & 0x3ff) : 0x3f00 | (r & 0x7f));
        size_t n = nb_types[m->type].scaled ? 1 : nb_types[m->type].plain_bytes;
        const void *value = n == 4 ? (const void *)&x : n == 2 ? (const void *)&half : (const void *)&r;
        memcpy(panel + at, value, n);
        at += n;
    }
}

/* The first panel is filled, the others are copies of it. */
static nb_status matrix_make(bench_matrix *m, nb_type type, size_t rows, size_t cols, nb_error *err) {
    uint64_t bytes;
    if (m->region.data && m->type == type && m->rows == rows && m->cols == cols) return NB_OK;
    nb_region_free(&m->region);
    *m = (bench_matrix){.type = type, .rows = rows, .cols = cols};
    if (!nb_panel_bytes(type, cols, &bytes)) return nb_fail(err, NB_ARGUMENT, "%s has no panels", nb_types[type].name);
    m->panel_bytes = (size_t)bytes;
    size_t panels = nb_div_up(rows, NB_PANEL_ROWS);
    nb_status st = nb_region_alloc(&m->region, panels * m->panel_bytes, "a matrix", err);
    uint8_t *data = m->region.data;
    for (size_t i = 0; !st && i < panels; i++) {
        if (i == 0) fill_panel(m, data, 1);
        else memcpy(data + i * m->panel_bytes, data, m->panel_bytes);
    }
    return st;
}

/* ---- cases */

typedef struct shape {
    size_t rows, cols, tokens;
} shape;

/* A square of 1B models for one token to many, their MLP, a small one; and what does not fit any cache, as decoding
 * meets it: a model's matrices one after the other. */
static const shape shapes[] = {
    {2048, 2048, 1}, {2048, 2048, 4},    {2048, 2048, 8},   {2048, 2048, 32}, {2048, 2048, 512},
    {11264, 2048, 512}, {2048, 5632, 512}, {64, 256, 3},
    {131072, 2048, 1},  {131072, 2048, 4}, {131072, 2048, 8},
};
static const double BRACKET_SECONDS = 0.02;
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

typedef struct product_case {
    const nb_kernels *tier;
    bench_machine *machine;
    bool all; /* threads, not one */
    nb_matmul_fn fn;
    nb_type type;
    shape shape;
} product_case;

/* In one region, of huge pages like the engine's. */
typedef struct acts {
    nb_region region;
    float *x, *scale, *y;
    int8_t *q;
    int32_t *start;
} acts;

/* Take `bytes` of the region, or only count them while there is none. */
static void *carve(acts *a, size_t *used, size_t bytes) {
    void *at = a->region.data ? (uint8_t *)a->region.data + *used : NULL;
    *used += nb_round_up(bytes, NB_ALIGN);
    return at;
}

static size_t acts_plan(acts *a, const shape *s) {
    size_t used = 0, n = s->tokens * s->cols;
    a->x = carve(a, &used, n * sizeof *a->x);
    a->scale = carve(a, &used, n / NB_STRIP_COLS * sizeof *a->scale);
    a->y = carve(a, &used, s->tokens * nb_row_bytes(s->rows * sizeof *a->y));
    a->q = carve(a, &used, s->tokens * nb_row_bytes(s->cols));
    a->start = carve(a, &used, n / NB_BLOCK_COLS * sizeof *a->start);
    return used;
}

static nb_status acts_make(acts *a, const product_case *c, nb_error *err) {
    size_t n = c->shape.tokens * c->shape.cols, q_stride = nb_row_bytes(c->shape.cols);
    *a = (acts){0};
    nb_status st = nb_region_alloc(&a->region, acts_plan(a, &c->shape), "activations", err);
    if (st) return st;
    acts_plan(a, &c->shape);
    uint32_t seed = 7;
    for (size_t i = 0; i < n; i++) a->x[i] = (float)(next_random(&seed) >> 8 & 0xffff) / 65536 - 0.5f;
    for (size_t t = 0, cols = c->shape.cols; t < c->shape.tokens; t++)
        c->tier->quantize_acts(a->x + t * cols, cols, a->q + t * q_stride, a->scale + t * (cols / NB_STRIP_COLS),
                                 a->start + t * (cols / NB_BLOCK_COLS));
    return NB_OK;
}

static nb_acts acts_of(const acts *a, size_t cols) {
    return (nb_acts){.f = a->x, .f_stride = cols, .q = a->q, .q_stride = nb_row_bytes(cols), .scale = a->scale,
                     .scale_stride = cols / NB_STRIP_COLS, .start = a->start, .start_stride = cols / NB_BLOCK_COLS};
}

typedef struct job {
    nb_matmul m;
    nb_matmul_fn fn;
} job;

static void run_share(void *arg, size_t begin, size_t end, int member) {
    const job *j = arg;
    (void)member;
    j->fn(&j->m, begin, end);
}

/* What bounds a product, with the counter that shows the share of it. */
typedef struct bound {
    const char *counter;
    nb_probe kind;
    double work, limit; /* per iteration; per second: the mean of before and after */
} bound;

static void run_product(const product_case *c, job *j, size_t panels) {
    if (c->all) nb_team_for(c->machine->team, panels, nb_matmul_share(c->shape.tokens), run_share, j);
    else j->fn(&j->m, 0, panels);
}

/* Few tokens stream the weights from memory; many are bound by arithmetic. */
static size_t bounds_of(const product_case *c, double bytes, double operations, bound b[2]) {
    size_t n = 0;
    if (c->shape.tokens <= 8) b[n++] = (bound){.counter = "%dram", .kind = NB_PROBE_READ, .work = bytes};
    if (c->type == NB_TYPE_Q4 || c->type == NB_TYPE_Q6)
        b[n++] = (bound){.counter = "%int8", .kind = NB_PROBE_Q4, .work = operations};
    else if (c->type == NB_TYPE_Q8) b[n++] = (bound){.counter = "%int8", .kind = NB_PROBE_Q8, .work = operations};
    else b[n++] = (bound){.counter = "%fma", .kind = NB_PROBE_FMA, .work = operations};
    return n;
}

static void measure_bounds(const product_case *c, bound *b, size_t n) {
    for (size_t i = 0; i < n; i++)
        b[i].limit += bench_limit(c->machine, c->tier, b[i].kind, c->all, BRACKET_SECONDS) / 2;
}

static void run_case(shim_state *s, void *arg) {
    const product_case *c = arg;
    const shape *d = &c->shape;
    nb_error err = {0};
    acts a = {0};
    bench_matrix *matrix = &c->machine->matrix;
    nb_status st = matrix_make(matrix, c->type, d->rows, d->cols, &err);
    if (!st) st = acts_make(&a, c, &err);
    if (st) {
        shim_skip(s, err.text);
        nb_region_free(&a.region);
        return;
    }
    size_t panels = d->rows / NB_PANEL_ROWS;
    job j = {.fn = c->fn,
             .m = {.w = matrix->region.data, .panel_bytes = matrix->panel_bytes, .cols = d->cols,
                   .codebook = nb_q4_codebook, .x = acts_of(&a, d->cols), .n_tokens = d->tokens, .y = a.y,
                   .y_stride = nb_row_bytes(d->rows * sizeof *a.y) / sizeof *a.y}};
    bound bounds[2];
    double bytes = (double)(panels * matrix->panel_bytes);
    double operations = 2 * (double)d->rows * (double)d->cols * (double)d->tokens;
    size_t n_bounds = bounds_of(c, bytes, operations, bounds);
    run_product(c, &j, panels); /* the system hands out the pages of y as they are first written */
    measure_bounds(c, bounds, n_bounds);
    double begin = bench_now();
    while (shim_next(s)) run_product(c, &j, panels);
    double seconds = bench_now() - begin;
    measure_bounds(c, bounds, n_bounds);
    bench_count(s, seconds, bytes, operations);
    for (size_t i = 0; i < n_bounds; i++) bench_percent(s, bounds[i].counter, seconds, bounds[i].work, bounds[i].limit);
    nb_region_free(&a.region);
}

/* The type of a product is the end of its name: matmul_q4. */
static bool product_type(const char *name, nb_type *type) {
    return !strncmp(name, "matmul_", 7) && nb_type_by_name(name + 7, type);
}

static void add_case(product_case made, const char *kernel) {
    char name[96];
    product_case *c = malloc(sizeof *c); /* until the process ends */
    if (!c) return;
    *c = made;
    c->fn = nb_kernels_matmul(c->tier, c->type);
    /* What is to come from memory need not be larger than that: f32 takes eight times the bytes of q4. */
    if (c->shape.rows > 65536 && !nb_types[c->type].scaled) c->shape.rows /= 4;
    snprintf(name, sizeof name, "%s/%s/%zux%zu/t%zu%s", c->tier->isa, kernel, c->shape.rows, c->shape.cols,
             c->shape.tokens, c->all ? "/all" : "");
    shim_register(name, run_case, c);
}

void bench_add_products(const nb_kernels *tier, bench_machine *machine) {
    nb_type type;
    for (size_t k = 0; bench_kernel_name(k); k++)
        for (size_t i = 0; product_type(bench_kernel_name(k), &type) && i < N_SHAPES; i++)
            for (int all = 0; all < (nb_team_size(machine->team) > 1 ? 2 : 1); all++)
                add_case((product_case){.tier = tier, .machine = machine, .all = all, .type = type, .shape = shapes[i]},
                         bench_kernel_name(k));
}
