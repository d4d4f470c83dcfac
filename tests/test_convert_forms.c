/* Which checkpoint a folder or file is: what lies in it decides, configurations go before names of tensors, and two
 * plausible readings are an error that names both. */
#include "tests/support/conversion.h"

#include <unistd.h>
#include "convert/arch.h"
#include "convert/names.h"
#include "core/model.h"
#include "tests/support/safetensors.h"

static void expect(fixture *f, const char *arch, const char *sentence, const char *architecture) {
    nb_convert_options o = options_for(f, NB_TYPE_F32);
    nb_convert_report report;
    nb_error err = {0};
    o.arch = arch;
    o.tokenizer = "none";
    nb_buf_clear(&f->sentences);
    nb_status st = nb_convert(f->source, f->target, &o, &report, &err);
    if (st && !sentence) fail_msg("%s", err.text);
    if (!st && sentence) fail_msg("converted as %s, expected \"%s\"", report.architecture, sentence);
    if (sentence && !strstr(err.text, sentence)) fail_msg("\"%s\", expected \"%s\"", err.text, sentence);
    if (!st) assert_string_equal(report.architecture, architecture);
}

static void use_folder(fixture *f) { snprintf(f->source, sizeof f->source, "%s", f->folder); }

static void two_checkpoints_in_a_folder_are_named(void **state) {
    fixture *f = *state;
    char other[UNIT_PATH];
    make_nanogpt(f, true);
    torch_model_free(&f->model);
    make_hf(f, "\"model_type\":\"llama\"");
    use_folder(f);
    expect(f, NULL, "holds two checkpoints: 'ckpt.pt' (like a nanoGPT checkpoint) and 'model.safetensors' (like a ",
           NULL);
    expect(f, "nanogpt", NULL, "nanogpt");
    expect(f, "llama", NULL, "llama");
    expect(f, "qwen3", "lacks 4 tensors of a qwen3 model: model.layers.0.self_attn.q_norm.weight", NULL);
    expect(f, "gpt5", "architecture 'gpt5' is not known", NULL);
    unlink(unit_path(other, f->folder, "ckpt.pt"));
    expect(f, NULL, NULL, "llama");
    /* the same model in the older container: the better one is taken */
    torch_save(&f->model, unit_path(other, f->folder, "pytorch_model.bin"), NULL, NULL);
    expect(f, NULL, NULL, "llama");
    assert_non_null(strstr(nb_buf_str(&f->sentences), "'model.safetensors'"));
    unlink(unit_path(other, f->folder, "model.safetensors"));
    expect(f, NULL, NULL, "llama");
    assert_non_null(strstr(nb_buf_str(&f->sentences), "'pytorch_model.bin'"));
}

static void the_configuration_names_the_family(void **state) {
    fixture *f = *state;
    static const struct {
        const char *config, *arch, *sentence, *architecture;
    } cases[] = {
        {"\"model_type\":\"llama\"", NULL, NULL, "llama"},
        {"\"model_type\":\"mistral\"", NULL, NULL, "mistral"},
        {"\"model_type\":\"mistral\",\"sliding_window\":null", NULL, NULL, "mistral"},
        {"\"model_type\":\"qwen2\"", NULL, "lacks 6 tensors of a qwen2 model: model.layers.0.self_attn.q_proj.bias",
         NULL},
        {"\"model_type\":\"falcon\"", NULL, "no family that is known", NULL},
        {"\"model_type\":\"falcon\"", NULL, "its configuration says 'falcon'", NULL},
        {"\"model_type\":\"falcon\"", "llama", NULL, "llama"},
        {"\"model_type\":7", NULL, "no family that is known", NULL},
        {"", NULL, "no family that is known", NULL},
        {"\"model_type\":\"llama\",\"hidden_act\":\"silu\"", NULL, "duplicate object key", NULL},
        {"\"model_type\":\"llama\",\"partial_rotary_factor\":0.5", NULL,
         "says partial_rotary_factor = 0.5; llama models are", NULL},
        {"\"model_type\":\"llama\",\"rope_parameters\":{\"partial_rotary_factor\":0.75}", NULL,
         "says rope_parameters/partial_rotary_factor = 0.75; llama models are", NULL},
        {"\"model_type\":\"gemma\",\"hidden_activation\":\"gelu_new\"", NULL, "says hidden_activation = gelu_new",
         NULL},
        {"\"model_type\":\"phi3\"", NULL, "no family that is known", NULL},
        {"\"model_type\":\"llama\",\"use_sliding_window\":true", NULL,
         "says use_sliding_window = true; llama models are", NULL},
        {"\"model_type\":\"llama\",\"rope_scaling\":{\"type\":\"ntk\",\"factor\":2}", NULL,
         "the scaling 'ntk' of its rotary", NULL},
        {"\"model_type\":\"llama\",\"rope_scaling\":{\"type\":\"linear\"}", NULL, "has no 'factor'", NULL},
        {"\"model_type\":\"llama\",\"rope_scaling\":{\"type\":\"linear\",\"factor\":\"2\"}", NULL,
         "is no positive number", NULL},
        {"\"model_type\":\"llama\",\"rope_scaling\":{\"type\":\"longrope\",\"factor\":2,\"short_factor\":[1]}", NULL,
         "no list 'short_factor' of 4 numbers", NULL},
        {"\"model_type\":\"llama\",\"rope_scaling\":{\"type\":\"llama3\",\"factor\":2,\"low_freq_factor\":4,"
         "\"high_freq_factor\":1}",
         NULL, "a low_freq_factor of 4, but a high one of 1", NULL},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        torch_model_free(&f->model);
        make_hf(f, cases[i].config);
        expect(f, cases[i].arch, cases[i].sentence, cases[i].architecture);
    }
    char path[UNIT_PATH];
    unlink(unit_path(path, f->folder, "config.json"));
    expect(f, NULL, "no family that is known", NULL);
    expect(f, "llama", "does not say n_head: give it with --set n_head=N, N one of 1, 2, 4, 8, 16", NULL);
    assert_non_null(strstr(nb_buf_str(&f->sentences), "'config.json' is not beside the checkpoint"));
}

static void add_qkv_bias(torch_model *m, unsigned layer) {
    static const char parts[] = "qkv";
    for (const char *part = parts; *part; part++) {
        char name[64];
        snprintf(name, sizeof name, "model.layers.%u.self_attn.%c_proj.bias", layer, *part);
        torch_add(m, name, 0, *part == 'q' ? 16 : 8);
    }
}

/* The window of each of two blocks, as attention wants it (core/attend.h); -1: the model has none. */
static void windows_are_those_of_the_configuration(void **state) {
    fixture *f = *state;
    static const struct {
        const char *config;
        float windows[2];
    } cases[] = {
        {"\"model_type\":\"mistral\",\"sliding_window\":48", {47, 47}},
        {"\"model_type\":\"mistral\",\"sliding_window\":null", {-1}},
        {"\"model_type\":\"mistral\",\"sliding_window\":9,\"layer_types\":[\"full_attention\",\"sliding_attention\"]",
         {0, 8}},
        {"\"model_type\":\"llama\",\"sliding_window\":48", {-1}},
        {"\"model_type\":\"qwen2\",\"sliding_window\":48,\"use_sliding_window\":false,\"max_window_layers\":0", {-1}},
        {"\"model_type\":\"qwen2\",\"sliding_window\":48,\"use_sliding_window\":true,\"max_window_layers\":1", {0, 47}},
        {"\"model_type\":\"qwen2\",\"sliding_window\":48,\"use_sliding_window\":true,\"max_window_layers\":2", {-1}},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        nb_convert_options o = options_for(f, NB_TYPE_F32);
        nb_error err;
        nb_model *m;
        o.tokenizer = "none";
        torch_model_free(&f->model);
        for (unsigned layer = 0; strstr(cases[i].config, "qwen2") && layer < 2; layer++) add_qkv_bias(&f->model, layer);
        make_hf(f, cases[i].config);
        convert_ok(f, &o, NULL);
        if (nb_model_open(&m, f->target, NULL, &err)) fail_msg("%s", err.text);
        const float *windows = (const float *)(const void *)nb_model_shared(m)->windows.data;
        assert_int_equal(windows != NULL, cases[i].windows[0] >= 0);
        if (windows) assert_memory_equal(windows, cases[i].windows, sizeof cases[i].windows);
        assert_int_equal(nb_model_hparams(m)->n_ctx, 64);
        nb_model_free(m);
    }
}

static void windows_that_make_no_sense_are_refused(void **state) {
    fixture *f = *state;
    static const struct {
        const char *config, *sentence;
    } cases[] = {
        {"\"sliding_window\":-1", "'sliding_window' in the checkpoint's configuration is not a whole number"},
        {"\"sliding_window\":1", "a sliding_window of 1"},
        {"\"sliding_window\":2.5", "not a whole number"},
        {"\"sliding_window\":\"48\"", "not a whole number"},
        {"\"sliding_window\":16777216", "not a whole number from 0 to 16777215"},
        {"\"sliding_window\":8,\"layer_types\":[\"full_attention\"]", "not a list of 2 texts"},
        {"\"sliding_window\":8,\"layer_types\":[\"full_attention\",\"chunked_attention\"]", "not a list of 2 texts"},
        {"\"sliding_window\":8,\"layer_types\":7", "not a list of 2 texts"},
        {"\"model_type\":\"olmo3\",\"sliding_window\":8", "has no 'layer_types', which say where its windows are"},
        {"\"model_type\":\"olmo3\",\"rope_scaling\":{\"rope_type\":\"yarn\"}", "has no 'layer_types', which say"},
        {"\"model_type\":\"olmo3\",\"rope_parameters\":{\"rope_type\":\"yarn\"}",
         "says rope_parameters/rope_type = yarn; olmo3 models are computed with null only"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char config[200];
        bool typed = strstr(cases[i].config, "model_type") != NULL;
        snprintf(config, sizeof config, "%s%s", typed ? "" : "\"model_type\":\"mistral\",", cases[i].config);
        torch_model_free(&f->model);
        make_hf(f, config);
        expect(f, NULL, cases[i].sentence, NULL);
    }
}

static void shards_of_a_folder_are_one_checkpoint(void **state) {
    fixture *f = *state;
    char path[UNIT_PATH];
    nb_buf index = {0};
    nb_convert_report whole, shards;
    nb_convert_options o = options_for(f, NB_TYPE_F32);
    o.tokenizer = "none";
    make_hf(f, "\"model_type\":\"llama\"");
    use_folder(f);
    convert_ok(f, &o, &whole);
    size_t half = f->model.n / 2;
    unlink(unit_path(path, f->folder, "model.safetensors"));
    safetensors_save(&f->model, 0, half, unit_path(path, f->folder, "model-00001-of-00002.safetensors"));
    safetensors_save(&f->model, half, f->model.n - half,
                     unit_path(path, f->folder, "model-00002-of-00002.safetensors"));
    nb_buf_text(&index, "{\"weight_map\":{");
    for (size_t i = 0; i < f->model.n; i++)
        nb_buf_printf(&index, "%s\"%s\":\"model-0000%d-of-00002.safetensors\"", i ? "," : "", f->model.weights[i].name,
                      i < half ? 1 : 2);
    nb_buf_text(&index, "}}");
    write_text(f, "model.safetensors.index.json", nb_buf_str(&index));
    nb_buf_free(&index);
    convert_ok(f, &o, &shards);
    assert_int_equal(shards.identity, whole.identity);
    nb_reader *r = open_target(f);
    assert_non_null(strstr(nb_reader_provenance_json(r, NULL),
                           "\"files\":[\"model-00001-of-00002.safetensors\",\"model-00002-of-00002.safetensors\"]"));
    nb_reader_close(r);
    unlink(unit_path(path, f->folder, "model-00002-of-00002.safetensors"));
    expect(f, NULL, "shard 'model-00002-of-00002.safetensors', which ", NULL);
    unit_path(f->target, f->folder, "model-00001-of-00002.safetensors");
    safetensors_save(&f->model, half, f->model.n - half,
                     unit_path(path, f->folder, "model-00002-of-00002.safetensors"));
    expect(f, NULL, "is the checkpoint itself", NULL);
}

static void names_match_patterns(void **state) {
    (void)state;
    static const struct {
        const char *pattern, *name, *hole; /* NULL: no match */
    } cases[] = {
        {"a.pt", "a.pt", ""},          {"a.pt", "a.pt2", NULL},       {"m_#.pt", "m_0012.pt", "0012"},
        {"m_#.pt", "m_.pt", NULL},     {"m_#.pt", "m_1a.pt", NULL},   {"*.gguf", "x.y.gguf", "x.y"},
        {"*.gguf", ".gguf", NULL},     {"*.gguf", "x.ggu", NULL},     {"m_#.pt", "n_1.pt", NULL},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const char *hole, *expected = cases[i].hole;
        size_t n;
        bool found = nb_name_match(cases[i].pattern, strlen(cases[i].pattern), cases[i].name, &hole, &n);
        assert_int_equal(found, expected != NULL);
        if (expected) assert_int_equal(n, strlen(expected));
        if (expected && n) assert_memory_equal(hole, expected, n);
    }
    static const struct {
        const char *name;
        unsigned number, count; /* 0: no shard */
    } shards[] = {
        {"model-00002-of-00003.safetensors", 2, 3}, {"a-of-b-00001-of-00009.gguf", 1, 9}, {"x-2-of-3.bin", 0, 0},
        {"x-00002-of-00003", 0, 0},                 {"-00002-of-00003.x", 2, 3},          {"00002-of-00003.x", 0, 0},
        {"x-of-", 0, 0},                            {"x-0000a-of-00003.x", 0, 0},
    };
    for (size_t i = 0; i < COUNT_OF(shards); i++) {
        unsigned number = 0, count = 0;
        bool found = nb_name_is_shard(shards[i].name, &number, &count);
        assert_int_equal(found, shards[i].count != 0);
        if (found) assert_true(number == shards[i].number && count == shards[i].count);
    }
}

static void tensors_match_patterns(void **state) {
    (void)state;
    static const struct {
        const char *pattern, *name;
        int layer; /* -1: no match */
    } cases[] = {
        {"a.weight", "a.weight", 0},
        {"a.weight", "a.weights", -1},
        {"a.weight", "a.weigh", -1},
        {"h.%u.w", "h.0.w", 0},
        {"h.%u.w", "h.17.w", 17},
        {"h.%u.w", "h.017.w", -1},
        {"h.%u.w", "h.w", -1},
        {"h.%u.w", "h..w", -1},
        {"h.%u.w", "h.12345.w", -1},
        {"{a|bc}.w", "a.w", 0},
        {"{a|bc}.w", "bc.w", 0},
        {"{a|bc}.w", "b.w", -1},
        {"{a|bc}.w", ".w", -1},
        {"{t.|}h.%u.w", "t.h.3.w", 3},
        {"{t.|}h.%u.w", "h.3.w", 3},
        {"{t.|}h.%u.w", "u.h.3.w", -1},
        {"{a|ab}c", "abc", 0}, /* the first alternative fits, but leads nowhere */
        {"{x.|}{b|h}.%u.{p|q.r}.w{1|}", "h.5.q.r.w", 5},
        {"{x.|}{b|h}.%u.{p|q.r}.w{1|}", "x.b.5.p.w1", 5},
        {"{x.|}{b|h}.%u.{p|q.r}.w{1|}", "x.b.5.p.w2", -1},
    };
    static const struct {
        const char *pattern, *name;
    } first[] = {{"a", "a"}, {"h.%u.w", "h.7.w"}, {"{t.|}{b|h}.%u.{p|q}", "t.b.7.p"}, {"w{1|2|3}", "w1"}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint32_t layer;
        bool found = nb_arch_match(cases[i].pattern, cases[i].name, &layer);
        if (found != (cases[i].layer >= 0)) fail_msg("%s, %s", cases[i].pattern, cases[i].name);
        if (found) assert_int_equal(layer, cases[i].layer);
    }
    for (size_t i = 0; i < COUNT_OF(first); i++) {
        char name[64], small[20];
        nb_arch_source_name(first[i].pattern, 7, name, sizeof name);
        assert_string_equal(name, first[i].name);
        nb_arch_source_name("a.very.long.name.%u.that.does.not.fit", 7, small, sizeof small);
        assert_true(strlen(small) < sizeof small);
    }
}

static void bare_state_dictionaries_can_be_several_things(void **state) {
    fixture *f = *state;
    make_gpt(&f->model, "h", "attn.c_attn", "attn.c_proj", true, false);
    torch_save(&f->model, unit_path(f->source, f->folder, "model.pt"), NULL, NULL);
    expect(f, NULL, "does not say n_head", NULL); /* without masks it is nanoGPT's */
    torch_add(&f->model, "transformer.h.0.attn.bias", 12, 12);
    torch_save(&f->model, f->source, NULL, NULL);
    expect(f, NULL,
           "can be a minGPT state dictionary or a nanoGPT state dictionary; say which with --arch mingpt or --arch "
           "nanogpt",
           NULL);
    write_text(f, "config.json", "{\"model\":{\"model_type\":\"gpt-nano\"}}");
    expect(f, NULL, NULL, "mingpt");
    use_folder(f);
    expect(f, NULL, NULL, "mingpt");
    expect(f, "nanogpt", "does not say n_head", NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        CONVERSION_TEST(two_checkpoints_in_a_folder_are_named),
        CONVERSION_TEST(the_configuration_names_the_family),
        CONVERSION_TEST(windows_are_those_of_the_configuration),
        CONVERSION_TEST(windows_that_make_no_sense_are_refused),
        CONVERSION_TEST(shards_of_a_folder_are_one_checkpoint),
        CONVERSION_TEST(bare_state_dictionaries_can_be_several_things),
        cmocka_unit_test(names_match_patterns),
        cmocka_unit_test(tensors_match_patterns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
