/* The forward pass: models of every shape and switch, against the formulas in double precision, and against itself for
 * every thread count, chunk size, cut of the text and storage, bit for bit. */
#include <math.h>

#include "base/mem.h"
#include "core/session.h"
#include "tests/support/tiny_model.h"
#include "tests/support/unit.h"

/* A model: settings of hparams.def as text, over a small default. */
static const struct {
    const char *name;
    const char *set; /* "key=value key=value ..." */
} models[] = {
    {"nanochat", "norm_weight=0 embed_norm=1 qk_norm=after_rope rope_bf16=1 act=relu2 softcap=15 n_head=6 n_kv_head=2 norm_eps=1e-6"},
    {"gpt2", "norm=layer norm_bias=1 pos=learned qkv_bias=1 out_bias=1 mlp_bias=1 act=gelu_erf tied=1"},
    {"mingpt", "norm=layer norm_bias=1 pos=learned qkv_bias=1 out_bias=1 mlp_bias=1 act=gelu_tanh"},
    {"minigpt",
     "norm=layer norm_bias=1 pos=learned qkv_bias=1 act=gelu_erf tied=1 n_head=1 head_dim=96 n_kv_head=1 n_embd=96"},
    {"nobias", "norm=layer pos=learned act=gelu_erf tied=1"},
    {"llama", "glu=1 act=silu n_head=8 n_kv_head=2 head_dim=8 n_embd=64 n_ff=172"},
    {"qwen2", "glu=1 act=silu qkv_bias=1 n_kv_head=1"},
    {"qwen3", "glu=1 act=silu qk_norm=before_rope qk_norm_weight=1 head_dim=48 n_head=3 n_kv_head=3 n_embd=80 tied=1"},
    {"odd", "n_embd=50 n_head=2 n_kv_head=1 head_dim=10 n_ff=77 vocab_size=61 act=gelu_tanh attn_scale=0.2"},
    {"nanochat 2026", "norm_weight=0 embed_norm=1 qk_norm=after_rope act=relu2 softcap=15 n_head=6 n_kv_head=2 norm_eps=1e-6 n_layer=3 "
                      "qk_scale=1.2 residual_mix=1 smear_channels=24 value_every=2 value_channels=12 value_gain=3 backout=1 windows=1"},
    {"olmo", "norm=layer norm_weight=0 glu=1 act=silu clip_qkv=0.7 tied=1"},
    {"olmo2", "post_norm=1 qk_norm=together qk_norm_weight=1 glu=1 act=silu n_kv_head=2"},
    {"two rotations", "rope_kinds=2 glu=1 act=silu n_kv_head=2 windows=1 n_layer=3"},
    {"rotated", "qk_rotate=1 glu=1 act=silu n_head=4 n_kv_head=2 head_dim=24 qk_norm=after_rope"}, /* the formulas do not rotate */
    {"wide heads", "n_embd=48 n_head=2 n_kv_head=2 head_dim=80 n_ff=40 mlp_bias=1 glu=1"},
};

static nb_hparams hparams_of(size_t i) { return tiny_hparams(models[i].set); }

static void random_ids(int32_t *ids, size_t n, uint32_t vocab, uint64_t seed) {
    for (size_t i = 0; i < n; i++) ids[i] = (int32_t)(unit_random(&seed) % vocab);
}

typedef struct collector {
    float *logits;
    uint32_t vocab;
} collector;
static int collect(void *user, size_t position, const float *logits) {
    collector *c = user;
    memcpy(c->logits + position * c->vocab, logits, c->vocab * sizeof *logits);
    return 0;
}

/* All logits of ids[n], on `threads` threads, in chunks, the text cut in pieces of `cut`. */
static void run(const char *path, const int32_t *ids, size_t n, nb_kv_types kv, int threads, uint32_t chunk, size_t cut,
                float *logits) {
    nb_error err = {0};
    nb_team *team = NULL;
    nb_model *model = NULL;
    nb_session *session = NULL;
    nb_status st = nb_team_create(&team, threads, &err);
    if (!st) st = nb_model_open(&model, path, &(nb_model_options){.team = team}, &err);
    if (!st)
        st = nb_session_create(&session, model, &(nb_session_options){.n_chunk = chunk, .kv = kv, .team = team}, &err);
    for (size_t at = 0; !st && at < n; at += cut) {
        collector c = {.logits = logits, .vocab = nb_model_hparams(model)->vocab_size};
        st = nb_session_append(session, ids + at, n - at < cut ? n - at : cut, collect, &c, &err);
    }
    if (st) fail_msg("%s", err.text);
    nb_session_free(session);
    nb_model_free(model);
    nb_team_free(team);
}

enum { TOKENS = 90 };

static const nb_kv_types f32 = {NB_KV_F32, NB_KV_F32};

static double spread_of(const double *x, size_t n) {
    double low = x[0], high = x[0];
    for (size_t i = 0; i < n; i++) {
        low = fmin(low, x[i]);
        high = fmax(high, x[i]);
    }
    return high - low;
}

static void test_formulas(void **state) {
    (void)state;
    char *dir = unit_scratch_new(), path[UNIT_PATH];
    unit_path(path, dir, "tiny.nbl");
    for (size_t i = 0; i < COUNT_OF(models); i++) {
        nb_hparams h = hparams_of(i);
        tiny_model m = tiny_new(&h, 100 + i);
        int32_t ids[TOKENS];
        float *found = nb_calloc(TOKENS * h.vocab_size, sizeof *found);
        double *expected = nb_calloc(TOKENS * h.vocab_size, sizeof *expected);
        random_ids(ids, TOKENS, h.vocab_size, i);
        tiny_write(&m, path, NB_TYPE_F32, 0);
        run(path, ids, TOKENS, f32, 2, 0, TOKENS, found);
        tiny_logits(&m, ids, TOKENS, expected);
        double spread = spread_of(expected, TOKENS * h.vocab_size), worst = 0;
        for (size_t j = 0; j < TOKENS * h.vocab_size; j++) worst = fmax(worst, fabs(expected[j] - (double)found[j]));
        /* f32 rounding through two blocks: 2e-6 of the spread is seen; a wrong operation costs thousands of times
         * more */
        if (!(worst <= 1e-5 * spread)) fail_msg("%s: off by %g of a spread of %g", models[i].name, worst, spread);
        nb_free(found);
        nb_free(expected);
        tiny_free(&m);
    }
    unit_scratch_free(dir);
}

/* Keys and values of 8 and 16 bits, and their combinations: near those of f32, for every size and number of heads. Seen
 * are 30.8 dB and more where one of them is q8, else 64; one scale or one channel in the wrong place leaves less than
 * 20. */
static const struct {
    nb_kv_types types;
    double least; /* dB */
} kv_types[] = {{{NB_KV_Q8, NB_KV_Q8}, 30}, {{NB_KV_F16, NB_KV_F16}, 60}, {{NB_KV_Q8, NB_KV_F16}, 30}, {{NB_KV_F16, NB_KV_Q8}, 30},
                {{NB_KV_F32, NB_KV_Q8}, 30}, {{NB_KV_Q8, NB_KV_F32}, 30}, {{NB_KV_F32, NB_KV_F16}, 60}};

static double noise_of(const float *exact, const float *found, size_t n) {
    double squares = 0, errors = 0;
    for (size_t j = 0; j < n; j++) {
        squares += pow((double)exact[j], 2);
        errors += pow((double)exact[j] - (double)found[j], 2);
    }
    return 10 * log10(squares / errors);
}

static void test_kv_types(void **state) {
    (void)state;
    char *dir = unit_scratch_new(), path[UNIT_PATH];
    unit_path(path, dir, "tiny.nbl");
    for (size_t i = 0; i < COUNT_OF(models); i++) {
        nb_hparams h = hparams_of(i);
        tiny_model m = tiny_new(&h, 300 + i);
        int32_t ids[TOKENS];
        size_t count = TOKENS * h.vocab_size;
        float *exact = nb_calloc(count, sizeof *exact), *found = nb_calloc(count, sizeof *found);
        random_ids(ids, TOKENS, h.vocab_size, i);
        tiny_write(&m, path, NB_TYPE_F32, 0);
        run(path, ids, TOKENS, f32, 2, 0, TOKENS, exact);
        for (size_t c = 0; c < COUNT_OF(kv_types); c++) {
            if (unit_quick() && c != i % COUNT_OF(kv_types)) continue;
            run(path, ids, TOKENS, kv_types[c].types, 2, 0, TOKENS, found);
            double noise = noise_of(exact, found, count);
            const char *keys = nb_kv_type_name(kv_types[c].types.keys), *values = nb_kv_type_name(kv_types[c].types.values);
            if (!(noise > kv_types[c].least)) fail_msg("%s: keys %s and values %s leave %.1f dB", models[i].name, keys, values, noise);
            if (getenv("NIBBLE_GOLDEN_PRINT")) printf("%s, %s/%s: %.1f dB\n", models[i].name, keys, values, noise);
        }
        nb_free(exact);
        nb_free(found);
        tiny_free(&m);
    }
    unit_scratch_free(dir);
}

static const struct {
    int threads;
    uint32_t chunk;
    size_t cut;
} splits[] = {{1, 1, TOKENS}, {4, 0, TOKENS}, {2, 7, TOKENS}, {3, 64, 5}, {1, 0, 1}, {4, 33, 40}};

static void test_same_bits(void **state) {
    (void)state;
    char *dir = unit_scratch_new(), path[UNIT_PATH];
    unit_path(path, dir, "tiny.nbl");
    for (size_t i = 0; i < COUNT_OF(models); i++)
        for (int type = NB_TYPE_F32; type <= NB_TYPE_Q6; type++) {
            if (unit_quick() && (int)i % (NB_TYPE_Q6 + 1) != type) continue; /* test_golden_bits has the others */
            nb_hparams h = hparams_of(i);
            tiny_model m = tiny_new(&h, 200 + i);
            int32_t ids[TOKENS];
            size_t count = TOKENS * h.vocab_size;
            float *first = nb_calloc(count, sizeof *first), *other = nb_calloc(count, sizeof *other);
            random_ids(ids, TOKENS, h.vocab_size, i);
            tiny_write(&m, path, (nb_type)type, 0);
            size_t pick = (i + (size_t)type) % (COUNT_OF(kv_types) + 1);
            nb_kv_types kv = pick < COUNT_OF(kv_types) ? kv_types[pick].types : f32;
            run(path, ids, TOKENS, kv, 1, 0, TOKENS, first);
            for (size_t s = 0; s < COUNT_OF(splits); s++) {
                if (unit_quick() && s % 3 != i % 3) continue;
                if (s == COUNT_OF(splits) / 2) tiny_write(&m, path, (nb_type)type, 1); /* mapped in place */
                memset(other, 0, count * sizeof *other);
                run(path, ids, TOKENS, kv, splits[s].threads, splits[s].chunk, splits[s].cut, other);
                if (memcmp(first, other, count * sizeof *first) != 0)
                    fail_msg("%s, %s: other bits with %d threads, chunks of %u, pieces of %zu", models[i].name,
                             nb_types[type].name, splits[s].threads, splits[s].chunk, splits[s].cut);
            }
            nb_free(first);
            nb_free(other);
            tiny_free(&m);
        }
    unit_scratch_free(dir);
}

/* More than one span of 1024 positions: the merge of spans, against the formulas. */
static void test_long_context(void **state) {
    (void)state;
    enum { LONG = 1100 };
    char *dir = unit_scratch_new(), path[UNIT_PATH];
    unit_path(path, dir, "tiny.nbl");
    nb_hparams h = hparams_of(5);
    h.n_layer = 1;
    h.n_embd = h.n_ff = 32;
    h.vocab_size = 20;
    tiny_model m = tiny_new(&h, 3);
    int32_t *ids = nb_calloc(LONG, sizeof *ids);
    float *found = nb_calloc(LONG * h.vocab_size, sizeof *found), *cut = nb_calloc(LONG * h.vocab_size, sizeof *cut);
    double *expected = nb_calloc(LONG * h.vocab_size, sizeof *expected);
    random_ids(ids, LONG, h.vocab_size, 9);
    tiny_write(&m, path, NB_TYPE_F32, 0);
    static const nb_kv_types types[] = {{NB_KV_Q8, NB_KV_Q8}, {NB_KV_Q8, NB_KV_F16}, {NB_KV_F32, NB_KV_F32}};
    for (size_t i = 0; i < COUNT_OF(types); i++) { /* f32 last: it is compared */
        run(path, ids, LONG, types[i], 2, 0, LONG, found);
        for (int threads = 1; threads <= 4; threads += 3) { /* four share two heads' spans */
            if (unit_quick() && (threads > 1) != (i == 0)) continue; /* four emulated threads on two cores: once */
            run(path, ids, LONG, types[i], threads, 100, 1, cut);
            assert_memory_equal(found, cut, LONG * h.vocab_size * sizeof *found);
        }
    }
    tiny_logits(&m, ids, LONG, expected);
    double spread = spread_of(expected, LONG * h.vocab_size);
    for (size_t j = 0; j < LONG * h.vocab_size; j++) assert_true(fabs(expected[j] - (double)found[j]) <= 1e-5 * spread);
    nb_free(ids);
    nb_free(found);
    nb_free(cut);
    nb_free(expected);
    tiny_free(&m);
    unit_scratch_free(dir);
}

/* What a session refuses, and that it goes on as before afterwards; rewinding. */
static void test_session_limits(void **state) {
    (void)state;
    char *dir = unit_scratch_new(), path[UNIT_PATH];
    unit_path(path, dir, "tiny.nbl");
    nb_hparams h = hparams_of(1);
    h.n_ctx = 70;
    tiny_model m = tiny_new(&h, 1);
    tiny_write(&m, path, NB_TYPE_Q8, 0);
    nb_error err;
    nb_model *model;
    nb_session *s;
    assert_int_equal(nb_model_open(&model, path, NULL, &err), NB_OK);
    assert_int_equal(nb_session_create(&s, model, &(nb_session_options){.n_ctx = 71}, &err), NB_ARGUMENT);
    assert_non_null(strstr(err.text, "learned positions for 70"));
    assert_int_equal(nb_session_create(&s, model, &(nb_session_options){.n_chunk = 100000}, &err), NB_ARGUMENT);
    assert_int_equal(nb_session_create(&s, model, NULL, &err), NB_OK);
    int32_t ids[71];
    random_ids(ids, 71, h.vocab_size, 4);
    assert_int_equal(nb_session_append(s, ids, 71, NULL, NULL, &err), NB_LIMIT);
    assert_int_equal(nb_session_length(s), 0);
    ids[3] = (int32_t)h.vocab_size;
    assert_int_equal(nb_session_append(s, ids, 5, NULL, NULL, &err), NB_ARGUMENT);
    assert_non_null(strstr(err.text, "token 3"));
    ids[3] = -1;
    assert_int_equal(nb_session_append(s, ids, 5, NULL, NULL, &err), NB_ARGUMENT);
    ids[3] = 7;
    assert_int_equal(nb_session_append(s, ids, 70, NULL, NULL, &err), NB_OK);
    float *last = nb_calloc(h.vocab_size, sizeof *last);
    memcpy(last, nb_session_logits(s), h.vocab_size * sizeof *last);
    assert_int_equal(nb_session_append(s, ids, 1, NULL, NULL, &err), NB_LIMIT);
    nb_session_rewind(s, 40);
    assert_int_equal(nb_session_append(s, ids + 40, 30, NULL, NULL, &err), NB_OK);
    assert_memory_equal(last, nb_session_logits(s), h.vocab_size * sizeof *last);
    nb_free(last);
    nb_session_free(s);
    nb_model_free(model);
    tiny_free(&m);
    unit_scratch_free(dir);
}

/* Vectors of which each block has a whole number. */
static void expect_counts(const char *settings, int spec, float beyond, const char *sentence) {
    const float wrong[] = {-1.0f, 1.5f, beyond, NAN, INFINITY};
    char *dir = unit_scratch_new(), path[UNIT_PATH];
    unit_path(path, dir, "tiny.nbl");
    nb_hparams h = tiny_hparams(settings);
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        tiny_model m = tiny_new(&h, 1);
        m.tensors[(uint32_t)spec * h.n_layer][1] = wrong[i];
        tiny_write(&m, path, NB_TYPE_F32, 0);
        nb_error err;
        nb_model *model = NULL;
        assert_int_equal(nb_model_open(&model, path, NULL, &err), NB_FORMAT);
        assert_non_null(strstr(err.text, sentence));
        tiny_free(&m);
    }
    unit_scratch_free(dir);
}

static void test_counts_per_block(void **state) {
    (void)state;
    expect_counts("windows=1", NB_SPEC_windows, 0x1p25f, "tensor 'attn.windows': block 1 has a window of");
    expect_counts("rope_kinds=3", NB_SPEC_rope_kinds, 3.0f, "tensor 'rope.kinds': block 1 is of kind");
}

/* Opening with the n-th allocation failing, for all n: an error each time, and nothing leaks (AddressSanitizer). */
static void test_no_memory(void **state) {
    (void)state;
    char *dir = unit_scratch_new(), path[UNIT_PATH];
    unit_path(path, dir, "tiny.nbl");
    nb_hparams h = hparams_of(0);
    tiny_model m = tiny_new(&h, 1);
    tiny_write(&m, path, NB_TYPE_Q4, 0);
    for (long n = 0;; n++) {
        nb_error err;
        nb_model *model = NULL;
        nb_session *session = NULL;
        nb_mem_fail_at(n);
        nb_status st = nb_model_open(&model, path, NULL, &err);
        if (!st) st = nb_session_create(&session, model, NULL, &err);
        nb_mem_fail_at(-1);
        nb_session_free(session);
        nb_model_free(model);
        if (!st) break;
        assert_int_equal(st, NB_MEMORY);
        assert_true(n < 1000);
    }
    tiny_free(&m);
    unit_scratch_free(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_formulas),       cmocka_unit_test(test_kv_types),
        cmocka_unit_test(test_same_bits), cmocka_unit_test(test_long_context),
        cmocka_unit_test(test_session_limits), cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_counts_per_block),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
