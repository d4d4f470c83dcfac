/* Adapters that cannot be merged: every one gives its own sentence. Ones that can are compared with PEFT in
 * test_golden. */
#include "tests/support/conversion.h"

#include <math.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/mem.h"
#include "tests/support/safetensors.h"

#define PEFT "base_model.model.model.layers."
#define Q PEFT "0.self_attn.q_proj."
#define PEFT_HEAD "base_model.model.lm_head."
#define FINE "\"r\":4,\"lora_alpha\":8,\"peft_type\":\"LORA\""

typedef struct shape {
    const char *name;
    uint64_t rows, cols;
} shape;

typedef struct bad {
    const char *config; /* NULL: there is none */
    shape tensors[3];   /* none: no file */
    const char *sentence;
} bad;

static const bad cases[] = {
    {NULL, {{Q "lora_A.weight", 4, 16}}, "is no adapter of PEFT: it has no adapter_config.json"},
    {FINE, {{NULL, 0, 0}}, "has no adapter_model.safetensors"},
    {"\"r\":4,", {{Q "lora_A.weight", 4, 16}}, "adapter_config.json"},
    {"\"r\":4,\"lora_alpha\":8,\"peft_type\":\"IA3\"", {{Q "lora_A.weight", 4, 16}},
     "says peft_type = IA3; adapters are merged with LORA only"},
    {FINE ",\"use_dora\":true", {{Q "lora_A.weight", 4, 16}}, "says use_dora = true"},
    {FINE ",\"lora_bias\":true", {{Q "lora_A.weight", 4, 16}}, "says lora_bias = true"},
    {FINE ",\"init_lora_weights\":\"pissa\"", {{Q "lora_A.weight", 4, 16}}, "says init_lora_weights = pissa"},
    {FINE ",\"layer_replication\":[[0,1]]", {{Q "lora_A.weight", 4, 16}}, "says layer_replication = "},
    {"\"lora_alpha\":8", {{Q "lora_A.weight", 4, 16}},
     "has no positive number 'r' for 'model.layers.0.self_attn.q_proj'"},
    {"\"r\":4", {{Q "lora_A.weight", 4, 16}}, "has no positive number 'lora_alpha'"},
    {"\"r\":-4,\"lora_alpha\":8", {{Q "lora_A.weight", 4, 16}}, "has no positive number 'r'"},
    {"\"r\":4,\"lora_alpha\":\"8\"", {{Q "lora_A.weight", 4, 16}}, "has no positive number 'lora_alpha'"},
    {FINE ",\"rank_pattern\":{\"*layers\":2}", {{Q "lora_A.weight", 4, 16}}, "has '*layers' in 'rank_pattern'"},
    {FINE ",\"rank_pattern\":{\"^layers.*\":3,\"attn\":3,\"elf_attn.q_proj\":3,\"[qk]_proj\":2}", {{Q "lora_A.weight", 4, 16}},
     "is of rank 4, but its configuration says 2"},
    {FINE ",\"rank_pattern\":{\"^model.layers.\\\\d.*\":2}", {{Q "lora_A.weight", 4, 16}},
     "is of rank 4, but its configuration says 2"},
    {FINE ",\"rank_pattern\":{\"self.attn.q.proj\":2}", {{Q "lora_A.weight", 4, 16}},
     "is of rank 4, but its configuration says 2"},
    {FINE ",\"rank_pattern\":{\"q_proj\":2}", {{Q "lora_A.weight", 4, 16}},
     "is of rank 4, but its configuration says 2"},
    {FINE, {{Q "lora_A.weight", 8, 16}}, "'" Q "lora_A.weight' is of rank 8, but its configuration says 4"},
    {FINE, {{Q "lora_B.weight", 16, 3}}, "'" Q "lora_B.weight' is of rank 3"},
    {FINE, {{Q "lora_A.weight", 0, 4}}, "is of rank 1"},
    {FINE, {{Q "lora_A.weight", 4, 16}},
     "not just one A and one B for tensor 'model.layers.0.self_attn.q_proj.weight'"},
    {FINE, {{Q "lora_B.weight", 16, 4}}, "not just one A and one B"},
    {FINE, {{Q "lora_A.weight", 4, 16}, {Q "lora_B.weight", 16, 4}, {Q "weight", 16, 16}}, "not just one A and one B"},
    {FINE, {{Q "lora_A.weight", 4, 8}, {Q "lora_B.weight", 16, 4}},
     "as if it had the shape [16, 8], but it has [16, 16]"},
    {FINE, {{Q "lora_A.weight", 4, 16}, {Q "lora_B.weight", 24, 4}},
     "as if it had the shape [24, 16], but it has [16, 16]"},
    {FINE ",\"fan_in_fan_out\":true",
     {{PEFT "0.mlp.up_proj.lora_A.weight", 4, 16}, {PEFT "0.mlp.up_proj.lora_B.weight", 24, 4}},
     "as if it had the shape [16, 24], but it has [24, 16]"},
    {FINE, {{PEFT "0.input_layernorm.lora_A.weight", 4, 16}, {PEFT "0.input_layernorm.lora_B.weight", 1, 4}},
     "but it has [16]"},
    {FINE, {{PEFT "7.self_attn.q_proj.lora_A.weight", 4, 16}},
     "is for 'model.layers.7.self_attn.q_proj.weight', which the checkpoint does not"},
    {FINE, {{"base_model.model.lm_head.weight", 24, 16}},
     "is for 'lm_head.weight', which the checkpoint does not have"},
    {FINE, {{"base_model.model.model.embed_tokens.weight", 24, 16}}, "which is the head of this model too"},
    {FINE, {{"base_model.model.model.embed_tokens.lora_embedding_A", 4, 24}}, "which is the head of this model too"},
    {FINE, {{"base_model.model.model.norm.weight", 0, 8}}, "has the shape [8], but that of the checkpoint [16]"},
    {FINE, {{Q "lora_magnitude_vector", 0, 16}}, "lora_magnitude_vector' is nothing that can be merged"},
    {FINE, {{Q "lora_B.bias", 0, 16}}, "lora_B.bias' is nothing that can be merged"},
    {FINE, {{"model.layers.0.self_attn.q_proj.lora_A.weight", 4, 16}}, "is not named as PEFT names them"},
    {FINE, {{"base_model.model.", 4, 16}}, "is not named as PEFT names them"},
    {FINE, {{PEFT "0.self_attn.q_proj.base_layer.bias", 0, 16}},
     "is for 'model.layers.0.self_attn.q_proj.bias', which the checkpoint"},
};

/* The adapter's folder; what it holds is written. */
static const char *make_adapter(fixture *f, const bad *b, char folder[UNIT_PATH]) {
    char path[UNIT_PATH], text[600];
    torch_model m = {0};
    mkdir(unit_path(folder, f->folder, "adapter"), 0700);
    unlink(unit_path(path, f->folder, "adapter/adapter_config.json"));
    snprintf(text, sizeof text, "{%s}", b->config ? b->config : "");
    if (b->config) write_text(f, "adapter/adapter_config.json", text);
    unlink(unit_path(path, f->folder, "adapter/adapter_model.safetensors"));
    for (size_t i = 0; i < COUNT_OF(b->tensors) && b->tensors[i].name; i++)
        torch_add(&m, b->tensors[i].name, b->tensors[i].rows, b->tensors[i].cols);
    if (m.n) safetensors_save(&m, 0, m.n, path);
    torch_model_free(&m);
    return folder;
}

static void bad_adapters_say_why(void **state) {
    fixture *f = *state;
    char folder[UNIT_PATH];
    make_hf(f, "\"model_type\":\"llama\"");
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        nb_error err = {0};
        const nb_lora lora = {make_adapter(f, &cases[i], folder), 1};
        nb_convert_options o = options_for(f, NB_TYPE_F32);
        o.tokenizer = "none";
        o.loras = &lora;
        o.n_loras = 1;
        if (!nb_convert(f->source, f->target, &o, NULL, &err)) fail_msg("case %zu was merged, expected \"%s\"", i, cases[i].sentence);
        if (!strstr(err.text, cases[i].sentence)) fail_msg("case %zu: \"%s\", expected \"%s\"", i, err.text, cases[i].sentence);
    }
}

static void an_adapter_is_no_model(void **state) {
    fixture *f = *state;
    char folder[UNIT_PATH];
    nb_error err = {0};
    const nb_convert_options o = options_for(f, NB_TYPE_F32);
    make_adapter(f, &cases[1], folder);
    assert_int_equal(nb_convert(folder, f->target, &o, NULL, &err), NB_ARGUMENT);
    assert_non_null(strstr(err.text, "holds an adapter, no model: convert the model that it is for, with --lora"));
}

/* Merging changes the tensor by scale * alpha / r * B A and no other, whatever the batches; a scale of 0 changes
 * nothing. */
static void the_sum_is_the_definition(void **state) {
    fixture *f = *state;
    static const bad b = {FINE, {{Q "lora_A.weight", 4, 16}, {Q "lora_B.weight", 16, 4}}, NULL};
    char folder[UNIT_PATH];
    nb_lora lora = {NULL, 0.25};
    nb_convert_options o = options_for(f, NB_TYPE_F32);
    nb_convert_report plain, zero, merged;
    make_hf(f, "\"model_type\":\"llama\"");
    o.tokenizer = "none";
    convert_ok(f, &o, &plain);
    nb_reader *r = open_target(f);
    uint8_t *before = load_tensor(r, "blocks.0.attn.qkv.weight");
    nb_reader_close(r);
    lora.folder = make_adapter(f, &b, folder);
    o.loras = &lora;
    o.n_loras = 1;
    convert_ok(f, &o, &merged);
    assert_non_null(strstr(nb_buf_str(&f->sentences), "adapter 'adapter' is merged, times 0.25: it changes 1 tensors"));
    r = open_target(f);
    uint8_t *after = load_tensor(r, "blocks.0.attn.qkv.weight");
    nb_reader_close(r);
    torch_model m = {0};
    for (size_t i = 0; i < 2; i++) torch_add(&m, b.tensors[i].name, b.tensors[i].rows, b.tensors[i].cols);
    for (size_t row = 0; row < 16; row++)
        for (size_t col = 0; col < 16; col++) { /* panels of f32: 16 rows of a column together */
            float was, is;
            double sum = 0;
            for (size_t k = 0; k < 4; k++)
                sum += (double)m.weights[1].values[row * 4 + k] * (double)m.weights[0].values[k * 16 + col];
            memcpy(&was, before + (col * 16 + row) * sizeof was, sizeof was);
            memcpy(&is, after + (col * 16 + row) * sizeof is, sizeof is);
            assert_true(fabs((double)is - ((double)was + 0.25 * 2 * sum)) < 1e-6);
        }
    assert_true(plain.identity != merged.identity);
    lora.scale = 0;
    convert_ok(f, &o, &zero);
    assert_int_equal(plain.identity, zero.identity);
    torch_model_free(&m);
    nb_free(before);
    nb_free(after);
}

/* PEFT keeps the head below an adapter of it too; and it wrote torch's files before safetensors. */
static void heads_and_old_files(void **state) {
    fixture *f = *state;
    static const bad b = {FINE, {{PEFT_HEAD "lora_A.weight", 4, 16}, {PEFT_HEAD "lora_B.weight", 24, 4}, {PEFT_HEAD "base_layer.weight", 24, 16}}, NULL};
    char folder[UNIT_PATH], path[UNIT_PATH];
    nb_convert_options o = options_for(f, NB_TYPE_F32);
    nb_convert_report merged, same;
    make_hf(f, "\"model_type\":\"llama\"");
    torch_add(&f->model, "lm_head.weight", 24, 16);
    safetensors_save(&f->model, 0, f->model.n, f->source);
    nb_lora lora = {make_adapter(f, &b, folder), 1};
    o.tokenizer = "none";
    o.loras = &lora;
    o.n_loras = 1;
    convert_ok(f, &o, &merged);
    nb_reader *r = open_target(f);
    uint8_t *head = load_tensor(r, "head.weight");
    nb_reader_close(r);
    torch_model m = {0};
    for (size_t i = 0; i < 3; i++) torch_add(&m, b.tensors[i].name, b.tensors[i].rows, b.tensors[i].cols);
    for (size_t col = 0; col < 16; col++) { /* row 3 of the first panel */
        float is;
        double sum = (double)m.weights[2].values[3 * 16 + col];
        for (size_t k = 0; k < 4; k++)
            sum += 2 * (double)m.weights[1].values[3 * 4 + k] * (double)m.weights[0].values[k * 16 + col];
        memcpy(&is, head + (col * 16 + 3) * sizeof is, sizeof is);
        assert_true(fabs((double)is - sum) < 1e-6);
    }
    unlink(unit_path(path, f->folder, "adapter/adapter_model.safetensors"));
    torch_save(&m, unit_path(path, f->folder, "adapter/adapter_model.bin"), NULL, NULL);
    convert_ok(f, &o, &same);
    assert_int_equal(merged.identity, same.identity);
    torch_save_legacy(&m, path, NULL, NULL);
    convert_ok(f, &o, &same);
    assert_int_equal(merged.identity, same.identity);
    unit_write_file(path, "PK", 2);
    nb_error err = {0};
    assert_true(nb_convert(f->source, f->target, &o, NULL, &err));
    assert_non_null(strstr(err.text, "adapter_model.bin' is no checkpoint of a known form"));
    torch_model_free(&m);
    nb_free(head);
}

int main(void) {
    const struct CMUnitTest tests[] = {CONVERSION_TEST(bad_adapters_say_why), CONVERSION_TEST(an_adapter_is_no_model),
                                       CONVERSION_TEST(the_sum_is_the_definition),
                                       CONVERSION_TEST(heads_and_old_files)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
