/* Scaled rotary positions against transformers: tests/data/rope_scalings.json, made by make_rope_scalings.py beside it.
 */
#include "tests/support/unit.h"

#include <jansson.h>
#include <math.h>
#include "convert/rope.h"
#include "core/hparams.h"

/* Two roundings of f32: torch's pow and ours need not agree in the last bit. */
static const double TOLERANCE = 2.5e-7;

static void compare(size_t at, const char *what, size_t i, double found, double expected) {
    if (!(fabs(found - expected) <= TOLERANCE * fabs(expected)))
        fail_msg("case %zu: %s %zu is %.9g, expected %.9g", at, what, i, found, expected);
}

static double number(const json_t *object, const char *key, double fallback) {
    const json_t *v = json_object_get(object, key);
    return v ? json_number_value(v) : fallback;
}

static void check_case(size_t at, const json_t *test) {
    const json_t *config = json_object_get(test, "config"), *freqs = json_object_get(test, "inv_freq"),
                 *parameters = json_object_get(config, "rope_parameters");
    nb_rope rope;
    nb_arena arena = {.limit = 1 << 20};
    nb_hparams h;
    nb_error err = {0};
    nb_hparams_default(&h);
    h.n_head = (uint32_t)number(config, "num_attention_heads", 0);
    h.head_dim = (uint32_t)number(config, "head_dim", number(config, "hidden_size", 0) / h.n_head);
    h.rope_theta = (float)number(config, "rope_theta", number(parameters, "rope_theta", 0));
    h.n_ctx = (uint32_t)number(test, "n_ctx", number(config, "max_position_embeddings", 0));
    const nb_setting n_ctx = {"n_ctx", "given"};
    const nb_arch_input in = {.config = nb_value_from_json(config, &arena),
                              .settings = &n_ctx,
                              .n_settings = json_object_get(test, "n_ctx") ? 1 : 0};
    assert_non_null(in.config);
    if (nb_rope_make(&rope, &nb_arch_llama, &in, &h, &err)) fail_msg("case %zu: %s", at, err.text);
    assert_int_equal(json_array_size(freqs), h.head_dim / 2);
    for (size_t i = 0; i < h.head_dim / 2; i++)
        compare(at, "frequency", i, (double)rope.inv_freq[i], json_number_value(json_array_get(freqs, i)));
    double factor = number(test, "attention_factor", 0), plain = 1 / sqrt((double)h.head_dim);
    double scale = h.attn_scale > 0.0f ? (double)h.attn_scale : plain;
    compare(at, "attention factor", 0, scale, plain * factor * factor);
    nb_arena_free(&arena);
}

static void frequencies_are_those_of_transformers(void **state) {
    (void)state;
    json_error_t why;
    json_t *root = json_load_file(NIBBLE_TEST_DATA "/data/rope_scalings.json", 0, &why);
    if (!root) fail_msg("%s", why.text);
    const json_t *cases = json_object_get(root, "cases");
    assert_true(json_array_size(cases) > 10);
    for (size_t i = 0; i < json_array_size(cases); i++) check_case(i, json_array_get(cases, i));
    json_decref(root);
}

static void the_short_factors_limit_the_context(void **state) {
    (void)state;
    json_t *config = json_pack("{s:i, s:{s:s, s:[f,f], s:[f,f]}}", "original_max_position_embeddings", 100,
                               "rope_scaling", "type", "longrope", "short_factor", 1.0, 2.0, "long_factor", 3.0, 4.0);
    nb_rope rope;
    nb_arena arena = {.limit = 1 << 20};
    const nb_arch_input in = {.config = nb_value_from_json(config, &arena)};
    nb_hparams h;
    nb_error err = {0};
    nb_hparams_default(&h);
    h.head_dim = 4;
    h.rope_theta = 10000;
    h.n_ctx = 800;
    assert_int_equal(nb_rope_make(&rope, &nb_arch_llama, &in, &h, &err), NB_OK);
    assert_int_equal(h.n_ctx, 100);
    assert_true(rope.inv_freq[0] == 1.0f);
    json_decref(config);
    nb_arena_free(&arena);
}

/* The tables of a configuration in JSON, for 8 blocks, heads of 16 channels, base 10000 and 4096 tokens. */
static nb_status make(const char *text, const nb_arch *arch, nb_rope *rope, nb_hparams *h, nb_error *err) {
    nb_arena arena = {.limit = 1 << 20};
    json_t *config = json_loads(text, 0, NULL);
    assert_non_null(config);
    const nb_arch_input in = {.config = nb_value_from_json(config, &arena)};
    nb_hparams_default(h);
    h->n_layer = 8;
    h->head_dim = 16;
    h->rope_theta = 10000;
    h->n_ctx = 4096;
    nb_status st = nb_rope_make(rope, arch, &in, h, err);
    json_decref(config);
    nb_arena_free(&arena);
    return st;
}

#define TYPES "\"sliding_window\":9,\"layer_types\":[" SLIDES "," FULL "," SLIDES "," SLIDES "," FULL "," SLIDES "," SLIDES "," SLIDES "]"
#define SLIDES "\"sliding_attention\""
#define FULL "\"full_attention\""
#define LLAMA3(factor) "{\"rope_scaling\":{\"type\":\"llama3\",\"factor\":" factor ",\"low_freq_factor\":1," \
                       "\"high_freq_factor\":4,\"original_max_position_embeddings\":8192}}"
static const struct {
    const char *other, *hf;
} spellings[] = {
    {"{\"use_scaled_rope\":true}", LLAMA3("8")},
    {"{\"use_scaled_rope\":true,\"rope_scaling_factor\":32}", LLAMA3("32")},
    {"{\"use_scaled_rope\":false}", "{}"},
    {"{\"rope.scaling.type\":\"none\"}", "{}"},
    {"{\"rope.scaling.type\":\"linear\",\"rope.scaling.factor\":4}",
     "{\"rope_scaling\":{\"type\":\"linear\",\"factor\":4}}"},
    {"{\"rope.scaling.type\":\"yarn\",\"rope.scaling.factor\":4,\"rope.scaling.original_context_length\":1024,"
     "\"rope.dimension_count\":16}",
     "{\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4,\"original_max_position_embeddings\":1024}}"},
};

static void other_spellings_mean_the_same(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT_OF(spellings); i++) {
        nb_rope a, b;
        nb_hparams of_a, of_b;
        nb_error err = {0};
        if (make(spellings[i].other, &nb_arch_llama, &a, &of_a, &err) ||
            make(spellings[i].hf, &nb_arch_llama, &b, &of_b, &err))
            fail_msg("%s", err.text);
        assert_memory_equal(a.inv_freq, b.inv_freq, 8 * sizeof *a.inv_freq);
        assert_true(of_a.attn_scale == of_b.attn_scale);
    }
}

static const struct {
    const nb_arch *arch;
    const char *config, *sentence;
} bad[] = {
    {&nb_arch_llama, "{\"rope.dimension_count\":8}", "8 of 16 channels of a head are rotated, expected all"},
    {&nb_arch_llama, "{\"rope_scaling\":{\"type\":\"linear\",\"factor\":0}}",
     "'factor' in the scaling of its rotary positions is no positive"},
    {&nb_arch_llama, "{\"rope_scaling\":{\"type\":\"linear\",\"factor\":-1}}",
     "'factor' in the scaling of its rotary positions is no positive"},
    {&nb_arch_llama, "{\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4,\"beta_fast\":[]}}",
     "'beta_fast' in the scaling"},
    {&nb_arch_llama, "{\"rope_scaling\":{\"type\":\"llama3\",\"factor\":4,\"low_freq_factor\":1}}",
     "has no 'high_freq_factor'"},
    {&nb_arch_llama, "{\"rope_scaling\":{\"type\":7}}",
     "the scaling '?' of its rotary positions is not known; there are default, "},
    {&nb_arch_llama, "{\"rope_parameters\":{\"full_attention\":{\"rope_type\":\"yarn\",\"factor\":8},\"sliding_attention\":{\"rope_type\":\"default\"}}}",
     "rotated by different frequencies ('rope_parameters/full_attention'"},
    {&nb_arch_llama, "{\"rope_parameters\":{\"full_attention\":{\"rope_theta\":10000},\"sliding_attention\":{\"rope_theta\":500000}}}",
     "rotated by different frequencies ('rope_parameters/sliding_attention'"},
    {&nb_arch_smollm3, "{\"no_rope_layers\":[1,1,0]}",
     "'no_rope_layers' in the checkpoint's configuration is not a list of 8 numbers"},
    {&nb_arch_smollm3, "{\"no_rope_layers\":[1,1,1,1,1,1,1,2]}", "is not a list of 8 numbers 0 or 1"},
    {&nb_arch_smollm3, "{\"no_rope_layer_interval\":0}",
     "'no_rope_layer_interval' in the checkpoint's configuration is no positive"},
    {&nb_arch_olmo3, "{\"layer_types\":[\"full_attention\"],\"sliding_window\":9}",
     "'layer_types' in the checkpoint's configuration is not a list of 8"},
    {&nb_arch_olmo3, "{\"rope_parameters\":{\"sliding_attention\":{\"rope_theta\":-1}}}",
     "rope_theta is -1, expected a positive number"},
    {&nb_arch_llama, "{\"rope.scaling.type\":\"longrope\"}", "has no list 'short_factor' of 8 numbers"},
};

static void bad_scalings_have_their_sentences(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        nb_rope rope;
        nb_hparams h;
        nb_error err = {0};
        if (!make(bad[i].config, bad[i].arch, &rope, &h, &err)) fail_msg("%s was taken", bad[i].config);
        if (!strstr(err.text, bad[i].sentence)) fail_msg("\"%s\", expected \"%s\"", err.text, bad[i].sentence);
    }
}

/* What the library does, whatever was meant. */
#define YARN(more) "{" TYPES ",\"rope_parameters\":{\"full_attention\":{\"rope_type\":\"yarn\",\"factor\":4," \
                   "\"original_max_position_embeddings\":300" more "}}}"
static void truncation_is_not_told_by_kind(void **state) {
    (void)state;
    nb_rope a, b;
    nb_hparams h;
    nb_error err = {0};
    if (make(YARN(""), &nb_arch_olmo3, &a, &h, &err) || make(YARN(",\"truncate\":false"), &nb_arch_olmo3, &b, &h, &err))
        fail_msg("%s", err.text);
    assert_memory_equal(&a, &b, sizeof a);
}

/* Which table each of 8 blocks has, and what the tables are: '-' is zeros, 'p' plain, 's' scaled, 't' of another
 * base. */
static const struct {
    const nb_arch *arch;
    const char *config, *kinds, *tables;
} kinds[] = {
    {&nb_arch_smollm3, "{}", "00010001", "p-"},
    {&nb_arch_smollm3, "{\"no_rope_layers\":null,\"no_rope_layer_interval\":3}", "00100100", "p-"},
    {&nb_arch_smollm3, "{\"no_rope_layer_interval\":9}", "", "p"},
    {&nb_arch_smollm3, "{\"no_rope_layers\":[0,1,1,0,1,1,1,1]}", "10010000", "p-"},
    {&nb_arch_smollm3, "{\"no_rope_layers\":[0,0,0,0,0,0,0,0]}", "", "-"},
    {&nb_arch_smollm3, "{\"rope_scaling\":{\"type\":\"linear\",\"factor\":4}}", "00010001", "s-"},
    {&nb_arch_olmo3, "{" TYPES ",\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":4}}", "10110111", "sp"},
    {&nb_arch_olmo3, "{" TYPES ",\"rope_parameters\":{\"sliding_attention\":{\"rope_type\":\"linear\",\"factor\":4}}}",
     "10110111", "ps"},
    {&nb_arch_olmo3, "{" TYPES ",\"rope_parameters\":{\"full_attention\":{\"rope_theta\":500000}}}", "10110111", "tp"},
    {&nb_arch_olmo3, "{" TYPES "}", "", "p"},
    {&nb_arch_olmo3, "{\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":4}}", "", "s"}, /* no windows: all are full */
};

static void blocks_have_their_kinds(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        nb_rope r;
        nb_hparams h;
        nb_error err = {0};
        if (make(kinds[i].config, kinds[i].arch, &r, &h, &err)) fail_msg("%s", err.text);
        assert_int_equal(h.rope_kinds, strlen(kinds[i].tables));
        for (size_t b = 0; kinds[i].kinds[b]; b++) assert_true(r.kinds[b] == (float)(kinds[i].kinds[b] - '0'));
        for (size_t k = 0; k < h.rope_kinds; k++) {
            char table = kinds[i].tables[k];
            float first = table == '-' ? 0.0f : table == 's' ? 0.25f : 1.0f; /* of the first pair, and of that in the middle */
            double base = table == 't' ? 500000 : 10000;
            assert_true(r.inv_freq[8 * k] == first);
            assert_true(fabs((double)r.inv_freq[8 * k + 4] - (double)first / sqrt(base)) < 1e-8);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frequencies_are_those_of_transformers),
        cmocka_unit_test(other_spellings_mean_the_same),
        cmocka_unit_test(blocks_have_their_kinds),
        cmocka_unit_test(truncation_is_not_told_by_kind),
        cmocka_unit_test(bad_scalings_have_their_sentences),
        cmocka_unit_test(the_short_factors_limit_the_context),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
