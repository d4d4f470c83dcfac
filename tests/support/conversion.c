#include "tests/support/conversion.h"

#include "base/bytes.h"
#include "base/mem.h"
#include "tests/support/safetensors.h"

int conversion_setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->folder = unit_scratch_new();
    unit_path(f->target, f->folder, "out.nbl");
    f->model.seed = 42;
    *state = f;
    return 0;
}

int conversion_teardown(void **state) {
    fixture *f = *state;
    unit_scratch_free(f->folder);
    torch_model_free(&f->model);
    nb_buf_free(&f->sentences);
    free(f);
    return 0;
}

void write_text(const fixture *f, const char *name, const char *text) {
    char path[UNIT_PATH];
    unit_write_file(unit_path(path, f->folder, name), text, strlen(text));
}

/* ---- synthetic checkpoints ---- */

static void add_layered(torch_model *m, const char *format, unsigned layers, uint64_t rows, uint64_t cols) {
    char name[96];
    for (unsigned i = 0; i < layers; i++) {
        const char *hole = strstr(format, "%u");
        snprintf(name, sizeof name, "%.*s%u%s", (int)(hole - format), format, i, hole + 2);
        torch_add(m, name, rows, cols);
    }
}

/* nanochat: 2 layers, 40 channels, 5 heads of 8, 1 KV head; the vocabulary of 37 is padded to 64 rows. */
void make_nanochat(fixture *f, const char *step) {
    torch_model *m = &f->model;
    char name[64];
    torch_add(m, "_orig_mod.transformer.wte.weight", 64, 40);
    add_layered(m, "_orig_mod.transformer.h.%u.attn.c_q.weight", 2, 40, 40);
    add_layered(m, "_orig_mod.transformer.h.%u.attn.c_k.weight", 2, 8, 40);
    add_layered(m, "_orig_mod.transformer.h.%u.attn.c_v.weight", 2, 8, 40);
    add_layered(m, "_orig_mod.transformer.h.%u.attn.c_proj.weight", 2, 40, 40);
    add_layered(m, "_orig_mod.transformer.h.%u.mlp.c_fc.weight", 2, 160, 40);
    add_layered(m, "_orig_mod.transformer.h.%u.mlp.c_proj.weight", 2, 40, 160);
    torch_add(m, "_orig_mod.lm_head.weight", 64, 40);
    snprintf(name, sizeof name, "model_%s.pt", step);
    torch_save(m, unit_path(f->source, f->folder, name), NULL, NULL);
    snprintf(name, sizeof name, "meta_%s.json", step);
    write_text(f, name,
               "{\"step\": 1, \"model_config\": {\"sequence_len\": 64, \"vocab_size\": 37, \"n_layer\": 2, \"n_head\": "
               "5, \"n_kv_head\": 1, \"n_embd\": 40}}");
}

/* A pickled Encoding of the 256 bytes and two specials would have more tokens than 37, so models for it are larger. */
void write_encoding(const fixture *f, const char *name, unsigned n_special) {
    nb_buf b = {0};
    char path[UNIT_PATH];
    nb_buf_append(&b, "\x80\x04\x8c\x0dtiktoken.core\x8c\x08" "Encoding\x93)\x81}(", 32);
    pk_text(&b, "name");
    pk_text(&b, "rustbpe");
    pk_text(&b, "pat_str");
    pk_text(&b, "\\p{L}+|[^\\p{L}]");
    pk_text(&b, "mergeable_ranks");
    nb_buf_text(&b, "}(");
    for (unsigned i = 0; i < 256; i++) {
        uint8_t token[3] = {'C', 1, (uint8_t)i};
        nb_buf_append(&b, token, 3);
        pk_int(&b, i);
    }
    nb_buf_text(&b, "C\2he");
    pk_int(&b, 256);
    nb_buf_text(&b, "u");
    pk_text(&b, "special_tokens");
    nb_buf_text(&b, "}(");
    static const char *const specials[] = {"<|bos|>", "<|user_start|>", "<|assistant_end|>"};
    for (unsigned i = 0; i < n_special; i++) pk_entry_int(&b, specials[i], 257 + i);
    nb_buf_text(&b, "uub.");
    unit_write_file(unit_path(path, f->folder, name), b.data, b.size);
    nb_buf_free(&b);
}

void make_gpt(torch_model *m, const char *block, const char *qkv, const char *out, bool bias_all,
                     bool bias_some) {
    static const struct {
        const char *name;
        uint64_t rows, cols;
        int bias; /* 1: with all biases, 2: always */
    } parts[] = {{"ln_1", 0, 24, 2}, {NULL, 72, 24, 2},       {"out", 24, 24, 1},
                 {"ln_2", 0, 24, 2}, {"mlp.c_fc", 96, 24, 1}, {"mlp.c_proj", 24, 96, 1}};
    char name[96];
    torch_add(m, "transformer.wte.weight", 19, 24);
    torch_add(m, "transformer.wpe.weight", 12, 24);
    for (unsigned layer = 0; layer < 2; layer++)
        for (size_t i = 0; i < COUNT_OF(parts); i++) {
            const char *part = i == 1 ? qkv : i == 2 ? out : parts[i].name;
            snprintf(name, sizeof name, "transformer.%s.%u.%s.weight", block, layer, part);
            torch_add(m, name, parts[i].rows, parts[i].cols);
            snprintf(name, sizeof name, "transformer.%s.%u.%s.bias", block, layer, part);
            if (bias_all || (bias_some && parts[i].bias == 2))
                torch_add(m, name, 0, parts[i].rows ? parts[i].rows : parts[i].cols);
        }
    torch_add(m, "transformer.ln_f.weight", 0, 24);
    if (bias_all || bias_some) torch_add(m, "transformer.ln_f.bias", 0, 24);
    torch_add(m, "lm_head.weight", 19, 24)->storage_of = "transformer.wte.weight";
    memcpy(torch_find(m, "lm_head.weight")->values, torch_find(m, "transformer.wte.weight")->values,
           sizeof(float) * 19 * 24);
}

void save_nanogpt(fixture *f) {
    nb_buf extra = {0};
    pk_text(&extra, "model_args");
    nb_buf_text(&extra, "}(");
    pk_entry_int(&extra, "n_layer", 2);
    pk_entry_int(&extra, "n_head", 3);
    pk_entry_int(&extra, "n_embd", 24);
    pk_entry_int(&extra, "block_size", 12);
    pk_entry_int(&extra, "vocab_size", 19);
    pk_op(&extra, 'u');
    pk_entry_int(&extra, "iter_num", 5);
    torch_save(&f->model, unit_path(f->source, f->folder, "ckpt.pt"), "model", &extra);
    nb_buf_free(&extra);
}

void make_nanogpt(fixture *f, bool biases) {
    make_gpt(&f->model, "h", "attn.c_attn", "attn.c_proj", biases, false);
    save_nanogpt(f);
}

void make_minigpt(fixture *f) {
    nb_buf extra = {0};
    make_gpt(&f->model, "blocks", "attn.qkv_proj", "attn.out_proj", false, true);
    pk_entry_int(&extra, "epoch", 3);
    torch_save(&f->model, unit_path(f->source, f->folder, "best_model.pth"), "model_state_dict", &extra);
    write_text(f, "vocab.json",
               "{\"word2id\": {\"<pad>\": 0, \"<unk>\": 1, \"<sep>\": 2, \"\xe4\xbd\xa0\": 3, \"a\": 5}, \"id2word\": "
               "{\"0\": \"<pad>\"}}");
    nb_buf_free(&extra);
}

void make_hf_weights(torch_model *m) {
    torch_add(m, "model.embed_tokens.weight", 24, 16);
    add_layered(m, "model.layers.%u.input_layernorm.weight", 2, 0, 16);
    add_layered(m, "model.layers.%u.self_attn.q_proj.weight", 2, 16, 16);
    add_layered(m, "model.layers.%u.self_attn.k_proj.weight", 2, 8, 16);
    add_layered(m, "model.layers.%u.self_attn.v_proj.weight", 2, 8, 16);
    add_layered(m, "model.layers.%u.self_attn.o_proj.weight", 2, 16, 16);
    add_layered(m, "model.layers.%u.post_attention_layernorm.weight", 2, 0, 16);
    add_layered(m, "model.layers.%u.mlp.gate_proj.weight", 2, 24, 16);
    add_layered(m, "model.layers.%u.mlp.up_proj.weight", 2, 24, 16);
    add_layered(m, "model.layers.%u.mlp.down_proj.weight", 2, 16, 24);
    torch_add(m, "model.norm.weight", 0, 16);
}

void make_hf(fixture *f, const char *config) {
    nb_buf text = {0};
    make_hf_weights(&f->model);
    safetensors_save(&f->model, 0, f->model.n, unit_path(f->source, f->folder, "model.safetensors"));
    nb_buf_printf(
        &text,
        "{\"hidden_size\":16,\"intermediate_size\":24,\"num_attention_heads\":2,\"num_key_value_heads\":1,"
        "\"num_hidden_layers\":2,\"vocab_size\":24,\"max_position_embeddings\":64,\"tie_word_embeddings\":true,"
        "\"rope_theta\":10000.0,\"rms_norm_eps\":1e-5,\"hidden_act\":\"silu\"%s%s}",
        *config ? "," : "", config);
    write_text(f, "config.json", nb_buf_str(&text));
    nb_buf_free(&text);
}

/* ---- converting and looking at the result ---- */

static void hear(void *user, const char *sentence) {
    fixture *f = user;
    nb_buf_printf(&f->sentences, "%s\n", sentence);
}

nb_convert_options options_for(fixture *f, nb_type type) {
    return (nb_convert_options){.type = type, .overwrite = true, .say = hear, .user = f};
}

void convert_ok(fixture *f, const nb_convert_options *o, nb_convert_report *r) {
    nb_error err = {0};
    nb_buf_clear(&f->sentences);
    if (nb_convert(f->source, f->target, o, r, &err)) fail_msg("%s", err.text);
}

nb_reader *open_target(const fixture *f) {
    nb_reader *r = NULL;
    nb_error err = {0};
    if (nb_reader_open(&r, f->target, NULL, &err)) fail_msg("%s", err.text);
    return r;
}

const nb_tensor *find_tensor(nb_reader *r, const char *name) {
    static const nb_tensor none;
    const nb_tensor *t = nb_reader_find(r, name);
    if (!t) fail_msg("no tensor '%s'", name);
    return t ? t : &none;
}

uint8_t *load_tensor(nb_reader *r, const char *name) {
    const nb_tensor *t = find_tensor(r, name);
    nb_error err = {0};
    uint8_t *bytes = nb_alloc((size_t)t->raw_bytes);
    const nb_load one = {.tensor = t, .dst = bytes};
    if (nb_reader_load(r, &one, 1, NULL, NULL, &err)) fail_msg("%s", err.text);
    return bytes;
}

void expect_failure(fixture *f, const nb_convert_options *o, nb_status status, const char *sentence) {
    nb_error err = {0};
    nb_status st = nb_convert(f->source, f->target, o, NULL, &err);
    if (!st) fail_msg("converted, expected \"%s\"", sentence);
    if (!strstr(err.text, sentence)) fail_msg("\"%s\", expected \"%s\"", err.text, sentence);
    assert_int_equal(st, status);
}
