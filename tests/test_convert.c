/* Whole conversions of small synthetic checkpoints of every family, read back and compared with their source. */
#include "tests/support/unit.h"

#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xxhash.h>
#include "base/bytes.h"
#include "base/dmath.h"
#include "base/file.h"
#include "base/mem.h"
#include "convert/convert.h"
#include "core/hparams.h"
#include "core/vocab.h"
#include "format/reader.h"
#include "quant/quantize.h"
#include "tests/support/torch.h"

typedef struct fixture {
    char *folder;
    char source[UNIT_PATH], target[UNIT_PATH];
    torch_model model;
    nb_buf sentences; /* what the conversion said */
} fixture;

static int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->folder = unit_scratch_new();
    unit_path(f->target, f->folder, "out.nbl");
    f->model.seed = 42;
    *state = f;
    return 0;
}

static int teardown(void **state) {
    fixture *f = *state;
    unit_scratch_free(f->folder);
    torch_model_free(&f->model);
    nb_buf_free(&f->sentences);
    free(f);
    return 0;
}

static void write_text(const fixture *f, const char *name, const char *text) {
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
static void make_nanochat(fixture *f, const char *step) {
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
static void write_encoding(const fixture *f, const char *name, unsigned n_special) {
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

static void make_gpt(torch_model *m, const char *block, const char *qkv, const char *out, bool bias_all,
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

static void save_nanogpt(fixture *f) {
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

static void make_nanogpt(fixture *f, bool biases) {
    make_gpt(&f->model, "h", "attn.c_attn", "attn.c_proj", biases, false);
    save_nanogpt(f);
}

static void make_minigpt(fixture *f) {
    nb_buf extra = {0};
    make_gpt(&f->model, "blocks", "attn.qkv_proj", "attn.out_proj", false, true);
    pk_entry_int(&extra, "epoch", 3);
    torch_save(&f->model, unit_path(f->source, f->folder, "best_model.pth"), "model_state_dict", &extra);
    write_text(f, "vocab.json",
               "{\"word2id\": {\"<pad>\": 0, \"<unk>\": 1, \"<sep>\": 2, \"\xe4\xbd\xa0\": 3, \"a\": 5}, \"id2word\": "
               "{\"0\": \"<pad>\"}}");
    nb_buf_free(&extra);
}

/* ---- converting and looking at the result ---- */

static void hear(void *user, const char *sentence) {
    fixture *f = user;
    nb_buf_printf(&f->sentences, "%s\n", sentence);
}

static nb_convert_options options_for(fixture *f, nb_type type) {
    return (nb_convert_options){.type = type, .overwrite = true, .say = hear, .user = f};
}

static void convert_ok(fixture *f, const nb_convert_options *o, nb_convert_report *r) {
    nb_error err = {0};
    nb_buf_clear(&f->sentences);
    if (nb_convert(f->source, f->target, o, r, &err)) fail_msg("%s", err.text);
}

static nb_reader *open_target(const fixture *f) {
    nb_reader *r = NULL;
    nb_error err = {0};
    if (nb_reader_open(&r, f->target, NULL, &err)) fail_msg("%s", err.text);
    return r;
}

static const nb_tensor *find(nb_reader *r, const char *name) {
    static const nb_tensor none;
    const nb_tensor *t = nb_reader_find(r, name);
    if (!t) fail_msg("no tensor '%s'", name);
    return t ? t : &none;
}

static uint8_t *load(nb_reader *r, const char *name) {
    const nb_tensor *t = find(r, name);
    nb_error err = {0};
    uint8_t *bytes = nb_alloc((size_t)t->raw_bytes);
    const nb_load one = {.tensor = t, .dst = bytes};
    if (nb_reader_load(r, &one, 1, NULL, NULL, &err)) fail_msg("%s", err.text);
    return bytes;
}

/* A matrix must be the panels of exactly these values. */
static void expect_panels(nb_reader *r, const char *name, nb_type type, const float *values, uint64_t rows,
                          uint64_t cols) {
    const nb_tensor *t = find(r, name);
    uint64_t panel_bytes = 0;
    assert_int_equal(t->type, type);
    assert_int_equal(t->layout, NB_LAYOUT_PANELS);
    assert_int_equal(t->dims[0], rows);
    assert_int_equal(t->dims[1], cols);
    uint8_t *bytes = load(r, name);
    assert_true(nb_panel_bytes(type, cols, &panel_bytes));
    uint8_t *panel = nb_alloc((size_t)panel_bytes);
    for (uint64_t row = 0; row < rows; row += 16) {
        size_t n = rows - row < 16 ? (size_t)(rows - row) : 16;
        nb_quantize_panel(type, t->codebook, values + row * cols, n, (size_t)cols, (size_t)cols, panel);
        if (memcmp(panel, bytes + row / 16 * panel_bytes, (size_t)panel_bytes) != 0)
            fail_msg("%s: panel %d differs", name, (int)(row / 16));
    }
    for (uint64_t row = 0; type == NB_TYPE_F32 && row < rows; row++) {
        float back[160];
        assert_true(cols <= COUNT_OF(back));
        nb_dequantize_row(type, t->codebook, bytes, (size_t)row, (size_t)cols, back);
        assert_memory_equal(back, values + row * cols, cols * sizeof(float));
    }
    nb_free(panel);
    nb_free(bytes);
}

static void expect_plain(nb_reader *r, const char *name, const float *values, uint64_t n) {
    const nb_tensor *t = find(r, name);
    assert_int_equal(t->type, NB_TYPE_F32);
    assert_int_equal(t->layout, NB_LAYOUT_PLAIN);
    assert_int_equal(t->raw_bytes, 4 * n);
    uint8_t *bytes = load(r, name);
    for (uint64_t i = 0; i < n; i++)
        if (nb_get_f32(bytes + 4 * i) != values[i])
            fail_msg("%s[%d] is %g, expected %g", name, (int)i, (double)nb_get_f32(bytes + 4 * i), (double)values[i]);
    nb_free(bytes);
}

static const nb_type types[] = {NB_TYPE_F32, NB_TYPE_F16, NB_TYPE_BF16, NB_TYPE_Q8, NB_TYPE_Q4};
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
    assert_string_equal(v.pattern, "\\p{L}+|[^\\p{L}]");
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
    assert_int_equal(find(r, "embed.weight")->dims[0], 64); /* nothing says which rows are padding */
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
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)XXH3_64bits(file.data, file.size));
    assert_string_equal(json_string_value(json_object_get(source, "name")), "model_000010.pt");
    assert_string_equal(json_string_value(json_object_get(source, "form")), "nanochat checkpoint");
    assert_string_equal(json_string_value(json_object_get(source, "xxh3")), hash);
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

/* ---- refusals ---- */

static void expect_failure(fixture *f, const nb_convert_options *o, nb_status status, const char *sentence) {
    nb_error err = {0};
    nb_status st = nb_convert(f->source, f->target, o, NULL, &err);
    if (!st) fail_msg("converted, expected \"%s\"", sentence);
    if (!strstr(err.text, sentence)) fail_msg("\"%s\", expected \"%s\"", err.text, sentence);
    assert_int_equal(st, status);
}

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

static void later_nanochat_is_named(void **state) {
    fixture *f = *state;
    nb_convert_options o = options_for(f, NB_TYPE_Q4);
    make_nanochat(f, "000010");
    torch_add(&f->model, "resid_lambdas", 0, 2);
    torch_save(&f->model, f->source, NULL, NULL);
    expect_failure(f, &o, NB_UNSUPPORTED, "of January 11, 2026 or later (it has 'resid_lambdas')");
    torch_add(&f->model, "smear_gate.weight", 1, 24);
    torch_save(&f->model, f->source, NULL, NULL);
    expect_failure(f, &o, NB_UNSUPPORTED, "of March 14, 2026 or later");
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
        {"GGUF\3\0\0\0", 8, "it is a GGUF file"},
        {"\x89NBL\r\n\x1a\n", 8, "it is a model file already"},
        {"\x80\x02}.", 4, "it is a bare pickle"},
        {"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", 15,
         "save it again with a newer one: torch.save(torch.load("},
    };
    nb_convert_options o = options_for(f, NB_TYPE_Q4);
    unit_path(f->source, f->folder, "x.pt");
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        unit_write_file(f->source, files[i].bytes, files[i].n);
        expect_failure(f, &o, NB_UNSUPPORTED, files[i].sentence);
    }
    torch_add(&f->model, "foo", 2, 2);
    torch_save(&f->model, f->source, NULL, NULL);
    expect_failure(f, &o, NB_UNSUPPORTED,
                   "of no family that is known (nanochat, nanogpt, minigpt); they are named foo");
    o.arch = "gpt5";
    expect_failure(f, &o, NB_ARGUMENT, "architecture 'gpt5' is not known; there are nanochat, nanogpt, minigpt");
    o.arch = NULL;
    unit_path(f->source, f->folder, "nothing.pt");
    expect_failure(f, &o, NB_IO, "cannot be opened");
    snprintf(f->source, sizeof f->source, "%s", f->folder);
    expect_failure(f, &o, NB_MISSING, "holds no checkpoint that is known (model_*.pt, ckpt.pt, best_model.pth)");
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

static bool stop_at(void *user, const char *what, uint64_t done, uint64_t total) {
    stopper *s = user;
    assert_true(what[0] && done <= total);
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

static bool die(void *user, const char *what, uint64_t done, uint64_t total) {
    stopper *s = user;
    (void)what, (void)done, (void)total;
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(nanochat_converts),
        TEST(nanogpt_converts),
        TEST(minigpt_converts),
        TEST(an_untied_head_is_kept),
        TEST(minigpt_brings_its_vocabulary),
        TEST(nanogpt_reads_meta_pkl),
        TEST(an_encoding_is_checked_against_the_model),
        TEST(tokenizers_are_found_around_the_checkpoint),
        TEST(the_newest_step_is_taken),
        TEST(without_its_configuration_nanochat_asks),
        TEST(the_checkpoint_is_not_overwritten),
        TEST(provenance_names_the_source),
        TEST(results_do_not_depend_on_the_team),
        TEST(unknown_and_missing_tensors_are_listed),
        TEST(a_missing_part_is_named),
        TEST(known_buffers_are_ignored),
        TEST(later_nanochat_is_named),
        TEST(wrong_shapes_and_settings_are_refused),
        TEST(weights_must_be_finite),
        TEST(what_is_no_checkpoint_is_refused),
        TEST(cancelling_leaves_the_old_file),
        TEST(a_killed_conversion_leaves_the_old_file),
        TEST(failing_memory_leaves_the_old_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
