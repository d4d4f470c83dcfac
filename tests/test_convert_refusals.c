/* Conversions that must fail: each with its sentence, and leaving whatever was there before. */
#include "tests/support/conversion.h"
#include "tests/support/safetensors.h"

#include <math.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/file.h"
#include "base/mem.h"

/* ---- refusals ---- */

static void unknown_and_missing_tensors_are_listed(void **state) {
    fixture *f = *state;
    char name[96];
    nb_convert_options o = options_for(f, NB_TYPE_Q4);
    make_nanogpt(f, false);
    for (int i = 0; i < 25; i++) {
        snprintf(name, sizeof name, "transformer.extra.%d", i);
        torch_add(&f->model, name, 1, 2);
    }
    save_nanogpt(f);
    expect_failure(f, &o, NB_UNSUPPORTED, "does not know 25 tensors: transformer.extra.0, transformer.extra.1, ");
    expect_failure(f, &o, NB_UNSUPPORTED, "transformer.extra.19 and 5 more");
    torch_remove(&f->model, "transformer.h.1.ln_2.weight");
    torch_remove(&f->model, "transformer.h.0.attn.c_attn.weight");
    save_nanogpt(f);
    expect_failure(f, &o, NB_UNSUPPORTED,
                   "and 2 are missing: transformer.h.0.attn.c_attn.weight, transformer.h.1.ln_2.weight");
    for (int i = 0; i < 25; i++) {
        snprintf(name, sizeof name, "transformer.extra.%d", i);
        torch_remove(&f->model, name);
    }
    save_nanogpt(f);
    expect_failure(
        f, &o, NB_MISSING,
        "lacks 2 tensors of a nanogpt model: transformer.h.0.attn.c_attn.weight, transformer.h.1.ln_2.weight");
    torch_model_free(&f->model);
    make_nanogpt(f, false);
    torch_add(&f->model, "transformer.h.2.ln_2.weight", 0, 24); /* a block that the configuration does not have */
    save_nanogpt(f);
    expect_failure(f, &o, NB_UNSUPPORTED, "does not know 1 tensor: transformer.h.2.ln_2.weight");
}

static void a_missing_part_is_named(void **state) {
    fixture *f = *state;
    nb_convert_options o = options_for(f, NB_TYPE_Q4);
    make_nanochat(f, "000010");
    torch_remove(&f->model, "_orig_mod.transformer.h.1.attn.c_k.weight");
    torch_save(&f->model, f->source, NULL, NULL);
    expect_failure(f, &o, NB_MISSING, "lacks 1 tensor of a nanochat model: transformer.h.1.attn.c_k.weight");
}

static void known_buffers_are_ignored(void **state) {
    fixture *f = *state;
    nb_convert_options o = options_for(f, NB_TYPE_Q4);
    make_nanogpt(f, true);
    torch_add(&f->model, "transformer.h.0.attn.bias", 12, 12);
    save_nanogpt(f);
    convert_ok(f, &o, NULL);
}

/* What only later generations of nanochat have is recognised by its tensors, which then are wanted in full. */
static void later_nanochat_wants_its_tensors(void **state) {
    fixture *f = *state;
    nb_convert_options o = options_for(f, NB_TYPE_Q4);
    make_nanochat(f, "000010");
    torch_add(&f->model, "resid_lambdas", 0, 2);
    torch_save(&f->model, f->source, NULL, NULL);
    expect_failure(f, &o, NB_MISSING, "lacks 1 tensor of a nanochat model: x0_lambdas");
    torch_add(&f->model, "x0_lambdas", 0, 3);
    torch_save(&f->model, f->source, NULL, NULL);
    expect_failure(f, &o, NB_FORMAT, "'x0_lambdas' has the shape [3], expected [2]");
    torch_add(&f->model, "smear_gate.weight", 1, 24);
    torch_save(&f->model, f->source, NULL, NULL);
    expect_failure(f, &o, NB_ARGUMENT, "value_every is 2, but value_channels 0");
    torch_add(&f->model, "transformer.h.1.attn.ve_gate.weight", 1, 13);
    torch_save(&f->model, f->source, NULL, NULL);
    expect_failure(f, &o, NB_FORMAT, "'x0_lambdas' has the shape [3], expected [2]");
}

static void wrong_shapes_and_settings_are_refused(void **state) {
    fixture *f = *state;
    static const struct {
        const char *key, *value, *sentence;
        nb_status status;
    } cases[] = {
        {"n_kv_head", "5", "'transformer.h.0.attn.c_k.weight' has the shape [8, 40], expected [40, 40]", NB_FORMAT},
        {"n_ff", "80", "'transformer.h.0.mlp.c_fc.weight' has the shape [160, 40], expected [80, 40]", NB_FORMAT},
        {"vocab_size", "65", "has the shape [64, 40], expected [65, 40]", NB_FORMAT},
        {"n_layer", "3", "lacks 6 tensors", NB_MISSING},
        {"n_layer", "1", "does not know 6 tensors", NB_UNSUPPORTED},
        {"tied", "1", "does not know 1 tensor: lm_head.weight", NB_UNSUPPORTED},
        {"n_heads", "5", "n_heads", NB_ARGUMENT},
        {"n_head", "x", "n_head", NB_ARGUMENT},
        {"n_head", "7", "n_embd 40 is not divisible by n_head 7", NB_ARGUMENT},
    };
    make_nanochat(f, "000010");
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const nb_setting set = {cases[i].key, cases[i].value};
        nb_convert_options o = options_for(f, NB_TYPE_Q4);
        o.settings = &set;
        o.n_settings = 1;
        expect_failure(f, &o, cases[i].status, cases[i].sentence);
    }
}

/* What a configuration says is checked before it sizes anything. */
static void absurd_configurations_are_refused(void **state) {
    fixture *f = *state;
    static const struct {
        const char *config, *sentence;
    } cases[] = {
        {"\"num_hidden_layers\":1000000000", "n_layer: expected a whole number from 1 to 1024, found 1e+09"},
        {"\"num_hidden_layers\":-2", "n_layer is -2, expected a count"},
        {"\"hidden_size\":16.5", "n_embd is 16.5, expected a count"},
        {"\"num_key_value_heads\":\"2\"",
         "'num_key_value_heads' in the checkpoint's configuration is a string, expected a number"},
        {"\"rope_theta\":-5", "rope_theta: expected a number from 0 to 1e+12, found -5"},
        {"\"rope_theta\":0", "rope_theta is 0, expected a positive number"},
        {"\"rms_norm_eps\":7", "norm_eps: expected a number from 0 to 1, found 7"},
        {"\"max_position_embeddings\":99999999999", "n_ctx is 99999999999, expected a count"},
        {"\"vocab_size\":99999999999999999999999", "too big integer"},
        {"\"rms_norm_eps\":1e999", "config.json'"},
    };
    make_hf_weights(&f->model);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        nb_buf config = {0};
        safetensors_save(&f->model, 0, f->model.n, unit_path(f->source, f->folder, "model.safetensors"));
        nb_buf_printf(&config, "{\"model_type\":\"llama\",\"num_attention_heads\":2,\"tie_word_embeddings\":true,"
                      "%s%s}", strstr(cases[i].config, "max_position") ? "" : "\"max_position_embeddings\":64,",
                      cases[i].config);
        write_text(f, "config.json", nb_buf_str(&config));
        nb_buf_free(&config);
        nb_convert_options o = options_for(f, NB_TYPE_Q4);
        nb_error err = {0};
        if (!nb_convert(f->source, f->target, &o, NULL, &err)) fail_msg("converted with %s", cases[i].config);
        if (!strstr(err.text, cases[i].sentence)) fail_msg("\"%s\", expected \"%s\"", err.text, cases[i].sentence);
    }
}

static void weights_must_be_finite(void **state) {
    fixture *f = *state;
    make_nanogpt(f, false);
    nb_convert_options o = options_for(f, NB_TYPE_Q4);
    float *w = torch_find(&f->model, "transformer.h.1.attn.c_proj.weight")->values;
    w[2 * 24 + 3] = NAN;
    save_nanogpt(f);
    expect_failure(
        f, &o, NB_FORMAT,
        "'blocks.1.attn.out.weight' (from 'transformer.h.1.attn.c_proj.weight') holds not a number at row 2, column 3");
    w[2 * 24 + 3] = -INFINITY;
    save_nanogpt(f);
    expect_failure(f, &o, NB_FORMAT, "holds an infinity");
    w[2 * 24 + 3] = 65519.0f;
    save_nanogpt(f);
    o.type = NB_TYPE_F16;
    convert_ok(f, &o, NULL);
    w[2 * 24 + 3] = -65520.0f;
    save_nanogpt(f);
    expect_failure(f, &o, NB_UNSUPPORTED,
                   "'blocks.1.attn.out.weight' holds -65520 at row 2, column 3, too large for f16");
    o.type = NB_TYPE_BF16;
    convert_ok(f, &o, NULL);
    w[2 * 24 + 3] = 0x1.fffffep127f;
    save_nanogpt(f);
    expect_failure(f, &o, NB_UNSUPPORTED, "too large for bf16");
    o.type = NB_TYPE_F32;
    convert_ok(f, &o, NULL);
    float *norm = torch_find(&f->model, "transformer.ln_f.weight")->values;
    norm[5] = NAN;
    save_nanogpt(f);
    expect_failure(f, &o, NB_FORMAT,
                   "'norm.weight' (from 'transformer.ln_f.weight') holds not a number at row 0, column 5");
}

static void what_is_no_checkpoint_is_refused(void **state) {
    fixture *f = *state;
    static const struct {
        const char *bytes;
        size_t n;
        const char *sentence;
    } files[] = {
        {"", 0, "is no checkpoint of a known form"},
        {"hello", 5, "is no checkpoint of a known form"},
        {"\x89NBL\r\n\x1a\n", 8, "it is a model file already"},
        {"\x89NBS\r\n\x1a\n", 8, "it is a text or conversation written by --save"},
        {"<!doctype html><html>", 21, "it is a web page"},
        {"\x80\x02}.", 4, "it is a bare pickle"},
    };
    nb_convert_options o = options_for(f, NB_TYPE_Q4);
    unit_path(f->source, f->folder, "x.pt");
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        unit_write_file(f->source, files[i].bytes, files[i].n);
        expect_failure(f, &o, NB_UNSUPPORTED, files[i].sentence);
    }
    torch_add(&f->model, "foo", 2, 2);
    torch_save(&f->model, f->source, NULL, NULL);
    expect_failure(f, &o, NB_UNSUPPORTED, "of no family that is known (nanochat, nanogpt, minigpt, ");
    expect_failure(f, &o, NB_UNSUPPORTED, "they are named foo");
    o.arch = "gpt5";
    expect_failure(f, &o, NB_ARGUMENT, "architecture 'gpt5' is not known; there are nanochat, nanogpt, minigpt");
    o.arch = NULL;
    unit_path(f->source, f->folder, "nothing.pt");
    expect_failure(f, &o, NB_IO, "cannot be opened");
    snprintf(f->source, sizeof f->source, "%s", f->folder);
    expect_failure(f, &o, NB_MISSING, "holds no checkpoint that is known (model_*.pt, ckpt.pt, best_model.pth, ");
    torch_model_free(&f->model);
    make_nanogpt(f, false);
    o.type = NB_TYPE_U32;
    expect_failure(f, &o, NB_ARGUMENT, "matrices cannot have the type 'u32'");
    o.type = NB_TYPE_Q4;
    o.overwrite = false;
    convert_ok(f, &o, NULL);
    expect_failure(f, &o, NB_ARGUMENT, "--force");
}

/* ---- interruption ---- */

typedef struct stopper {
    int calls, stop_at;
} stopper;

static bool stop_at(void *user, const char *what, const char *unit, uint64_t done, uint64_t total) {
    stopper *s = user;
    assert_true(what[0] && !unit && done <= total); /* of its source, in bytes */
    return s->calls++ != s->stop_at;
}

static void cancelling_leaves_the_old_file(void **state) {
    fixture *f = *state;
    static const char old[] = "the old file";
    make_nanogpt(f, true);
    bool finished = false;
    for (int k = 0; !finished; k++) {
        stopper s = {.stop_at = k};
        const nb_progress progress = {.step = stop_at, .user = &s};
        nb_convert_options o = options_for(f, NB_TYPE_Q4);
        nb_error err = {0};
        o.progress = &progress;
        unit_write_file(f->target, old, sizeof old);
        nb_status st = nb_convert(f->source, f->target, &o, NULL, &err);
        finished = !st;
        if (st) assert_int_equal(st, NB_CANCELLED);
        if (st) unit_assert_file(f->target, old, sizeof old);
        assert_int_equal(unit_count_entries(f->folder), 2);
        assert_true(k < 1000);
        if (finished) assert_true(k > 10);
    }
}

static bool die(void *user, const char *what, const char *unit, uint64_t done, uint64_t total) {
    stopper *s = user;
    (void)what, (void)unit, (void)done, (void)total;
    if (s->calls++ == s->stop_at) raise(SIGKILL);
    return true;
}

static void a_killed_conversion_leaves_the_old_file(void **state) {
    fixture *f = *state;
    static const char old[] = "the old file";
    make_nanogpt(f, true);
    for (int k = 0; k < 20; k += 3) {
        unit_write_file(f->target, old, sizeof old);
        pid_t child = fork();
        assert_true(child >= 0);
        if (!child) {
            stopper s = {.stop_at = k};
            const nb_progress progress = {.step = die, .user = &s};
            const nb_convert_options o = {.type = NB_TYPE_Q4, .overwrite = true, .progress = &progress};
            _exit(nb_convert(f->source, f->target, &o, NULL, NULL) ? 1 : 0);
        }
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        unit_assert_file(f->target, old, sizeof old);
        assert_int_equal(unit_count_entries(f->folder), 2);
    }
}

static void failing_memory_leaves_the_old_file(void **state) {
    fixture *f = *state;
    static const char old[] = "the old file";
    const nb_setting heads = {"n_head", "3"};
    make_minigpt(f);
    unit_write_file(f->target, old, sizeof old);
    long n = 0;
    for (;; n++) {
        nb_convert_options o = {.type = NB_TYPE_Q4, .overwrite = true, .settings = &heads, .n_settings = 1};
        nb_error err = {0};
        nb_mem_fail_at(n);
        nb_status st = nb_convert(f->source, f->target, &o, NULL, &err);
        nb_mem_fail_at(-1);
        if (!st) break;
        if (st != NB_MEMORY) fail_msg("allocation %ld: %s", n, err.text);
        assert_true(err.text[0]);
        unit_assert_file(f->target, old, sizeof old);
        assert_int_equal(unit_count_entries(f->folder), 3);
        assert_true(n < 10000);
    }
    assert_true(n > 50);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        CONVERSION_TEST(unknown_and_missing_tensors_are_listed),
        CONVERSION_TEST(a_missing_part_is_named),
        CONVERSION_TEST(known_buffers_are_ignored),
        CONVERSION_TEST(later_nanochat_wants_its_tensors),
        CONVERSION_TEST(wrong_shapes_and_settings_are_refused),
        CONVERSION_TEST(absurd_configurations_are_refused),
        CONVERSION_TEST(weights_must_be_finite),
        CONVERSION_TEST(what_is_no_checkpoint_is_refused),
        CONVERSION_TEST(cancelling_leaves_the_old_file),
        CONVERSION_TEST(a_killed_conversion_leaves_the_old_file),
        CONVERSION_TEST(failing_memory_leaves_the_old_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
