/* Rotations folded into weights: the same logits up to rounding in every family, refusals, the same bytes for every
 * team, and which ones --rotate auto keeps. */
#include "tests/support/conversion.h"

#include <dirent.h>
#include <jansson.h>
#include <math.h>
#include "base/file.h"
#include "base/mem.h"
#include "base/team.h"
#include "convert/plan.h"
#include "convert/rotate.h"
#include "convert/rotate_auto.h"
#include "convert/synthetic.h"
#include "core/session.h"
#include "tests/support/demo_model.h"
#include "tests/support/safetensors.h"
#include "tests/support/tiny_model.h"

/* Logits may differ by this share of their spread: f32 rounding through the blocks of a small model. */
static const double TOLERANCE = 1e-5;

static const unsigned sets[] = {NB_ROTATE_VO, NB_ROTATE_RESIDUAL, NB_ROTATE_QK,
                                NB_ROTATE_VO | NB_ROTATE_RESIDUAL | NB_ROTATE_QK};

/* ---- names ---- */

static void names_are_read_and_written(void **state) {
    (void)state;
    static const struct {
        const char *text;
        unsigned set;
    } good[] = {{"none", 0},
                {"auto", NB_ROTATE_AUTO},
                {"vo", NB_ROTATE_VO},
                {"vo,qk", NB_ROTATE_VO | NB_ROTATE_QK},
                {"vo,residual,qk", NB_ROTATE_VO | NB_ROTATE_RESIDUAL | NB_ROTATE_QK}};
    static const char *const bad[] = {"", "v", "vo,", ",vo", "vo residual", "vo,auto", "none,vo", "VO", "vovo"};
    char text[NB_ROTATION_TEXT];
    unsigned set;
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        assert_true(nb_rotations_parse(good[i].text, &set));
        assert_int_equal(set, good[i].set);
        assert_string_equal(nb_rotations_text(set, text), good[i].text);
    }
    assert_true(nb_rotations_parse("qk,vo,qk", &set));
    assert_int_equal(set, NB_ROTATE_VO | NB_ROTATE_QK);
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        if (nb_rotations_parse(bad[i], &set)) fail_msg("'%s' was read", bad[i]);
}

/* ---- the same function ---- */

enum { TOKENS = 24 };

static int keep_row(void *user, size_t position, const float *logits) {
    const engine *e = ((void **)user)[0];
    memcpy((float *)((void **)user)[1] + position * e->vocab, logits, e->vocab * sizeof *logits);
    return 0;
}

/* Logits of some tokens, n of them; the caller frees them. */
static float *logits_of(const char *path, size_t *n) {
    engine e = {0};
    nb_error err;
    int32_t ids[TOKENS];
    uint64_t seed = 7;
    const nb_session_options o = {.n_ctx = TOKENS};
    if (nb_model_open(&e.model, path, NULL, &err)) fail_msg("%s", err.text);
    e.vocab = nb_model_hparams(e.model)->vocab_size;
    size_t tokens = nb_model_hparams(e.model)->n_ctx < TOKENS ? nb_model_hparams(e.model)->n_ctx : TOKENS;
    for (size_t i = 0; i < tokens; i++) ids[i] = (int32_t)(unit_random(&seed) % e.vocab);
    if (nb_session_create(&e.session, e.model, &o, &err)) fail_msg("%s", err.text);
    *n = tokens * e.vocab;
    float *logits = nb_alloc(*n * sizeof *logits);
    void *user[] = {&e, logits};
    if (nb_session_append(e.session, ids, tokens, keep_row, user, &err)) fail_msg("%s", err.text);
    engine_close(&e);
    return logits;
}

static void expect_same(const char *what, unsigned set, const float *a, const float *b, size_t n) {
    char text[NB_ROTATION_TEXT];
    double low = INFINITY, high = -INFINITY, worst = 0;
    for (size_t i = 0; i < n; i++) {
        low = fmin(low, (double)a[i]);
        high = fmax(high, (double)a[i]);
        worst = fmax(worst, fabs((double)a[i] - (double)b[i]));
    }
    if (!(worst <= TOLERANCE * (high - low)))
        fail_msg("%s, rotated %s: logits off by %g, %.1e of a spread of %g", what, nb_rotations_text(set, text), worst,
                 worst / (high - low), high - low);
}

/* Convert with every set of rotations that the model allows, and compare; how many those were. The weights differ where
 * they should: a rotation that does nothing would be exact too. */
static unsigned compare_sets(const fixture *f, const char *what, nb_convert_options *o) {
    nb_error err = {0};
    nb_convert_report report;
    size_t n = 0, m = 0;
    unsigned done = 0;
    o->rotate = 0;
    if (nb_convert(f->source, f->target, o, &report, &err)) fail_msg("%s: %s", what, err.text);
    float *plain = logits_of(f->target, &n);
    uint64_t identity = report.identity;
    for (size_t i = 0; i < COUNT_OF(sets); i++) {
        o->rotate = sets[i];
        nb_status st = nb_convert(f->source, f->target, o, &report, &err);
        if (st == NB_UNSUPPORTED && strstr(err.text, "is not for this model")) continue;
        if (st) fail_msg("%s: %s", what, err.text);
        assert_true(report.identity != identity);
        float *rotated = logits_of(f->target, &m);
        assert_int_equal(n, m);
        expect_same(what, sets[i], plain, rotated, n);
        nb_free(rotated);
        done |= 1u << i;
    }
    nb_free(plain);
    return done;
}

enum { SETTINGS = 20 };

/* "key=value key=value ..." in `text`, which is cut up. */
static size_t split_settings(char *text, nb_setting pairs[SETTINGS]) {
    size_t n = 0;
    for (char *pair, *rest = text; (pair = strtok_r(rest, " ", &rest));) {
        char *value = strchr(pair, '=');
        *value++ = 0;
        assert_true(n < SETTINGS);
        pairs[n++] = (nb_setting){pair, value};
    }
    return n;
}

/* Made-up weights in shapes that reach every row of the list of parts; `allowed` has bit i for sets[i]. */
static const struct {
    const char *shape, *settings;
    unsigned allowed;
} shapes[] = {
    {"tinyllama-1.1b", "", 15},
    {"tinyllama-1.1b", "head_dim=16 n_kv_head=3 qkv_bias=1", 15},
    {"tinyllama-1.1b", "qk_norm=together qk_norm_weight=1 attn_scale=0.3", 15},
    {"tinyllama-1.1b", "post_norm=1 norm_weight=0", 15},
    {"llama-3.2-1b", "", 5},
    {"llama-3.2-1b", "norm_weight=0", 15},
    {"nanochat-d20", "residual_mix=1 backout=1", 15},
    {"nanochat-d20", "value_every=2 value_channels=12 value_gain=3", 5},
    {"nanochat-d20", "smear_channels=24", 5},
    {"gpt2-124m", "", 5},
    {"gpt2-124m", "norm_bias=0", 5},
    {"gpt2-124m", "norm_bias=0 tied=0", 15},
    {"gpt2-124m", "norm_bias=0 norm_weight=0", 15},
    {"gpt2-124m", "norm_bias=0 tied=0 clip_qkv=0.5", 6},
};

static void every_shape_computes_the_same(void **state) {
    fixture *f = *state;
    for (size_t i = 0; i < COUNT_OF(shapes); i++) {
        nb_setting pairs[SETTINGS];
        char text[400];
        snprintf(text, sizeof text,
                 "n_layer=3 n_embd=48 n_head=6 n_kv_head=6 head_dim=24 n_ff=80 vocab_size=90 n_ctx=32 %s",
                 shapes[i].settings);
        nb_convert_options o = {.type = NB_TYPE_F32, .overwrite = true, .synthetic = shapes[i].shape, .settings = pairs,
                                .n_settings = split_settings(text, pairs)};
        unsigned done = compare_sets(f, shapes[i].shape, &o);
        if (done != shapes[i].allowed)
            fail_msg("%s %s: sets %x were exact, expected %x", shapes[i].shape, shapes[i].settings, done,
                     shapes[i].allowed);
    }
}

static void every_family_computes_the_same(void **state) {
    static const char root[] = NIBBLE_TEST_DATA "/models/families";
    fixture *f = *state;
    const struct dirent *entry;
    int whole = 0, families = 0;
    DIR *d = opendir(root);
    assert_non_null(d);
    while ((entry = readdir(d))) {
        char dir[UNIT_PATH], text[400] = "";
        nb_setting pairs[SETTINGS];
        if (entry->d_name[0] == '.' || !strncmp(entry->d_name, "lora-", 5)) continue;
        snprintf(dir, sizeof dir, "%s/%s", root, entry->d_name);
        json_t *golden = read_json(dir, "golden.json");
        const char *set = json_string_value(json_object_get(golden, "set"));
        if (set) snprintf(text, sizeof text, "%s", set);
        snprintf(f->source, sizeof f->source, "%.400s/%.100s", dir,
                 json_string_value(json_array_get(json_object_get(golden, "sources"), 0)));
        nb_convert_options o = {.type = NB_TYPE_F32, .overwrite = true, .settings = pairs,
                                .n_settings = split_settings(text, pairs)};
        unsigned done = compare_sets(f, entry->d_name, &o);
        assert_true(done & 4); /* qk */
        whole += done == 15;
        families++;
        json_decref(golden);
    }
    closedir(d);
    assert_true(families > 25 && whole > 10);
}

/* ---- refusals ---- */

static const struct {
    const char *settings;
    int rotation;
    const char *sentence; /* NULL: it is exact */
} obstacles[] = {
    {"", NB_ROTATION_RESIDUAL, NULL},
    {"tied=1", NB_ROTATION_RESIDUAL, "its head is its embedding"},
    {"tied=1 norm_weight=0", NB_ROTATION_RESIDUAL, NULL},
    {"norm=layer norm_bias=1", NB_ROTATION_RESIDUAL, "its norms have biases"},
    {"norm=layer norm_weight=0", NB_ROTATION_RESIDUAL, NULL},
    {"norm=layer norm_weight=0 embed_norm=1", NB_ROTATION_RESIDUAL, "a norm of its own"},
    {"norm_weight=0 embed_norm=1", NB_ROTATION_RESIDUAL, NULL},
    {"post_norm=1", NB_ROTATION_RESIDUAL, "a norm of single channels"},
    {"post_norm=1 norm=layer norm_weight=0", NB_ROTATION_RESIDUAL, "a norm of single channels"},
    {"smear_channels=24", NB_ROTATION_RESIDUAL, "its gates read single channels"},
    {"value_every=2 value_channels=12", NB_ROTATION_RESIDUAL, "its gates read single channels"},
    {"value_every=2 value_channels=12", NB_ROTATION_VO, NULL},
    {"n_embd=95", NB_ROTATION_RESIDUAL, "is odd"},
    {"head_dim=25 pos=learned", NB_ROTATION_VO, "is odd"},
    {"head_dim=25 pos=learned", NB_ROTATION_QK, "is odd"},
    {"head_dim=25 pos=learned", NB_ROTATION_RESIDUAL, NULL},
    {"clip_qkv=8", NB_ROTATION_VO, "clip_qkv"},
    {"clip_qkv=8", NB_ROTATION_QK, NULL},
    /* every tensor that bars nothing: all are in the list */
    {"pos=learned qkv_bias=1 out_bias=1 mlp_bias=1 qk_norm=after_rope qk_norm_weight=1 residual_mix=1 backout=1 windows=1", NB_ROTATION_RESIDUAL, NULL},
    {"norm=layer norm_bias=1 qkv_bias=1 smear_channels=24 value_every=1 value_channels=12", NB_ROTATION_VO, NULL},
};

static void what_is_not_exact_has_a_reason(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT_OF(obstacles); i++) {
        nb_hparams h = tiny_hparams(obstacles[i].settings);
        const char *found = nb_rotation_obstacle(obstacles[i].rotation, &h), *expected = obstacles[i].sentence;
        if (!found != !expected || (found && !strstr(found, expected)))
            fail_msg("%s: \"%s\", expected \"%s\"", obstacles[i].settings, found ? found : "",
                     expected ? expected : "");
    }
}

static void a_conversion_that_would_not_be_exact_fails(void **state) {
    fixture *f = *state;
    nb_convert_options o = options_for(f, NB_TYPE_Q4);
    make_hf(f, "\"model_type\":\"llama\"");
    o.rotate = NB_ROTATE_VO | NB_ROTATE_RESIDUAL;
    expect_failure(f, &o, NB_UNSUPPORTED, "the rotation 'residual' is not for this model: its head is its embedding");
    assert_false(nb_file_exists(f->target));
    o.dry_run = true;
    expect_failure(f, &o, NB_UNSUPPORTED, "the rotation 'residual' is not for this model: its head is its embedding");
}

/* ---- the same bytes ---- */

static nb_buf bytes_of(fixture *f, nb_convert_options *o, int threads) {
    nb_buf bytes = {0};
    nb_error err;
    if (nb_team_create(&o->team, threads, &err)) fail_msg("%s", err.text);
    convert_ok(f, o, NULL);
    nb_team_free(o->team);
    o->team = NULL;
    if (nb_read_file(f->target, 1u << 30, &bytes, &err)) fail_msg("%s", err.text);
    return bytes;
}

static void expect_same_bytes(fixture *f, nb_convert_options *o) {
    nb_buf one = bytes_of(f, o, 1), four = bytes_of(f, o, 4);
    assert_int_equal(one.size, four.size);
    assert_memory_equal(one.data, four.data, one.size);
    nb_buf_free(&one);
    nb_buf_free(&four);
}

static void every_team_writes_the_same(void **state) {
    fixture *f = *state;
    static const nb_type types[] = {NB_TYPE_F32, NB_TYPE_Q4};
    nb_setting pairs[SETTINGS];
    char text[] = "n_layer=2 n_embd=192 n_head=3 n_kv_head=3 head_dim=64 n_ff=4096 vocab_size=500 n_ctx=32";
    nb_convert_options o = options_for(f, NB_TYPE_F32); /* f32: up and down are of three chunks */
    o.synthetic = "tinyllama-1.1b";
    o.settings = pairs;
    o.n_settings = split_settings(text, pairs);
    o.rotate = NB_ROTATE_VO | NB_ROTATE_RESIDUAL | NB_ROTATE_QK;
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        o.type = types[i];
        expect_same_bytes(f, &o);
    }
}

/* However its rows are asked for. */
static void rows_are_those_of_the_whole(void **state) {
    (void)state;
    enum { ROWS = 3 * 2 * 24, COLS = 48 };
    static float whole[ROWS * COLS], part[ROWS * COLS];
    static const size_t starts[] = {0, 1, 71, 95, 97, 143};
    nb_setting pairs[SETTINGS];
    char text[] = "n_layer=1 n_embd=48 n_head=2 n_kv_head=2 head_dim=24 n_ff=80 vocab_size=90 n_ctx=32";
    size_t n = split_settings(text, pairs);
    nb_input in;
    nb_error err = {0};
    nb_hparams h;
    nb_plan plan;
    nb_kernels k;
    nb_rotation r;
    assert_int_equal(nb_synthetic_open(&in, "tinyllama-1.1b", pairs, n, &err), NB_OK);
    const nb_arch_input facts = {.source = in.source, .settings = pairs, .n_settings = n};
    assert_int_equal(nb_arch_hparams(in.form->arch, &facts, &h, &err), NB_OK);
    assert_int_equal(nb_plan_make(&plan, in.form->arch, &h, in.source, &err), NB_OK);
    assert_int_equal(nb_kernels_choose(&k, NULL, &err), NB_OK);
    size_t before = plan.n;
    assert_int_equal(nb_rotation_make(&r, NB_ROTATE_VO | NB_ROTATE_RESIDUAL, &h, &plan, in.source, &k, &err), NB_OK);
    assert_int_equal(plan.n, before - 3);
    assert_int_equal(h.norm_weight, 0);
    const nb_plan_tensor *qkv = plan.tensors;
    while (qkv->id != NB_SPEC_qkv_w) qkv++;
    assert_int_equal(nb_rotation_read(&r, qkv, in.source, 0, ROWS, whole, &err), NB_OK);
    for (size_t i = 0; i < COUNT_OF(starts); i++) {
        size_t rows = ROWS - starts[i] < 30 ? ROWS - starts[i] : 30;
        assert_int_equal(nb_rotation_read(&r, qkv, in.source, starts[i], rows, part, &err), NB_OK);
        assert_memory_equal(part, whole + starts[i] * COLS, rows * COLS * sizeof *part);
    }
    nb_rotation_free(&r);
    nb_plan_free(&plan);
    nb_input_close(&in);
}

static void every_failed_allocation_is_survived(void **state) {
    fixture *f = *state;
    nb_setting pairs[SETTINGS];
    char text[] = "n_layer=1 n_embd=48 n_head=2 n_kv_head=2 head_dim=24 n_ff=80 vocab_size=90 n_ctx=32";
    nb_convert_options o = {.type = NB_TYPE_Q8, .overwrite = true, .synthetic = "tinyllama-1.1b", .settings = pairs,
                            .n_settings = split_settings(text, pairs), .rotate = NB_ROTATE_VO | NB_ROTATE_RESIDUAL};
    nb_status st = NB_MEMORY;
    nb_error err = {0};
    long n = 0;
    for (; st == NB_MEMORY && n < 2000; n++) {
        nb_mem_fail_at(n);
        st = nb_convert(NULL, f->target, &o, NULL, &err);
    }
    nb_mem_fail_at(-1);
    if (st) fail_msg("allocation %ld: %s", n, err.text);
    assert_true(n > 20);
}

/* ---- what is kept ---- */

/* A Llama of one head of 64 channels, its head being the embedding. */
static void make_llama(fixture *f) {
    static const struct {
        const char *name;
        uint64_t rows, cols;
    } weights[] = {{"input_layernorm", 0, 64},  {"self_attn.q_proj", 64, 64}, {"self_attn.k_proj", 64, 64},
                   {"self_attn.v_proj", 64, 64}, {"self_attn.o_proj", 64, 64}, {"post_attention_layernorm", 0, 64},
                   {"mlp.gate_proj", 96, 64},    {"mlp.up_proj", 96, 64},      {"mlp.down_proj", 64, 96}};
    torch_model_free(&f->model);
    f->model = (torch_model){.seed = 5};
    torch_add(&f->model, "model.embed_tokens.weight", 64, 64);
    for (int layer = 0; layer < 2; layer++)
        for (size_t i = 0; i < COUNT_OF(weights); i++) {
            char name[96];
            snprintf(name, sizeof name, "model.layers.%d.%s.weight", layer, weights[i].name);
            torch_add(&f->model, name, weights[i].rows, weights[i].cols);
        }
    torch_add(&f->model, "model.norm.weight", 0, 64);
    write_text(f, "config.json",
               "{\"model_type\":\"llama\",\"hidden_size\":64,\"intermediate_size\":96,\"num_attention_heads\":1,"
               "\"num_key_value_heads\":1,\"num_hidden_layers\":2,\"vocab_size\":64,\"max_position_embeddings\":64,"
               "\"tie_word_embeddings\":true,\"rope_theta\":10000.0,\"rms_norm_eps\":1e-5,\"hidden_act\":\"silu\"}");
}

static void scale_row(torch_weight *w, size_t row, float by) {
    for (size_t c = 0; c < w->dims[1]; c++) w->values[row * w->dims[1] + c] *= by;
}

static void scale_column(torch_weight *w, size_t column, float by) {
    for (size_t r = 0; r < w->dims[0]; r++) w->values[r * w->dims[1] + column] *= by;
}

static torch_weight *weight_of(fixture *f, int layer, const char *name) {
    char full[96];
    snprintf(full, sizeof full, "model.layers.%d.self_attn.%s.weight", layer, name);
    return torch_find(&f->model, full);
}

/* The same function in every case: what one matrix gives `by` times too much, the other takes less of. */
static const struct {
    float by_values, by_keys;
    unsigned kept;
} crafted[] = {
    {1, 1, 0},
    {1.0f / 64, 1, NB_ROTATE_VO}, /* one large column in every block of the output projection */
    {1, 64, NB_ROTATE_QK},        /* one pair of large channels of the keys */
};

static void what_helps_is_kept(void **state) {
    fixture *f = *state;
    for (size_t i = 0; i < COUNT_OF(crafted); i++) {
        make_llama(f);
        for (int layer = 0; layer < 2; layer++)
            for (size_t c = 5; c < 64; c += 32) { /* rotary pairs are 32 apart, and so are blocks */
                scale_row(weight_of(f, layer, "v_proj"), c, crafted[i].by_values);
                scale_column(weight_of(f, layer, "o_proj"), c, 1 / crafted[i].by_values);
                scale_row(weight_of(f, layer, "k_proj"), c, crafted[i].by_keys);
                scale_row(weight_of(f, layer, "q_proj"), c, 1 / crafted[i].by_keys);
            }
        safetensors_save(&f->model, 0, f->model.n, unit_path(f->source, f->folder, "model.safetensors"));
        nb_convert_options o = options_for(f, NB_TYPE_Q4);
        nb_convert_report report;
        unsigned kept = 0;
        o.rotate = NB_ROTATE_AUTO;
        convert_ok(f, &o, &report);
        assert_int_equal(report.trials.n, 4);
        assert_int_equal(report.trials.tokens, NB_ROTATE_TOKENS);
        for (size_t t = 0; t < report.trials.n; t++) {
            const nb_rotation_trial *trial = &report.trials.list[t];
            print_message("case %zu: %s %u: %g, %g less (%g)%s\n", i, trial->what, trial->set, trial->divergence.mean,
                          trial->gain.mean, trial->gain.error, trial->kept ? ", kept" : "");
            if (trial->kept) kept |= trial->set;
        }
        assert_int_equal(kept, crafted[i].kept);
        assert_int_equal(unit_count_entries(f->folder), 3); /* no trial is left */
        nb_buf chosen = bytes_of(f, &o, 4);
        nb_reader *r = open_target(f);
        uint64_t identity = nb_reader_identity(r);
        nb_reader_close(r);
        o.rotate = kept; /* what was chosen is what was asked for */
        convert_ok(f, &o, &report);
        assert_int_equal(report.identity, identity);
        nb_buf_free(&chosen);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_read_and_written),
        CONVERSION_TEST(every_shape_computes_the_same),
        CONVERSION_TEST(every_family_computes_the_same),
        cmocka_unit_test(what_is_not_exact_has_a_reason),
        CONVERSION_TEST(a_conversion_that_would_not_be_exact_fails),
        CONVERSION_TEST(every_team_writes_the_same),
        cmocka_unit_test(rows_are_those_of_the_whole),
        CONVERSION_TEST(every_failed_allocation_is_survived),
        CONVERSION_TEST(what_helps_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
