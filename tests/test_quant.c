/* Number types, panel geometry, quantizers: every type x shape, against values computed plainly here. */
#include <math.h>

#include "base/mem.h"
#include "quant/half.h"
#include "quant/panel.h"
#include "quant/quantize.h"
#include "simd/kernels.h"
#include "tests/support/guard.h"
#include "tests/support/quantizer.h"
#include "tests/support/tiers.h"
#include "tests/support/unit.h"

/* ---- f16 and bf16, exhaustively ---- */

static double f16_value(unsigned h) {
    unsigned exponent = h >> 10 & 31, fraction = h & 1023;
    double v = exponent ? ldexp(1024.0 + fraction, (int)exponent - 25) : ldexp(fraction, -24);
    return h & 0x8000 ? -v : v;
}

static void test_half_exact(void **state) {
    (void)state;
    for (unsigned h = 0; h < 65536; h++) {
        float bf = nb_bf16_to_f32((uint16_t)h), f = nb_f16_to_f32((uint16_t)h);
        assert_int_equal(nb_f32_bits(bf), h << 16);
        if ((h & 0x7f80) != 0x7f80) assert_int_equal(nb_f32_to_bf16(bf), h);
        else assert_true(isnan(bf) ? isnan(nb_bf16_to_f32(nb_f32_to_bf16(bf))) : nb_f32_to_bf16(bf) == h);
        if ((h & 0x7c00) == 0x7c00) {
            assert_true((h & 0x3ff) ? isnan(f) : isinf(f));
            assert_true(isnan(f) ? isnan(nb_f16_to_f32(nb_f32_to_f16(f))) : nb_f32_to_f16(f) == h);
        } else {
            assert_true((double)f == f16_value(h));
            assert_int_equal(nb_f32_to_f16(f), h);
        }
    }
}

/* Between two neighbours: below the middle goes down, above it up, the middle to the even one. */
static void test_half_rounding(void **state) {
    (void)state;
    for (unsigned h = 0; h < 0x7bff; h++) {
        float a = nb_f16_to_f32((uint16_t)h), b = nb_f16_to_f32((uint16_t)(h + 1)), middle = (a + b) / 2;
        assert_int_equal(nb_f32_to_f16(nextafterf(middle, a)), h);
        assert_int_equal(nb_f32_to_f16(nextafterf(middle, b)), h + 1);
        assert_int_equal(nb_f32_to_f16(middle), h % 2 ? h + 1 : h);
    }
    for (unsigned h = 0; h < 0x7f7f; h += 3) {
        uint32_t low = h << 16;
        assert_int_equal(nb_f32_to_bf16(nb_f32_from_bits(low + 0x7fff)), h);
        assert_int_equal(nb_f32_to_bf16(nb_f32_from_bits(low + 0x8001)), h + 1);
        assert_int_equal(nb_f32_to_bf16(nb_f32_from_bits(low + 0x8000)), h % 2 ? h + 1 : h);
    }
    assert_int_equal(nb_f32_to_f16(65519.996f), 0x7bff);
    assert_int_equal(nb_f32_to_f16(65520.0f), 0x7c00);
    assert_int_equal(nb_f32_to_f16(-1e30f), 0xfc00);
}

/* ---- sizes ---- */

static void test_sizes(void **state) {
    (void)state;
    static const struct {
        nb_type type;
        uint64_t rows, cols, bytes; /* 0: refused */
    } rows[] = {
        {NB_TYPE_F32, 1, 1, 2048},      {NB_TYPE_F32, 17, 33, 2 * 2 * 2048}, {NB_TYPE_BF16, 16, 32, 1024},
        {NB_TYPE_Q8, 16, 32, 64 + 64 + 512}, {NB_TYPE_Q8, 16, 129, 64 + 2 * 64 + 5 * 512}, {NB_TYPE_Q4, 32, 2048,
         2 * (64 + 16 * 64 + 64 * 256)},
        {NB_TYPE_Q6, 16, 160, 64 + 2 * 64 + 5 * 384}, {NB_TYPE_U8, 16, 32, 0},        {NB_TYPE_F32, UINT64_MAX, 32,
         0},    {NB_TYPE_F32, 1, UINT64_MAX, 0},
        {NB_TYPE_Q4, UINT64_MAX / 2, UINT64_MAX / 2, 0},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        uint64_t bytes = 0;
        bool ok = nb_panels_bytes(rows[i].type, rows[i].rows, rows[i].cols, &bytes);
        assert_int_equal(ok, rows[i].bytes != 0);
        if (ok) assert_int_equal(bytes, rows[i].bytes);
    }
    nb_type t;
    for (int i = 0; i < NB_TYPE_COUNT; i++) {
        assert_true(nb_type_by_name(nb_types[i].name, &t) && (int)t == i);
        assert_true(nb_type_by_code(nb_types[i].code, &t) && (int)t == i);
    }
    assert_false(nb_type_by_name("q3", &t));
    assert_false(nb_type_by_code(200, &t));
}

/* ---- quantizers ---- */

typedef struct spread {
    const char *name;
    double (*draw)(uint64_t *seed);
} spread;

static double gaussian(uint64_t *seed) {
    double u = unit_random_between(seed, 1e-12, 1), v = unit_random_between(seed, 0, 1);
    return sqrt(-2 * log(u)) * cos(2 * acos(-1) * v);
}
static double student5(uint64_t *seed) {
    double n = gaussian(seed), chi = 0;
    for (int i = 0; i < 5; i++) {
        double g = gaussian(seed);
        chi += g * g;
    }
    return n / sqrt(chi / 5);
}
static double uniform(uint64_t *seed) { return unit_random_between(seed, -1, 1); }

/* Signal-to-noise ratios that a sound quantizer reaches, in dB. Gaussian q4: the codebook's own fit allows 22.73. */
static const struct {
    nb_type type;
    spread from;
    double least_db;
} quality[] = {
    {NB_TYPE_F32, {"gaussian", gaussian}, 1000}, {NB_TYPE_F16, {"gaussian", gaussian}, 70}, {NB_TYPE_BF16,
     {"gaussian", gaussian}, 52},
    {NB_TYPE_Q8, {"gaussian", gaussian}, 45.0},  {NB_TYPE_Q8, {"student", student5}, 43.0}, {NB_TYPE_Q8,
     {"uniform", uniform}, 47.0},
    {NB_TYPE_Q6, {"gaussian", gaussian}, 33.7}, {NB_TYPE_Q6, {"student", student5}, 31.3}, {NB_TYPE_Q6,
     {"uniform", uniform}, 36.9},
    {NB_TYPE_Q4, {"gaussian", gaussian}, 22.6},  {NB_TYPE_Q4, {"student", student5}, 21.2}, {NB_TYPE_Q4,
     {"uniform", uniform}, 23.0},
};

static void test_quality(void **state) {
    (void)state;
    enum { COLS = 1024, PANELS = 8 };
    float *w = nb_calloc(16 * COLS, sizeof *w), *back = nb_calloc(16 * COLS, sizeof *w);
    uint8_t *panel = nb_alloc(16 * COLS * 4);
    for (size_t i = 0; i < COUNT_OF(quality); i++) {
        nb_quant_error e = {0}, told = {0};
        uint64_t seed = 5;
        nb_quantizer q = unit_quantizer(quality[i].type, nb_q4_codebook);
        for (int p = 0; p < PANELS; p++) {
            for (int j = 0; j < 16 * COLS; j++) w[j] = (float)(quality[i].from.draw(&seed) * 0.02);
            nb_quantize_panel(&q, w, 16, COLS, COLS, panel, &told);
            nb_dequantize_panel(quality[i].type, nb_q4_codebook, panel, 16, COLS, COLS, back);
            nb_quant_error_add(&e, w, back, 16 * COLS);
        }
        /* The search measures what it loses itself, in f32 sums. */
        assert_int_equal(told.count, e.count);
        assert_true(fabs(told.noise - e.noise) <= 1e-4 * e.noise && fabs(told.signal - e.signal) <= 1e-6 * e.signal);
        assert_true(fabs(told.largest - e.largest) <= 1e-5 * e.largest);
        if (!(nb_quant_error_snr(&e) >= quality[i].least_db))
            fail_msg("%s of %s weights: %.2f dB, expected at least %.2f", nb_types[quality[i].type].name,
                     quality[i].from.name, nb_quant_error_snr(&e), quality[i].least_db);
    }
    nb_free(w);
    nb_free(back);
    nb_free(panel);
}

/* What a value below 4 in magnitude may lose. */
static const double may_lose[] = {[NB_TYPE_F32] = 0, [NB_TYPE_F16] = 0.02, [NB_TYPE_BF16] = 0.02,
                                 [NB_TYPE_Q8] = 0.06, [NB_TYPE_Q6] = 0.2, [NB_TYPE_Q4] = 0.8};

/* Any shape: padding is zero or harmless, nothing outside is touched, rows come back one by one as they do together,
 * and a second quantization of the result changes nothing for exact types. */
static void shape_case(nb_type type, size_t n_rows, size_t cols) {
    uint64_t bytes, seed = n_rows * 1000 + cols;
    size_t stride = cols + 3;
    assert_true(nb_panel_bytes(type, cols, &bytes));
    guard panel = guard_new((size_t)bytes, GUARD_AFTER),
          src = guard_new(((n_rows - 1) * stride + cols) * 4, GUARD_AFTER);
    guard dst = guard_new(((n_rows - 1) * stride + cols) * 4, GUARD_AFTER), one = guard_new(cols * 4, GUARD_AFTER);
    float *w = src.data, *back = dst.data;
    for (size_t r = 0; r < n_rows; r++)
        for (size_t c = 0; c < cols; c++) w[r * stride + c] = (float)gaussian(&seed) * (c % 64 < 32 ? 1.0f : 0.01f);
    memset(panel.data, 0xa5, (size_t)bytes);
    nb_quantizer q = unit_quantizer(type, nb_q4_codebook);
    nb_quantize_panel(&q, w, n_rows, cols, stride, panel.data, NULL);
    nb_dequantize_panel(type, nb_q4_codebook, panel.data, n_rows, cols, stride, back);
    for (size_t r = 0; r < n_rows; r++) {
        nb_dequantize_row(type, nb_q4_codebook, panel.data, r, cols, one.data);
        assert_memory_equal(one.data, back + r * stride, cols * 4);
        for (size_t c = 0; c < cols; c++) {
            double exact = (double)w[r * stride + c], found = (double)back[r * stride + c];
            if (!(fabs(exact - found) <= may_lose[type]))
                fail_msg("%s %zux%zu [%zu][%zu]: %g became %g", nb_types[type].name, n_rows, cols, r, c, exact, found);
        }
    }
    for (size_t r = n_rows; r < 16; r++) { /* rows of padding multiply to zero */
        float *row = nb_calloc(cols, sizeof *row);
        nb_dequantize_row(type, nb_q4_codebook, panel.data, r, cols, row);
        for (size_t c = 0; c < cols; c++) assert_true(row[c] == 0.0f);
        nb_free(row);
    }
    guard *all[] = {&panel, &src, &dst, &one};
    for (size_t i = 0; i < COUNT_OF(all); i++) guard_free(all[i]);
}

static void test_shapes(void **state) {
    (void)state;
    static const size_t cols[] = {1, 3, 4, 31, 32, 33, 48, 64, 96, 127, 128, 129, 200, 333};
    for (int t = 0; t < NB_TYPE_COUNT; t++) {
        if (!nb_types[t].block_bytes) continue;
        for (size_t c = 0; c < COUNT_OF(cols); c++)
            for (size_t r = 1; r <= 16; r += 5) shape_case((nb_type)t, r, cols[c]);
    }
}

/* Rows of zeros, of one value, of numbers too small for the products of scales, and of the largest numbers. */
static void test_odd_values(void **state) {
    (void)state;
    static const float values[] = {0.0f, 1.0f, -1.0f, 1e-44f, 1e-36f, 1e-20f, 1e30f, -3e38f};
    enum { COLS = 160 };
    float w[COLS], back[COLS];
    uint8_t *panel = nb_alloc(1 << 16);
    for (int t = 0; t < NB_TYPE_COUNT; t++)
        for (size_t v = 0; nb_types[t].block_bytes && v < COUNT_OF(values); v++) {
            for (size_t c = 0; c < COLS; c++) w[c] = c % 3 ? values[v] : 0.0f;
            nb_quantizer q = unit_quantizer((nb_type)t, nb_q4_codebook);
            nb_quantize_panel(&q, w, 1, COLS, COLS, panel, NULL);
            nb_dequantize_panel((nb_type)t, nb_q4_codebook, panel, 1, COLS, COLS, back);
            for (size_t c = 0; c < COLS; c++) {
                if (t == NB_TYPE_F16 && fabsf(w[c]) > 65504) continue; /* becomes infinite; the converter refuses it */
                double allowed = t == NB_TYPE_F32 ? 0 : fabs((double)values[v]) * 0.05 + (t == NB_TYPE_F16 ? 1e-7 : 2e-34);
                assert_true(fabs((double)w[c] - (double)back[c]) <= allowed);
            }
        }
    nb_free(panel);
}

/* The same bytes on every machine: hashes of quantized panels, fixed when the quantizer was written. */
static void test_golden(void **state) {
    (void)state;
    static const struct {
        nb_type type;
        uint64_t sum;
    } golden[] = {{NB_TYPE_Q8, 0x3c3746877a71dcc0u}, {NB_TYPE_Q6, 0xdd4639f31a0c13c8u}, {NB_TYPE_Q4, 0xfd7209f20fc50b95u}};
    enum { COLS = 448 };
    float *w = nb_calloc(16 * COLS, sizeof *w);
    uint64_t seed = 11, bytes;
    for (int i = 0; i < 16 * COLS; i++) w[i] = (float)unit_random_between(&seed, -1, 1) * (i % 7 ? 1.0f : 4.0f);
    uint8_t *panel = nb_alloc(16 * COLS * 4);
    for (size_t i = 0; i < COUNT_OF(golden); i++) {
        nb_quantizer q = unit_quantizer(golden[i].type, nb_q4_codebook);
        nb_quantize_panel(&q, w, 16, COLS, COLS, panel, NULL);
        assert_true(nb_panel_bytes(golden[i].type, COLS, &bytes));
        uint64_t sum = 1469598103934665603u; /* FNV-1a */
        for (size_t b = 0; b < bytes; b++) sum = (sum ^ panel[b]) * 1099511628211u;
        if (sum != golden[i].sum) fail_msg("%s: 0x%016llx", nb_types[golden[i].type].name, (unsigned long long)sum);
    }
    nb_free(w);
    nb_free(panel);
}

/* ---- the search ---- */

/* Weights and importance of a search: ordinary ones, rows of very different size, zeros, equal values. */
static void draw(float *w, size_t rows, size_t cols, uint64_t *seed) {
    for (size_t r = 0; r < rows; r++) {
        double unit = r % 5 == 3 ? 1e-25 : r % 5 == 4 ? 1e20 : 1;
        for (size_t c = 0; c < cols; c++)
            w[r * cols + c] = (float)(r % 7 == 5 ? 0.25 * unit : r % 7 == 6 && c < 40 ? 0 : unit * student5(seed));
    }
}

static nb_quantizer quantizer_on(size_t tier, nb_type type, const float *importance) {
    nb_quantizer q = unit_quantizer_on(tier, type, nb_q4_codebook);
    q.importance = importance;
    return q;
}

/* Every tier writes the bytes of scalar, and finds the same error. */
static void test_tiers(void **state) {
    (void)state;
    static const size_t shapes[][2] = {{16, 256}, {16, 160}, {11, 77}, {1, 32}, {16, 5}};
    enum { MOST = 16 * 256 };
    float w[MOST], importance[256];
    uint8_t expected[2 * MOST], found[2 * MOST];
    uint64_t seed = 3, bytes;
    for (size_t c = 0; c < COUNT_OF(importance); c++)
        importance[c] = c % 9 ? (float)unit_random_between(&seed, 0.1, 10) : 0.0f;
    for (int t = 0; t < NB_TYPE_COUNT; t++)
        for (size_t s = 0; nb_types[t].scaled && s < COUNT_OF(shapes); s++)
            for (int weighed = 0; weighed < 2; weighed++) {
                size_t rows = shapes[s][0], cols = shapes[s][1];
                nb_quant_error e = {0};
                draw(w, rows, cols, &seed);
                assert_true(nb_panel_bytes((nb_type)t, cols, &bytes) && bytes <= sizeof found);
                nb_quantizer q = quantizer_on(0, (nb_type)t, weighed ? importance : NULL);
                nb_quantize_panel(&q, w, rows, cols, cols, expected, &e);
                for (size_t i = 1; nb_isa_name(i); i++) {
                    if (!tier_runs(i)) continue;
                    nb_quant_error also = {0};
                    q = quantizer_on(i, (nb_type)t, weighed ? importance : NULL);
                    memset(found, 0xa5, sizeof found);
                    nb_quantize_panel(&q, w, rows, cols, cols, found, &also);
                    if (memcmp(found, expected, (size_t)bytes) != 0 || memcmp(&e, &also, sizeof e) != 0)
                        fail_msg("%s %zux%zu on %s differs from scalar", nb_types[t].name, rows, cols, nb_isa_name(i));
                }
            }
}

/* Rows in bf16 give the bytes that they give widened, on every tier, whatever their number and width, and nothing
 * beyond their end is read. A NaN or an infinity anywhere is noticed. */
static void test_bf16_rows(void **state) {
    (void)state;
    enum { COLS = 70, STRIDE = 71 };
    float w[16 * STRIDE];
    uint8_t expected[4096], found[4096];
    uint64_t seed = 23;
    draw(w, 16, STRIDE, &seed);
    for (size_t i = 0; nb_isa_name(i); i++)
        for (size_t rows = 1; nb_isa_supported(i) && rows <= 16; rows++)
            for (size_t cols = rows % 2 ? 1 : 25; cols <= COLS; cols += 4) {
                nb_quantizer q = quantizer_on(i, NB_TYPE_Q4, NULL);
                guard half = guard_new(((rows - 1) * STRIDE + cols) * 2, GUARD_AFTER);
                uint64_t bytes;
                for (size_t j = 0; j < (rows - 1) * STRIDE + cols; j++) {
                    uint16_t h = nb_f32_to_bf16(w[j]);
                    memcpy((uint8_t *)half.data + 2 * j, &h, sizeof h);
                    w[j] = nb_bf16_to_f32(h);
                }
                const nb_rows stored = {half.data, rows, cols, STRIDE, NB_TYPE_BF16};
                assert_true(nb_panel_bytes(NB_TYPE_Q4, cols, &bytes) && bytes <= sizeof found);
                assert_true(nb_quantize_panel(&q, w, rows, cols, STRIDE, expected, NULL));
                assert_true(nb_quantize_rows(&q, &stored, found, NULL));
                if (memcmp(found, expected, (size_t)bytes) != 0)
                    fail_msg("%zux%zu in bf16 on %s differs from f32", rows, cols, nb_isa_name(i));
                const uint16_t not_finite[] = {0x7f80, 0xff80, 0x7fc0};
                memcpy((uint8_t *)half.data + 2 * ((rows - 1) * STRIDE + cols - 1), &not_finite[cols % 3], 2);
                assert_false(nb_quantize_rows(&q, &stored, found, NULL));
                guard_free(&half);
            }
}

/* Sums are formed in order, one rounded product after the other, on every tier and for every number of sums. */
static void test_sums(void **state) {
    (void)state;
    enum { N = 37, STRIDE = 40, SUMS = 7 };
    float x[N * 16], factor[SUMS * STRIDE], start[SUMS * 16], expected[SUMS * 16], found[SUMS * 16];
    uint64_t seed = 17;
    for (size_t i = 0; i < COUNT_OF(x); i++) x[i] = (float)student5(&seed);
    for (size_t i = 0; i < COUNT_OF(factor); i++) factor[i] = (float)student5(&seed);
    for (size_t i = 0; i < COUNT_OF(start); i++) start[i] = (float)student5(&seed);
    for (size_t n = 0; n <= N; n += n < 2 ? 1 : 5) {
        memcpy(expected, start, sizeof expected);
        for (size_t i = 0; i < COUNT_OF(expected); i++)
            for (size_t j = 0; j < n; j++) {
                float product = x[j * 16 + i % 16] * factor[i / 16 * STRIDE + j];
                expected[i] += product;
            }
        for (size_t tier = 0; nb_isa_name(tier); tier++)
            for (size_t m = 0; tier_runs(tier) && m <= SUMS; m++) {
                nb_quantizer q = quantizer_on(tier, NB_TYPE_Q4, NULL);
                memcpy(found, start, sizeof found);
                q.search.sums(x, n, factor, STRIDE, m, found);
                if (memcmp(found, expected, m * 16 * sizeof *found) != 0 ||
                    memcmp(found + m * 16, start + m * 16, (SUMS - m) * 16 * sizeof *found) != 0)
                    fail_msg("%zu sums of %zu on %s", m, n, nb_isa_name(tier));
            }
    }
}

/* Codes are the nearest levels, for every scale: against a plain search over all levels. */
static void test_nearest(void **state) {
    (void)state;
    float x[32 * 16], scale[16], value[32 * 16];
    uint8_t codes[NB_BLOCK_CODES];
    nb_block_error lost;
    uint64_t seed = 8;
    for (int t = 0; t < NB_TYPE_COUNT; t++) {
        if (!nb_types[t].scaled) continue;
        nb_quantizer q = quantizer_on(0, (nb_type)t, NULL);
        int low = nb_types[t].low, n = nb_types[t].high ? nb_types[t].high - low + 1 : NB_CODEBOOK_SIZE;
        for (int i = 0; i < 16; i++) scale[i] = (float)unit_random_between(&seed, -1, 1);
        for (int i = 0; i < 32 * 16; i++) /* beyond both ends too, and on the borders */
            x[i] = i % 3 ? (float)unit_random_between(&seed, -150, 150) * scale[i % 16] : (float)(i - 256) * 0.25f * scale[i % 16];
        q.search.codes(&q.grid, x, 32, scale, codes, &lost);
        q.search.values(&q.grid, x, 32, scale, value);
        for (int i = 0; i < 32 * 16; i++) {
            double least = INFINITY, t_of_x = (double)x[i] / (double)scale[i % 16];
            for (int code = 0; code < n; code++)
                least = fmin(least, fabs(t_of_x - (nb_types[t].high ? low + code : nb_q4_codebook[code])));
            int col = i / 16, row = i % 16;
            uint8_t code = codes[col / 4 * 64 + row * 4 + col % 4];
            int level = nb_types[t].high ? (int8_t)code : nb_q4_codebook[code];
            assert_true(fabs(t_of_x - level) <= least + 1e-4);
            assert_true(value[i] == scale[row] * (float)level);
        }
    }
}

/* Columns that do not matter give way to those that do. */
static void test_importance(void **state) {
    (void)state;
    enum { COLS = 256 };
    float w[16 * COLS], back[16 * COLS], importance[COLS];
    uint8_t panel[16 * COLS];
    uint64_t seed = 21;
    for (int i = 0; i < 16 * COLS; i++) w[i] = (float)gaussian(&seed);
    for (int c = 0; c < COLS; c++) importance[c] = c % 4 ? 0.01f : 4.0f;
    double loss[2] = {0};
    for (int weighed = 0; weighed < 2; weighed++) {
        nb_quantizer q = quantizer_on(0, NB_TYPE_Q4, weighed ? importance : NULL);
        nb_quantize_panel(&q, w, 16, COLS, COLS, panel, NULL);
        nb_dequantize_panel(NB_TYPE_Q4, nb_q4_codebook, panel, 16, COLS, COLS, back);
        for (int i = 0; i < 16 * COLS; i++) {
            double d = (double)w[i] - (double)back[i];
            loss[weighed] += d * d * (double)importance[i % COLS];
        }
    }
    assert_true(loss[1] < 0.8 * loss[0]);
}

/* What q4 loses of w [rows][256] with a codebook. */
static double q4_noise(const int8_t *codebook, const float *w, size_t rows) {
    nb_quant_error e = {0};
    uint8_t panel[16 * 256];
    nb_quantizer q = unit_quantizer(NB_TYPE_Q4, codebook);
    for (size_t r = 0; r < rows; r += 16) nb_quantize_panel(&q, w + r * 256, 16, 256, 256, panel, &e);
    return e.noise;
}

static double laplace(uint64_t *seed) {
    double u = unit_random_between(seed, 1e-9, 1);
    return unit_random_between(seed, 0, 1) < 0.5 ? log(u) : -log(u);
}
static double few(uint64_t *seed) { return floor(unit_random_between(seed, -2, 3)); }
static double nothing(uint64_t *seed) {
    (void)seed;
    return 0;
}
static double positive(uint64_t *seed) { return 0.1 + fabs(gaussian(seed)); }

/* Learned codebooks fit a grid, are the same on every tier, lose less where weights are not Gaussian, and never
 * more. */
static void test_learned(void **state) {
    (void)state;
    static const struct {
        spread from;
        double most; /* of the fixed codebook's noise */
    } cases[] = {{{"gaussian", gaussian}, 1.0}, {{"laplace", laplace}, 0.95}, {{"student", student5}, 0.95},
                 {{"uniform", uniform}, 0.95},  {{"few values", few}, 1.0},   {{"zeros", nothing}, 1.0}, {{"positive", positive}, 1.0}};
    enum { COLS = 256, ROWS = 16 * NB_SAMPLE_PANELS };
    float *w = nb_calloc(ROWS * COLS, sizeof *w), *memory = nb_alloc(NB_SAMPLE_FLOATS * sizeof *memory);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        int8_t learned[16], also[16];
        uint64_t seed = 77;
        nb_codebook_sample sample;
        nb_search search = quantizer_on(0, NB_TYPE_Q4, NULL).search;
        for (int j = 0; j < ROWS * COLS; j++) w[j] = (float)cases[i].from.draw(&seed);
        nb_sample_init(&sample, memory);
        for (int r = 0; r < ROWS; r += 16) {
            const nb_rows rows = {w + r * COLS, 16, COLS, COLS, NB_TYPE_F32};
            assert_true(nb_sample_add(&sample, &search, &rows, NULL));
        }
        assert_int_equal(sample.n, NB_SAMPLE_BLOCKS);
        bool better = nb_codebook_learn(&search, &sample, learned);
        assert_true(nb_codebook_fits(learned));
        assert_true(better || memcmp(learned, nb_q4_codebook, 16) == 0);
        for (size_t t = 1; nb_isa_name(t); t++) {
            if (!nb_isa_supported(t)) continue; /* not emulated ones: it takes millions of multiplications */
            search = quantizer_on(t, NB_TYPE_Q4, NULL).search;
            nb_codebook_learn(&search, &sample, also);
            assert_memory_equal(also, learned, 16);
        }
        double fixed = q4_noise(nb_q4_codebook, w, ROWS), found = q4_noise(learned, w, ROWS);
        if (!(found <= cases[i].most * fixed))
            fail_msg("%s: noise %g, with the fixed codebook %g", cases[i].from.name, found, fixed);
    }
    nb_free(w);
    nb_free(memory);
}

static void test_sample(void **state) {
    (void)state;
    assert_int_equal(nb_sample_panel(3, 0), 0);
    assert_int_equal(nb_sample_panel(3, 2), 2);
    assert_int_equal(nb_sample_panel(3, 3), 3);
    size_t before = 0, n = 0;
    for (size_t i = 0, p; (p = nb_sample_panel(1000, i)) < 1000; i++, n++) {
        assert_true(i == 0 || p > before);
        before = p;
    }
    assert_int_equal(n, NB_SAMPLE_PANELS);
    assert_true(before > 950);
}

static void test_codebooks(void **state) {
    (void)state;
    static const int8_t narrow[16] = {-64, -61, -40, -32, -24, -17, -11, -5, 1, 7, 13, 19, 25, 33, 42, 55};
    static const int8_t falling[16] = {-64, -51, -40, -32, -24, -17, -11, -5, 1, 7, 13, 19, 25, 33, 55, 42};
    int8_t high[16];
    assert_true(nb_codebook_fits(nb_q4_codebook));
    assert_false(nb_codebook_fits(narrow));
    assert_false(nb_codebook_fits(falling));
    memcpy(high, nb_q4_codebook, sizeof high);
    high[15] = 64;
    assert_false(nb_codebook_fits(high));
}

static void test_nonfinite(void **state) {
    (void)state;
    float x[5] = {0, 1, -3e38f, 4, 5};
    assert_int_equal(nb_first_nonfinite(x, 5), 5);
    x[4] = INFINITY;
    assert_int_equal(nb_first_nonfinite(x, 5), 4);
    x[2] = NAN;
    assert_int_equal(nb_first_nonfinite(x, 5), 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_half_exact), cmocka_unit_test(test_half_rounding), cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_quality),    cmocka_unit_test(test_shapes),        cmocka_unit_test(test_odd_values),
        cmocka_unit_test(test_golden),     cmocka_unit_test(test_nonfinite),
        cmocka_unit_test(test_tiers), cmocka_unit_test(test_bf16_rows),     cmocka_unit_test(test_sums),
        cmocka_unit_test(test_nearest),   cmocka_unit_test(test_importance),
        cmocka_unit_test(test_codebooks), cmocka_unit_test(test_learned),       cmocka_unit_test(test_sample),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
