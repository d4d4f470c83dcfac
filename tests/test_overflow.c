/* Texts that outgrow what they see: sliding over their context, and windows. What is seen follows the formulas,
 * whatever the chunks; what is not seen takes no memory. */
#include <math.h>

#include "base/mem.h"
#include "core/batch.h"
#include "core/kv.h"
#include "tests/support/tiny_model.h"
#include "tests/support/unit.h"

enum { TOKENS = 460, VOCAB = 50 };

static const struct {
    const char *name, *set;
    uint32_t slide; /* n_ctx; 0: the text does not slide */
} cases[] = {
    {"rotary", "vocab_size=50 n_ctx=128", 128},
    {"rotary, more than its n_ctx", "vocab_size=50 n_ctx=64 n_head=4 n_kv_head=2", 256},
    {"a context of no whole pages", "vocab_size=50 n_ctx=64", 250},
    {"learned positions", "vocab_size=50 pos=learned norm=layer n_ctx=460", 192},
    {"a window", "vocab_size=50 windows=1 n_ctx=460", 0},
    {"a window that slides", "vocab_size=50 windows=1", 192},
};

static nb_model *open_case(size_t i, const char *dir, tiny_model *m) {
    char path[UNIT_PATH];
    nb_error err = {0};
    nb_model *model = NULL;
    nb_hparams h = tiny_hparams(cases[i].set);
    *m = tiny_new(&h, 40 + i);
    m->slide = cases[i].slide;
    tiny_write(m, unit_path(path, dir, "tiny.nbl"), NB_TYPE_F32, 0);
    if (nb_model_open(&model, path, NULL, &err)) fail_msg("%s: %s", cases[i].name, err.text);
    return model;
}

static nb_session_options options_of(size_t i, uint32_t chunk) {
    return (nb_session_options){.n_ctx = cases[i].slide, .n_chunk = chunk,
                                .overflow = cases[i].slide ? NB_OVERFLOW_SLIDE : NB_OVERFLOW_STOP};
}

static void make_ids(int32_t *ids) {
    uint64_t seed = 3;
    for (size_t t = 0; t < TOKENS; t++) ids[t] = (int32_t)(unit_random(&seed) % VOCAB);
}

/* All logits of the row after `share` tokens that it takes from another row. */
static void run(const nb_model *model, const nb_session_options *how, const int32_t *ids, uint32_t share, float *logits,
                size_t *most_bytes) {
    nb_batch *b;
    nb_error err = {0};
    assert_int_equal(nb_batch_create(&b, model, 2, how, &err), NB_OK);
    *most_bytes = 0;
    for (uint32_t row = share ? 0 : 1, n; row < 2; row++) {
        if (row && share) nb_batch_share(b, 1, 0, share);
        for (uint32_t at = nb_batch_length(b, row), end = row ? TOKENS : share; at < end; at += n) {
            n = end - at < nb_batch_chunk(b) ? end - at : nb_batch_chunk(b);
            if (nb_batch_append(b, &(nb_batch_part){.row = row, .n = n, .ids = ids + at}, 1, &err))
                fail_msg("%s", err.text);
            size_t bytes = nb_batch_kv_bytes(b);
            *most_bytes = bytes > *most_bytes ? bytes : *most_bytes;
            for (uint32_t i = 0; i < n; i++) {
                nb_batch_compute(b, i, 1);
                memcpy(logits + (size_t)(at + i) * VOCAB, nb_batch_logits(b, 0), VOCAB * sizeof *logits);
            }
        }
    }
    nb_batch_free(b);
}

static void what_is_seen(void **state) {
    int32_t ids[TOKENS];
    size_t bytes, count = TOKENS * VOCAB;
    float *first = nb_calloc(count, sizeof *first), *found = nb_calloc(count, sizeof *found);
    double *expected = nb_calloc(count, sizeof *expected);
    make_ids(ids);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        tiny_model m;
        nb_model *model = open_case(i, *state, &m);
        nb_session_options how = options_of(i, 1);
        double low = 1e300, high = -1e300, worst = 0;
        tiny_logits(&m, ids, TOKENS, expected);
        run(model, &how, ids, 0, first, &bytes);
        for (size_t j = 0; j < count; j++) {
            low = fmin(low, expected[j]);
            high = fmax(high, expected[j]);
            worst = fmax(worst, fabs(expected[j] - (double)first[j]));
        }
        if (!(worst <= 1e-5 * (high - low))) fail_msg("%s: off by %g of %g", cases[i].name, worst, high - low);
        const struct { uint32_t chunk, share; } splits[] = {{7, 0}, {64, 0}, {200, 0}, {300, 150}, {1, 400}};
        for (size_t s = 0; s < COUNT_OF(splits); s++) {
            if (unit_quick() && s % 3 != i % 3) continue;
            how.n_chunk = splits[s].chunk;
            run(model, &how, ids, splits[s].share, found, &bytes);
            if (memcmp(found, first, count * sizeof *found) != 0)
                fail_msg("%s: other bits in chunks of %u, %u tokens shared", cases[i].name, splits[s].chunk,
                         splits[s].share);
        }
        nb_model_free(model);
        tiny_free(&m);
    }
    nb_free(first);
    nb_free(found);
    nb_free(expected);
}

/* In leaves of 64 positions of one layer (there are two): what a text holds at most, one token after the other. */
static void memory_is_bounded(void **state) {
    const size_t most[] = {2 * 2, 2 * 4, 2 * 3, 2 * 3, 8 + 2, 3 + 3}; /* layer 0 of the last two has a window of 37 */
    int32_t ids[TOKENS];
    float *logits = nb_calloc(TOKENS * VOCAB, sizeof *logits);
    make_ids(ids);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        tiny_model m;
        size_t bytes, leaf;
        nb_model *model = open_case(i, *state, &m);
        nb_kv_shape shape;
        nb_kv_shape_init(&shape, &m.h, (nb_kv_types){0});
        leaf = shape.page_bytes * shape.n_kv_head;
        nb_session_options how = options_of(i, 1);
        run(model, &how, ids, 0, logits, &bytes);
        if (bytes != most[i] * leaf) fail_msg("%s: %zu leaves", cases[i].name, bytes / leaf);
        nb_model_free(model);
        tiny_free(&m);
    }
    nb_free(logits);
}

/* Back is possible as far as nothing that is seen there was dropped, and always behind the last append. */
static void rewinding(void **state) {
    int32_t ids[TOKENS];
    make_ids(ids);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        tiny_model m;
        nb_error err = {0};
        nb_batch *b;
        nb_model *model = open_case(i, *state, &m);
        nb_session_options how = options_of(i, 100);
        float before[VOCAB];
        assert_int_equal(nb_batch_create(&b, model, 2, &how, &err), NB_OK);
        for (uint32_t n, at = 0; at < TOKENS; at += n) {
            n = TOKENS - at < 100 ? TOKENS - at : 100;
            assert_int_equal(nb_batch_append(b, &(nb_batch_part){.n = n, .ids = ids + at}, 1, &err), NB_OK);
        }
        nb_batch_compute(b, 59, 1);
        memcpy(before, nb_batch_logits(b, 0), sizeof before);
        assert_int_equal(nb_batch_rewind(b, 0, 405), 405); /* the last append began at 400 */
        nb_batch_share(b, 1, 0, 400);
        assert_int_equal(nb_batch_length(b, 1), 400);
        for (uint32_t row = 0; row < 2; row++) {
            uint32_t at = nb_batch_length(b, row);
            assert_int_equal(
                nb_batch_append(b, &(nb_batch_part){.row = row, .n = TOKENS - at, .ids = ids + at}, 1, &err), NB_OK);
            nb_batch_compute(b, TOKENS - at - 1, 1);
            assert_memory_equal(before, nb_batch_logits(b, 0), sizeof before);
        }
        nb_batch_share(b, 1, 0, 70);
        assert_int_equal(nb_batch_length(b, 1), 0);
        assert_int_equal(nb_batch_rewind(b, 0, 70), 0);
        assert_int_equal(nb_batch_known(b, ids, 300), 0);
        nb_batch_free(b);
        nb_model_free(model);
        tiny_free(&m);
    }
}

static void refusals(void **state) {
    tiny_model m;
    nb_error err = {0};
    nb_batch *b;
    nb_model *model = open_case(3, *state, &m);
    nb_session_options how = {.n_ctx = 127, .overflow = NB_OVERFLOW_SLIDE};
    assert_int_equal(nb_batch_create(&b, model, 1, &how, &err), NB_ARGUMENT);
    assert_non_null(strstr(err.text, "127 tokens was asked for, but a text that slides needs 128"));
    how.n_ctx = 461;
    assert_int_equal(nb_batch_create(&b, model, 1, &how, &err), NB_ARGUMENT);
    how.n_ctx = 128;
    assert_int_equal(nb_batch_create(&b, model, 1, &how, &err), NB_OK);
    assert_int_equal(nb_batch_room(b), 460); /* there are no more learned positions */
    nb_batch_free(b);
    nb_model_free(model);
    tiny_free(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_seen),
        cmocka_unit_test(memory_is_bounded),
        cmocka_unit_test(rewinding),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, unit_scratch_setup, unit_scratch_teardown);
}
