/* Synthetic shapes: their hyperparameters give the published numbers of parameters, every tensor is there, and what is
 * written is the same for every team. */
#include <math.h>

#include "base/file.h"
#include "base/mem.h"
#include "convert/plan.h"
#include "convert/synthetic.h"
#include "core/session.h"
#include "tests/support/unit.h"

/* As published: 1.24, 1.10, 0.11, 0.561 and 0.124 thousand million. */
static const struct {
    const char *name;
    uint64_t parameters;
    uint32_t layers, heads, kv_heads, head_dim;
} published[] = {
    {"llama-3.2-1b", 1235814400, 16, 32, 8, 64},  {"tinyllama-1.1b", 1100048384, 22, 32, 4, 64},
    {"stories110m", 109529856, 12, 12, 12, 64},   {"nanochat-d20", 560988160, 20, 10, 10, 128},
    {"gpt2-124m", 124439808, 12, 12, 12, 64},
};

static void shapes_have_the_published_sizes(void **state) {
    (void)state;
    size_t n = 0;
    for (; nb_synthetic_name(n); n++) {
        nb_input in;
        nb_error err = {0};
        nb_hparams h;
        nb_plan plan;
        assert_true(n < COUNT_OF(published));
        assert_string_equal(nb_synthetic_name(n), published[n].name);
        if (nb_synthetic_open(&in, published[n].name, NULL, 0, &err)) fail_msg("%s", err.text);
        const nb_arch_input facts = {.source = in.source};
        assert_int_equal(nb_arch_hparams(in.form->arch, &facts, &h, &err), NB_OK);
        assert_int_equal(h.n_layer, published[n].layers);
        assert_int_equal(h.n_head, published[n].heads);
        assert_int_equal(h.n_kv_head, published[n].kv_heads);
        assert_int_equal(h.head_dim, published[n].head_dim);
        if (nb_plan_make(&plan, in.form->arch, &h, in.source, &err)) fail_msg("%s: %s", published[n].name, err.text);
        assert_int_equal(plan.source_elements, published[n].parameters);
        nb_plan_free(&plan);
        nb_input_close(&in);
    }
    assert_int_equal(n, COUNT_OF(published));
}

static void settings_change_a_shape(void **state) {
    (void)state;
    nb_input in;
    nb_error err = {0};
    const nb_setting set[] = {{"n_layer", "3"}, {"n_kv_head", "5"}};
    assert_int_equal(nb_synthetic_open(&in, "gpt2-124m", set, 1, &err), NB_OK);
    assert_non_null(nb_source_find(in.source, "blocks.2.mlp.down.weight"));
    assert_null(nb_source_find(in.source, "blocks.3.mlp.down.weight"));
    nb_input_close(&in);
    assert_int_equal(nb_synthetic_open(&in, "gpt2-124m", set, 2, &err), NB_ARGUMENT);
    assert_non_null(strstr(err.text, "n_kv_head"));
    assert_int_equal(nb_synthetic_open(&in, "gpt2", NULL, 0, &err), NB_ARGUMENT);
    assert_non_null(strstr(err.text, "gpt2-124m"));
}

static void opening_survives_every_failed_allocation(void **state) {
    (void)state;
    nb_input in;
    nb_error err = {0};
    nb_status st = NB_MEMORY;
    for (long n = 0; st == NB_MEMORY && n < 1000; n++) {
        nb_mem_fail_at(n);
        st = nb_synthetic_open(&in, "llama-3.2-1b", NULL, 0, &err);
        nb_input_close(&in);
    }
    nb_mem_fail_at(-1);
    assert_int_equal(st, NB_OK);
}

/* Any block of a tensor holds the same values as the whole; matrices have the spread that keeps what they multiply. */
static void values_depend_on_their_place_only(void **state) {
    (void)state;
    enum { ROWS = 64, COLS = 768, COUNT = ROWS * COLS };
    static float whole[COUNT];
    float part[3 * 5];
    nb_input in;
    nb_error err = {0};
    double sum = 0, squares = 0;
    assert_int_equal(nb_synthetic_open(&in, "stories110m", NULL, 0, &err), NB_OK);
    const nb_source_tensor *t = nb_source_find(in.source, "blocks.1.attn.out.weight");
    assert_int_equal(nb_source_read(in.source, t, 0, ROWS, 0, COLS, whole, &err), NB_OK);
    assert_int_equal(nb_source_read(in.source, t, 7, 3, 700, 5, part, &err), NB_OK);
    for (size_t r = 0; r < 3; r++) assert_memory_equal(part + 5 * r, whole + (7 + r) * COLS + 700, 5 * sizeof *part);
    for (size_t i = 0; i < COUNT; i++) {
        sum += (double)whole[i];
        squares += (double)whole[i] * (double)whole[i];
    }
    assert_true(fabs(sum / COUNT) < 1e-3);
    assert_true(fabs(squares / ROWS - 1) < 0.02);
    t = nb_source_find(in.source, "blocks.0.attn.out.weight");
    assert_int_equal(nb_source_read(in.source, t, 7, 3, 700, 5, part, &err), NB_OK);
    assert_memory_not_equal(part, whole + 7 * COLS + 700, 5 * sizeof *part);
    nb_input_close(&in);
}

/* A small model of a shape runs: every logit is a finite number, and they differ. */
static void run_model(const char *path) {
    nb_model *model;
    nb_session *session;
    nb_error err = {0};
    const int32_t ids[] = {1, 7, 300, 2, 50};
    const nb_session_options o = {.n_ctx = COUNT_OF(ids)};
    if (nb_model_open(&model, path, &(nb_model_options){0}, &err)) fail_msg("%s", err.text);
    assert_int_equal(nb_session_create(&session, model, &o, &err), NB_OK);
    assert_int_equal(nb_session_append(session, ids, COUNT_OF(ids), NULL, NULL, &err), NB_OK);
    const float *logits = nb_session_logits(session);
    float least = INFINITY, most = -INFINITY;
    for (uint32_t i = 0; i < nb_model_hparams(model)->vocab_size; i++) {
        assert_true(isfinite(logits[i]));
        least = fminf(least, logits[i]);
        most = fmaxf(most, logits[i]);
    }
    assert_true(least < most);
    nb_session_free(session);
    nb_model_free(model);
}

static void every_shape_runs_and_every_team_writes_the_same(void **state) {
    (void)state;
    static const nb_setting set[] = {{"n_layer", "1"}, {"vocab_size", "320"}, {"n_ctx", "64"}, {"n_ff", "352"}, {"n_embd", "192"}};
    static const char *const types[] = {"q4", "q8", "bf16", "f16", "f32"};
    char *folder = unit_scratch_new(), path[2][UNIT_PATH];
    for (size_t i = 0; nb_synthetic_name(i); i++)
        for (int turn = 0; turn < 2; turn++) {
            nb_error err = {0};
            nb_convert_options o = {
                .synthetic = nb_synthetic_name(i), .settings = set, .n_settings = COUNT_OF(set), .overwrite = true};
            nb_convert_report report;
            nb_type_by_name(types[i % COUNT_OF(types)], &o.type);
            o.store = i % 2 ? NB_STORE_RAW : NB_STORE_ZSTD;
            unit_path(path[turn], folder, turn ? "many.nbl" : "one.nbl");
            assert_int_equal(nb_team_create(&o.team, turn ? 4 : 1, &err), NB_OK);
            if (nb_convert(NULL, path[turn], &o, &report, &err)) fail_msg("%s: %s", o.synthetic, err.text);
            assert_int_equal(report.source_bytes, 4 * report.parameters);
            nb_team_free(o.team);
            if (!turn) continue;
            nb_buf one = {0};
            assert_int_equal(nb_read_file(path[0], 1 << 30, &one, &err), NB_OK);
            unit_assert_file(path[1], one.data, one.size);
            nb_buf_free(&one);
            run_model(path[1]);
        }
    unit_scratch_free(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes_have_the_published_sizes),
        cmocka_unit_test(settings_change_a_shape),
        cmocka_unit_test(opening_survives_every_failed_allocation),
        cmocka_unit_test(values_depend_on_their_place_only),
        cmocka_unit_test(every_shape_runs_and_every_team_writes_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
