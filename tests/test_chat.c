#include "tests/support/unit.h"

#include "base/mem.h"
#include "core/chat.h"

static const char *const nanochat_tokens[] = {
    "<|bos|>", "<|user_start|>", "<|user_end|>", "<|assistant_start|>", "<|assistant_end|>",
    "<|python_start|>", "<|python_end|>", "<|output_start|>", "<|output_end|>",
};
enum { BOS = 256, USER, USER_END, ASSISTANT, ASSISTANT_END };

/* 256 bytes, then the first n control tokens. */
static nb_tokenizer *make(size_t n) {
    nb_vocab v;
    nb_error err = {0};
    nb_tokenizer *t;
    nb_vocab_init(&v, NB_VOCAB_BPE_RANKS);
    assert_int_equal(nb_vocab_set_pattern(&v, "[^\\n]+|\\n\\n\\w+|\\n", 15, &err), NB_OK);
    for (unsigned i = 0; i < 256; i++) assert_int_equal(nb_vocab_add(&v, &(uint8_t){(uint8_t)i}, 1, &err), NB_OK);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(
            nb_vocab_add_special(&v, nanochat_tokens[i], strlen(nanochat_tokens[i]), (int32_t)(BOS + i), 0, &err),
            NB_OK);
    if (n) v.bos = BOS;
    if (nb_tokenizer_create(&t, &v, &err)) fail_msg("%s", err.text);
    return t;
}

static nb_tokenizer *make_minigpt(void) {
    nb_vocab v;
    nb_error err = {0};
    nb_tokenizer *t;
    nb_vocab_init(&v, NB_VOCAB_CHARS);
    static const char *const specials[] = {"<pad>", "<unk>", "<sep>"};
    for (int32_t i = 0; i < 3; i++) assert_int_equal(nb_vocab_add_special(&v, specials[i], 5, i, 0, &err), NB_OK);
    assert_int_equal(nb_vocab_add(&v, "\xe4\xbd\xa0", 3, &err), NB_OK);
    assert_int_equal(nb_vocab_add(&v, "<", 1, &err), NB_OK);
    v.unk = 1;
    v.pad = 0;
    if (nb_tokenizer_create(&t, &v, &err)) fail_msg("%s", err.text);
    return t;
}

static void assert_ids(nb_ids *ids, const int32_t *expected, size_t n) {
    assert_int_equal(ids->size, n);
    if (n) assert_memory_equal(ids->data, expected, n * sizeof *expected);
    nb_ids_free(ids);
}
#define ASSERT_IDS(ids, ...) assert_ids(ids, (const int32_t[]){__VA_ARGS__}, COUNT_OF(((const int32_t[]){__VA_ARGS__})))

static void nanochat(void **state) {
    (void)state;
    nb_tokenizer *t = make(COUNT_OF(nanochat_tokens));
    const nb_chat_style *s = nb_chat_style_find("nanochat");
    nb_ids ids = {0};
    nb_error err = {0};
    assert_true(nb_chat_style_has_tools(s, t));
    assert_false(nb_chat_style_alone(s));
    assert_int_equal(nb_chat_begin(s, t, &ids, &err), NB_OK);
    assert_int_equal(nb_chat_user(s, t, "be", "hi", &ids, &err), NB_OK);
    assert_int_equal(nb_ids_push(&ids, 'o', &err), NB_OK);
    assert_int_equal(nb_chat_assistant_end(s, t, ASSISTANT_END, &ids, &err), NB_OK);
    assert_int_equal(nb_chat_user(s, t, NULL, "x", &ids, &err), NB_OK);
    assert_int_equal(nb_chat_assistant_end(s, t, NB_NO_TOKEN, &ids, &err), NB_OK);
    ASSERT_IDS(&ids, BOS, USER, 'b', 'e', '\n', '\n', 'h', 'i', USER_END, ASSISTANT, 'o', ASSISTANT_END, USER, 'x',
               USER_END, ASSISTANT, ASSISTANT_END);
    assert_int_equal(nb_chat_user(s, t, NULL, "<|bos|>", &ids, &err), NB_OK); /* text, not a control token */
    ASSERT_IDS(&ids, USER, '<', '|', 'b', 'o', 's', '|', '>', USER_END, ASSISTANT);
    nb_tokenizer_free(t);
}

static void minigpt(void **state) {
    (void)state;
    nb_tokenizer *t = make_minigpt();
    const nb_chat_style *s = nb_chat_style_find("minigpt");
    nb_ids ids = {0};
    nb_error err = {0};
    assert_false(nb_chat_style_has_tools(s, t));
    assert_true(nb_chat_style_alone(s));
    assert_int_equal(nb_chat_begin(s, t, &ids, &err), NB_OK);
    assert_int_equal(nb_chat_user(s, t, NULL, "\xe4\xbd\xa0<sep>", &ids, &err), NB_OK);
    ASSERT_IDS(&ids, 3, 4, 1, 1, 1, 1, 2);
    assert_int_equal(nb_chat_assistant_end(s, t, 2, &ids, &err), NB_OK);
    assert_int_equal(nb_chat_user(s, t, "be brief", "x", &ids, &err), NB_UNSUPPORTED);
    ASSERT_IDS(&ids, 2);
    nb_tokenizer_free(t);
}

static void plain(void **state) {
    (void)state;
    const nb_chat_style *s = nb_chat_style_find("plain");
    nb_ids ids = {0};
    nb_error err = {0};
    for (size_t with_bos = 0; with_bos < 2; with_bos++) {
        nb_tokenizer *t = make(with_bos);
        assert_false(nb_chat_style_has_tools(s, t));
        assert_int_equal(nb_chat_begin(s, t, &ids, &err), NB_OK);
        assert_int_equal(ids.size, with_bos);
        assert_int_equal(nb_chat_user(s, t, NULL, "ab", &ids, &err), NB_OK);
        assert_int_equal(nb_chat_assistant_end(s, t, NB_NO_TOKEN, &ids, &err), NB_OK);
        assert_int_equal(nb_chat_assistant_end(s, t, 7, &ids, &err), NB_OK);
        if (with_bos) ASSERT_IDS(&ids, BOS, 'a', 'b', 7);
        else ASSERT_IDS(&ids, 'a', 'b', 7);
        nb_tokenizer_free(t);
    }
}

static void missing_control_tokens(void **state) {
    (void)state;
    nb_tokenizer *t = make(4); /* up to <|assistant_start|> */
    const nb_chat_style *s = nb_chat_style_find("nanochat");
    nb_ids ids = {0};
    nb_error err = {0};
    assert_false(nb_chat_style_has_tools(s, t));
    assert_int_equal(nb_chat_user(s, t, NULL, "x", &ids, &err), NB_OK);
    assert_int_equal(nb_chat_assistant_end(s, t, NB_NO_TOKEN, &ids, &err), NB_MISSING);
    assert_non_null(strstr(err.text, "'<|assistant_end|>'"));
    ASSERT_IDS(&ids, USER, 'x', USER_END, ASSISTANT);
    nb_tokenizer_free(t);
    t = make(3);
    assert_int_equal(nb_chat_user(s, t, NULL, "x", &ids, &err), NB_MISSING);
    assert_int_equal(ids.size, 0); /* nothing half done */
    nb_ids_free(&ids);
    nb_tokenizer_free(t);
}

static void the_table(void **state) {
    (void)state;
    size_t n = 0;
    for (const nb_chat_style *s; (s = nb_chat_style_at(n)); n++)
        assert_ptr_equal(nb_chat_style_find(nb_chat_style_name(s)), s);
    assert_true(n >= 3);
    assert_null(nb_chat_style_find("nanochats"));
}

static void memory_runs_out(void **state) {
    (void)state;
    nb_tokenizer *t = make(COUNT_OF(nanochat_tokens));
    const nb_chat_style *s = nb_chat_style_find("nanochat");
    for (long n = 0;; n++) {
        nb_ids ids = {0};
        nb_error err = {0};
        nb_mem_fail_at(n);
        nb_status st = nb_chat_user(s, t, "system", "text", &ids, &err);
        bool done = nb_mem_fail_at(-1) <= n;
        assert_int_equal(st, done ? NB_OK : NB_MEMORY);
        if (st) assert_int_equal(ids.size, 0);
        nb_ids_free(&ids);
        if (done) break;
    }
    nb_tokenizer_free(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nanochat),  cmocka_unit_test(minigpt),
        cmocka_unit_test(plain),     cmocka_unit_test(missing_control_tokens),
        cmocka_unit_test(the_table), cmocka_unit_test(memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
