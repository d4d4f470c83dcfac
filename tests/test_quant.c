/* Number types, panel geometry, quantizers: every type x shape, against values computed plainly here. */
#include <math.h>

#include "base/mem.h"
#include "quant/half.h"
#include "quant/quantize.h"
#include "tests/support/guard.h"
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
        {NB_TYPE_Q8, 16, 32, 64 + 64 + 512}, {NB_TYPE_Q8, 16, 129, 64 + 2 * 64 + 5 * 512}, {NB_TYPE_Q4, 32, 2048, 2 * (64 + 16 * 64 + 64 * 256)},
        {NB_TYPE_U8, 16, 32, 0},        {NB_TYPE_F32, UINT64_MAX, 32, 0},    {NB_TYPE_F32, 1, UINT64_MAX, 0},
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
    {NB_TYPE_F32, {"gaussian", gaussian}, 1000}, {NB_TYPE_F16, {"gaussian", gaussian}, 70}, {NB_TYPE_BF16, {"gaussian", gaussian}, 52},
    {NB_TYPE_Q8, {"gaussian", gaussian}, 45.0},  {NB_TYPE_Q8, {"student", student5}, 43.0}, {NB_TYPE_Q8, {"uniform", uniform}, 47.0},
    {NB_TYPE_Q4, {"gaussian", gaussian}, 22.6},  {NB_TYPE_Q4, {"student", student5}, 21.2}, {NB_TYPE_Q4, {"uniform", uniform}, 23.0},
};

static void test_quality(void **state) {
    (void)state;
    enum { COLS = 1024, PANELS = 8 };
    float *w = nb_calloc(16 * COLS, sizeof *w), *back = nb_calloc(16 * COLS, sizeof *w);
    uint8_t *panel = nb_alloc(16 * COLS * 4);
    for (size_t i = 0; i < COUNT_OF(quality); i++) {
        nb_quant_error e = {0};
        uint64_t seed = 5;
        for (int p = 0; p < PANELS; p++) {
            for (int j = 0; j < 16 * COLS; j++) w[j] = (float)(quality[i].from.draw(&seed) * 0.02);
            nb_quantize_panel(quality[i].type, nb_q4_codebook, w, 16, COLS, COLS, panel);
            nb_dequantize_panel(quality[i].type, nb_q4_codebook, panel, 16, COLS, COLS, back);
            nb_quant_error_add(&e, w, back, 16 * COLS);
        }
        if (!(nb_quant_error_snr(&e) >= quality[i].least_db))
            fail_msg("%s of %s weights: %.2f dB, expected at least %.2f", nb_types[quality[i].type].name,
                     quality[i].from.name, nb_quant_error_snr(&e), quality[i].least_db);
    }
    nb_free(w);
    nb_free(back);
    nb_free(panel);
}

/* Any shape: padding is zero or harmless, nothing outside is touched, rows come back one by one as they do together, and
 * a second quantization of the result changes nothing for exact types. */
static void shape_case(nb_type type, size_t n_rows, size_t cols) {
    uint64_t bytes, seed = n_rows * 1000 + cols;
    size_t stride = cols + 3;
    assert_true(nb_panel_bytes(type, cols, &bytes));
    guard panel = guard_new((size_t)bytes, GUARD_AFTER), src = guard_new(((n_rows - 1) * stride + cols) * 4, GUARD_AFTER);
    guard dst = guard_new(((n_rows - 1) * stride + cols) * 4, GUARD_AFTER), one = guard_new(cols * 4, GUARD_AFTER);
    float *w = src.data, *back = dst.data;
    for (size_t r = 0; r < n_rows; r++)
        for (size_t c = 0; c < cols; c++) w[r * stride + c] = (float)gaussian(&seed) * (c % 64 < 32 ? 1.0f : 0.01f);
    memset(panel.data, 0xa5, (size_t)bytes);
    nb_quantize_panel(type, nb_q4_codebook, w, n_rows, cols, stride, panel.data);
    nb_dequantize_panel(type, nb_q4_codebook, panel.data, n_rows, cols, stride, back);
    for (size_t r = 0; r < n_rows; r++) {
        nb_dequantize_row(type, nb_q4_codebook, panel.data, r, cols, one.data);
        assert_memory_equal(one.data, back + r * stride, cols * 4);
        for (size_t c = 0; c < cols; c++) {
            double exact = (double)w[r * stride + c], found = (double)back[r * stride + c];
            double allowed = type == NB_TYPE_F32 ? 0 : type == NB_TYPE_Q4 ? 0.8 : type == NB_TYPE_Q8 ? 0.06 : 0.02;
            if (!(fabs(exact - found) <= allowed)) fail_msg("%s %zux%zu [%zu][%zu]: %g became %g", nb_types[type].name, n_rows, cols, r, c, exact, found);
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
            nb_quantize_panel((nb_type)t, nb_q4_codebook, w, 1, COLS, COLS, panel);
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
    } golden[] = {{NB_TYPE_Q8, 0x4afdf0fb941f2b47u}, {NB_TYPE_Q4, 0x33d47c26ef3b45e5u}};
    enum { COLS = 448 };
    float *w = nb_calloc(16 * COLS, sizeof *w);
    uint64_t seed = 11, bytes;
    for (int i = 0; i < 16 * COLS; i++) w[i] = (float)unit_random_between(&seed, -1, 1) * (i % 7 ? 1.0f : 4.0f);
    uint8_t *panel = nb_alloc(16 * COLS * 4);
    for (size_t i = 0; i < COUNT_OF(golden); i++) {
        nb_quantize_panel(golden[i].type, nb_q4_codebook, w, 16, COLS, COLS, panel);
        assert_true(nb_panel_bytes(golden[i].type, COLS, &bytes));
        uint64_t sum = 1469598103934665603u; /* FNV-1a */
        for (size_t b = 0; b < bytes; b++) sum = (sum ^ panel[b]) * 1099511628211u;
        if (sum != golden[i].sum) fail_msg("%s: 0x%016llx", nb_types[golden[i].type].name, (unsigned long long)sum);
    }
    nb_free(w);
    nb_free(panel);
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
