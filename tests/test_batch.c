/* Rows side by side: what a batch refuses, and that rows do not touch each other. That every row has the bits it would
 * have alone, test_golden_bits shows. */
#include "base/mem.h"
#include "core/batch.h"
#include "tests/support/tiny_model.h"
#include "tests/support/unit.h"

static void refusals_append_nothing(void **state) {
    nb_model *model = tiny_open(*state, "n_ctx=20", 8, NB_TYPE_Q8, NULL);
    nb_batch *b;
    nb_error err = {0};
    assert_int_equal(nb_batch_create(&b, model, 0, NULL, &err), NB_ARGUMENT);
    assert_int_equal(nb_batch_create(&b, model, NB_BATCH_ROWS_MAX + 1, NULL, &err), NB_ARGUMENT);
    assert_int_equal(nb_batch_create(&b, model, 3, &(nb_session_options){.n_chunk = 12}, &err), NB_OK);
    const int32_t ids[21] = {1, 2, 3}, wrong[] = {1, -1};
    const struct {
        nb_batch_part parts[2];
        nb_status status;
        const char *text;
    } cases[] = {
        {{{.row = 0, .n = 3, .ids = ids}, {.row = 1, .n = 2, .ids = wrong}}, NB_ARGUMENT, "token 1: expected an id"},
        {{{.row = 0, .n = 3, .ids = ids}, {.row = 2, .n = 21, .ids = ids}}, NB_LIMIT, "21 tokens do not fit"},
        {{{.row = 0, .n = 6, .ids = ids}, {.row = 2, .n = 7, .ids = ids}}, NB_LIMIT, "13 tokens were given at once"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_int_equal(nb_batch_append(b, cases[i].parts, 2, &err), cases[i].status);
        assert_non_null(strstr(err.text, cases[i].text));
        for (uint32_t row = 0; row < 3; row++) assert_int_equal(nb_batch_length(b, row), 0);
    }
    nb_batch_free(b);
    nb_model_free(model);
}

/* A row that is rewound and goes another way changes nothing for its neighbour. */
static void check_independence(const char *dir, const char *settings) {
    nb_model *model = tiny_open(dir, settings, 8, NB_TYPE_Q4, NULL);
    size_t bytes = nb_model_hparams(model)->vocab_size * sizeof(float);
    float *alone = nb_alloc(bytes);
    nb_error err = {0};
    int32_t ids[40];
    for (int i = 0; i < 40; i++) ids[i] = i % 17;
    for (int turn = 0; turn < 2; turn++) { /* without the neighbour, and with it */
        nb_batch *b;
        assert_int_equal(nb_batch_create(&b, model, 2, NULL, &err), NB_OK);
        for (uint32_t at = 0; at < 40; at += 4) {
            nb_batch_part parts[] = {{.row = 0, .n = 4, .ids = ids + at}, {.row = 1, .n = 3, .ids = ids + at % 31}};
            nb_batch_rewind(b, 1, at % 5);
            assert_int_equal(nb_batch_append(b, parts, turn ? 2 : 1, &err), NB_OK);
            nb_batch_compute(b, 3, 1);
        }
        if (turn) assert_memory_equal(nb_batch_logits(b, 0), alone, bytes);
        else memcpy(alone, nb_batch_logits(b, 0), bytes);
        nb_batch_free(b);
    }
    nb_free(alone);
    nb_model_free(model);
}

static void rows_are_independent(void **state) {
    check_independence(*state, "n_ctx=40");
    check_independence(*state, "n_ctx=40 embed_norm=1 smear_channels=24 residual_mix=1 backout=1"); /* the token before matters */
}

static void memory_may_fail(void **state) {
    nb_model *model = tiny_open(*state, "n_ctx=20", 8, NB_TYPE_F32, NULL);
    for (long n = 0;; n++) {
        nb_batch *b = NULL;
        nb_error err;
        nb_mem_fail_at(n);
        nb_status st = nb_batch_create(&b, model, 3, NULL, &err);
        nb_mem_fail_at(-1);
        nb_batch_free(b);
        if (!st) break;
        assert_int_equal(st, NB_MEMORY);
        assert_true(n < 100);
    }
    nb_model_free(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refusals_append_nothing),
        cmocka_unit_test(rows_are_independent),
        cmocka_unit_test(memory_may_fail),
    };
    return cmocka_run_group_tests(tests, unit_scratch_setup, unit_scratch_teardown);
}
