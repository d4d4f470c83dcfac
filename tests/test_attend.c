/* Attention: its kernels for pages in q8 against their formulas and tier against tier; and whole attention against the
 * formula in double precision, for every type of keys and values, windows, gaps, and readers in any company, bit for
 * bit. */
#include <math.h>

#include "base/mem.h"
#include "core/attend.h"
#include "quant/half.h"
#include "tests/support/guard.h"
#include "tests/support/tiers.h"
#include "tests/support/tiny_model.h"
#include "tests/support/unit.h"

static void fill(float *x, size_t n, double size, uint64_t *seed) {
    for (size_t i = 0; i < n; i++) x[i] = (float)unit_random_between(seed, -size, size);
}

/* ---- quantization of heads and keys: the words of kernels.def, once more ---- */

static float absmax(const float *x, size_t n) {
    float a = 0;
    for (size_t i = 0; i < n; i++) a = fmaxf(a, fabsf(x[i]));
    return a;
}

static void quantize_case(const nb_kernels *tier, size_t cols, double size, guard_side side) {
    uint64_t seed = cols;
    guard x = guard_new(cols * sizeof(float), side), q = guard_new(cols, side),
          start = guard_new(cols / 32 * sizeof(int32_t), side);
    guard scales = guard_new(cols / 32 * sizeof(uint16_t), side);
    const float *v = x.data;
    const int8_t *code = q.data;
    fill(x.data, cols, size, &seed);
    float a = absmax(v, cols), scale = tier->quantize_head(v, cols, q.data, start.data);
    bool zero = a == 0 || isinf(127.0f / a);
    assert_true(scale == (zero ? 0 : a / 127.0f));
    for (size_t b = 0; b < cols / 32; b++) {
        int32_t sum = 0;
        for (size_t i = b * 32; i < b * 32 + 32; i++) {
            assert_int_equal(code[i], zero ? 0 : (int)nearbyintf(v[i] * (127.0f / a)));
            sum += code[i];
        }
        assert_int_equal(((int32_t *)start.data)[b], -128 * sum);
    }
    tier->quantize_key(v, cols, q.data, scales.data);
    for (size_t b = 0; b < cols / 32; b++) {
        float exact = absmax(v + b * 32, 32) / 127.0f, kept = nb_bf16_to_f32(((uint16_t *)scales.data)[b]),
              inverse = 1.0f / kept;
        if (kept == 0) assert_true(exact < 1e-37f);
        else assert_true(kept >= exact && kept <= exact * (1 + 0x1p-7f));
        for (size_t i = b * 32; i < b * 32 + 32; i++)
            assert_int_equal(code[i], kept == 0 ? 0 : (int)nearbyintf(v[i] * inverse));
    }
    guard *all[] = {&x, &q, &start, &scales};
    for (size_t i = 0; i < COUNT_OF(all); i++) guard_free(all[i]);
}

static void quantizes(const nb_kernels *scalar, const nb_kernels *tier) {
    static const size_t lengths[] = {32, 64, 96, 128, 160, 256, 1024};
    static const double sizes[] = {0, 1, 3e38, 1e-37, 1e-40, 0.01};
    (void)scalar;
    for (size_t l = 0; l < COUNT_OF(lengths); l++)
        for (size_t s = 0; s < COUNT_OF(sizes); s++)
            for (int side = GUARD_AFTER; side <= GUARD_BEFORE; side++)
                quantize_case(tier, lengths[l], sizes[s], (guard_side)side);
}
static void test_quantize(void **state) {
    (void)state;
    tiers_each(quantizes);
}

/* ---- the kernels of a page ---- */

enum { POSITIONS = NB_PAGE_POSITIONS, MOST_ROWS = 33, MOST_COLS = 128 };

/* A page and the rows that attend it; buffers end (or begin) at guard pages. */
typedef struct page_case {
    size_t cols, rows;
    guard keys, values, q, scale, start, y, from, to, codes, page_m, page_l, carry, share, m, l, o;
} page_case;

static guard random_bytes(size_t n, guard_side side, uint64_t *seed) {
    guard g = guard_new(n, side);
    uint8_t *bytes = g.data;
    for (size_t i = 0; i < n; i++) bytes[i] = (uint8_t)(unit_random(seed) % 255 + 1); /* as signed: -127 to 127 */
    return g;
}
static guard random_floats(size_t n, double low, double high, guard_side side, uint64_t *seed) {
    guard g = guard_new(n * sizeof(float), side);
    for (size_t i = 0; i < n; i++) ((float *)g.data)[i] = (float)unit_random_between(seed, low, high);
    return g;
}
static void signed_codes(uint8_t *p, size_t n) {
    for (size_t i = 0; i < n; i++) p[i] = (uint8_t)(p[i] ^ 0x80); /* 1 to 255 as -127 to 127 */
}

static void page_new(page_case *c, size_t cols, size_t rows, guard_side side, uint64_t seed) {
    c->cols = cols;
    c->rows = rows;
    c->keys = random_bytes(nb_keys_q8_bytes(cols), side, &seed);
    uint16_t *scales = (uint16_t *)(void *)((uint8_t *)c->keys.data + POSITIONS * cols);
    for (size_t i = 0; i < POSITIONS * cols / 32; i++)
        scales[i] = nb_f32_to_bf16((float)unit_random_between(&seed, 0.001, 0.02));
    c->values = random_bytes(nb_values_q8_bytes(cols), side, &seed);
    signed_codes(c->values.data, POSITIONS * cols);
    float *logs = (float *)(void *)((uint8_t *)c->values.data + POSITIONS * cols);
    for (size_t i = 0; i < POSITIONS; i++) {
        logs[i] = (float)unit_random_between(&seed, -9, -3);
        logs[POSITIONS + i] = exp2f(-logs[i]);
    }
    c->q = random_bytes(rows * cols, side, &seed);
    signed_codes(c->q.data, rows * cols);
    c->scale = random_floats(rows, 0.001, 0.02, side, &seed);
    c->start = guard_new(rows * cols / 32 * sizeof(int32_t), side);
    for (size_t i = 0; i < rows * cols; i++) ((int32_t *)c->start.data)[i / 32] -= 128 * ((int8_t *)c->q.data)[i];
    c->y = guard_new(rows * POSITIONS * sizeof(float), side);
    c->from = guard_new(rows, side);
    c->to = guard_new(rows, side);
    for (size_t r = 0; r < rows; r++) {
        size_t a = unit_random(&seed) % POSITIONS, b = unit_random(&seed) % POSITIONS;
        bool whole = seed % 3 == 0;
        ((uint8_t *)c->from.data)[r] = (uint8_t)(whole ? 0 : a < b ? a : b);
        ((uint8_t *)c->to.data)[r] = (uint8_t)(whole ? POSITIONS : (a < b ? b : a) + 1);
    }
    c->codes = guard_new(rows * POSITIONS, side);
    c->page_m = guard_new(rows * sizeof(float), side);
    c->page_l = guard_new(rows * sizeof(float), side);
    c->carry = guard_new(rows * sizeof(float), side);
    c->share = guard_new(rows * sizeof(float), side);
    c->m = random_floats(rows, -20, 20, side, &seed);
    c->l = random_floats(rows, 0, 900, side, &seed);
    c->o = random_floats(rows * cols, -100, 100, side, &seed);
    if (rows > 1) ((float *)c->m.data)[rows / 2] = -INFINITY; /* has seen nothing yet */
}

static void page_free(page_case *c) {
    guard *all[] = {&c->keys, &c->values, &c->q,      &c->scale, &c->start, &c->y, &c->from, &c->to,
                    &c->codes, &c->page_m, &c->page_l, &c->carry, &c->share, &c->m, &c->l,    &c->o};
    for (size_t i = 0; i < COUNT_OF(all); i++) guard_free(all[i]);
}

static const float *logs_of(const page_case *c) { return nb_values_q8_logs(c->values.data, c->cols); }

static void run_scores(const nb_kernels *k, const page_case *c) {
    nb_scores_q8 job = {.keys = c->keys.data, .cols = c->cols, .begin = 0, .end = POSITIONS / 16, .n = c->rows,
                        .q = c->q.data, .scale = c->scale.data, .start = c->start.data, .offset = logs_of(c),
                        .y = c->y.data, .next = c->keys.data};
    k->scores_q8(&job);
}
/* Its weights, and then the page of them. */
static nb_weigh_q8 weights_of(const page_case *c, size_t rows, float *m, float *l) {
    return (nb_weigh_q8){.inverses = logs_of(c) + POSITIONS, .n = rows, .scores = c->y.data, .from = c->from.data,
                         .to = c->to.data, .codes = c->codes.data, .page_m = c->page_m.data, .page_l = c->page_l.data,
                         .carry = c->carry.data, .share = c->share.data, .m = m, .l = l, .next = c->values.data,
                         .channels = c->cols};
}
static nb_values_q8 values_of(const page_case *c, size_t rows, float *o) {
    return (nb_values_q8){.values = c->values.data, .channels = c->cols, .n = rows, .codes = c->codes.data,
                          .carry = c->carry.data, .share = c->share.data, .o = o};
}
static void run_weigh(const nb_kernels *k, const page_case *c, float *m, float *l, float *o) {
    nb_weigh_q8 weigh = weights_of(c, c->rows, m, l), add = {.before = values_of(c, c->rows, o)};
    k->weigh_q8(&weigh);
    k->weigh_q8(&add);
}
/* Both at once. */
static void run_weigh_and_add(const nb_kernels *k, const page_case *c, float *m, float *l, float *o) {
    nb_weigh_q8 job = weights_of(c, c->rows, m, l);
    job.before = values_of(c, c->rows, o);
    k->weigh_q8(&job);
}

/* Add c's values beside the weights of another page, whose first rows see all of it, or not. */
static void check_beside(const nb_kernels *k, const page_case *c, size_t others, bool whole, const float *expected) {
    page_case other;
    static float m[2][MOST_ROWS], l[2][MOST_ROWS], o[MOST_ROWS * MOST_COLS];
    static uint8_t codes[MOST_ROWS * POSITIONS];
    page_new(&other, c->cols, others, GUARD_AFTER, c->rows * 100 + others);
    for (size_t i = 0; i < others * POSITIONS; i++) ((float *)other.y.data)[i] = (float)(i * i % 97) / 8.0f - 5.0f;
    memset(other.from.data, 0, whole ? others : 0);
    memset(other.to.data, POSITIONS, whole ? others : 0);
    for (int turn = 0; turn < 2; turn++) {
        memcpy(m[turn], other.m.data, others * sizeof(float));
        memcpy(l[turn], other.l.data, others * sizeof(float));
        nb_weigh_q8 job = weights_of(&other, others, m[turn], l[turn]);
        if (turn) job.before = values_of(c, c->rows, o);
        memcpy(o, c->o.data, c->rows * c->cols * sizeof *o);
        k->weigh_q8(&job);
        if (!turn) memcpy(codes, other.codes.data, others * POSITIONS);
    }
    if (memcmp(codes, other.codes.data, others * POSITIONS) != 0 || memcmp(m[0], m[1], others * sizeof(float)) != 0 ||
        memcmp(l[0], l[1], others * sizeof(float)) != 0 || memcmp(o, expected, c->rows * c->cols * sizeof *o) != 0)
        fail_msg("weigh_q8 on %s: %zu channels, %zu rows beside %zu others", k->isa, c->cols, c->rows, others);
    page_free(&other);
}

static void near(const char *what, size_t at, double expected, double found, double tolerance) {
    if (!(fabs(expected - found) <= tolerance))
        fail_msg("%s %zu: expected %.9g, found %.9g", what, at, expected, found);
}

static void check_scores(const page_case *c) {
    const uint8_t *codes = c->keys.data;
    const uint16_t *scales = (const uint16_t *)(const void *)(codes + POSITIONS * c->cols);
    for (size_t r = 0; r < c->rows; r++)
        for (size_t p = 0; p < POSITIONS; p++) {
            double y = 0, size = 0;
            for (size_t d = 0; d < c->cols; d++) {
                int code = codes[p / 16 * 16 * c->cols + d / 4 * 64 + p % 16 * 4 + d % 4] - 128;
                double product = code * ((int8_t *)c->q.data)[r * c->cols + d] *
                                 (double)nb_bf16_to_f32(scales[d / 32 * POSITIONS + p]);
                y += product;
                size += fabs(product);
            }
            double scale = (double)((float *)c->scale.data)[r], offset = (double)logs_of(c)[p];
            near("score", r * POSITIONS + p, y * scale + offset, (double)((float *)c->y.data)[r * POSITIONS + p],
                 1e-6 * (size * scale + fabs(offset)));
        }
}

/* The kernel's codes are given; everything else follows from them. */
static void check_weigh(const page_case *c, const float *m, const float *l, const float *o) {
    const uint8_t *values = c->values.data, *codes = c->codes.data;
    const float *logs = logs_of(c), *y = c->y.data;
    for (size_t r = 0; r < c->rows; r++) {
        size_t from = ((uint8_t *)c->from.data)[r], to = ((uint8_t *)c->to.data)[r];
        double p = -INFINITY, sum = 0, before = (double)((float *)c->m.data)[r];
        for (size_t i = from; i < to; i++) p = fmax(p, (double)y[r * POSITIONS + i]);
        double now = fmax(before, p), carry = exp2(before - now), share = exp2(p - now);
        for (size_t i = 0; i < POSITIONS; i++) {
            double e = i < from || i >= to ? 0 : 127 * exp2((double)y[r * POSITIONS + i] - p);
            near("code", r * POSITIONS + i, e, codes[r * POSITIONS + i], 0.5 + 127 * 1.1e-4); /* the polynomial of degree 3 */
            sum += e * (double)logs[POSITIONS + i];
        }
        near("maximum", r, now, (double)m[r], 1e-6 * fabs(now));
        near("sum", r, (double)((float *)c->l.data)[r] * carry + sum * share, (double)l[r],
             1.1e-4 * (sum * share + 900 * carry));
        for (size_t d = 0; d < c->cols; d++) {
            double dot = 0;
            for (size_t i = 0; i < POSITIONS; i++)
                dot += codes[r * POSITIONS + i] * (double)(int8_t)values[d / 16 * 1024 + i / 4 * 64 + d % 16 * 4 + i % 4];
            double expected = (double)((float *)c->o.data)[r * c->cols + d] * carry + dot * share;
            near("output", r * c->cols + d, expected, (double)o[r * c->cols + d], 1e-5 * (100 * carry + 3e5 * share));
        }
    }
}

static void one_page(const nb_kernels *scalar, const nb_kernels *tier, size_t cols, size_t rows, guard_side side) {
    page_case c;
    static float y[MOST_ROWS * POSITIONS], m[3][MOST_ROWS], l[3][MOST_ROWS], o[3][MOST_ROWS * MOST_COLS];
    static uint8_t codes[MOST_ROWS * POSITIONS];
    page_new(&c, cols, rows, side, cols * 100 + rows);
    run_scores(scalar, &c);
    check_scores(&c);
    memcpy(y, c.y.data, rows * POSITIONS * sizeof *y);
    for (int turn = 0; turn < 3; turn++) {
        memcpy(m[turn], c.m.data, rows * sizeof(float));
        memcpy(l[turn], c.l.data, rows * sizeof(float));
        memcpy(o[turn], c.o.data, rows * cols * sizeof(float));
    }
    run_weigh(scalar, &c, m[0], l[0], o[0]);
    check_weigh(&c, m[0], l[0], o[0]);
    memcpy(codes, c.codes.data, rows * POSITIONS);
    memset(c.y.data, 0, rows * POSITIONS * sizeof *y);
    run_scores(tier, &c);
    if (memcmp(y, c.y.data, rows * POSITIONS * sizeof *y) != 0)
        fail_msg("scores_q8 on %s: %zu columns, %zu rows", tier->isa, cols, rows);
    for (int turn = 1; turn < 3; turn++) {
        (turn == 1 ? run_weigh : run_weigh_and_add)(tier, &c, m[turn], l[turn], o[turn]);
        if (memcmp(codes, c.codes.data, rows * POSITIONS) != 0 || memcmp(m[0], m[turn], rows * sizeof(float)) != 0 ||
            memcmp(l[0], l[turn], rows * sizeof(float)) != 0 || memcmp(o[0], o[turn], rows * cols * sizeof(float)) != 0)
            fail_msg("weigh_q8 on %s: %zu channels, %zu rows", tier->isa, cols, rows);
    }
    check_beside(tier, &c, rows, true, o[0]);
    check_beside(tier, &c, rows, false, o[0]);
    check_beside(tier, &c, rows / 2 + 1, true, o[0]);
    if (rows + 2 <= MOST_ROWS) check_beside(tier, &c, rows + 2, true, o[0]);
    page_free(&c);
}

static void pages(const nb_kernels *scalar, const nb_kernels *tier) {
    static const size_t cols[] = {32, 64, 96, 128}, rows[] = {1, 2, 3, 4, 5, 6, 7, 8, 16, 31, 33};
    for (size_t i = 0; i < COUNT_OF(cols); i++)
        for (size_t j = 0; j < COUNT_OF(rows); j++)
            for (int side = GUARD_AFTER; side <= GUARD_BEFORE; side++)
                one_page(scalar, tier, cols[i], rows[j], (guard_side)side);
}
static void test_pages(void **state) {
    (void)state;
    tiers_each(pages);
}

/* ---- whole attention ---- */

enum { LENGTH = 2200, TEXTS = 3, SHARED = 1500, GAP_PAGES = 4, HEADS = 2, SHOWN = 40 };

/* Texts 0 and 1 share their beginning, text 2 is text 0 with a gap. What was stored is kept in f32. */
typedef struct library {
    nb_kv kv;
    uint32_t dim, group;
    float *keys, *values; /* [2][LENGTH][HEADS][dim] */
} library;

static size_t stored_at(const library *b, uint32_t text, uint32_t position, uint32_t head) {
    bool other = text == 1 && position >= SHARED;
    return ((size_t)(other * LENGTH + position) * HEADS + head) * b->dim;
}

static void store(library *b, const nb_kernels *k, uint32_t text, uint32_t position) {
    size_t at = stored_at(b, text, position, 0);
    nb_kv_store(&b->kv, k, &b->kv.texts[text], 0, position, b->keys + at, b->values + at);
}

static void library_new(library *b, const nb_kernels *k, nb_kv_types types, uint32_t dim, uint32_t group) {
    nb_hparams h = tiny_hparams("n_layer=1 n_kv_head=2");
    nb_error err = {0};
    uint64_t seed = dim + group;
    h.n_kv_head = HEADS;
    h.n_head = HEADS * group;
    h.head_dim = dim;
    const nb_kv_plan plan = {.n_texts = TEXTS, .n_positions = LENGTH, .n_sink = 1, .types = types};
    *b = (library){.dim = dim, .group = group};
    size_t n = 2 * (size_t)LENGTH * HEADS * dim;
    b->keys = nb_alloc(n * sizeof(float));
    b->values = nb_alloc(n * sizeof(float));
    fill(b->keys, n, 1, &seed);
    fill(b->values, n, 1, &seed);
    for (size_t i = 0; i < dim; i++) b->values[(size_t)HEADS * dim * 3 + i] = 0; /* a value that is all zero */
    if (nb_kv_create(&b->kv, &h, &plan, &err)) fail_msg("%s", err.text);
    nb_kv_text *texts = b->kv.texts;
    nb_kv_extend(&b->kv, &texts[0], SHARED);
    for (uint32_t p = 0; p < SHARED; p++) store(b, k, 0, p);
    nb_kv_share(&b->kv, &texts[1], &texts[0], SHARED);
    nb_kv_extend(&b->kv, &texts[0], LENGTH - SHARED);
    nb_kv_extend(&b->kv, &texts[1], LENGTH - SHARED);
    for (uint32_t text = 0; text < 2; text++)
        for (uint32_t p = SHARED; p < LENGTH; p++) store(b, k, text, p);
    nb_kv_share(&b->kv, &texts[2], &texts[0], LENGTH);
    nb_kv_drop(&b->kv, &texts[2], 0, GAP_PAGES);
}

static void library_free(library *b) {
    nb_kv_free(&b->kv);
    nb_free(b->keys);
    nb_free(b->values);
}

static bool sees(uint32_t text, uint32_t position, uint32_t window, uint32_t j) {
    bool gap = text == 2 && j >= NB_KV_PAGE && j < GAP_PAGES * NB_KV_PAGE;
    return j <= position && (!window || position - j <= window) && !gap;
}

/* softmax(K q) V in double precision. */
static void formula(const library *b, uint32_t text, uint32_t position, uint32_t head, uint32_t window, const float *q,
                    double *out) {
    double sum = 0, largest = -INFINITY, *s = nb_calloc(LENGTH, sizeof *s);
    for (uint32_t j = 0; j < LENGTH; j++) {
        for (uint32_t d = 0; d < b->dim; d++) s[j] += (double)b->keys[stored_at(b, text, j, head) + d] * (double)q[d];
        if (sees(text, position, window, j)) largest = fmax(largest, s[j]);
    }
    for (uint32_t d = 0; d < b->dim; d++) out[d] = 0;
    for (uint32_t j = 0; j < LENGTH; j++) {
        double e = sees(text, position, window, j) ? exp(s[j] - largest) : 0;
        sum += e;
        for (uint32_t d = 0; d < b->dim; d++) out[d] += e * (double)b->values[stored_at(b, text, j, head) + d];
    }
    for (uint32_t d = 0; d < b->dim; d++) out[d] /= sum;
    nb_free(s);
}

typedef struct reading {
    nb_reader readers[SHOWN];
    uint32_t n;
    float *q, *out; /* [n][HEADS * group][dim] */
} reading;

/* Readers [at, at + n), no more than a tile at a time. */
static void attend(const library *b, const nb_kernels *k, const reading *r, uint32_t window, uint32_t at, uint32_t n,
                   float *room) {
    for (uint32_t head = 0; head < HEADS; head++) {
        nb_attention a = {.kv = &b->kv, .head = head, .group = b->group, .window = window, .n = n, .readers = r->readers + at};
        nb_attend(&a, k, room);
    }
}

static void reading_new(const library *b, reading *r) {
    static const uint32_t places[] = {0, 5, 63, 64, 200, 1023, 1024, 1100, 1499, 1500, 1501, 2199};
    size_t floats = (size_t)HEADS * b->group * b->dim;
    uint64_t seed = 5;
    *r = (reading){.q = nb_alloc(SHOWN * floats * sizeof(float)), .out = nb_alloc(SHOWN * floats * sizeof(float))};
    for (size_t p = 0; p < COUNT_OF(places); p++) /* neighbours of different texts (none in the gap), and then four positions in a row */
        for (uint32_t text = 0; text < TEXTS; text++) {
            bool in_gap = text == 2 && places[p] >= NB_KV_PAGE && places[p] < 300;
            r->readers[r->n++] = (nb_reader){.text = &b->kv.texts[text], .position = places[p] + (in_gap ? 300 : 0)};
        }
    for (; r->n < SHOWN; r->n++) r->readers[r->n] = (nb_reader){.text = &b->kv.texts[1], .position = 1470 + r->n};
    fill(r->q, SHOWN * floats, 6 / sqrt(b->dim), &seed);
    for (uint32_t i = 0; i < r->n; i++) {
        r->readers[i].q = r->q + i * floats;
        r->readers[i].out = r->out + i * floats;
    }
}

static void check_formula(const library *b, const reading *r, uint32_t window, double tolerance) {
    double *expected = nb_calloc(b->dim, sizeof *expected);
    for (uint32_t i = 0; i < r->n; i++)
        for (uint32_t head = 0; head < HEADS * b->group; head += b->group + 1) { /* one of each KV head's, of those further on another */
            const nb_reader *reader = &r->readers[i];
            uint32_t text = (uint32_t)(reader->text - b->kv.texts);
            formula(b, text, reader->position, head / b->group, window, reader->q + head * b->dim, expected);
            for (uint32_t d = 0; d < b->dim; d++)
                if (!(fabs(expected[d] - (double)reader->out[head * b->dim + d]) <= tolerance))
                    fail_msg("text %u, position %u, head %u, window %u, channel %u: expected %.7g, found %.7g", text,
                             reader->position, head, window, d, expected[d], (double)reader->out[head * b->dim + d]);
        }
    nb_free(expected);
}

/* Values are within 1; what is seen is a third of the tolerances and less. */
static const struct {
    nb_kv_types types;
    uint32_t dim, group;
    double tolerance;
} shapes[] = {
    {{NB_KV_F32, NB_KV_F32}, 64, 1, 2e-6}, {{NB_KV_F16, NB_KV_F16}, 24, 2, 3e-3}, {{NB_KV_Q8, NB_KV_Q8}, 64, 8, 0.03},
    {{NB_KV_Q8, NB_KV_Q8}, 128, 1, 0.03},  {{NB_KV_Q8, NB_KV_Q8}, 40, 5, 0.03},   {{NB_KV_Q8, NB_KV_F32}, 32, 3, 0.03},
    {{NB_KV_F16, NB_KV_Q8}, 80, 4, 0.03},  {{NB_KV_Q8, NB_KV_Q8}, 256, 40, 0.03},
};

static void attends(const nb_kernels *scalar, const nb_kernels *tier) {
    static const uint32_t windows[] = {0, 1, 63, 100, 1200};
    (void)scalar;
    for (size_t s = 0; s < COUNT_OF(shapes); s++) {
        library b;
        reading r;
        library_new(&b, tier, shapes[s].types, shapes[s].dim, shapes[s].group);
        reading_new(&b, &r);
        uint32_t most = nb_attend_tile(b.group);
        size_t floats = (size_t)r.n * HEADS * b.group * b.dim;
        float *alone = nb_alloc(floats * sizeof *alone);
        float *room = nb_alloc(nb_attend_scratch(&b.kv.shape, b.group) * sizeof *room);
        for (size_t w = s % 2; w < COUNT_OF(windows); w += unit_quick() ? 3 : 2) {
            for (uint32_t i = 0; i < r.n; i++) attend(&b, tier, &r, windows[w], i, 1, room);
            check_formula(&b, &r, windows[w], shapes[s].tolerance);
            memcpy(alone, r.out, floats * sizeof *alone);
            for (uint32_t n = 2; n <= most; n += n < 5 ? 1 : 9) { /* in any company */
                memset(r.out, 0, floats * sizeof *alone);
                for (uint32_t i = 0; i < r.n; i += n)
                    attend(&b, tier, &r, windows[w], i, r.n - i < n ? r.n - i : n, room);
                if (memcmp(alone, r.out, floats * sizeof *alone) != 0)
                    fail_msg("%s, shape %zu, window %u: %u readers together have other bits than alone", tier->isa, s,
                             windows[w], n);
            }
        }
        nb_free(room);
        nb_free(alone);
        nb_free(r.q);
        nb_free(r.out);
        library_free(&b);
    }
}

static void test_attention(void **state) {
    (void)state;
    nb_kernels scalar, best;
    assert_int_equal(nb_kernels_choose(&scalar, "scalar", NULL), NB_OK);
    assert_int_equal(nb_kernels_choose(&best, NULL, NULL), NB_OK);
    attends(&scalar, &best); /* tiers are compared by the kernels' tests and golden bits */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quantize),
        cmocka_unit_test(test_pages),
        cmocka_unit_test(test_attention),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
