/* Golden bits: one hash of all logits per model and type, the same constant for every tier, number of threads, chunk
 * size, cut of the text, batch and machine (x86-64, arm64, 32-bit arm). Random models of every shape are made here, and
 * the trained demo models of tests/models are converted.
 *
 * Where models or the numerics contract change on purpose, NIBBLE_GOLDEN_PRINT=1 prints the new tables. */
#include <inttypes.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "base/mem.h"
#include "convert/convert.h"
#include "core/batch.h"
#include "tests/support/tiers.h"
#include "tests/support/tiny_model.h"
#include "tests/support/unit.h"

enum { TYPES = NB_TYPE_Q6 + 1, HASHES = TYPES + 1, TOKENS = 70, PATH = 1024 }; /* 70 positions reach into a second page of the KV cache */

/* Hashes by type: f32, f16, bf16, q8, q4, q6, and then q4 over a KV cache of q8. A row's weights depend on its number:
 * new rows go to the end. */
static const struct {
    const char *name, *set;
    uint64_t hash[HASHES];
} shapes[] = {
    {"nanochat",
     "norm_weight=0 embed_norm=1 qk_norm=after_rope rope_bf16=1 act=relu2 softcap=15 n_head=6 n_kv_head=2 "
     "norm_eps=1e-6",
     {0x9543ba7a7653ce33, 0x0865ed4c1dcf0109, 0x9d75b5fc64714c8b, 0x7e7e4d6bf177ea15, 0x094bb19ea0866cd9,
      0x65c678e81076cee4, 0x01e171ffb4ecc7dc}},
    {"gpt2", "norm=layer norm_bias=1 pos=learned qkv_bias=1 out_bias=1 mlp_bias=1 act=gelu_erf tied=1",
     {0x608e4fe7b016510b, 0xcdfe210e8c3a2f76, 0x2a60fff7b76d433e, 0x46f95e3aa431ae97, 0xe6eeb2cb458c8f53,
      0xd01e85dc7645cf17, 0xb964b71b6a6f8000}},
    {"mingpt", "norm=layer norm_bias=1 pos=learned qkv_bias=1 out_bias=1 mlp_bias=1 act=gelu_tanh",
     {0xbf7888df4c5533a3, 0x9b5007dc3b2736de, 0x0858cad3a76c668d, 0xb90c82d5adad0761, 0x511bbf5fefa1b5c6,
      0x3d09147e8f3c14ea, 0x8d81c54d158e1d49}},
    {"llama", "glu=1 act=silu n_head=8 n_kv_head=2 head_dim=8 n_embd=64 n_ff=172",
     {0xbed37326563c2efa, 0x170bef88b349d79d, 0x1b74b8d61b8a8562, 0x95912116fff90e22, 0x5c69c96615e6250a,
      0xc6ec767763ef32bf, 0x53b1d21e71a12df5}},
    {"qwen3", "glu=1 act=silu qk_norm=before_rope qk_norm_weight=1 head_dim=48 n_head=3 n_kv_head=3 n_embd=80 tied=1",
     {0xe28e86012ef87e0f, 0xc8ed7a5d8a2e4b19, 0xa880ad1acfd4fe0e, 0x20a611f30c4b8bbc, 0xfbf510272689abab,
      0x2e17f1f13885e731, 0x3b8d005b917d6963}},
    {"odd", "n_embd=50 n_head=2 n_kv_head=1 head_dim=10 n_ff=77 vocab_size=61 act=gelu_tanh attn_scale=0.2",
     {0xd85f898b592b6d53, 0x337b7cb61552115e, 0xb87c254503a57cd0, 0x40f1e20b380cb0f6, 0xe3f02df6821b62f5,
      0xd11ee3acbbeeb286, 0x769182ab61b8c0db}},
    {"nanochat 2026",
     "norm_weight=0 embed_norm=1 qk_norm=after_rope act=relu2 softcap=15 n_head=6 n_kv_head=2 norm_eps=1e-6 n_layer=3 "
     "qk_scale=1.2 "
     "residual_mix=1 smear_channels=24 value_every=2 value_channels=12 value_gain=3 backout=1 windows=1",
     {0x3f8c6b4c96d0aee1, 0xf1f26fe235b6a7e6, 0x71272fb6fd1a9e63, 0xbb095ee4226160f2, 0x45a8f6c5a77889e4,
      0xeab622cbdd11f993, 0xbbd12981365c2028}},
    {"olmo2", "post_norm=1 qk_norm=together qk_norm_weight=1 glu=1 act=silu clip_qkv=0.7",
     {0x9b63386949d9b20b, 0x4643c412011b7f94, 0x7a185f7ceca1ef5c, 0xa1cf63f8632e1e9a, 0xc664c56fe8607580,
      0xa73f815b69e90971, 0x9bce46e4bf965984}},
    {"two rotations", "rope_kinds=2 glu=1 act=silu n_kv_head=2 windows=1 n_layer=3",
     {0x2a766c75b0fedb53, 0x7ca6be148ad89f1f, 0x303ee256a60be912, 0xda9f45e53c1e6577, 0x438ed5157623b826,
      0x0344b5fa8d884bfb, 0x6c487ce220e9be33}},
};

static const struct {
    const char *name, *n_head; /* n_head where the checkpoint does not say it */
    uint64_t hash[HASHES];
} demos[] = {
    {"nanochat", NULL,
     {0xb632e1aa683d139f, 0xf83c76934e9695a7, 0xb632e1aa683d139f, 0xe6c6d6a5d65c527d, 0x8b038686fb2cb791,
      0x711360a3f48c9a4c, 0x8c10d09d9150d0a2}},
    {"minigpt", "8",
     {0xdd2d9a79afa8fd2b, 0xbd91446787633d2c, 0xca2bdf60342bbaab, 0x79bf03ce0c20eb83, 0x08a945ecbd0ee0f5,
      0x786dd4205deb77fa, 0xa55ef9c789df62fd}},
    {"nanogpt", NULL,
     {0x3ce7e8a1751aa9c9, 0x29f00677cb2a4e87, 0x3ce7e8a1751aa9c9, 0x5d7f4c74af51fc4d, 0x03ffbca38c465395,
      0x528ca23f5169f298, 0x8a8b5caa2fbc7cfc}},
};

/* Ways to compute the same: threads, tokens per chunk (0: the default), tokens per append, rows of a batch. */
static const struct split {
    int threads;
    uint32_t chunk, cut, rows;
} splits[] = {{1, 0, TOKENS, 1}, {2, 7, TOKENS, 1}, {4, 33, 40, 1}, {2, 0, 1, 5},
              {4, 0, TOKENS, 1}, {1, 1, TOKENS, 1}, {2, 0, 1, 1},   {1, 40, 3, 11}};

static nb_type type_of(int hash) { return hash < TYPES ? (nb_type)hash : NB_TYPE_Q4; }

static bool printing(void) { return getenv("NIBBLE_GOLDEN_PRINT") != NULL; }

/* One row's text is the list of tokens as far as `at`; the hash is that of its logits so far. */
typedef struct text {
    XXH3_state_t *state;
    uint32_t at;
} text;

/* What a step gives the rows: they begin one step after the other, and each takes one token more than the one
 * before. */
static size_t give_parts(const struct split *s, const text *texts, const int32_t *ids, uint32_t step, uint32_t chunk,
                         nb_batch_part *parts) {
    size_t n = 0;
    for (uint32_t row = 0; row < s->rows && row <= step; row++) {
        uint32_t left = TOKENS - texts[row].at, take = s->cut + row;
        if (take > left) take = left;
        if (take > chunk) take = chunk;
        chunk -= take;
        if (!take) continue;
        parts[n] = (nb_batch_part){.row = row, .n = take, .ids = ids + texts[row].at};
        n++;
    }
    return n;
}

/* Hash the logits of all tokens of a step, as many at once as there is room for. */
static void hash_parts(nb_batch *b, const nb_batch_part *parts, size_t n_parts, text *texts) {
    uint32_t most = nb_batch_logit_rows(b), total = 0, token = 0;
    for (size_t i = 0; i < n_parts; i++) total += parts[i].n;
    for (size_t i = 0; i < n_parts; i++)
        for (uint32_t k = 0; k < parts[i].n; k++, token++) {
            if (token % most == 0) nb_batch_compute(b, token, total - token < most ? total - token : most);
            XXH3_64bits_update(texts[parts[i].row].state, nb_batch_logits(b, token % most),
                               nb_model_hparams(nb_batch_model(b))->vocab_size * sizeof(float));
            texts[parts[i].row].at++;
        }
}

static nb_status run_texts(const char *path, const nb_kernels *k, nb_kv_type kv, const struct split *s, text *texts,
                           nb_error *err) {
    nb_team *team = NULL;
    nb_model *model = NULL;
    nb_batch *batch = NULL;
    int32_t ids[TOKENS];
    nb_batch_part *parts = nb_calloc(s->rows, sizeof *parts);
    nb_status st = nb_team_create(&team, s->threads, err);
    if (!st) st = nb_model_open(&model, path, &(nb_model_options){.team = team, .kernels = k}, err);
    const nb_session_options how = {.n_chunk = s->chunk, .kv = {kv, kv}, .team = team};
    if (!st) st = nb_batch_create(&batch, model, s->rows, &how, err);
    for (size_t i = 0; !st && i < TOKENS; i++)
        ids[i] = (int32_t)((i * 37 + i * i * 11 + 3) % nb_model_hparams(model)->vocab_size);
    size_t n = 1;
    for (uint32_t step = 0; !st && n > 0; step++) {
        n = give_parts(s, texts, ids, step, nb_batch_chunk(batch), parts);
        if (n) st = nb_batch_append(batch, parts, n, err);
        if (!st) hash_parts(batch, parts, n, texts);
    }
    nb_free(parts);
    nb_batch_free(batch);
    nb_model_free(model);
    nb_team_free(team);
    return st;
}

/* The hash of the logits of a fixed list of tokens, which every row must have. Floats are little-endian on every
 * machine that Nibble supports. */
static uint64_t hash_of(const char *path, const nb_kernels *k, nb_kv_type kv, const struct split *s) {
    nb_error err = {0};
    text *texts = nb_calloc(s->rows, sizeof *texts);
    for (uint32_t row = 0; row < s->rows; row++) {
        texts[row].state = XXH3_createState();
        XXH3_64bits_reset(texts[row].state);
    }
    if (run_texts(path, k, kv, s, texts, &err)) fail_msg("%s: %s", path, err.text);
    uint64_t hash = XXH3_64bits_digest(texts[0].state);
    for (uint32_t row = 0; row < s->rows; row++) {
        if (XXH3_64bits_digest(texts[row].state) != hash) fail_msg("%s: row %" PRIu32 " differs from row 0", path, row);
        XXH3_freeState(texts[row].state);
    }
    nb_free(texts);
    return hash;
}

/* Quick runs (NIBBLE_TEST_QUICK=1) compute each model and type on each tier in one way, the next one in the next. A
 * tier that is emulated computes the first models, each in another quantized type, for only their products are. */
static bool left_out(const nb_kernels *k, size_t model, int hash, size_t split, size_t turn) {
    static const size_t ways[] = {0, 6, 1, 2}; /* q8 as a whole, q4 by tokens, q6 in chunks, q4 with a cache of q8 in pieces */
    if (tier_emulated(k)) return model >= COUNT_OF(ways) || hash != NB_TYPE_Q8 + (int)model || split != ways[model];
    return unit_quick() && split != turn % COUNT_OF(splits);
}

/* Every tier with every split must give `expected`. */
static void check_file(const char *path, const char *name, size_t model, int hash, uint64_t expected) {
    static size_t turn;
    nb_kv_type kv = hash == TYPES ? NB_KV_Q8 : NB_KV_F32;
    if (printing()) expected = hash_of(path, NULL, kv, &splits[0]);
    for (size_t i = 0; nb_isa_name(i); i++) {
        nb_kernels k;
        if (!tier_open(i, &k)) continue;
        for (size_t s = 0; s < COUNT_OF(splits); s++) {
            if (left_out(&k, model, hash, s, turn)) continue;
            uint64_t found = hash_of(path, &k, kv, &splits[s]);
            if (found != expected)
                fail_msg("%s, %s%s on %s, %d threads, chunks of %" PRIu32 ", pieces of %" PRIu32 ", %" PRIu32
                         " rows: expected 0x%016" PRIx64 ", found 0x%016" PRIx64
                         " (NIBBLE_GOLDEN_PRINT=1 prints new tables)",
                         name, nb_types[type_of(hash)].name, kv == NB_KV_Q8 ? " with keys and values in q8" : "", k.isa,
                         splits[s].threads, splits[s].chunk, splits[s].cut, splits[s].rows, expected, found);
        }
        turn++;
    }
    if (printing())
        printf("%s%s 0x%016" PRIx64 "%s", hash ? "" : name, hash ? "," : ":", expected, hash == TYPES ? "\n" : "");
}

static void test_shapes(void **state) {
    char path[UNIT_PATH];
    unit_path(path, *state, "tiny.nbl");
    for (size_t i = 0; i < COUNT_OF(shapes); i++) {
        nb_hparams h = tiny_hparams(shapes[i].set);
        tiny_model m = tiny_new(&h, 500 + i);
        for (int hash = 0; hash < HASHES; hash++) {
            tiny_write(&m, path, type_of(hash), hash % 2);
            check_file(path, shapes[i].name, i, hash, shapes[i].hash[hash]);
        }
        tiny_free(&m);
    }
}

static void test_demos(void **state) {
    char path[UNIT_PATH], source[PATH];
    struct stat there;
    unit_path(path, *state, "demo.nbl");
    for (size_t i = 0; i < COUNT_OF(demos); i++) {
        snprintf(source, sizeof source, "%s/models/%s", NIBBLE_TEST_DATA, demos[i].name);
        if (stat(source, &there) != 0) fail_msg("%s is missing", source);
        for (int hash = 0; hash < HASHES; hash++) {
            if (unit_quick() && hash != NB_TYPE_F32 && hash < NB_TYPE_Q4) continue;
            nb_convert_report report;
            nb_error err;
            nb_setting n_head = {"n_head", demos[i].n_head};
            nb_convert_options o = {.type = type_of(hash), .overwrite = true, .settings = &n_head};
            o.n_settings = n_head.value != NULL;
            if (nb_convert(source, path, &o, &report, &err)) fail_msg("%s: %s", source, err.text);
            check_file(path, demos[i].name, COUNT_OF(shapes) + i, hash, demos[i].hash[hash]);
        }
    }
}

static int set_up(void **state) {
    print_message("Tiers:");
    for (size_t i = 0; nb_isa_name(i); i++)
        if (nb_isa_supported(i)) print_message(" %s", nb_isa_name(i));
    print_message("\n");
    return unit_scratch_setup(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_demos),
    };
    return cmocka_run_group_tests(tests, set_up, unit_scratch_teardown);
}
