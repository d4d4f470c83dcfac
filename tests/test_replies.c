/* The demo models as their users meet them: text to ids as tiktoken gives them, and greedy replies, tools included,
 * token for token as PyTorch gave them, in f32 and quantized. */
#include "base/mem.h"
#include "core/chat.h"
#include "core/generate.h"
#include "tests/support/demo_model.h"
#include "tests/support/unit.h"

static void expect_ids(const char *what, const json_t *expected, const int32_t *found, size_t n) {
    size_t count;
    int32_t *ids = ids_of(expected, &count);
    for (size_t i = 0; i < count || i < n; i++)
        if (i >= count || i >= n || ids[i] != found[i])
            fail_msg("%s: id %zu of %zu is %d, expected %d of %zu", what, i, n, i < n ? found[i] : -1,
                     i < count ? ids[i] : -1, count);
    nb_free(ids);
}

static void test_tokenizer(void **state) {
    char dir[DEMO_PATH];
    engine e = {0};
    engine_open(&e, demo_dir(&demo_models[0], dir), demo_models[0].setting, NB_TYPE_Q4, *state);
    const nb_tokenizer *t = nb_model_tokenizer(e.model);
    json_t *root = read_json(dir, "tokenizer_tests.json"), *tests = json_object_get(root, "tests");
    assert_true(json_array_size(tests) >= 150);
    for (size_t i = 0; i < json_array_size(tests); i++) {
        const json_t *text = json_object_get(json_array_get(tests, i), "text");
        const char *bytes = json_string_value(text);
        size_t n = json_string_length(text);
        nb_ids ids = {0};
        nb_buf back = {0};
        nb_error err;
        if (nb_tokenize(t, bytes, n, &ids, &err)) fail_msg("%s", err.text);
        expect_ids(bytes, json_object_get(json_array_get(tests, i), "ids"), ids.data, ids.size);
        nb_detokenize(t, ids.data, ids.size, false, true, &back);
        assert_int_equal(back.size, n);
        assert_memory_equal(nb_buf_str(&back), bytes, n);
        nb_ids_free(&ids);
        nb_buf_free(&back);
    }
    json_decref(root);
    engine_close(&e);
}

/* The conversation so far, up to where the assistant speaks. A test has either "turns" or one "question". */
static void render(const engine *e, const nb_chat_style *style, const json_t *test, nb_ids *ids) {
    const nb_tokenizer *t = nb_model_tokenizer(e->model);
    const json_t *turns = json_object_get(test, "turns");
    nb_error err;
    nb_status st = nb_chat_begin(style, t, ids, &err);
    if (!turns) {
        if (!st) st = nb_chat_user(style, t, NULL, json_string_value(json_object_get(test, "question")), ids, &err);
    }
    for (size_t i = 0; !st && i < json_array_size(turns); i++) {
        const json_t *turn = json_array_get(turns, i);
        if (i % 2 == 0) {
            st = nb_chat_user(style, t, NULL, json_string_value(turn), ids, &err);
        } else {
            st = nb_tokenize(t, json_string_value(turn), json_string_length(turn), ids, &err);
            if (!st) st = nb_chat_assistant_end(style, t, NB_NO_TOKEN, ids, &err);
        }
    }
    if (st) fail_msg("%s", err.text);
}

static void check_reply(engine *e, const nb_chat_style *style, const json_t *test) {
    const char *text = json_string_value(json_object_get(test, "text"));
    nb_ids prompt = {0};
    nb_generated g = {0};
    nb_error err;
    render(e, style, test, &prompt);
    expect_ids("prompt", json_object_get(test, "prompt_ids"), prompt.data, prompt.size);
    nb_session_rewind(e->session, 0);
    nb_generate_options greedy = {.sampling = {.top_p = 1, .repeat_penalty = 1}, .max_tokens = 400, .tools = true};
    nb_status st = nb_session_append(e->session, prompt.data, prompt.size, NULL, NULL, &err);
    if (!st) st = nb_generate(e->session, prompt.data, prompt.size, &greedy, &g, &err);
    if (st) fail_msg("%s", err.text);
    expect_ids(text, json_object_get(test, "reply_ids"), g.ids.data, g.ids.size);
    assert_int_equal(g.finish, NB_FINISH_STOP);
    assert_string_equal(nb_buf_str(&g.text), text);
    const json_t *mask = json_object_get(test, "mask");
    const char *found = nb_buf_str(&g.mask);
    assert_true(g.mask.size >= json_array_size(mask));
    for (size_t i = 0; i < json_array_size(mask); i++)
        assert_int_equal(found[i], json_integer_value(json_array_get(mask, i)));
    nb_ids_free(&prompt);
    nb_generated_free(&g);
}

/* Quantized models must say the same: tests are kept only where every chosen token led by 0.3. In q4 that is not always
 * enough, so there only the clearest are asked. */
static const struct {
    nb_type type;
    double least_margin;
} forms[] = {{NB_TYPE_F32, 0.3}, {NB_TYPE_Q8, 0.5}, {NB_TYPE_Q4, 3.0}};

static void test_replies(void **state) {
    for (size_t m = 0; m < DEMO_MODELS; m++) {
        char dir[DEMO_PATH], path[DEMO_PATH + 32];
        FILE *file = fopen((snprintf(path, sizeof path, "%s/chat_tests.json", demo_dir(&demo_models[m], dir)), path), "r");
        if (!file) continue; /* a model that only continues text */
        fclose(file);
        json_t *root = read_json(dir, "chat_tests.json"), *tests = json_object_get(root, "tests");
        assert_true(json_array_size(tests) >= 20);
        for (size_t f = 0; f < COUNT_OF(forms); f++) {
            engine e = {0};
            size_t asked = 0;
            engine_open(&e, dir, demo_models[m].setting, forms[f].type, *state);
            const nb_chat_style *style = nb_chat_style_find(nb_model_chat_style(e.model));
            assert_non_null(style);
            for (size_t i = 0; i < json_array_size(tests); i++) {
                const json_t *test = json_array_get(tests, i);
                if (json_number_value(json_object_get(test, "min_margin")) < forms[f].least_margin) continue;
                check_reply(&e, style, test);
                asked++;
            }
            print_message("%s in %s: %zu replies\n", demo_models[m].name, nb_types[forms[f].type].name, asked);
            assert_true(asked >= 10);
            engine_close(&e);
        }
        json_decref(root);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_tokenizer), cmocka_unit_test(test_replies)};
    return cmocka_run_group_tests(tests, unit_scratch_setup, unit_scratch_teardown);
}
