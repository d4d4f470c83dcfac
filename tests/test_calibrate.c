/* Calibrated conversions: the same bytes for every team, closer to the exact model than without, and texts that cannot
 * serve. */
#include "tests/support/conversion.h"

#include <math.h>
#include "base/file.h"
#include "base/mem.h"
#include "base/team.h"
#include "core/session.h"
#include "tests/support/demo_model.h"

static nb_buf converted(fixture *f, const nb_convert_options *o) {
    nb_buf bytes = {0};
    nb_error err;
    convert_ok(f, o, NULL);
    if (nb_read_file(f->target, 1u << 30, &bytes, &err)) fail_msg("%s", err.text);
    return bytes;
}

/* The demo models are read, and their held-out texts serve; the other fixtures learn from their own samples. */
static void use_demo(fixture *f, nb_convert_options *o, char text[DEMO_PATH]) {
    char path[DEMO_PATH];
    const demo_model *nanogpt = &demo_models[2];
    snprintf(f->source, sizeof f->source, "%s", demo_dir(nanogpt, path));
    snprintf(text, DEMO_PATH, "%.900s/heldout.txt", path);
    o->calibrate = text;
}

static void same_bytes(fixture *f, nb_convert_options *o, const int *threads, size_t n) {
    nb_buf first = {0};
    for (size_t i = 0; i < n; i++) {
        nb_error err;
        if (nb_team_create(&o->team, threads[i], &err)) fail_msg("%s", err.text);
        nb_buf bytes = converted(f, o);
        nb_team_free(o->team);
        if (i) {
            assert_int_equal(bytes.size, first.size);
            assert_memory_equal(bytes.data, first.data, first.size);
            nb_buf_free(&bytes);
        } else {
            first = bytes;
        }
    }
    o->team = NULL;
    nb_buf_free(&first);
}

static void a_text_gives_the_same_bytes_for_every_team(void **state) {
    fixture *f = *state;
    char text[DEMO_PATH];
    nb_convert_options o = options_for(f, NB_TYPE_Q4);
    use_demo(f, &o, text);
    same_bytes(f, &o, (const int[]){1, 1, 4}, 3);
    assert_int_equal(unit_count_entries(f->folder), 1); /* nothing is left of the exact model */
}

static void own_samples_give_the_same_bytes_for_every_team(void **state) {
    fixture *f = *state;
    nb_convert_options o = options_for(f, NB_TYPE_Q4);
    make_nanochat(f, "000010");
    o.calibrate = "self";
    same_bytes(f, &o, (const int[]){1, 4}, 2);
    assert_non_null(strstr(nb_buf_str(&f->sentences), "calibrating with 32768 tokens of the model's own samples"));
}

/* ---- it helps ---- */

enum { PROBED = 300 };

static int keep_row(void *user, size_t position, const float *logits) {
    engine *e = ((void **)user)[0];
    memcpy((float *)((void **)user)[1] + position * e->vocab, logits, e->vocab * sizeof *logits);
    return 0;
}

/* Logits of the text's first tokens; the caller frees them. */
static float *logits_of(const char *path, const int32_t *ids, size_t *vocab) {
    engine e = {0};
    nb_error err;
    const nb_session_options o = {.n_ctx = PROBED};
    if (nb_model_open(&e.model, path, NULL, &err)) fail_msg("%s", err.text);
    if (nb_session_create(&e.session, e.model, &o, &err)) fail_msg("%s", err.text);
    *vocab = e.vocab = nb_model_hparams(e.model)->vocab_size;
    float *logits = nb_alloc((size_t)PROBED * e.vocab * sizeof *logits);
    void *user[] = {&e, logits};
    if (nb_session_append(e.session, ids, PROBED, keep_row, user, &err)) fail_msg("%s", err.text);
    engine_close(&e);
    return logits;
}

static double distance(const float *a, const float *b, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
    return sum;
}

static void calibrated_weights_are_closer(void **state) {
    fixture *f = *state;
    char text[DEMO_PATH], path[DEMO_PATH];
    size_t vocab, n;
    nb_convert_options o = options_for(f, NB_TYPE_F32);
    use_demo(f, &o, text);
    json_t *golden = read_json(demo_dir(&demo_models[2], path), "golden.json");
    int32_t *ids = ids_of(json_object_get(json_array_get(json_object_get(golden, "prompts"), 3), "ids"), &n);
    assert_true(n >= PROBED);
    float *logits[3];
    for (int i = 0; i < 3; i++) { /* exact, plain, calibrated */
        o.type = i ? NB_TYPE_Q4 : NB_TYPE_F32;
        o.calibrate = i == 2 ? text : NULL;
        convert_ok(f, &o, NULL);
        logits[i] = logits_of(f->target, ids, &vocab);
    }
    double plain = distance(logits[0], logits[1], PROBED * vocab),
           calibrated = distance(logits[0], logits[2], PROBED * vocab);
    if (!(calibrated < 0.25 * plain)) fail_msg("squared distance %g, without calibration %g", calibrated, plain);
    for (int i = 0; i < 3; i++) nb_free(logits[i]);
    nb_free(ids);
    json_decref(golden);
}

/* ---- what cannot serve ---- */

static void texts_that_cannot_serve_are_refused(void **state) {
    fixture *f = *state;
    char text[DEMO_PATH], mine[UNIT_PATH];
    nb_convert_options o = options_for(f, NB_TYPE_Q4);
    use_demo(f, &o, text);
    o.calibrate = unit_path(mine, f->folder, "text.txt");
    expect_failure(f, &o, NB_IO, "text.txt");
    write_text(f, "text.txt", "");
    expect_failure(f, &o, NB_ARGUMENT, "has 0 tokens; calibration takes at least half a context, 352");
    o.calibrate = text;
    o.tokenizer = "none";
    expect_failure(f, &o, NB_MISSING, "has no tokenizer to read");
    o.tokenizer = NULL;
    o.type = NB_TYPE_F16;
    expect_failure(f, &o, NB_ARGUMENT, "nothing to calibrate: no matrix would be quantized");
    assert_int_equal(unit_count_entries(f->folder), 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        CONVERSION_TEST(a_text_gives_the_same_bytes_for_every_team),
        CONVERSION_TEST(own_samples_give_the_same_bytes_for_every_team),
        CONVERSION_TEST(calibrated_weights_are_closer),
        CONVERSION_TEST(texts_that_cannot_serve_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
