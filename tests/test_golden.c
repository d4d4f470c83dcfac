/* The engine against PyTorch: whole checkpoints, converted here, must give the logits, cross-entropies and greedy
 * tokens that independent implementations computed.
 *
 * Two sources: tests/models (made by the scripts of tests/reference, committed) and, when it exists, a folder of cases
 * made by others, NIBBLE_REFERENCE in the environment or ../shared/reference beside the sources. A row of a table is a
 * checkpoint; the JSON beside it says what to expect. */
#include <dirent.h>
#include <jansson.h>
#include <math.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/dmath.h"
#include "base/file.h"
#include "base/mem.h"
#include "core/session.h"
#include "tests/support/demo_model.h"
#include "tests/support/unit.h"

/* Logits may differ by this share of the reference's spread (largest minus smallest of the row). */
static const double LOGIT_TOLERANCE = 2e-4;
/* Cross-entropies in nats. Rows whose cross-entropy is known have no known spread; 1e-3 is what f32 leaves of 2e-4. */
static const double CE_TOLERANCE = 1e-3;
/* A different greedy token counts as a tie when the reference's two best logits were closer than this. */
static const double TIE = 0.02;

typedef struct rows {
    float *logits; /* [n][vocab] */
    uint32_t vocab;
    size_t from;
} rows;

static int keep_row(void *user, size_t position, const float *logits) {
    rows *r = user;
    memcpy(r->logits + (position - r->from) * r->vocab, logits, r->vocab * sizeof *logits);
    return 0;
}

/* Logits of all ids, from an empty session; the caller frees them. */
static float *all_logits(engine *e, const int32_t *ids, size_t n) {
    nb_error err;
    rows r = {.logits = nb_alloc(n * e->vocab * sizeof(float)), .vocab = e->vocab};
    nb_session_rewind(e->session, 0);
    if (nb_session_append(e->session, ids, n, keep_row, &r, &err)) fail_msg("%s", err.text);
    return r.logits;
}

static float *read_floats(const char *dir, const char *name, size_t count) {
    char path[DEMO_PATH];
    nb_buf b = {0};
    snprintf(path, sizeof path, "%s/%s", dir, name);
    nb_error err;
    if (nb_read_file(path, 1u << 28, &b, &err)) fail_msg("%s", err.text);
    if (b.size != count * sizeof(float)) fail_msg("%s: expected %zu floats, found %zu bytes", path, count, b.size);
    float *x = nb_alloc(b.size);
    memcpy(x, b.data, b.size);
    nb_buf_free(&b);
    return x;
}

/* ---- comparisons ---- */

static void compare_logits(const char *what, const float *expected, const float *found, size_t n, size_t position) {
    double low = (double)expected[0], high = low, worst = 0;
    for (size_t i = 0; i < n; i++) {
        low = fmin(low, (double)expected[i]);
        high = fmax(high, (double)expected[i]);
        worst = fmax(worst, fabs((double)expected[i] - (double)found[i]));
    }
    if (!(worst <= LOGIT_TOLERANCE * (high - low)))
        fail_msg("%s, position %zu: logits off by %g, %.1e of a spread of %g", what, position, worst,
                 worst / (high - low), high - low);
}

static double cross_entropy(const float *logits, size_t n, int32_t target) {
    double largest = -INFINITY, sum = 0;
    for (size_t i = 0; i < n; i++) largest = fmax(largest, (double)logits[i]);
    for (size_t i = 0; i < n; i++) sum += exp((double)logits[i] - largest);
    return log(fmax(sum, 1)) + largest - (double)logits[target]; /* the largest term is 1 */
}

static void compare_ce(const char *what, const json_t *ce, const float *logits, const int32_t *ids, size_t vocab) {
    for (size_t i = 0; i < json_array_size(ce); i++) {
        double expected = json_number_value(json_array_get(ce, i)),
               found = cross_entropy(logits + i * vocab, vocab, ids[i + 1]);
        if (!(fabs(expected - found) <= CE_TOLERANCE))
            fail_msg("%s, position %zu: cross-entropy %.6f, expected %.6f", what, i, found, expected);
    }
}

/* Continue by argmax, one token at a time; `last` are the logits of the prompt's last position. */
static void compare_greedy(const char *what, engine *e, const float *last, const json_t *tokens,
                           const json_t *margins) {
    const nb_kernels *k = nb_model_kernels(e->model);
    for (size_t i = 0; i < json_array_size(tokens); i++) {
        int32_t id = (int32_t)k->argmax(last, e->vocab),
                expected = (int32_t)json_integer_value(json_array_get(tokens, i));
        double margin = json_number_value(json_array_get(margins, i));
        if (id != expected && margin < TIE) return; /* a tie; what follows is another text */
        if (id != expected) fail_msg("%s, greedy token %zu: %d, expected %d by %g", what, i, id, expected, margin);
        nb_error err;
        if (nb_session_length(e->session) == nb_session_room(e->session)) return;
        if (nb_session_append(e->session, &id, 1, NULL, NULL, &err)) fail_msg("%s", err.text);
        last = nb_session_logits(e->session);
    }
}

/* One prompt: logits at the listed positions (none listed: the last), cross-entropies, greedy tokens. */
static void check_prompt(const char *what, engine *e, const char *dir, const json_t *prompt) {
    size_t n, n_positions = 1;
    int32_t *ids = ids_of(json_object_get(prompt, "ids"), &n);
    const json_t *positions = json_object_get(prompt, "positions");
    if (positions) n_positions = json_array_size(positions);
    float *expected = read_floats(dir, json_string_value(json_object_get(prompt, "logits_file")), n_positions * e->vocab);
    float *found = all_logits(e, ids, n);
    for (size_t i = 0; i < n_positions; i++) {
        size_t at = positions ? (size_t)json_integer_value(json_array_get(positions, i)) : n - 1;
        compare_logits(what, expected + i * e->vocab, found + at * e->vocab, e->vocab, at);
    }
    compare_ce(what, json_object_get(prompt, "ce"), found, ids, e->vocab);
    compare_greedy(what, e, found + (n - 1) * e->vocab, json_object_get(prompt, "greedy"),
                   json_object_get(prompt, "greedy_margin"));
    nb_free(ids);
    nb_free(expected);
    nb_free(found);
}

static void check_prompts(const char *what, engine *e, const char *dir, const json_t *prompts) {
    assert_true(json_array_size(prompts) > 0);
    for (size_t i = 0; i < json_array_size(prompts); i++) {
        char name[DEMO_PATH];
        snprintf(name, sizeof name, "%s, prompt %zu", what, i);
        check_prompt(name, e, dir, json_array_get(prompts, i));
    }
}

/* ---- the project's own demo models ---- */

static void test_own_logits(void **state) {
    const char *scratch = *state;
    for (size_t i = 0; i < DEMO_MODELS; i++) {
        char dir[DEMO_PATH];
        json_t *golden = read_json(demo_dir(&demo_models[i], dir), "golden.json");
        engine e = {0};
        engine_open(&e, dir, demo_models[i].setting, NB_TYPE_F32, scratch);
        check_prompts(demo_models[i].name, &e, dir, json_object_get(golden, "prompts"));
        engine_close(&e);
        json_decref(golden);
    }
}

/* Mean KL divergence in nats from the f32 engine's distribution to another type's, over held-out text. */
static double mean_kl(const float *p, const float *q, size_t n, size_t vocab) {
    double total = 0;
    for (size_t t = 0; t < n; t++, p += vocab, q += vocab) {
        double norm_p = cross_entropy(p, vocab, 0) + (double)p[0], norm_q = cross_entropy(q, vocab, 0) + (double)q[0];
        for (size_t i = 0; i < vocab; i++) {
            double lp = (double)p[i] - norm_p, lq = (double)q[i] - norm_q;
            total += exp(lp) * (lp - lq);
        }
    }
    return total / (double)n;
}

static const struct {
    nb_type type;
    double most_kl;
} quantized[] = {{NB_TYPE_Q8, 1e-3}, {NB_TYPE_Q6, 3e-3}, {NB_TYPE_Q4, 3e-2}};

/* The held-out text in windows of the context, from its own JSON; returns the f32 model's mean cross-entropy. */
static double windowed(engine *exact, engine *other, const int32_t *ids, size_t n, double *kl) {
    size_t window = nb_session_room(exact->session), scored = 0, rows_seen = 0;
    double ce = 0;
    *kl = 0;
    for (size_t at = 0; at < n; at += window) {
        size_t m = n - at < window ? n - at : window;
        float *p = all_logits(exact, ids + at, m), *q = all_logits(other, ids + at, m);
        *kl += mean_kl(p, q, m, exact->vocab) * (double)m;
        rows_seen += m;
        for (size_t i = 0; i + 1 < m; i++, scored++)
            ce += cross_entropy(p + i * exact->vocab, exact->vocab, ids[at + i + 1]);
        nb_free(p);
        nb_free(q);
    }
    *kl /= (double)rows_seen;
    return ce / (double)scored;
}

static void test_own_divergence(void **state) {
    const char *scratch = *state;
    if (unit_quick()) skip();
    for (size_t i = 0; i < DEMO_MODELS; i++) {
        char dir[DEMO_PATH];
        json_t *heldout = read_json(demo_dir(&demo_models[i], dir), "heldout_ce.json");
        size_t n;
        int32_t *ids = ids_of(json_object_get(heldout, "ids"), &n);
        for (size_t t = 0; t < COUNT_OF(quantized); t++) {
            engine exact = {0}, other = {0};
            double kl;
            engine_open(&exact, dir, demo_models[i].setting, NB_TYPE_F32, scratch);
            engine_open(&other, dir, demo_models[i].setting, quantized[t].type, scratch);
            double ce = windowed(&exact, &other, ids, n, &kl), expected = json_number_value(json_object_get(heldout, "mean_ce"));
            print_message("%s: cross-entropy %.6f (PyTorch %.6f), mean KL of %s %.2e\n", demo_models[i].name, ce, expected,
                          nb_types[quantized[t].type].name, kl);
            if (!(fabs(ce - expected) <= 1e-4)) fail_msg("%s: mean cross-entropy %.6f, expected %.6f", demo_models[i].name, ce, expected);
            if (!(kl <= quantized[t].most_kl))
                fail_msg("%s: mean KL of %s is %g, at most %g", demo_models[i].name, nb_types[quantized[t].type].name,
                         kl, quantized[t].most_kl);
            engine_close(&exact);
            engine_close(&other);
        }
        nb_free(ids);
        json_decref(heldout);
    }
}

/* What keys and values in q8 cost: mean KL divergence from the same weights, in f32, with keys and values in f32. */
static void check_cache(const char *name, const char *source, const char *setting, const json_t *ids_json,
                        const char *scratch) {
    static const double most = 3e-4;
    nb_error err = {0};
    size_t n;
    double kl;
    int32_t *ids = ids_of(ids_json, &n);
    engine exact = {0};
    engine_open(&exact, source, setting, NB_TYPE_F32, scratch);
    engine q8 = exact;
    nb_session_options how = {.team = exact.team, .kv = {NB_KV_Q8, NB_KV_Q8}};
    if (nb_session_create(&q8.session, exact.model, &how, &err)) fail_msg("%s: %s", name, err.text);
    (void)windowed(&exact, &q8, ids, n, &kl);
    print_message("%s: mean KL of keys and values in q8 %.2e\n", name, kl);
    if (!(kl > 0 && kl < most)) fail_msg("%s: mean KL of keys and values in q8 is %g", name, kl);
    nb_session_free(q8.session);
    engine_close(&exact);
    nb_free(ids);
}

static void test_cache_divergence(void **state) {
    static const char nanochat_2026[] = NIBBLE_TEST_DATA "/models/families/nanochat-march14"; /* tiny, not trained */
    if (unit_quick()) skip();
    for (size_t i = 0; i < DEMO_MODELS; i++) {
        char dir[DEMO_PATH];
        json_t *heldout = read_json(demo_dir(&demo_models[i], dir), "heldout_ce.json");
        check_cache(demo_models[i].name, dir, demo_models[i].setting, json_object_get(heldout, "ids"), *state);
        json_decref(heldout);
    }
    json_t *golden = read_json(nanochat_2026, "golden.json"), *prompts = json_object_get(golden, "prompts");
    const json_t *last = json_array_get(prompts, json_array_size(prompts) - 1);
    check_cache("nanochat of 2026", nanochat_2026, NULL, json_object_get(last, "ids"), *state);
    json_decref(golden);
}

/* ---- a tiny model of every family, in the form that the library which defines it writes ---- */

static void check_family(const char *root, const char *name, const char *scratch) {
    char dir[DEMO_PATH], source[2 * DEMO_PATH], what[DEMO_PATH];
    snprintf(dir, sizeof dir, "%s/%s", root, name);
    json_t *golden = read_json(dir, "golden.json"), *sources = json_object_get(golden, "sources");
    assert_true(json_array_size(sources) > 0);
    const json_t *scales = json_object_get(golden, "lora"); /* of the adapters in adapter0, adapter1, ... */
    char folders[2][DEMO_PATH + 32];
    nb_lora loras[COUNT_OF(folders)];
    size_t n_loras = json_array_size(scales);
    assert_true(n_loras <= COUNT_OF(loras));
    for (size_t i = 0; i < n_loras; i++) {
        snprintf(folders[i], sizeof folders[i], "%s/adapter%zu", dir, i);
        loras[i] = (nb_lora){folders[i], json_number_value(json_array_get(scales, i))};
    }
    for (size_t i = 0; i < json_array_size(sources); i++) {
        engine e = {0};
        snprintf(source, sizeof source, "%s/%s", dir, json_string_value(json_array_get(sources, i)));
        snprintf(what, sizeof what, "%s/%s", name, json_string_value(json_array_get(sources, i)));
        engine_open_lora(&e, source, json_string_value(json_object_get(golden, "set")), loras, n_loras, NB_TYPE_F32,
                         scratch);
        check_prompts(what, &e, dir, json_object_get(golden, "prompts"));
        engine_close(&e);
    }
    json_decref(golden);
}

static void test_families(void **state) {
    static const char root[] = NIBBLE_TEST_DATA "/models/families";
    const struct dirent *entry;
    int n = 0;
    DIR *d = opendir(root);
    assert_non_null(d);
    for (; (entry = readdir(d)); n++)
        if (entry->d_name[0] != '.') check_family(root, entry->d_name, *state);
    closedir(d);
    assert_true(n > 10);
}

/* ---- cases made by others ---- */

/* `variant` is the id in expected.json whose prompts the engine must match; `source` is relative to the case. */
static const struct {
    const char *dir, *variant, *source, *settings;
} cases[] = {
    {"nanochat_nov25", "plain", "plain", NULL},
    {"nanochat_nov25", "orig_mod", "orig_mod", NULL},
    {"nanochat_head", "plain", "plain", NULL},
    {"nanochat_head", "orig_mod", "orig_mod", NULL},
    {"nanogpt_trained", "fp32", ".", NULL},
    {"nanogpt_random_bias", "fp32", ".", NULL},
    {"nanogpt_random_nobias_odd", "fp32", ".", NULL},
    {"minigpt", "causal", ".", "n_head=2"},
    {"meta_llama2", "all", "meta", NULL},
    {"meta_llama2", "all", "meta_mp2", NULL},
    {"llama2c_random", "fp32", "ckpt.pt", NULL},
    {"llama2c_random", "fp32", "model_v0.bin", NULL},
    {"llama2c_random", "fp32", "model_v1.bin", NULL},
    {"llama2c_random", "v2_q80", "model_v2.bin", NULL},
    {"llama2c_random_untied", "fp32", "model_v0.bin", NULL},
    {"llama2c_random_untied", "fp32", "model_v1.bin", NULL},
    {"llama2c_random_untied", "v2_q80", "model_v2.bin", NULL},
    {"llama2c_stories260k", "v0", ".", NULL},
    {"mingpt_nano", "fp32", "model.pt", NULL},
    {"mingpt_nano", "fp32", ".", NULL},
    {"mingpt_nano", "fp32", "model_legacy_format.pt", NULL},
    {"seed4_block_a", "fp32", ".", "n_head=2"},
    {"seed4_block_b", "fp32", ".", "n_head=3"},
    {"hf_gpt2", "all", "hub", NULL},
    {"hf_gpt2", "all", "saved", NULL},
    {"hf_llama3", "ref", ".", NULL},
    {"hf_llama_tied", "ref", ".", NULL},
    {"hf_qwen2", "ref", ".", NULL},
    {"hf_qwen3", "ref", ".", NULL},
    {"meta_llama2", "all", "hf_bf16", NULL},
    {"meta_llama2", "all", "hf_f16", NULL},
    {"meta_llama2", "all", "hf_f32", NULL},
    {"meta_llama2", "all", "hf_sharded", NULL},
    {"meta_llama2", "all", "hf_bin", NULL},
    {"meta_llama2", "all", "hf_bin_views", NULL},
};

static const char *reference_root(void) {
    const char *given = getenv("NIBBLE_REFERENCE");
    struct stat st;
    if (!given) given = NIBBLE_TEST_DATA "/../../shared/reference";
    return stat(given, &st) == 0 ? given : NULL;
}

static void check_case(size_t i, const char *root, const char *scratch) {
    char dir[DEMO_PATH], source[DEMO_PATH + 64];
    snprintf(dir, sizeof dir, "%s/%s", root, cases[i].dir);
    snprintf(source, sizeof source, "%s/%s", dir, cases[i].source);
    json_t *expected = read_json(dir, "expected.json"), *variants = json_object_get(expected, "variants");
    size_t found = 0;
    for (size_t v = 0; v < json_array_size(variants); v++) {
        const json_t *variant = json_array_get(variants, v);
        if (strcmp(json_string_value(json_object_get(variant, "id")), cases[i].variant) != 0) continue;
        engine e = {0};
        engine_open(&e, source, cases[i].settings, NB_TYPE_F32, scratch);
        check_prompts(cases[i].dir, &e, dir, json_object_get(variant, "prompts"));
        engine_close(&e);
        found++;
    }
    if (found != 1) fail_msg("%s: expected one variant '%s', found %zu", dir, cases[i].variant, found);
    json_decref(expected);
}

static void test_others(void **state) {
    const char *root = reference_root();
    if (!root) {
        print_message("no reference cases made by others on this machine: nothing to compare\n");
        return;
    }
    for (size_t i = 0; i < COUNT_OF(cases); i++) check_case(i, root, *state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_own_logits),
        cmocka_unit_test(test_own_divergence),
        cmocka_unit_test(test_cache_divergence),
        cmocka_unit_test(test_families),
        cmocka_unit_test(test_others),
    };
    return cmocka_run_group_tests(tests, unit_scratch_setup, unit_scratch_teardown);
}
