/* One Llama in all its forms: Hugging Face's names and halves, Meta's names and pairs in one file, in parts and in both
 * containers of torch.save, llama2.c's three versions. All must become the same model, to the bit. */
#include "tests/support/conversion.h"

#include <unistd.h>
#include "base/bytes.h"
#include "tests/support/safetensors.h"

enum { LAYERS = 2, DIM = 16, HIDDEN = 24, HEADS = 2, KV_HEADS = 1, HEAD_DIM = 8, VOCAB = 24, CONTEXT = 64 };

/* ---- Meta's names and order of rows ---- */

static const struct {
    const char *hf, *meta;
    bool pairs, columns; /* rows of a head are pairs; its parts are cut by columns */
} names[] = {
    {"model.embed_tokens.weight", "tok_embeddings.weight", false, true},
    {"model.layers.%u.input_layernorm.weight", "layers.%u.attention_norm.weight", false, false},
    {"model.layers.%u.self_attn.q_proj.weight", "layers.%u.attention.wq.weight", true, false},
    {"model.layers.%u.self_attn.k_proj.weight", "layers.%u.attention.wk.weight", true, false},
    {"model.layers.%u.self_attn.v_proj.weight", "layers.%u.attention.wv.weight", false, false},
    {"model.layers.%u.self_attn.o_proj.weight", "layers.%u.attention.wo.weight", false, true},
    {"model.layers.%u.post_attention_layernorm.weight", "layers.%u.ffn_norm.weight", false, false},
    {"model.layers.%u.mlp.gate_proj.weight", "layers.%u.feed_forward.w1.weight", false, false},
    {"model.layers.%u.mlp.down_proj.weight", "layers.%u.feed_forward.w2.weight", false, true},
    {"model.layers.%u.mlp.up_proj.weight", "layers.%u.feed_forward.w3.weight", false, false},
    {"model.norm.weight", "norm.weight", false, false},
};

static void name_of(const char *pattern, unsigned layer, char name[96]) {
    const char *hole = strstr(pattern, "%u");
    if (hole) snprintf(name, 96, "%.*s%u%s", (int)(hole - pattern), pattern, layer, hole + 2);
    else snprintf(name, 96, "%s", pattern);
}

/* The same weights for Meta's code. */
static void to_meta(torch_model *from, torch_model *to) {
    char name[96];
    for (size_t i = 0; i < COUNT_OF(names); i++)
        for (unsigned layer = 0; layer < (strstr(names[i].hf, "%u") ? LAYERS : 1); layer++) {
            name_of(names[i].hf, layer, name);
            const torch_weight *w = torch_find(from, name);
            name_of(names[i].meta, layer, name);
            torch_weight *x = torch_add(to, name, w->n_dims == 2 ? w->dims[0] : 0, w->dims[w->n_dims - 1]);
            for (size_t r = 0; r < w->count / DIM && names[i].pairs; r++) {
                size_t head = r / HEAD_DIM * HEAD_DIM, k = r % HEAD_DIM, half = HEAD_DIM / 2;
                size_t pair = head + (k < half ? 2 * k : 2 * (k - half) + 1);
                memcpy(x->values + pair * DIM, w->values + r * DIM, DIM * sizeof(float));
            }
            if (!names[i].pairs) memcpy(x->values, w->values, w->count * sizeof(float));
        }
    torch_weight *head = torch_add(to, "output.weight", VOCAB, DIM);
    memcpy(head->values, torch_find(to, "tok_embeddings.weight")->values, sizeof(float) * VOCAB * DIM);
}

static bool cut_by_columns(const char *name, bool llama3) {
    char meta[96];
    for (size_t i = 0; i < COUNT_OF(names); i++)
        for (unsigned layer = 0; layer < LAYERS; layer++) {
            name_of(names[i].meta, layer, meta);
            if (!strcmp(meta, name)) return names[i].columns && (i || !llama3);
        }
    return false;
}

/* Part `at` of `n`. */
static void cut(const torch_model *whole, torch_model *part, size_t at, size_t n, bool llama3) {
    for (size_t i = 0; i < whole->n; i++) {
        const torch_weight *w = &whole->weights[i];
        if (w->n_dims == 1) {
            memcpy(torch_add(part, w->name, 0, w->dims[0])->values, w->values, w->count * sizeof(float));
            continue;
        }
        bool columns = cut_by_columns(w->name, llama3);
        size_t rows = (size_t)w->dims[0] / (columns ? 1 : n), cols = (size_t)w->dims[1] / (columns ? n : 1);
        torch_weight *x = torch_add(part, w->name, rows, cols);
        const float *from = w->values + (columns ? at * cols : at * rows * cols);
        for (size_t r = 0; r < rows; r++) memcpy(x->values + r * cols, from + r * w->dims[1], cols * sizeof(float));
    }
}

/* ---- llama2.c ---- */

static const char *const order_v0[] = {"tok_embeddings.weight",           "layers.%u.attention_norm.weight",
                                       "layers.%u.attention.wq.weight",   "layers.%u.attention.wk.weight",
                                       "layers.%u.attention.wv.weight",   "layers.%u.attention.wo.weight",
                                       "layers.%u.ffn_norm.weight",       "layers.%u.feed_forward.w1.weight",
                                       "layers.%u.feed_forward.w2.weight", "layers.%u.feed_forward.w3.weight",
                                       "norm.weight"};
static const char *const order_v1[] = {"layers.%u.attention_norm.weight", "layers.%u.ffn_norm.weight",
                                       "norm.weight",                     "tok_embeddings.weight",
                                       "layers.%u.attention.wq.weight",   "layers.%u.attention.wk.weight",
                                       "layers.%u.attention.wv.weight",   "layers.%u.attention.wo.weight",
                                       "layers.%u.feed_forward.w1.weight", "layers.%u.feed_forward.w2.weight",
                                       "layers.%u.feed_forward.w3.weight"};

static void put_floats(nb_buf *b, const float *x, size_t n) {
    for (size_t i = 0; i < n; i++) nb_put_f32(nb_buf_extend(b, 4), x[i]);
}

/* Values that are whole multiples of their group's scale. */
static void put_groups(nb_buf *b, const float *x, size_t n, size_t group) {
    for (size_t i = 0; i < n; i++) nb_buf_byte(b, (uint8_t)(int8_t)(x[i] * 64));
    for (size_t i = 0; i < n / group; i++) nb_put_f32(nb_buf_extend(b, 4), 1.0f / 64);
}

static void put_weights(torch_model *m, nb_buf *b, const char *const *order, size_t n, int version, size_t group) {
    char name[96];
    for (size_t i = 0; i < n; i++)
        for (unsigned layer = 0; layer < (strstr(order[i], "%u") ? LAYERS : 1); layer++) {
            name_of(order[i], layer, name);
            const torch_weight *w = torch_find(m, name);
            if (version == 2 && w->n_dims == 2) put_groups(b, w->values, w->count, group);
            else put_floats(b, w->values, w->count);
        }
}

static void put_shape(nb_buf *b) {
    static const uint32_t shape[] = {DIM, HIDDEN, LAYERS, HEADS, KV_HEADS, VOCAB, CONTEXT};
    for (size_t i = 0; i < COUNT_OF(shape); i++) nb_buf_u32(b, shape[i]);
}

static void llama2c_bytes(torch_model *m, int version, uint32_t group, nb_buf *b) {
    if (version) nb_buf_text(b, "24ka");
    if (version) nb_buf_u32(b, (uint32_t)version);
    put_shape(b);
    if (version) nb_buf_byte(b, 1);
    if (version == 2) nb_buf_u32(b, group);
    while (version && b->size < 256) nb_buf_byte(b, 0);
    if (version) put_weights(m, b, order_v1, COUNT_OF(order_v1), version, group);
    else put_weights(m, b, order_v0, COUNT_OF(order_v0), version, group);
    for (size_t i = 0; !version && i < 2 * CONTEXT * HEAD_DIM / 2; i++)
        nb_buf_u32(b, 0x7fc00000); /* tables that nobody reads */
    assert_false(b->failed);
}

/* ---- converting ---- */

static const nb_setting context = {"n_ctx", "64"};

static uint64_t identity(fixture *f, const char *name) {
    nb_convert_options o = options_for(f, NB_TYPE_F32);
    nb_convert_report report;
    o.tokenizer = "none";
    o.settings = &context;
    o.n_settings = 1;
    if (name) unit_path(f->source, f->folder, name);
    convert_ok(f, &o, &report);
    assert_string_equal(report.architecture, "llama");
    return report.identity;
}

static void params_json(const fixture *f) {
    write_text(f, "params.json",
               "{\"dim\":16,\"n_layers\":2,\"n_heads\":2,\"n_kv_heads\":1,\"norm_eps\":1e-5,\"vocab_size\":-1,"
               "\"multiple_of\":8}");
}

static void model_args(nb_buf *extra) {
    static const struct {
        const char *key;
        int64_t value;
    } args[] = {
        {"dim", DIM}, {"n_layers", LAYERS}, {"n_heads", HEADS}, {"n_kv_heads", KV_HEADS}, {"vocab_size", VOCAB}};
    pk_text(extra, "model_args");
    nb_buf_text(extra, "}(");
    for (size_t i = 0; i < COUNT_OF(args); i++) pk_entry_int(extra, args[i].key, args[i].value);
    pk_op(extra, 'u');
}

static void all_forms_are_one_model(void **state) {
    fixture *f = *state;
    char path[UNIT_PATH];
    torch_model meta = {0};
    nb_buf extra = {0};
    make_hf(f, "\"model_type\":\"llama\"");
    uint64_t expected = identity(f, NULL);
    torch_save_legacy(&f->model, unit_path(path, f->folder, "hf_legacy.bin"), NULL, NULL);
    assert_int_equal(identity(f, "hf_legacy.bin"), expected);
    to_meta(&f->model, &meta);
    params_json(f);
    torch_save(&meta, unit_path(path, f->folder, "consolidated.00.pth"), NULL, NULL);
    assert_int_equal(identity(f, "consolidated.00.pth"), expected);
    torch_save_legacy(&meta, unit_path(path, f->folder, "legacy.pth"), NULL, NULL);
    assert_int_equal(identity(f, "legacy.pth"), expected);
    safetensors_save(&meta, 0, meta.n, unit_path(path, f->folder, "consolidated.safetensors"));
    assert_int_equal(identity(f, "consolidated.safetensors"), expected);
    model_args(&extra);
    torch_save(&meta, unit_path(path, f->folder, "ckpt.pt"), "model", &extra);
    assert_int_equal(identity(f, "ckpt.pt"), expected);
    for (int version = 0; version < 2; version++) {
        nb_buf file = {0};
        llama2c_bytes(&meta, version, 0, &file);
        unit_write_file(unit_path(path, f->folder, "stories.bin"), file.data, file.size);
        assert_int_equal(identity(f, "stories.bin"), expected);
        nb_buf_free(&file);
    }
    nb_buf_free(&extra);
    torch_model_free(&meta);
}

/* Saved without its head, and by an old version that kept what it computes. */
static void names_may_lack_the_model(void **state) {
    fixture *f = *state;
    char path[UNIT_PATH];
    make_hf(f, "\"model_type\":\"llama\"");
    uint64_t expected = identity(f, NULL);
    torch_add(&f->model, "model.layers.1.self_attn.rotary_emb.inv_freq", 0, HEAD_DIM / 2);
    torch_add(&f->model, "model.rotary_emb.cos_cached", CONTEXT, HEAD_DIM);
    safetensors_save(&f->model, 0, f->model.n, unit_path(path, f->folder, "buffers.safetensors"));
    assert_int_equal(identity(f, "buffers.safetensors"), expected);
    for (size_t i = 0; i < f->model.n; i++) {
        char *name = f->model.weights[i].name;
        memmove(name, name + strlen("model."), strlen(name + strlen("model.")) + 1);
    }
    safetensors_save(&f->model, 0, f->model.n, unit_path(path, f->folder, "base.safetensors"));
    assert_int_equal(identity(f, "base.safetensors"), expected);
}

/* The configuration says that the head is the embedding; a stored one counts unless it is that. */
static void a_head_of_its_own_counts(void **state) {
    fixture *f = *state;
    char path[UNIT_PATH];
    make_hf(f, "\"model_type\":\"llama\"");
    uint64_t expected = identity(f, NULL);
    torch_weight *head = torch_add(&f->model, "lm_head.weight", VOCAB, DIM);
    memcpy(head->values, f->model.weights[0].values, head->count * sizeof(float));
    safetensors_save(&f->model, 0, f->model.n, unit_path(path, f->folder, "copied.safetensors"));
    assert_int_equal(identity(f, "copied.safetensors"), expected);
    head->values[5] += 1;
    safetensors_save(&f->model, 0, f->model.n, unit_path(path, f->folder, "own.safetensors"));
    assert_true(identity(f, "own.safetensors") != expected);
    nb_reader *r = open_target(f);
    assert_non_null(nb_reader_find(r, "head.weight"));
    nb_reader_close(r);
}

static void parts_are_joined(void **state) {
    fixture *f = *state;
    char path[UNIT_PATH], name[40];
    torch_model meta = {0};
    make_hf(f, "\"model_type\":\"llama\"");
    uint64_t expected = identity(f, NULL);
    to_meta(&f->model, &meta);
    params_json(f);
    for (size_t n = 2; n <= 4; n *= 2)
        for (int llama3 = 0; llama3 < 2; llama3++) {
            for (size_t i = 0; i < n; i++) {
                torch_model part = {0};
                cut(&meta, &part, i, n, llama3);
                snprintf(name, sizeof name, "consolidated.%02zu.pth", i);
                torch_save(&part, unit_path(path, f->folder, name), NULL, NULL);
                torch_model_free(&part);
            }
            assert_int_equal(identity(f, "consolidated.00.pth"), expected);
            assert_int_equal(identity(f, name), expected);
        }
    torch_model_free(&meta);
}

/* Groups that are whole rows, parts of rows, and ones that go on in the next row. */
static void scaled_bytes_are_unpacked(void **state) {
    fixture *f = *state;
    static const uint32_t groups[] = {1, 4, 8, 16, 32, 64, 128};
    char path[UNIT_PATH];
    torch_model meta = {0};
    make_hf_weights(&f->model);
    for (size_t i = 0; i < f->model.n; i++)
        for (size_t k = 0; k < f->model.weights[i].count; k++)
            f->model.weights[i].values[k] = (float)(int)(f->model.weights[i].values[k] * 64) / 64;
    to_meta(&f->model, &meta);
    params_json(f);
    torch_save(&meta, unit_path(path, f->folder, "consolidated.00.pth"), NULL, NULL);
    uint64_t expected = identity(f, "consolidated.00.pth");
    for (size_t i = 0; i < COUNT_OF(groups); i++) {
        nb_buf file = {0};
        llama2c_bytes(&meta, 2, groups[i], &file);
        unit_write_file(unit_path(path, f->folder, "v2.bin"), file.data, file.size);
        assert_int_equal(identity(f, "v2.bin"), expected);
        nb_buf_free(&file);
    }
    torch_model_free(&meta);
}

/* ---- refusals ---- */

static void expect(fixture *f, const char *name, const char *sentence) {
    nb_convert_options o = options_for(f, NB_TYPE_F32);
    nb_error err = {0};
    unit_path(f->source, f->folder, name);
    if (!nb_convert(f->source, f->target, &o, NULL, &err)) fail_msg("converted, expected \"%s\"", sentence);
    if (!strstr(err.text, sentence)) fail_msg("\"%s\", expected \"%s\"", err.text, sentence);
}

static void bad_parts_have_their_sentences(void **state) {
    fixture *f = *state;
    char path[UNIT_PATH];
    torch_model meta = {0}, parts[2];
    memset(parts, 0, sizeof parts);
    make_hf_weights(&f->model);
    to_meta(&f->model, &meta);
    params_json(f);
    for (size_t i = 0; i < 2; i++) cut(&meta, &parts[i], i, 2, false);
    torch_save(&parts[0], unit_path(path, f->folder, "consolidated.00.pth"), NULL, NULL);
    torch_save(&parts[1], unit_path(path, f->folder, "consolidated.02.pth"), NULL, NULL);
    expect(f, "consolidated.00.pth", "is one of 3 parts, but 'consolidated.01.pth' is not beside it");
    unlink(path);
    torch_save(&parts[1], unit_path(path, f->folder, "consolidated.300.pth"), NULL, NULL);
    expect(f, "consolidated.00.pth", "'consolidated.300.pth' is one of more than 256 parts");
    unlink(path);
    unit_path(path, f->folder, "consolidated.01.pth");
    torch_find(&parts[1], "norm.weight")->values[3] += 1;
    torch_save(&parts[1], path, NULL, NULL);
    expect(f, "consolidated.00.pth", "tensor 'norm.weight' is not the same in ");
    torch_remove(&parts[1], "norm.weight");
    torch_save(&parts[1], path, NULL, NULL);
    expect(f, "consolidated.00.pth", " has 21 tensors, but ");
    torch_add(&parts[1], "other", 0, DIM);
    torch_save(&parts[1], path, NULL, NULL);
    expect(f, "consolidated.00.pth", "tensor 'norm.weight' is in ");
    torch_remove(&parts[1], "other");
    torch_add(&parts[1], "norm.weight", 0, DIM / 2);
    torch_save(&parts[1], path, NULL, NULL);
    expect(f, "consolidated.00.pth", "tensor 'norm.weight' is [16] in f32 in ");
    for (size_t i = 0; i < 2; i++) torch_model_free(&parts[i]);
    torch_model_free(&meta);
}

/* Bytes of a llama2.c header that are replaced by a number. */
static const struct {
    int version;
    size_t at;
    uint32_t value;
    const char *sentence;
} lies[] = {
    {1, 4, 3, "version 3 of llama2.c's format; 0 to 2 are read"},
    {1, 4, 0, "version 0 of llama2.c's format"},
    {1, 4, 0xffffffff, "version -1 of llama2.c's format"},
    {1, 8, 0, "numbers that are no model's"},
    {1, 8, 0xfffffff0, "numbers that are no model's"},
    {1, 8, 17, "numbers that are no model's"}, /* no multiple of the heads */
    {1, 16, 5000, "numbers that are no model's"},
    {1, 24, 7, "numbers that are no model's"}, /* more KV heads than heads */
    {1, 28, 0x80000000, "numbers that are no model's"},
    {1, 8, 1 << 23, "after its header"},
    {1, 16, 3, "after its header"},
    {1, 36, 0, "after its header"}, /* a head of its own */
    {2, 37, 0, "its groups have 0 values"},
    {2, 37, 0xffffffff, "its groups have -1 values"},
    {2, 37, 7, "are not whole groups of 7"},
    {2, 37, 32, "after its header"},
    {0, 0, 32, "is no checkpoint of a known form"},
    {0, 20, (uint32_t)-VOCAB, "is no checkpoint of a known form"},
};

static void bad_headers_have_their_sentences(void **state) {
    fixture *f = *state;
    char path[UNIT_PATH];
    torch_model meta = {0};
    make_hf_weights(&f->model);
    to_meta(&f->model, &meta);
    unit_path(path, f->folder, "x.bin");
    for (size_t i = 0; i < COUNT_OF(lies); i++) {
        nb_buf file = {0};
        llama2c_bytes(&meta, lies[i].version, 16, &file);
        nb_put_u32(file.data + lies[i].at, lies[i].value);
        unit_write_file(path, file.data, file.size);
        expect(f, "x.bin", lies[i].sentence);
        nb_buf_free(&file);
    }
    for (size_t cut_to = 0; cut_to < 300; cut_to += 7) { /* short files */
        nb_buf file = {0};
        llama2c_bytes(&meta, 2, 16, &file);
        unit_write_file(path, file.data, cut_to);
        expect(f, "x.bin", "x.bin'");
        nb_buf_free(&file);
    }
    torch_model_free(&meta);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        CONVERSION_TEST(all_forms_are_one_model),
        CONVERSION_TEST(names_may_lack_the_model),
        CONVERSION_TEST(a_head_of_its_own_counts),
        CONVERSION_TEST(parts_are_joined),
        CONVERSION_TEST(scaled_bytes_are_unpacked),
        CONVERSION_TEST(bad_parts_have_their_sentences),
        CONVERSION_TEST(bad_headers_have_their_sentences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
