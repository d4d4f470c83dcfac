/* What a conversion says of its tensors, against the files that it and an exact conversion wrote. */
#include <math.h>
#include "base/mem.h"
#include "convert/report.h"
#include "quant/quantize.h"
#include "tests/support/conversion.h"

/* Every row of a matrix in f32 [rows][cols]. */
static float *values_of(nb_reader *r, const char *name, uint64_t rows, uint64_t cols) {
    const nb_tensor *t = find_tensor(r, name);
    uint8_t *panels = load_tensor(r, name);
    float *values = nb_alloc((size_t)(rows * cols) * sizeof *values);
    for (uint64_t row = 0; row < rows; row++)
        nb_dequantize_row(t->type, t->codebook, panels, (size_t)row, (size_t)cols, values + row * cols);
    nb_free(panels);
    return values;
}

static void expect_error(const nb_convert_tensor *t, nb_reader *exact, nb_reader *written) {
    float *x = values_of(exact, t->name, t->rows, t->cols), *y = values_of(written, t->name, t->rows, t->cols);
    nb_quant_error e = {0};
    nb_quant_error_add(&e, x, y, (size_t)(t->rows * t->cols));
    /* A quantizer may sum what it loses in f32. */
    if (fabs(t->error.noise - e.noise) > 1e-4 * e.noise || fabs(t->error.signal - e.signal) > 1e-6 * e.signal ||
        fabs(t->error.largest - e.largest) > 1e-3 * e.largest || t->error.count != e.count)
        fail_msg("%s: noise %g, signal %g, largest %g; expected %g, %g, %g", t->name, t->error.noise, t->error.signal,
                 t->error.largest, e.noise, e.signal, e.largest);
    nb_free(x);
    nb_free(y);
}

static void tensors_have_their_error(void **state) {
    fixture *f = *state;
    static const nb_type_rule rules[] = {{"blocks.1.*", NB_TYPE_Q8}, {"blocks.1.mlp.up", NB_TYPE_F32}};
    nb_convert_list list = {0};
    nb_convert_report report;
    make_nanochat(f, "000010");
    nb_convert_options o = options_for(f, NB_TYPE_F32);
    convert_ok(f, &o, NULL);
    nb_reader *exact = open_target(f);
    o = options_for(f, NB_TYPE_Q4);
    o.rules = rules;
    o.n_rules = COUNT_OF(rules);
    o.list = &list;
    convert_ok(f, &o, &report);
    nb_reader *written = open_target(f);
    assert_int_equal(list.n, report.n_tensors);
    uint64_t raw = 0;
    for (const nb_convert_tensor *t = list.tensors; t < list.tensors + list.n; t++) {
        const nb_tensor *found = find_tensor(written, t->name);
        assert_int_equal(t->type, found->type);
        assert_int_equal(t->raw_bytes, found->raw_bytes);
        assert_int_equal(t->layer, strncmp(t->name, "blocks.", 7) ? -1 : t->name[7] - '0');
        raw += t->raw_bytes;
        if (t->matrix && t->type != NB_TYPE_F32) expect_error(t, exact, written);
        else assert_true(t->error.count == 0 && nb_convert_loss(&t->error) == 0);
    }
    assert_int_equal(raw, report.raw_bytes);
    nb_quant_error total = nb_convert_total(&list);
    assert_true(nb_quant_error_snr(&total) == report.snr_db);
    nb_convert_list_free(&list);
    nb_reader_close(exact);
    nb_reader_close(written);
}

static void classes_sum_up(void **state) {
    fixture *f = *state;
    static const struct {
        const char *name;
        size_t n;
        uint64_t parameters;
        bool matrix;
    } expected[] = {{"embed", 1, 37 * 40, true},         {"head", 1, 37 * 40, true},          {"attn.qkv", 2, 2 * 56 * 40, true},
                    {"attn.out", 2, 2 * 40 * 40, true}, {"mlp.up", 2, 2 * 160 * 40, true}, {"mlp.down", 2, 2 * 160 * 40,
                     true},
                    {"vectors", 1, 4, false}};
    nb_convert_list list = {0};
    nb_convert_class *classes;
    size_t n;
    nb_error err = {0};
    make_nanochat(f, "000010");
    nb_convert_options o = options_for(f, NB_TYPE_Q4);
    o.list = &list;
    convert_ok(f, &o, NULL);
    assert_int_equal(nb_convert_classes(&list, &classes, &n, &err), NB_OK);
    assert_int_equal(n, COUNT_OF(expected));
    for (size_t i = 0; i < n; i++) {
        assert_string_equal(classes[i].name, expected[i].name);
        assert_int_equal(classes[i].n, expected[i].n);
        assert_int_equal(classes[i].parameters, expected[i].parameters);
        assert_int_equal(classes[i].matrix, expected[i].matrix);
        assert_int_equal(classes[i].error.count, expected[i].matrix ? expected[i].parameters : 0);
    }
    nb_free(classes);
    nb_convert_list_free(&list);
}

/* A conversion that fails gives no list. */
static void failure_leaves_no_list(void **state) {
    fixture *f = *state;
    nb_convert_list list = {0};
    nb_error err = {0};
    make_nanochat(f, "000010");
    nb_convert_options o = options_for(f, NB_TYPE_Q4);
    o.list = &list;
    o.overwrite = true;
    convert_ok(f, &o, NULL);
    nb_convert_list_free(&list);
    long n = nb_mem_fail_at(-1);
    for (long at = 0; at < n; at += 1 + n / 50) {
        nb_mem_fail_at(at);
        nb_status st = nb_convert(f->source, f->target, &o, NULL, &err);
        nb_mem_fail_at(-1);
        assert_true(st == NB_OK || (st == NB_MEMORY && list.n == 0 && !list.tensors));
        nb_convert_list_free(&list);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        CONVERSION_TEST(tensors_have_their_error),
        CONVERSION_TEST(classes_sum_up),
        CONVERSION_TEST(failure_leaves_no_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
