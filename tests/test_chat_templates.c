/* Chat templates of the families: recognised, and what our styles write is what Jinja renders of them. The data was
 * made by tests/reference/make_chat_templates.py. */
#include "tests/support/unit.h"

#include <jansson.h>
#include "convert/chat_template.h"
#include "core/chat.h"

static const char *const control[] = {
    "<|bos|>",      "<|user_start|>", "<|user_end|>",       "<|assistant_start|>",  "<|assistant_end|>",   "<|im_start|>",
    "<|im_end|>",   "<s>",            "</s>",               "<|begin_of_text|>",    "<|start_header_id|>", "<|end_header_id|>",
    "<|eot_id|>",   "<bos>",          "<start_of_turn>",    "<end_of_turn>",        "<|system|>",          "<|user|>",
    "<|assistant|>", "<|end|>",       "[INST]",             "[/INST]",            "<|endoftext|>",
};

/* Bytes and control tokens, with the given bos; in zephyr and mistral some control texts are none. */
static nb_tokenizer *make_tokenizer(const char *style, const char *bos) {
    nb_vocab v;
    nb_tokenizer *t;
    nb_error err = {0};
    bool fewer = !strcmp(style, "zephyr") || !strcmp(style, "mistral");
    nb_vocab_init(&v, NB_VOCAB_BPE_RANKS);
    assert_int_equal(nb_vocab_set_pattern(&v, "\\S+|\\s+", 7, &err), NB_OK);
    for (unsigned i = 0; i < 256; i++) assert_int_equal(nb_vocab_add(&v, &(uint8_t){(uint8_t)i}, 1, &err), NB_OK);
    for (size_t i = 0; i < COUNT_OF(control); i++) {
        const char *c = control[i];
        if (fewer && (strchr("[", *c) || !strcmp(c, "<|user|>") || !strcmp(c, "<|assistant|>"))) continue;
        assert_int_equal(nb_vocab_add_special(&v, c, strlen(c), (int32_t)(256 + i), 0, &err), NB_OK);
    }
    v.bos = *bos ? nb_vocab_special(&v, bos) : NB_NO_TOKEN;
    if (nb_tokenizer_create(&t, &v, &err)) fail_msg("%s", err.text);
    return t;
}

static const char *text_of(const json_t *c, const char *key) { return json_string_value(json_object_get(c, key)); }

static const char *message(const json_t *c, size_t i) {
    return json_string_value(json_array_get(json_object_get(c, "messages"), i));
}

static void assert_writes(const nb_tokenizer *t, nb_ids *ids, const char *style, const char *expected) {
    nb_buf text = {0};
    nb_detokenize(t, ids->data, ids->size, true, true, &text);
    if (strcmp(nb_buf_str(&text), expected) != 0)
        fail_msg("%s: '%s', expected '%s'", style, nb_buf_str(&text), expected);
    nb_buf_free(&text);
}

static void check_style(const json_t *c, const nb_chat_style *s) {
    nb_ids ids = {0};
    nb_error err = {0};
    const char *name = nb_chat_style_name(s), *written = message(c, 2);
    nb_tokenizer *t = make_tokenizer(name, text_of(c, "bos"));
    nb_status st = nb_chat_begin(s, t, &ids, &err);
    if (!st) st = nb_chat_user(s, t, text_of(c, "own"), message(c, 1), &ids, &err);
    if (st) fail_msg("%s", err.text);
    assert_writes(t, &ids, name, text_of(c, "first"));
    st = nb_tokenize(t, written, strlen(written), &ids, &err);
    if (!st) st = nb_chat_assistant_end(s, t, NB_NO_TOKEN, &ids, &err);
    if (!st) st = nb_chat_user(s, t, NULL, message(c, 3), &ids, &err);
    if (st) fail_msg("%s", err.text);
    assert_writes(t, &ids, name, text_of(c, "second"));
    int32_t end = nb_vocab_special(nb_tokenizer_vocab(t), "<|im_end|>"); /* in the message it is text */
    size_t ends = 0;
    for (size_t i = 0; i < ids.size; i++) ends += ids.data[i] == end;
    assert_int_equal(ends, strncmp(name, "chatml", 6) == 0 ? text_of(c, "own") ? 4 : 3 : 0);
    ids.size = 0;
    st = nb_chat_begin(s, t, &ids, &err);
    if (!st) st = nb_chat_user(s, t, message(c, 0), message(c, 1), &ids, &err);
    if (st) fail_msg("%s", err.text);
    if (text_of(c, "system")) assert_writes(t, &ids, name, text_of(c, "system"));
    nb_ids_free(&ids);
    nb_tokenizer_free(t);
}

/* The system text that a template writes where no message brings one. */
static void assert_own_system(const json_t *c) {
    nb_buf own = {0};
    const char *expected = text_of(c, "own");
    bool has = nb_chat_system_of_template(text_of(c, "template"), &own);
    assert_int_equal(has, expected != NULL);
    if (has) assert_string_equal(nb_buf_str(&own), expected);
    nb_buf_free(&own);
}

static void templates(void **state) {
    (void)state;
    json_t *cases = json_load_file(NIBBLE_TEST_DATA "/data/chat_templates.json", 0, NULL);
    assert_non_null(cases);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *c = json_array_get(cases, i);
        const char *style = text_of(c, "style"), *found = nb_chat_style_of_template(text_of(c, "template"));
        if (!style && found) fail_msg("case %zu is taken for %s", i, found);
        if (style && (!found || strcmp(style, found) != 0))
            fail_msg("%s is taken for %s", style, found ? found : "none");
        if (!style) continue;
        assert_own_system(c);
        assert_non_null(nb_chat_style_find(style));
        check_style(c, nb_chat_style_find(style));
    }
    /* every style but those without a template has its case */
    size_t without = 0;
    for (size_t s = 0; nb_chat_style_at(s); s++) {
        bool has = false;
        for (size_t i = 0; i < json_array_size(cases); i++) {
            const char *style = text_of(json_array_get(cases, i), "style");
            has |= style && !strcmp(style, nb_chat_style_name_at(s));
        }
        without += !has;
    }
    assert_int_equal(without, 2); /* minigpt and plain */
    json_decref(cases);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(templates)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
