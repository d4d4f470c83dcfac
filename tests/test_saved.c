/* Saved sessions: a text that is restored, on any tier, goes on with the same tokens; a file that is damaged, forged or
 * another model's is refused. */
#include <xxhash.h>

#include "base/bytes.h"
#include "base/file.h"
#include "base/mem.h"
#include "core/engine.h"
#include "core/kv.h"
#include "tests/support/tiny_model.h"
#include "tests/support/unit.h"

enum { PROMPT = 90, BEFORE = 75, AFTER = 120, ALL = BEFORE + AFTER };

static const char *directory;

static nb_model *open_model(const char *settings, uint64_t seed, const nb_kernels *k) {
    return tiny_open(directory, settings, seed, NB_TYPE_Q8, k);
}

static void make_prompt(int32_t *ids) {
    for (int i = 0; i < PROMPT; i++) ids[i] = i * i % 29;
}

static nb_generate_options options_for(uint32_t most, const nb_row_state *resume) {
    nb_generate_options o = {.sampling = nb_sampler_defaults, .stream = 3, .max_tokens = most, .resume = resume, .keep = true};
    o.sampling.repeat_penalty = 1.4f;
    return o;
}

/* `most` tokens behind ids, by an engine, which saves the text. With `from` it first restores that file, and what is
 * known of the text must be all but its last token. */
static void run_engine(const nb_model *model, const nb_session_options *how, nb_ids *ids, uint32_t most,
                       const char *from, const char *to) {
    nb_error err = {0};
    nb_engine *e;
    nb_column column;
    nb_saved before = {0};
    nb_generated g = {0}, *generated = &g;
    uint32_t row;
    size_t recalled = 0;
    assert_int_equal(nb_engine_create(&e, model, 2, how, &err), NB_OK);
    if (from && nb_engine_load(e, from, &before, &err)) fail_msg("%s", err.text);
    if (from) {
        assert_int_equal(before.ids.size, ids->size);
        assert_memory_equal(before.ids.data, ids->data, ids->size * sizeof *ids->data);
    }
    nb_generate_options o = options_for(most, from ? &before.state : NULL);
    if (nb_engine_join(e, ids->data, ids->size, &o, 1, &generated, &row, &err)) fail_msg("%s", err.text);
    for (; nb_engine_busy(e); recalled += column.n_recalled)
        if (nb_engine_step(e, &column, &err)) fail_msg("%s", err.text);
    assert_int_equal(recalled, from ? ids->size - 1 : 0);
    assert_int_equal(nb_ids_append(ids, g.ids.data, g.ids.size, &err), NB_OK);
    if (to && nb_engine_save(e, row, &(nb_saved){.ids = *ids, .state = g.state}, to, &err)) fail_msg("%s", err.text);
    nb_generated_free(&g);
    nb_saved_free(&before);
    nb_engine_free(e);
}

static const struct {
    const char *name, *model;
    nb_session_options how;
} cases[] = {
    {"f32", "n_ctx=300", {.kv = {NB_KV_F32, NB_KV_F32}}},
    {"q8", "n_ctx=300 n_head=4 n_kv_head=2 head_dim=40", {.kv = {NB_KV_Q8, NB_KV_Q8}}},
    {"keys f16, values q8", "n_ctx=300", {.kv = {NB_KV_F16, NB_KV_Q8}}},
    {"sliding", "n_ctx=128", {.n_ctx = 128, .overflow = NB_OVERFLOW_SLIDE}},
    {"windows", "n_ctx=300 windows=1", {0}},
    {"the token before",
     "n_ctx=300 embed_norm=1 smear_channels=24 residual_mix=1 value_every=1 value_channels=12 backout=1", {0}},
};

/* The text in one go, on the first tier; and in two parts, each on another tier. */
static void goes_on_anywhere(void **state) {
    (void)state;
    char path[UNIT_PATH];
    nb_kernels k[2];
    size_t tiers = 0, pairs = unit_quick() ? 1 : 2;
    unit_path(path, directory, "a.session");
    for (size_t i = 0; nb_isa_name(i); i++) tiers += nb_isa_supported(i) != 0;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        nb_ids whole = {0};
        int32_t prompt[PROMPT];
        nb_error err = {0};
        make_prompt(prompt);
        nb_model *model = open_model(cases[i].model, i, NULL);
        assert_int_equal(nb_ids_append(&whole, prompt, PROMPT, &err), NB_OK);
        run_engine(model, &cases[i].how, &whole, ALL, NULL, NULL);
        nb_model_free(model);
        for (size_t pair = 0; pair < pairs; pair++) {
            size_t tier[2] = {pair ? tiers - 1 : 0, pair ? 0 : tiers - 1};
            nb_ids parts = {0};
            assert_int_equal(nb_ids_append(&parts, prompt, PROMPT, &err), NB_OK);
            for (size_t part = 0; part < 2; part++) {
                size_t isa = 0;
                for (size_t left = tier[part]; !nb_isa_supported(isa) || left-- > 0;) isa++;
                assert_int_equal(nb_kernels_choose(&k[part], nb_isa_name(isa), &err), NB_OK);
                model = open_model(cases[i].model, i, &k[part]);
                run_engine(model, &cases[i].how, &parts, part ? AFTER : BEFORE, part ? path : NULL, part ? NULL : path);
                nb_model_free(model);
            }
            assert_int_equal(parts.size, whole.size);
            if (memcmp(parts.data, whole.data, whole.size * sizeof *whole.data) != 0)
                fail_msg("%s: other tokens", cases[i].name);
            nb_ids_free(&parts);
        }
        nb_ids_free(&whole);
    }
}

/* ---- bad files */

static nb_session *open_session(const nb_model *model, const nb_session_options *how) {
    nb_session *s;
    nb_error err = {0};
    if (nb_session_create(&s, model, how, &err)) fail_msg("%s", err.text);
    return s;
}

/* A file of 70 tokens with some state and more, as bytes too. */
static void make_file(const nb_model *model, const nb_session_options *how, const char *path, nb_buf *bytes) {
    nb_session *s = open_session(model, how);
    nb_error err = {0};
    int32_t ids[PROMPT];
    make_prompt(ids);
    nb_saved saved = {.state = {.rng = {{1, 2, 3, 4}}, .utf8 = {.held = {0xe4, 0xbd}, .n_held = 2}, .call_tokens = 2}};
    assert_int_equal(nb_ids_append(&saved.ids, ids, 70, &err), NB_OK);
    assert_int_equal(nb_ids_append(&saved.state.forced, ids, 3, &err), NB_OK);
    nb_buf_text(&saved.state.tool, "calculator");
    nb_buf_text(&saved.state.call, "1+");
    nb_buf_text(&saved.more, "more");
    assert_int_equal(nb_session_append(s, ids, 70, NULL, NULL, &err), NB_OK);
    if (nb_session_save(s, &saved, path, &err)) fail_msg("%s", err.text);
    if (bytes) assert_int_equal(nb_read_file(path, 1 << 24, bytes, &err), NB_OK);
    nb_saved_free(&saved);
    nb_session_free(s);
}

static nb_status load(nb_session *s, const char *path, nb_error *err) {
    nb_saved saved = {0};
    nb_status st = nb_session_load(s, path, &saved, err);
    if (st) assert_true(!saved.ids.size && !saved.more.size && nb_session_length(s) == 0);
    nb_saved_free(&saved);
    return st;
}

static void what_was_saved_is_read(void **state) {
    (void)state;
    char path[UNIT_PATH];
    nb_model *model = open_model("n_ctx=100", 1, NULL);
    nb_session *s = open_session(model, NULL);
    nb_error err = {0};
    nb_saved saved = {0};
    float logits[200];
    size_t bytes = nb_model_hparams(model)->vocab_size * sizeof *logits;
    assert_true(bytes <= sizeof logits);
    make_file(model, NULL, unit_path(path, directory, "b.session"), NULL);
    assert_int_equal(nb_session_load(s, path, &saved, &err), NB_OK);
    assert_int_equal(nb_session_length(s), 70);
    assert_int_equal(saved.ids.size, 70);
    memcpy(logits, nb_session_logits(s), bytes);
    nb_session_rewind(s, 0);
    assert_int_equal(nb_session_append(s, saved.ids.data, 70, NULL, NULL, &err), NB_OK);
    assert_memory_equal(logits, nb_session_logits(s), bytes);
    assert_string_equal(nb_buf_str(&saved.more), "more");
    assert_string_equal(nb_buf_str(&saved.state.tool), "calculator");
    assert_string_equal(nb_buf_str(&saved.state.call), "1+");
    assert_int_equal(saved.state.call_tokens, 2);
    assert_int_equal(saved.state.rng.s[3], 4);
    assert_int_equal(saved.state.utf8.n_held, 2);
    assert_int_equal(saved.state.forced.size, 3);
    nb_saved_free(&saved);
    nb_session_free(s);
    nb_model_free(model);
}

/* One bit of every byte of the parts before the pages, and of every 397th of these; and every length likewise. */
static void damage_is_found(void **state) {
    (void)state;
    enum { PAGES_AT = 128 + 70 * 4 + 80 };
    char path[UNIT_PATH];
    nb_error err = {0};
    nb_buf file = {0};
    nb_model *model = open_model("n_ctx=100", 1, NULL);
    make_file(model, NULL, unit_path(path, directory, "c.session"), &file);
    nb_session *s = open_session(model, NULL);
    assert_int_equal(load(s, path, &err), NB_OK);
    for (size_t at = 0; at < file.size; at += at < PAGES_AT ? 1 : 397) {
        file.data[at] ^= (uint8_t)(1u << at % 8);
        unit_write_file(path, file.data, file.size);
        if (!load(s, path, &err)) fail_msg("a flipped bit of byte %zu was not noticed", at);
        file.data[at] ^= (uint8_t)(1u << at % 8);
        unit_write_file(path, file.data, at);
        nb_status st = load(s, path, &err);
        if (st != NB_TRUNCATED) fail_msg("%zu of %zu bytes: status %d, %s", at, file.size, (int)st, err.text);
    }
    nb_buf_byte(&file, 0);
    unit_write_file(path, file.data, file.size);
    assert_int_equal(load(s, path, &err), NB_FORMAT);
    nb_buf_free(&file);
    nb_session_free(s);
    nb_model_free(model);
}

/* What nobody wrote, under checksums that are right. */
static void forgeries_are_refused(void **state) {
    (void)state;
    enum { TOKENS = 32, HELD = 36, LEAF_BYTES = 64, LEAVES = 72, STATE = 80, MORE = 84, BODY = 128, UTF8 = BODY + 70 * 4 + 32 };
    static const struct {
        size_t at;
        uint32_t value;
        const char *text;
    } cases_[] = {
        {8, 2, "version 2"},
        {12, 64, "fields that this version does not know"},
        {104, 1, "fields that this version does not know"},
        {TOKENS, 101, "101 tokens, but the context has room for 100"},
        {TOKENS, 0, "0 tokens"},
        {TOKENS, 71, "not as large as it is"},
        {HELD, 70, "70 tokens, of which 70 have pages"},
        {HELD, 64, "4 pages of"},
        {LEAF_BYTES, 1, "pages of 1 bytes"},
        {LEAVES + 4, 1, "pages of"},
        {STATE, 0x7fffffff, "bytes of state"},
        {MORE, 0x7fffffff, "of more"},
        {MORE, 3, "not as large as it is"},
        {BODY, 0xffffffff, "token 0: expected an id"},
        {UTF8, 0x20, "makes no sense"},                /* a character that is complete */
        {UTF8 + 4, 7, "makes no sense"},               /* seven bytes of one */
        {UTF8 + 8, 0xfffffff0, "makes no sense"},      /* the name of a tool that runs out of the file */
        {UTF8 + 32, 0xffff, "a forced token is 65535"},
    };
    char path[UNIT_PATH];
    nb_error err = {0};
    nb_buf file = {0};
    nb_model *model = open_model("n_ctx=100", 1, NULL);
    make_file(model, NULL, unit_path(path, directory, "d.session"), &file);
    nb_session *s = open_session(model, NULL);
    uint8_t *copy = nb_alloc(file.size);
    size_t body = nb_get_u32(file.data + STATE) + nb_get_u32(file.data + MORE) + 70 * 4;
    for (size_t i = 0; i < COUNT_OF(cases_); i++) {
        memcpy(copy, file.data, file.size);
        nb_put_u32(copy + cases_[i].at, cases_[i].value);
        nb_put_u64(copy + 88, XXH3_64bits(copy + BODY, body));
        nb_put_u64(copy + 120, XXH3_64bits(copy, 120));
        unit_write_file(path, copy, file.size);
        nb_status st = load(s, path, &err);
        if (!st || !strstr(err.text, cases_[i].text)) fail_msg("case %zu: %s", i, st ? err.text : "was taken");
    }
    nb_free(copy);
    nb_buf_free(&file);
    nb_session_free(s);
    nb_model_free(model);
}

static void others_are_refused(void **state) {
    (void)state;
    char path[UNIT_PATH];
    nb_error err = {0};
    nb_model *model = open_model("n_ctx=300", 1, NULL), *other = open_model("n_ctx=300", 2, NULL);
    make_file(model, NULL, unit_path(path, directory, "e.session"), NULL);
    const struct {
        const nb_model *model;
        nb_session_options how;
        const char *text;
    } readers[] = {
        {other, {0}, "another model"},
        {model, {.kv = {NB_KV_F32, NB_KV_Q8}},
         "saved with keys in f32 and values in f32 (--kv-k, --kv-v), not in f32 and q8"},
        {model, {.n_ctx = 69}, "70 tokens, but the context has room for 69: give a larger --ctx"},
        {model, {.n_ctx = 128, .overflow = NB_OVERFLOW_SLIDE}, NULL}, /* nothing has slid yet */
    };
    for (size_t i = 0; i < COUNT_OF(readers); i++) {
        nb_session *s = open_session(readers[i].model, &readers[i].how);
        nb_status st = load(s, path, &err);
        if (!readers[i].text != !st || (st && !strstr(err.text, readers[i].text)))
            fail_msg("reader %zu: %s", i, err.text);
        nb_session_free(s);
    }
    nb_session *s = open_session(model, &(nb_session_options){.n_ctx = 128, .overflow = NB_OVERFLOW_SLIDE});
    nb_saved saved = {0};
    int32_t ids[PROMPT];
    make_prompt(ids);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(nb_ids_append(&saved.ids, ids, PROMPT, &err), NB_OK);
        assert_int_equal(nb_session_append(s, ids, PROMPT, NULL, NULL, &err), NB_OK);
    }
    assert_int_equal(nb_session_save(s, &saved, path, &err), NB_OK);
    assert_int_equal(load(s, path, &err), NB_OK);
    nb_session_free(s);
    s = open_session(model, NULL);
    assert_int_equal(load(s, path, &err), NB_ARGUMENT);
    assert_non_null(strstr(err.text, "its text slid over 128 tokens"));
    assert_int_equal(load(s, "no such file", &err), NB_IO);
    nb_saved_free(&saved);
    nb_session_free(s);
    nb_model_free(model);
    nb_model_free(other);
}

static void memory_may_fail(void **state) {
    (void)state;
    char path[UNIT_PATH];
    nb_model *model = open_model("n_ctx=100", 1, NULL);
    nb_session *s = open_session(model, NULL);
    make_file(model, NULL, unit_path(path, directory, "f.session"), NULL);
    for (long n = 0;; n++) {
        nb_error err = {0};
        nb_saved saved = {0};
        nb_mem_fail_at(n);
        nb_status st = nb_session_load(s, path, &saved, &err);
        if (!st) st = nb_session_save(s, &saved, path, &err);
        bool reached = nb_mem_fail_at(-1) > n;
        nb_saved_free(&saved);
        assert_int_equal(st, reached ? NB_MEMORY : NB_OK);
        if (!reached) break;
    }
    nb_session_free(s);
    nb_model_free(model);
}

static int set_up(void **state) {
    int failed = unit_scratch_setup(state);
    directory = *state;
    return failed;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(goes_on_anywhere),   cmocka_unit_test(what_was_saved_is_read),
        cmocka_unit_test(damage_is_found),    cmocka_unit_test(forgeries_are_refused),
        cmocka_unit_test(others_are_refused), cmocka_unit_test(memory_may_fail),
    };
    return cmocka_run_group_tests(tests, set_up, unit_scratch_teardown);
}
