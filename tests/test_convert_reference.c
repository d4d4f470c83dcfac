/* Checkpoints made by others: converted to every type when they are on this machine (NIBBLE_REFERENCE in the
 * environment, or ../shared/reference beside the sources). What their models compute is compared in test_golden. */
#include "tests/support/unit.h"

#include "base/file.h"
#include "convert/convert.h"
#include "format/reader.h"

static const struct {
    const char *path, *n_head; /* --set, or NULL */
    const char *architecture;
    bool tokenizer;
} cases[] = {
    {"nanochat_nov25/plain", NULL, "nanochat", true},
    {"nanochat_nov25/plain/model_000123.pt", NULL, "nanochat", true},
    {"nanochat_nov25/orig_mod", NULL, "nanochat", true},
    {"nanochat_head/plain", NULL, "nanochat", true},
    {"nanochat_head/orig_mod", NULL, "nanochat", true},
    {"nanogpt_trained", NULL, "nanogpt", true},
    {"nanogpt_random_bias/ckpt.pt", NULL, "nanogpt", false},
    {"nanogpt_random_nobias_odd", NULL, "nanogpt", false},
    {"minigpt", "2", "minigpt", true},
};

static const struct {
    const char *path, *sentence;
} refusals[] = {
    {"minigpt", "--set n_head=N, N one of 1, 2, 4, 8, 16, 32, 64"},
};

static const char *reference_root(void) {
    const char *given = getenv("NIBBLE_REFERENCE"); // NOLINT(concurrency-mt-unsafe): one thread
    if (!given) given = NIBBLE_TEST_DATA "/../../shared/reference";
    return nb_is_directory(given) ? given : NULL;
}

static void expect_sound(const char *path, bool tokenizer, const nb_convert_report *report) {
    nb_reader *r = NULL;
    nb_error err = {0};
    if (nb_reader_open(&r, path, NULL, &err)) fail_msg("%s", err.text);
    if (nb_reader_verify(r, NULL, NULL, NULL, NULL, &err)) fail_msg("%s", err.text);
    assert_int_equal(nb_reader_find(r, "tokenizer.bytes") != NULL, tokenizer);
    assert_int_equal(nb_reader_identity(r), report->identity);
    assert_int_equal(nb_reader_count(r), report->n_tensors);
    nb_reader_close(r);
}

static void checkpoints_of_others_convert(void **state) {
    (void)state;
    const char *root = reference_root();
    if (!root) skip();
    char source[UNIT_PATH], target[UNIT_PATH], *scratch = unit_scratch_new();
    unit_path(target, scratch, "out.nbl");
    static const nb_type types[] = {NB_TYPE_F32, NB_TYPE_F16, NB_TYPE_BF16, NB_TYPE_Q8, NB_TYPE_Q6, NB_TYPE_Q4};
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        for (size_t t = 0; t < COUNT_OF(types); t++) {
            const nb_setting heads = {"n_head", cases[i].n_head};
            const nb_convert_options o = {
                .type = types[t], .overwrite = true, .settings = &heads, .n_settings = heads.value ? 1 : 0};
            nb_convert_report report;
            nb_error err = {0};
            if (nb_convert(unit_path(source, root, cases[i].path), target, &o, &report, &err)) fail_msg("%s", err.text);
            assert_string_equal(report.architecture, cases[i].architecture);
            expect_sound(target, cases[i].tokenizer, &report);
        }
    unit_scratch_free(scratch);
}

static void what_is_not_read_yet_is_named(void **state) {
    (void)state;
    const char *root = reference_root();
    if (!root) skip();
    char source[UNIT_PATH], target[UNIT_PATH], *scratch = unit_scratch_new();
    unit_path(target, scratch, "out.nbl");
    for (size_t i = 0; i < COUNT_OF(refusals); i++) {
        const nb_convert_options o = {.type = NB_TYPE_Q4, .overwrite = true};
        nb_error err = {0};
        if (!nb_convert(unit_path(source, root, refusals[i].path), target, &o, NULL, &err))
            fail_msg("%s was converted", refusals[i].path);
        if (!strstr(err.text, refusals[i].sentence)) fail_msg("\"%s\"", err.text);
    }
    unit_scratch_free(scratch);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checkpoints_of_others_convert),
        cmocka_unit_test(what_is_not_read_yet_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
