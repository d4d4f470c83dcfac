/* Whole conversions of small synthetic checkpoints of every family, read back and compared with their source. */
#include "tests/support/conversion.h"

#include <jansson.h>
#include <math.h>
#include <unistd.h>
#include <xxhash.h>
#include "base/bytes.h"
#include "base/dmath.h"
#include "base/file.h"
#include "base/mem.h"
#include "core/hparams.h"
#include "core/vocab.h"
#include "quant/quantize.h"
#include "tests/support/quantizer.h"

/* A matrix must be the panels of exactly these values. */
static void expect_panels(nb_reader *r, const char *name, nb_type type, const float *values, uint64_t rows,
                          uint64_t cols) {
    const nb_tensor *t = find_tensor(r, name);
    uint64_t panel_bytes = 0;
    assert_int_equal(t->type, type);
    assert_int_equal(t->layout, NB_LAYOUT_PANELS);
    assert_int_equal(t->dims[0], rows);
    assert_int_equal(t->dims[1], cols);
    uint8_t *bytes = load_tensor(r, name);
    assert_true(nb_panel_bytes(type, cols, &panel_bytes));
    uint8_t *panel = nb_alloc((size_t)panel_bytes);
    nb_quantizer q = unit_quantizer(type, t->codebook);
    for (uint64_t row = 0; row < rows; row += 16) {
        size_t n = rows - row < 16 ? (size_t)(rows - row) : 16;
        nb_quantize_panel(&q, values + row * cols, n, (size_t)cols, (size_t)cols, panel, NULL);
        if (memcmp(panel, bytes + row / 16 * panel_bytes, (size_t)panel_bytes) != 0)
            fail_msg("%s: panel %d differs", name, (int)(row / 16));
    }
    for (uint64_t row = 0; type == NB_TYPE_F32 && row < rows; row++) {
        float back[160];
        assert_true(cols <= COUNT_OF(back));
        nb_dequantize_row(type, t->codebook, bytes, (size_t)row, (size_t)cols, back);
        assert_memory_equal(back, values + row * cols, (size_t)cols * sizeof(float));
    }
    nb_free(panel);
    nb_free(bytes);
}

static void expect_plain(nb_reader *r, const char *name, const float *values, uint64_t n) {
    const nb_tensor *t = find_tensor(r, name);
    assert_int_equal(t->type, NB_TYPE_F32);
    assert_int_equal(t->layout, NB_LAYOUT_PLAIN);
    assert_int_equal(t->raw_bytes, 4 * n);
    uint8_t *bytes = load_tensor(r, name);
    for (uint64_t i = 0; i < n; i++)
        if (nb_get_f32(bytes + 4 * i) != values[i])
            fail_msg("%s[%d] is %g, expected %g", name, (int)i, (double)nb_get_f32(bytes + 4 * i), (double)values[i]);
    nb_free(bytes);
}

static const nb_type types[] = {NB_TYPE_F32, NB_TYPE_F16, NB_TYPE_BF16, NB_TYPE_Q8, NB_TYPE_Q6, NB_TYPE_Q4};
static nb_type embed_type(nb_type type) { return type == NB_TYPE_Q4 ? NB_TYPE_Q8 : type; }

static void check_nanochat(fixture *f, nb_reader *r, nb_type type) {
    torch_model *m = &f->model;
    float qkv[56 * 40];
    expect_panels(r, "embed.weight", embed_type(type), torch_find(m, "_orig_mod.transformer.wte.weight")->values, 37,
                  40);
    expect_panels(r, "head.weight", embed_type(type), torch_find(m, "_orig_mod.lm_head.weight")->values, 37, 40);
    memcpy(qkv, torch_find(m, "_orig_mod.transformer.h.1.attn.c_q.weight")->values, 4 * 40 * 40);
    memcpy(qkv + 40 * 40, torch_find(m, "_orig_mod.transformer.h.1.attn.c_k.weight")->values, 4 * 8 * 40);
    memcpy(qkv + 48 * 40, torch_find(m, "_orig_mod.transformer.h.1.attn.c_v.weight")->values, 4 * 8 * 40);
    expect_panels(r, "blocks.1.attn.qkv.weight", type, qkv, 56, 40);
    expect_panels(r, "blocks.0.attn.out.weight", type,
                  torch_find(m, "_orig_mod.transformer.h.0.attn.c_proj.weight")->values, 40, 40);
    expect_panels(r, "blocks.1.mlp.up.weight", type, torch_find(m, "_orig_mod.transformer.h.1.mlp.c_fc.weight")->values,
                  160, 40);
    expect_panels(r, "blocks.0.mlp.down.weight", type,
                  torch_find(m, "_orig_mod.transformer.h.0.mlp.c_proj.weight")->values, 40, 160);
    const float inv_freq[4] = {-1.0f, -(1.0f / (float)nb_pow(10000, 0.25)), -(1.0f / 100.0f),
                               -(1.0f / (float)nb_pow(10000, 0.75))};
    expect_plain(r, "rope.inv_freq", inv_freq, 4);
}

static void check_gpt(fixture *f, nb_reader *r, nb_type type, const char *block, const char *qkv, const char *out) {
    torch_model *m = &f->model;
    char name[96];
    expect_panels(r, "embed.weight", embed_type(type), torch_find(m, "transformer.wte.weight")->values, 19, 24);
    assert_null(nb_reader_find(r, "head.weight"));
    assert_null(nb_reader_find(r, "rope.inv_freq"));
    expect_plain(r, "pos.weight", torch_find(m, "transformer.wpe.weight")->values, 12 * 24);
    expect_plain(r, "norm.weight", torch_find(m, "transformer.ln_f.weight")->values, 24);
    snprintf(name, sizeof name, "transformer.%s.1.%s.weight", block, qkv);
    expect_panels(r, "blocks.1.attn.qkv.weight", type, torch_find(m, name)->values, 72, 24);
    snprintf(name, sizeof name, "transformer.%s.0.%s.weight", block, out);
    expect_panels(r, "blocks.0.attn.out.weight", type, torch_find(m, name)->values, 24, 24);
    snprintf(name, sizeof name, "transformer.%s.0.mlp.c_proj.weight", block);
    expect_panels(r, "blocks.0.mlp.down.weight", type, torch_find(m, name)->values, 24, 96);
    snprintf(name, sizeof name, "transformer.%s.1.ln_2.weight", block);
    expect_plain(r, "blocks.1.mlp_norm.weight", torch_find(m, name)->values, 24);
}

static json_t *model_json(nb_reader *r) {
    size_t size;
    json_error_t why;
    const char *text = nb_reader_model_json(r, &size);
    json_t *j = json_loadb(text, size, 0, &why);
    assert_non_null(j);
    char *canonical = json_dumps(j, JSON_COMPACT | JSON_SORT_KEYS);
    assert_string_equal(canonical, text);
    free(canonical);
    return j;
}

static void read_hparams(nb_reader *r, nb_hparams *h, const char *architecture, const char *style) {
    nb_error err = {0};
    json_t *j = model_json(r);
    assert_string_equal(json_string_value(json_object_get(j, "architecture")), architecture);
    assert_string_equal(json_string_value(json_object_get(json_object_get(j, "chat"), "style")), style);
    if (nb_hparams_from_json(h, json_object_get(j, "hparams"), &err)) fail_msg("%s", err.text);
    json_decref(j);
}

/* ---- families ---- */

static void nanochat_converts(void **state) {
    fixture *f = *state;
    nb_convert_report report;
    nb_hparams h;
    make_nanochat(f, "000010");
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        nb_convert_options o = options_for(f, types[i]);
        convert_ok(f, &o, &report);
        nb_reader *r = open_target(f);
        check_nanochat(f, r, types[i]);
        read_hparams(r, &h, "nanochat", "nanochat");
        assert_int_equal(h.n_layer, 2);
        assert_int_equal(h.n_kv_head, 1);
        assert_int_equal(h.head_dim, 8);
        assert_int_equal(h.n_ff, 160);
        assert_int_equal(h.vocab_size, 37);
        assert_int_equal(h.n_ctx, 64);
        assert_int_equal(h.qk_norm, NB_QKNORM_AFTER_ROPE);
        assert_true(h.norm_eps == 0x1p-23f && h.softcap == 15.0f && h.rope_bf16 && h.embed_norm && !h.tied &&
                    !h.norm_weight && !h.qk_norm_weight);
        assert_int_equal(report.n_tensors, nb_reader_count(r));
        assert_int_equal(report.raw_bytes, nb_reader_raw_bytes(r));
        assert_int_equal(report.identity, nb_reader_identity(r));
        assert_int_equal(report.parameters, 2 * 37 * 40 + 2 * (56 * 40 + 40 * 40 + 2 * 160 * 40));
        assert_true(types[i] == NB_TYPE_F32 ? isinf(report.snr_db) : report.snr_db > 20 && report.snr_db < 90);
        assert_non_null(strstr(nb_buf_str(&f->sentences), "no tokenizer"));
        nb_reader_close(r);
    }
}

/* Rules give single matrices another type; of several that fit, the last counts; a dry run says the same and writes
 * nothing. */
static void types_follow_rules(void **state) {
    fixture *f = *state;
    static const nb_type_rule rules[] = {
        {"blocks.*", NB_TYPE_Q8}, {"blocks.1.mlp.up.weight", NB_TYPE_BF16}, {"lm_head", NB_TYPE_F16}, {"*.c_fc.weight", NB_TYPE_F32}};
    static const struct {
        const char *name;
        nb_type type;
    } expected[] = {{"embed.weight", NB_TYPE_Q8},           {"head.weight", NB_TYPE_F16},
                    {"blocks.0.attn.qkv.weight", NB_TYPE_Q8}, {"blocks.1.mlp.down.weight", NB_TYPE_Q8},
                    {"blocks.0.mlp.up.weight", NB_TYPE_F32},  {"blocks.1.mlp.up.weight", NB_TYPE_F32},
                    {"rope.inv_freq", NB_TYPE_F32}};
    nb_convert_report planned, report;
    make_nanochat(f, "000010");
    nb_convert_options o = options_for(f, NB_TYPE_Q4);
    o.rules = rules;
    o.n_rules = COUNT_OF(rules);
    o.dry_run = true;
    convert_ok(f, &o, &planned);
    assert_int_equal(access(f->target, F_OK), -1);
    assert_non_null(
        strstr(nb_buf_str(&f->sentences), "2 matrices in f32, 1 matrix in f16, 7 matrices in q8, 1 vector in f32"));
    o.dry_run = false;
    convert_ok(f, &o, &report);
    nb_reader *r = open_target(f);
    for (size_t i = 0; i < COUNT_OF(expected); i++)
        if (nb_reader_find(r, expected[i].name)->type != expected[i].type)
            fail_msg("%s has another type", expected[i].name);
    assert_int_equal(planned.parameters, report.parameters);
    assert_int_equal(planned.raw_bytes, report.raw_bytes);
    nb_reader_close(r);
    nb_error err = {0};
    o.rules = &(nb_type_rule){"blocks.2.*", NB_TYPE_Q8};
    o.n_rules = 1;
    assert_int_equal(nb_convert(f->source, f->target, &o, NULL, &err), NB_ARGUMENT);
    assert_non_null(strstr(err.text, "no matrix is named like 'blocks.2.*'; tensors are named from 'embed.weight'"));
}

static void nanogpt_converts(void **state) {
    fixture *f = *state;
    nb_convert_report report;
    nb_hparams h;
    for (int biases = 0; biases < 2; biases++) {
        torch_model_free(&f->model);
        make_nanogpt(f, biases);
        for (size_t i = 0; i < COUNT_OF(types); i++) {
            nb_convert_options o = options_for(f, types[i]);
            convert_ok(f, &o, &report);
            nb_reader *r = open_target(f);
            check_gpt(f, r, types[i], "h", "attn.c_attn", "attn.c_proj");
            read_hparams(r, &h, "nanogpt", "plain");
            assert_true(h.tied && h.norm == NB_NORM_LAYER && h.pos == NB_POS_LEARNED && h.act == NB_ACT_GELU_ERF &&
                        h.norm_eps == 1e-5f);
            assert_true((h.norm_bias && h.qkv_bias && h.out_bias && h.mlp_bias) == (biases == 1));
            if (biases)
                expect_plain(r, "blocks.1.attn.qkv.bias",
                             torch_find(&f->model, "transformer.h.1.attn.c_attn.bias")->values, 72);
            nb_reader_close(r);
        }
    }
}

static void minigpt_converts(void **state) {
    fixture *f = *state;
    nb_convert_report report;
    nb_hparams h;
    nb_error err = {0};
    const nb_setting heads = {"n_head", "3"};
    make_minigpt(f);
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        nb_convert_options o = options_for(f, types[i]);
        assert_int_equal(nb_convert(f->source, f->target, &o, &report, &err), NB_MISSING);
        assert_non_null(
            strstr(err.text, "--set n_head=N, N one of 1, 2, 3, 4, 6, 8, 12, 24 (MiniGPT's own default is 8)"));
        o.settings = &heads;
        o.n_settings = 1;
        convert_ok(f, &o, &report);
        nb_reader *r = open_target(f);
        check_gpt(f, r, types[i], "blocks", "attn.qkv_proj", "attn.out_proj");
        expect_plain(r, "blocks.0.attn.qkv.bias",
                     torch_find(&f->model, "transformer.blocks.0.attn.qkv_proj.bias")->values, 72);
        read_hparams(r, &h, "minigpt", "minigpt");
        assert_true(h.n_head == 3 && h.head_dim == 8 && h.qkv_bias && h.norm_bias && !h.out_bias && !h.mlp_bias &&
                    h.tied && h.n_ctx == 12);
        nb_reader_close(r);
    }
    write_text(f, "config.json", "{\"n_head\": 6}");
    nb_convert_options o = options_for(f, NB_TYPE_Q8);
    convert_ok(f, &o, &report);
    nb_reader *r = open_target(f);
    read_hparams(r, &h, "minigpt", "minigpt");
    assert_int_equal(h.n_head, 6);
    nb_reader_close(r);
}

static void an_untied_head_is_kept(void **state) {
    fixture *f = *state;
    nb_convert_report report;
    nb_hparams h;
    make_nanogpt(f, false);
    torch_weight *head = torch_find(&f->model, "lm_head.weight");
    head->storage_of = NULL;
    nb_convert_options o = options_for(f, NB_TYPE_F32);
    for (int differs = 0; differs < 2; differs++) { /* a copy of the embedding, then something else */
        if (differs) head->values[100] += 1;
        save_nanogpt(f);
        convert_ok(f, &o, &report);
        nb_reader *r = open_target(f);
        read_hparams(r, &h, "nanogpt", "plain");
        assert_int_equal(h.tied, !differs);
        if (differs) expect_panels(r, "head.weight", NB_TYPE_F32, head->values, 19, 24);
        nb_reader_close(r);
    }
    torch_remove(&f->model, "lm_head.weight");
    save_nanogpt(f);
    convert_ok(f, &o, &report);
}

/* ---- tokenizers ---- */

static void load_vocab(const fixture *f, nb_vocab *v) {
    nb_error err = {0};
    nb_reader *r = open_target(f);
    json_t *j = model_json(r);
    if (nb_vocab_load(v, json_object_get(j, "tokenizer"), r, &err)) fail_msg("%s", err.text);
    json_decref(j);
    nb_reader_close(r);
}

static void minigpt_brings_its_vocabulary(void **state) {
    fixture *f = *state;
    const nb_setting heads = {"n_head", "3"};
    nb_vocab v = {0};
    make_minigpt(f);
    nb_convert_options o = options_for(f, NB_TYPE_Q4);
    o.settings = &heads;
    o.n_settings = 1;
    convert_ok(f, &o, NULL);
    load_vocab(f, &v);
    assert_int_equal(v.kind, NB_VOCAB_CHARS);
    assert_int_equal(v.n_tokens, 6);
    assert_true(v.unk == 1 && v.pad == 0 && v.bos == NB_NO_TOKEN && v.n_stops == 1 && v.stops[0] == 2);
    assert_int_equal(v.offsets[4] - v.offsets[3], 3);
    assert_int_equal(v.offsets[5] - v.offsets[4], 0); /* a hole */
    assert_memory_equal(v.bytes.data + v.offsets[5], "a", 1);
    assert_non_null(strstr(nb_buf_str(&f->sentences), "the tokenizer has 6 tokens, the model 19"));
    nb_vocab_free(&v);
}

static void nanogpt_reads_meta_pkl(void **state) {
    fixture *f = *state;
    nb_buf meta = {0};
    char path[UNIT_PATH];
    nb_vocab v = {0};
    make_nanogpt(f, false);
    pk_begin(&meta);
    nb_buf_text(&meta, "}(");
    pk_entry_int(&meta, "vocab_size", 3);
    pk_text(&meta, "itos");
    nb_buf_text(&meta, "}(");
    static const char *const texts[] = {"\n", "x", "\xc3\xa9"};
    for (int i = 0; i < 3; i++) {
        pk_int(&meta, i);
        pk_text(&meta, texts[i]);
    }
    nb_buf_text(&meta, "uu");
    pk_end(&meta);
    unit_write_file(unit_path(path, f->folder, "meta.pkl"), meta.data, meta.size);
    nb_buf_free(&meta);
    nb_convert_options o = options_for(f, NB_TYPE_Q8);
    convert_ok(f, &o, NULL);
    load_vocab(f, &v);
    assert_int_equal(v.n_tokens, 3);
    assert_memory_equal(v.bytes.data, "\nx\xc3\xa9", 4);
    assert_int_equal(v.n_stops, 0);
    nb_vocab_free(&v);
    o.tokenizer = "none";
    convert_ok(f, &o, NULL);
    nb_reader *r = open_target(f);
    assert_null(nb_reader_find(r, "tokenizer.bytes"));
    nb_reader_close(r);
}

static void an_encoding_is_checked_against_the_model(void **state) {
    fixture *f = *state;
    char path[UNIT_PATH];
    nb_error err = {0};
    make_nanochat(f, "000010");
    write_encoding(f, "tokenizer.pkl", 3);
    nb_convert_options o = options_for(f, NB_TYPE_Q4);
    assert_int_equal(nb_convert(f->source, f->target, &o, NULL, &err), NB_FORMAT);
    assert_non_null(strstr(err.text, "has 260 tokens, but the model only 37"));
    /* A nanoGPT model with 300 tokens takes it when told to. */
    torch_model_free(&f->model);
    make_gpt(&f->model, "h", "attn.c_attn", "attn.c_proj", false, false);
    torch_remove(&f->model, "lm_head.weight");
    torch_remove(&f->model, "transformer.wte.weight");
    torch_add(&f->model, "transformer.wte.weight", 300, 24);
    save_nanogpt(f);
    const nb_setting size = {"vocab_size", "300"};
    o.settings = &size;
    o.n_settings = 1;
    o.tokenizer = unit_path(path, f->folder, "tokenizer.pkl");
    nb_vocab v = {0};
    convert_ok(f, &o, NULL);
    load_vocab(f, &v);
    assert_int_equal(v.kind, NB_VOCAB_BPE_RANKS);
    assert_string_equal(v.split.v[0].pattern, "\\p{L}+|[^\\p{L}]");
    assert_true(v.n_tokens == 260 && v.bos == 257 && v.n_stops == 2 && v.n_specials == 3);
    nb_vocab_free(&v);
    write_text(f, "named.pkl", "\x80\x04\x8c\x0dtiktoken.core\x8c\x08" "Encoding\x93)\x81\x8c\x04gpt2b.");
    o.tokenizer = unit_path(path, f->folder, "named.pkl");
    assert_int_equal(nb_convert(f->source, f->target, &o, NULL, &err), NB_UNSUPPORTED);
    assert_non_null(strstr(err.text, "only names the encoding 'gpt2'"));
    assert_non_null(strstr(err.text, "--tokenizer"));
}

static void tokenizers_are_found_around_the_checkpoint(void **state) {
    fixture *f = *state;
    static const char *const places[] = {"tokenizer.pkl", "tokenizer/tokenizer.pkl", "../tokenizer/tokenizer.pkl",
                                         "../../tokenizer/tokenizer.pkl"};
    char root[UNIT_PATH], deep[UNIT_PATH], path[UNIT_PATH];
    make_nanochat(f, "000010");
    for (size_t i = 0; i < COUNT_OF(places); i++) {
        snprintf(
            path, sizeof path,
            "mkdir -p %s/p%zu/a/b/tokenizer %s/p%zu/a/tokenizer %s/p%zu/tokenizer && cp %s/m*_000010.* %s/p%zu/a/b/",
            f->folder, i, f->folder, i, f->folder, i, f->folder, f->folder, i);
        assert_int_equal(system(path), 0); // NOLINT(cert-env33-c): a fixed command in the test's own folder
        snprintf(root, sizeof root, "p%zu/a/b", i);
        unit_path(deep, f->folder, root);
        snprintf(root, sizeof root, "p%zu/a/b/%s", i, places[i]);
        write_encoding(f, root, 1);
        nb_convert_options o = options_for(f, NB_TYPE_Q4);
        nb_error err = {0};
        assert_int_equal(nb_convert(deep, f->target, &o, NULL, &err), NB_FORMAT); /* found: it has too many tokens */
        assert_non_null(strstr(err.text, places[i]));
        assert_non_null(strstr(err.text, "has 258 tokens"));
    }
}

/* ---- folders, options ---- */

static void the_newest_step_is_taken(void **state) {
    fixture *f = *state;
    nb_convert_report report;
    make_nanochat(f, "000010");
    write_text(f, "model_000009.pt", "not this one");
    write_text(f, "model_x.pt", "nor this");
    snprintf(f->source, sizeof f->source, "%s/", f->folder);
    nb_convert_options o = options_for(f, NB_TYPE_Q4);
    convert_ok(f, &o, &report);
    assert_non_null(strstr(nb_buf_str(&f->sentences), "model_000010.pt"));
    write_text(f, "model_0000100.pt", "this one, but it is broken");
    nb_error err = {0};
    assert_int_equal(nb_convert(f->source, f->target, &o, &report, &err), NB_UNSUPPORTED);
    assert_non_null(strstr(err.text, "model_0000100.pt"));
}

static void without_its_configuration_nanochat_asks(void **state) {
    fixture *f = *state;
    char path[UNIT_PATH];
    nb_error err = {0};
    const nb_setting settings[] = {{"n_head", "5"}, {"n_kv_head", "1"}, {"n_ctx", "64"}};
    make_nanochat(f, "000010");
    assert_int_equal(unlink(unit_path(path, f->folder, "meta_000010.json")), 0);
    nb_convert_options o = options_for(f, NB_TYPE_Q4);
    for (o.n_settings = 0, o.settings = settings; o.n_settings < 3; o.n_settings += o.n_settings ? 1 : 2) {
        assert_int_equal(nb_convert(f->source, f->target, &o, NULL, &err), NB_MISSING);
        assert_non_null(strstr(err.text, o.n_settings ? "does not say n_ctx" : "does not say n_head"));
    }
    assert_non_null(strstr(nb_buf_str(&f->sentences), "'meta_000010.json' is not beside the checkpoint"));
    convert_ok(f, &o, NULL);
    nb_reader *r = open_target(f);
    assert_int_equal(find_tensor(r, "embed.weight")->dims[0], 64); /* nothing says which rows are padding */
    nb_reader_close(r);
}

static void the_checkpoint_is_not_overwritten(void **state) {
    fixture *f = *state;
    make_nanogpt(f, false);
    nb_convert_options o = options_for(f, NB_TYPE_Q4);
    nb_error err = {0};
    assert_int_equal(nb_convert(f->source, f->source, &o, NULL, &err), NB_ARGUMENT);
    assert_non_null(strstr(err.text, "is the checkpoint itself"));
    convert_ok(f, &o, NULL);
}

static void provenance_names_the_source(void **state) {
    fixture *f = *state;
    nb_buf file = {0};
    nb_error err;
    char hash[17];
    size_t size;
    json_error_t why;
    const nb_setting set = {"softcap", "20"};
    make_nanochat(f, "000010");
    nb_convert_options o = options_for(f, NB_TYPE_Q4);
    o.settings = &set;
    o.n_settings = 1;
    convert_ok(f, &o, NULL);
    nb_reader *r = open_target(f);
    json_t *j = json_loads(nb_reader_provenance_json(r, &size), 0, &why), *source = json_object_get(j, "source");
    assert_int_equal(nb_read_file(f->source, 1 << 24, &file, &err), NB_OK);
    uint8_t piece[8]; /* the file is shorter than one */
    nb_put_u64(piece, XXH3_64bits(file.data, file.size));
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)XXH3_64bits(piece, sizeof piece));
    assert_string_equal(json_string_value(json_object_get(source, "name")), "model_000010.pt");
    assert_string_equal(json_string_value(json_object_get(source, "form")), "nanochat checkpoint");
    assert_string_equal(json_string_value(json_object_get(source, "xxh3_1m")), hash);
    assert_int_equal(json_integer_value(json_object_get(source, "bytes")), file.size);
    json_t *options = json_object_get(json_object_get(j, "converter"), "options");
    assert_string_equal(json_string_value(json_object_get(options, "type")), "q4");
    assert_string_equal(json_string_value(json_object_get(json_object_get(options, "set"), "softcap")), "20");
    assert_null(strstr(nb_reader_provenance_json(r, &size), f->folder));
    json_decref(j);
    nb_buf_free(&file);
    nb_reader_close(r);
}

static void results_do_not_depend_on_the_team(void **state) {
    fixture *f = *state;
    nb_convert_report first, again;
    nb_error err;
    make_nanochat(f, "000010");
    nb_convert_options o = options_for(f, NB_TYPE_Q4);
    convert_ok(f, &o, &first);
    for (int n = 1; n <= 4; n++) {
        assert_int_equal(nb_team_create(&o.team, n, &err), NB_OK);
        convert_ok(f, &o, &again);
        assert_int_equal(first.identity, again.identity);
        assert_memory_equal(&first.snr_db, &again.snr_db, sizeof first.snr_db);
        nb_team_free(o.team);
    }
    o.team = NULL;
    o.store = NB_STORE_RAW;
    convert_ok(f, &o, &again);
    assert_int_equal(first.identity, again.identity);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        CONVERSION_TEST(nanochat_converts),
        CONVERSION_TEST(types_follow_rules),
        CONVERSION_TEST(nanogpt_converts),
        CONVERSION_TEST(minigpt_converts),
        CONVERSION_TEST(an_untied_head_is_kept),
        CONVERSION_TEST(minigpt_brings_its_vocabulary),
        CONVERSION_TEST(nanogpt_reads_meta_pkl),
        CONVERSION_TEST(an_encoding_is_checked_against_the_model),
        CONVERSION_TEST(tokenizers_are_found_around_the_checkpoint),
        CONVERSION_TEST(the_newest_step_is_taken),
        CONVERSION_TEST(without_its_configuration_nanochat_asks),
        CONVERSION_TEST(the_checkpoint_is_not_overwritten),
        CONVERSION_TEST(provenance_names_the_source),
        CONVERSION_TEST(results_do_not_depend_on_the_team),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
