/* The public interface as a program meets it, on the demo model: models, text, sessions. What generates is in
 * test_api_generate.c. */
#include "tests/support/api.h"

static void versions_and_models(void **state) {
    char version[32];
    snprintf(version, sizeof version, "%d.%d.%d", NIBBLE_VERSION_MAJOR, NIBBLE_VERSION_MINOR, NIBBLE_VERSION_PATCH);
    assert_string_equal(nibble_version(), version);
    assert_string_equal(nibble_model_architecture(api.model), "nanochat");
    assert_string_equal(nibble_model_chat_style(api.model), "nanochat");
    assert_true(nibble_model_identity(api.model) != 0);
    assert_true(nibble_model_has_tokenizer(api.model));
    assert_true(strlen(nibble_model_isa(api.model)) > 0);
    assert_non_null(strstr(nibble_model_json(api.model), "\"hparams\""));
    assert_int_equal(nibble_model_provenance(api.model)[0], '{');
    double value, vocab = 0, norm_eps = 0;
    for (size_t i = 0; nibble_hparam_name(i); i++)
        api_ok(nibble_model_hparam(api.model, nibble_hparam_name(i), &value, api.error));
    api_ok(nibble_model_hparam(api.model, "vocab_size", &vocab, api.error));
    api_ok(nibble_model_hparam(api.model, "norm_eps", &norm_eps, api.error));
    assert_int_equal((int)vocab, nibble_model_vocab_size(api.model));
    assert_true(norm_eps > 0 && norm_eps < 1e-3);
    api_refused(nibble_model_hparam(api.model, "nonesuch", &value, api.error), NIBBLE_ARGUMENT, "nonesuch");

    nibble_model *other = api.model;
    nibble_model_options options = NIBBLE_MODEL_OPTIONS_INIT;
    char path[UNIT_PATH];
    api_refused(nibble_model_open(&other, unit_path(path, *state, "none.nbl"), NULL, api.error), NIBBLE_IO, "none.nbl");
    assert_null(other);
    options.isa = "nonesuch";
    api_refused(nibble_model_open(&other, api.path, &options, api.error), NIBBLE_ARGUMENT, "nonesuch");
    options = (nibble_model_options)NIBBLE_MODEL_OPTIONS_INIT;
    options.threads = 257;
    api_refused(nibble_model_open(&other, api.path, &options, api.error), NIBBLE_ARGUMENT, "257");
    for (size_t size = 0; size < 2 * sizeof(size_t); size++) { /* one that says nothing, or ends within a member */
        options.size = size == sizeof(size_t) ? 0 : size;
        api_refused(nibble_model_open(&other, api.path, &options, api.error), NIBBLE_ARGUMENT, "_INIT");
    }
    /* A caller that knows less, and one that knows more than this version. */
    options = (nibble_model_options)NIBBLE_MODEL_OPTIONS_INIT;
    options.size = offsetof(nibble_model_options, isa);
    options.isa = "not looked at";
    options.threads = 1;
    api_ok(nibble_model_open(&other, api.path, &options, api.error));
    nibble_model_close(other);
    struct {
        nibble_model_options known;
        char unknown[64];
    } larger = {.known = {sizeof larger, 1, "scalar"}};
    api_ok(nibble_model_open(&other, api.path, &larger.known, api.error));
    assert_string_equal(nibble_model_isa(other), "scalar");
    nibble_model_close(other);
    larger.unknown[sizeof larger.unknown - 1] = 1;
    api_refused(nibble_model_open(&other, api.path, &larger.known, api.error), NIBBLE_UNSUPPORTED,
                "this version knows");
    nibble_model_close(NULL);
    assert_int_equal(nibble_error_status(NULL), NIBBLE_OK);
    assert_string_equal(nibble_error_text(NULL), "");
}

static void text_and_tokens(void **state) {
    (void)state;
    static const char text[] = "Once there was a girl. \xe4\xbd\xa0\xe5\xa5\xbd \xf0\x9f\x98\x80!";
    int32_t ids[100], one[1];
    char back[100];
    size_t n = api_ids(text, 0, ids, 100), size = 0, needed = 0;
    api_refused(nibble_tokenize(api.model, text, strlen(text), 0, one, 1, &needed, api.error), NIBBLE_LIMIT,
                "room for 1");
    assert_int_equal(needed, n);
    api_ok(nibble_detokenize(api.model, ids, n, back, sizeof back, &size, api.error));
    assert_int_equal(size, strlen(text));
    assert_memory_equal(back, text, size);
    api_refused(nibble_detokenize(api.model, ids, n, NULL, 0, &needed, api.error), NIBBLE_LIMIT, "room for 0");
    assert_int_equal(needed, size);
    api_refused(nibble_detokenize(api.model, (const int32_t[]){-1}, 1, back, 9, &size, api.error), NIBBLE_ARGUMENT,
                "found -1");

    int32_t bos = nibble_control_token(api.model, "<|bos|>");
    assert_true(bos >= 0);
    assert_string_equal(nibble_control_text(api.model, bos), "<|bos|>");
    assert_int_equal(nibble_control_token(api.model, "a"), -1);
    assert_null(nibble_control_text(api.model, ids[0]));
    assert_null(nibble_control_text(api.model, -5));
    assert_int_equal(api_ids("<|bos|>", NIBBLE_TOKENIZE_CONTROL, one, 1), 1);
    assert_int_equal(one[0], bos);
    assert_true(api_ids("<|bos|>", 0, ids + 50, 50) > 1);

    /* Streamed, characters come whole. */
    nibble_decoder *d;
    const char *piece;
    char streamed[100] = "";
    api_ok(nibble_decoder_create(&d, api.model, api.error));
    for (int again = 0; again < 2; again++) {
        streamed[0] = 0;
        for (size_t i = 0; i < n; i++) {
            api_ok(nibble_decoder_add(d, ids[i], &piece, &size, api.error));
            assert_int_equal(strlen(piece), size);
            strncat(streamed, piece, size);
        }
        api_ok(nibble_decoder_finish(d, &piece, &size, api.error));
        assert_int_equal(size, 0);
        assert_string_equal(streamed, text);
    }
    size_t first_bytes = api_ids("\xf0\x9f", 0, ids, 100);
    for (size_t i = 0; i < first_bytes; i++) api_ok(nibble_decoder_add(d, ids[i], &piece, &size, api.error));
    api_ok(nibble_decoder_finish(d, &piece, &size, api.error));
    assert_string_equal(piece, "\xef\xbf\xbd");
    api_refused(nibble_decoder_add(d, INT32_MAX, &piece, &size, api.error), NIBBLE_ARGUMENT, "2147483647");
    nibble_decoder_free(d);
}

static void conversations(void **state) {
    (void)state;
    const nibble_message m[] = {
        {NIBBLE_SYSTEM, "Be kind."}, {NIBBLE_USER, "Hi <|bos|>"}, {NIBBLE_ASSISTANT, "Hello!"}, {NIBBLE_USER, "Bye"}};
    int32_t ids[200], expected[200];
    size_t n = 0;
    api_ok(nibble_chat_render(api.model, NULL, m, 4, ids, 200, &n, api.error));
    /* As nanochat renders it; a control token's text in a message is text. */
    size_t e = api_ids("<|bos|><|user_start|>", NIBBLE_TOKENIZE_CONTROL, expected, 200);
    e += api_ids("Be kind.\n\nHi <|bos|>", 0, expected + e, 200 - e);
    e += api_ids(
        "<|user_end|><|assistant_start|>Hello!<|assistant_end|><|user_start|>Bye<|user_end|><|assistant_start|>",
        NIBBLE_TOKENIZE_CONTROL, expected + e, 200 - e);
    assert_int_equal(n, e);
    assert_memory_equal(ids, expected, n * sizeof *ids);
    api_refused(nibble_chat_render(api.model, NULL, m, 3, ids, 200, &n, api.error), NIBBLE_ARGUMENT,
                "does not end with the user's");
    api_refused(nibble_chat_render(api.model, NULL, m, 1, ids, 200, &n, api.error), NIBBLE_ARGUMENT, "does not end");
    api_refused(nibble_chat_render(api.model, NULL, m, 0, ids, 200, &n, api.error), NIBBLE_ARGUMENT, "does not end");
    api_refused(nibble_chat_render(api.model, NULL, m + 2, 1, ids, 200, &n, api.error), NIBBLE_ARGUMENT,
                "message 1 is not the user's");
    api_refused(nibble_chat_render(api.model, NULL, &(nibble_message){NIBBLE_USER, NULL}, 1, ids, 200, &n, api.error),
                NIBBLE_ARGUMENT, "message 1 has no text");
    api_refused(nibble_chat_render(api.model, "nonesuch", m, 2, ids, 200, &n, api.error), NIBBLE_UNSUPPORTED,
                "nonesuch");
    api_refused(nibble_chat_render(api.model, "chatml", m, 2, ids, 200, &n, api.error), NIBBLE_MISSING, "im_start");
    api_refused(nibble_chat_render(api.model, NULL, m, 2, ids, 3, &n, api.error), NIBBLE_LIMIT, "room for 3");
}

typedef struct seen {
    float *logits;
    size_t n, cancel_at;
} seen;

static int keep_logits(void *user, size_t position, const float *logits) {
    seen *s = user;
    assert_int_equal(position, s->n);
    memcpy(s->logits + s->n++ * nibble_model_vocab_size(api.model), logits,
           nibble_model_vocab_size(api.model) * sizeof *logits);
    return s->n == s->cancel_at;
}

static void sessions(void **state) {
    (void)state;
    int32_t ids[100];
    size_t n = api_conversation(ids, "What is 2 plus 3?"), row = nibble_model_vocab_size(api.model) * sizeof(float);
    nibble_session *s;
    nibble_session_options options = NIBBLE_SESSION_OPTIONS_INIT;
    seen all = {.logits = malloc(n * row)};
    assert_non_null(all.logits);
    api_ok(nibble_session_create(&s, api.model, NULL, api.error));
    assert_null(nibble_session_logits(s));
    api_refused(nibble_generate(s, NULL, NULL, NULL, NULL, api.error), NIBBLE_ARGUMENT, "no logits");
    api_ok(nibble_session_append(s, ids, n, keep_logits, &all, api.error));
    assert_int_equal(all.n, n);
    assert_null(nibble_session_logits(s));
    assert_int_equal(nibble_session_length(s), n);
    assert_memory_equal(nibble_session_ids(s), ids, n * sizeof *ids);
    assert_int_equal(nibble_session_rewind(s, 5), 5);
    assert_int_equal(nibble_session_rewind(s, 50), 5);
    for (size_t i = 5; i < n; i++) { /* one by one, the same logits */
        api_ok(nibble_session_append(s, &ids[i], 1, NULL, NULL, api.error));
        assert_memory_equal(nibble_session_logits(s), (char *)all.logits + i * row, row);
    }
    (void)nibble_session_rewind(s, 0);
    all.n = 0;
    all.cancel_at = 3;
    api_refused(nibble_session_append(s, ids, n, keep_logits, &all, api.error), NIBBLE_CANCELLED, "cancelled");
    nibble_session_free(s);

    options.context = 4;
    api_ok(nibble_session_create(&s, api.model, &options, api.error));
    assert_int_equal(nibble_session_room(s), 4);
    api_refused(nibble_session_append(s, ids, 5, NULL, NULL, api.error), NIBBLE_LIMIT, "room for 4");
    api_refused(nibble_session_append(s, (const int32_t[]){-7}, 1, NULL, NULL, api.error), NIBBLE_ARGUMENT, "-7");
    nibble_session_free(s);
    options.context = 128;
    options.overflow = NIBBLE_OVERFLOW_SLIDE;
    api_ok(nibble_session_create(&s, api.model, &options, api.error));
    for (size_t i = 0; i < 300; i += n) api_ok(nibble_session_append(s, ids, n, NULL, NULL, api.error));
    assert_true(nibble_session_length(s) >= 300 && nibble_session_logits(s));
    nibble_session_free(s);
    options.keys = (nibble_kv)7;
    api_refused(nibble_session_create(&s, api.model, &options, api.error), NIBBLE_ARGUMENT, "7 is no type");
    assert_null(s);
    free(all.logits);
}

/* Data that should be there, and is not. */
static void nothing_given(void **state) {
    (void)state;
    int32_t ids[4] = {1, 2, 3, 4};
    char text[8];
    size_t n;
    double value;
    nibble_model *none;
    nibble_session *s;
    nibble_sampler *sampler;
    nibble_sampling how = NIBBLE_SAMPLING_INIT;
    nibble_generate_options options = NIBBLE_GENERATE_OPTIONS_INIT;
    const nibble_prompt prompt = {ids, 4, 1}, empty = {NULL, 4, 1};
    api_ok(nibble_session_create(&s, api.model, NULL, api.error));
    api_ok(nibble_session_append(s, NULL, 0, NULL, NULL, api.error));
    api_refused(nibble_session_append(s, NULL, 3, NULL, NULL, api.error), NIBBLE_ARGUMENT, "tokens to append: NULL");
    api_ok(nibble_session_append(s, ids, 4, NULL, NULL, api.error));
    api_refused(nibble_session_save(s, NULL, api.error), NIBBLE_ARGUMENT, "NULL");
    api_refused(nibble_model_open(&none, NULL, NULL, api.error), NIBBLE_ARGUMENT, "path: NULL");
    api_refused(nibble_model_hparam(api.model, NULL, &value, api.error), NIBBLE_ARGUMENT, "NULL");
    assert_int_equal(nibble_control_token(api.model, NULL), -1);
    api_ok(nibble_tokenize(api.model, NULL, 0, 0, NULL, 0, &n, api.error));
    api_refused(nibble_tokenize(api.model, NULL, 3, 0, ids, 4, &n, api.error), NIBBLE_ARGUMENT, "a text: NULL");
    api_refused(nibble_tokenize(api.model, "a", 1, 8, ids, 4, &n, api.error), NIBBLE_ARGUMENT, "0x8");
    api_refused(nibble_detokenize(api.model, NULL, 3, text, sizeof text, &n, api.error), NIBBLE_ARGUMENT,
                "token ids: NULL");
    api_refused(nibble_chat_render(api.model, NULL, NULL, 1, ids, 4, &n, api.error), NIBBLE_ARGUMENT, "messages: NULL");
    api_refused(nibble_generate_batch(api.model, NULL, 1, NULL, NULL, NULL, NULL, NULL, api.error), NIBBLE_ARGUMENT,
                "prompts: NULL");
    api_refused(nibble_generate_batch(api.model, &empty, 1, NULL, NULL, NULL, NULL, NULL, api.error), NIBBLE_ARGUMENT,
                "tokens: NULL");
    options.resume = 1;
    api_refused(nibble_generate_batch(api.model, &prompt, 1, NULL, &options, NULL, NULL, NULL, api.error),
                NIBBLE_ARGUMENT, "resume");
    options.resume = 0;
    options.n_stops = 1;
    api_refused(nibble_generate(s, &options, NULL, NULL, NULL, api.error), NIBBLE_ARGUMENT, "stop texts: NULL");
    options.n_stops = 0;
    options.n_stop_tokens = 1;
    api_refused(nibble_generate(s, &options, NULL, NULL, NULL, api.error), NIBBLE_ARGUMENT, "stop tokens: NULL");
    how.n_bias = 2;
    api_refused(nibble_sampler_create(&sampler, api.model, &how, 0, api.error), NIBBLE_ARGUMENT, "biases: NULL");
    api_refused(nibble_session_restore(s, NULL, api.error), NIBBLE_ARGUMENT, "NULL");
    assert_int_equal(nibble_session_length(s), 0);
    nibble_session_free(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(versions_and_models), cmocka_unit_test(text_and_tokens), cmocka_unit_test(conversations),
        cmocka_unit_test(sessions), cmocka_unit_test(nothing_given),
    };
    return cmocka_run_group_tests(tests, api_set_up, api_tear_down);
}
