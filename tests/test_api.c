/* The public interface as a program meets it, on the demo model. */
#include "base/mem.h"
#include "include/nibble.h"
#include "tests/support/demo_model.h"
#include "tests/support/unit.h"

static nibble_model *model;
static nibble_error *error;
static char model_path[UNIT_PATH];

static void ok(nibble_status st) {
    if (st) fail_msg("status %d: %s", st, nibble_error_text(error));
}

static void refused(nibble_status st, nibble_status expected, const char *words) {
    assert_int_equal(st, expected);
    assert_int_equal(nibble_error_status(error), expected);
    if (!strstr(nibble_error_text(error), words)) fail_msg("'%s' does not say '%s'", nibble_error_text(error), words);
}

static int set_up(void **state) {
    int failed = unit_scratch_setup(state);
    char dir[DEMO_PATH];
    engine e = {0};
    if (failed) return failed;
    engine_open(&e, demo_dir(&demo_models[0], dir), demo_models[0].setting, NB_TYPE_Q4, *state);
    engine_close(&e);
    unit_path(model_path, *state, "golden.nbl");
    error = nibble_error_create();
    nibble_model_options options = NIBBLE_MODEL_OPTIONS_INIT;
    options.threads = 2;
    ok(nibble_model_open(&model, model_path, &options, error));
    return 0;
}

static int tear_down(void **state) {
    nibble_model_close(model);
    nibble_error_free(error);
    return unit_scratch_teardown(state);
}

static void versions_and_models(void **state) {
    char version[32];
    snprintf(version, sizeof version, "%d.%d.%d", NIBBLE_VERSION_MAJOR, NIBBLE_VERSION_MINOR, NIBBLE_VERSION_PATCH);
    assert_string_equal(nibble_version(), version);
    assert_string_equal(nibble_model_architecture(model), "nanochat");
    assert_string_equal(nibble_model_chat_style(model), "nanochat");
    assert_true(nibble_model_identity(model) != 0);
    assert_true(nibble_model_has_tokenizer(model));
    assert_true(strlen(nibble_model_isa(model)) > 0);
    assert_non_null(strstr(nibble_model_json(model), "\"hparams\""));
    assert_int_equal(nibble_model_provenance(model)[0], '{');
    double value, vocab = 0, norm_eps = 0;
    for (size_t i = 0; nibble_hparam_name(i); i++) ok(nibble_model_hparam(model, nibble_hparam_name(i), &value, error));
    ok(nibble_model_hparam(model, "vocab_size", &vocab, error));
    ok(nibble_model_hparam(model, "norm_eps", &norm_eps, error));
    assert_int_equal((int)vocab, nibble_model_vocab_size(model));
    assert_true(norm_eps > 0 && norm_eps < 1e-3);
    refused(nibble_model_hparam(model, "nonesuch", &value, error), NIBBLE_ARGUMENT, "nonesuch");

    nibble_model *other = model;
    nibble_model_options options = NIBBLE_MODEL_OPTIONS_INIT;
    char path[UNIT_PATH];
    refused(nibble_model_open(&other, unit_path(path, *state, "none.nbl"), NULL, error), NIBBLE_IO, "none.nbl");
    assert_null(other);
    options.isa = "nonesuch";
    refused(nibble_model_open(&other, model_path, &options, error), NIBBLE_ARGUMENT, "nonesuch");
    options = (nibble_model_options)NIBBLE_MODEL_OPTIONS_INIT;
    options.threads = 257;
    refused(nibble_model_open(&other, model_path, &options, error), NIBBLE_ARGUMENT, "257");
    for (size_t size = 0; size < 2 * sizeof(size_t); size++) { /* one that says nothing, or ends within a member */
        options.size = size == sizeof(size_t) ? 0 : size;
        refused(nibble_model_open(&other, model_path, &options, error), NIBBLE_ARGUMENT, "_INIT");
    }
    /* A caller that knows less, and one that knows more than this version. */
    options = (nibble_model_options)NIBBLE_MODEL_OPTIONS_INIT;
    options.size = offsetof(nibble_model_options, isa);
    options.isa = "not looked at";
    options.threads = 1;
    ok(nibble_model_open(&other, model_path, &options, error));
    nibble_model_close(other);
    struct {
        nibble_model_options known;
        char unknown[64];
    } larger = {.known = {sizeof larger, 1, "scalar"}};
    ok(nibble_model_open(&other, model_path, &larger.known, error));
    assert_string_equal(nibble_model_isa(other), "scalar");
    nibble_model_close(other);
    larger.unknown[sizeof larger.unknown - 1] = 1;
    refused(nibble_model_open(&other, model_path, &larger.known, error), NIBBLE_UNSUPPORTED, "this version knows");
    nibble_model_close(NULL);
    assert_int_equal(nibble_error_status(NULL), NIBBLE_OK);
    assert_string_equal(nibble_error_text(NULL), "");
}

static size_t ids_of_text(const char *text, unsigned flags, int32_t *ids, size_t capacity) {
    size_t n = 0;
    ok(nibble_tokenize(model, text, strlen(text), flags, ids, capacity, &n, error));
    return n;
}

static void text_and_tokens(void **state) {
    (void)state;
    static const char text[] = "Once there was a girl. \xe4\xbd\xa0\xe5\xa5\xbd \xf0\x9f\x98\x80!";
    int32_t ids[100], one[1];
    char back[100];
    size_t n = ids_of_text(text, 0, ids, 100), size = 0, needed = 0;
    refused(nibble_tokenize(model, text, strlen(text), 0, one, 1, &needed, error), NIBBLE_LIMIT, "room for 1");
    assert_int_equal(needed, n);
    ok(nibble_detokenize(model, ids, n, back, sizeof back, &size, error));
    assert_int_equal(size, strlen(text));
    assert_memory_equal(back, text, size);
    refused(nibble_detokenize(model, ids, n, NULL, 0, &needed, error), NIBBLE_LIMIT, "room for 0");
    assert_int_equal(needed, size);
    refused(nibble_detokenize(model, (const int32_t[]){-1}, 1, back, 9, &size, error), NIBBLE_ARGUMENT, "found -1");

    int32_t bos = nibble_control_token(model, "<|bos|>");
    assert_true(bos >= 0);
    assert_string_equal(nibble_control_text(model, bos), "<|bos|>");
    assert_int_equal(nibble_control_token(model, "a"), -1);
    assert_null(nibble_control_text(model, ids[0]));
    assert_null(nibble_control_text(model, -5));
    assert_int_equal(ids_of_text("<|bos|>", NIBBLE_TOKENIZE_CONTROL, one, 1), 1);
    assert_int_equal(one[0], bos);
    assert_true(ids_of_text("<|bos|>", 0, ids + 50, 50) > 1);

    /* Streamed, characters come whole. */
    nibble_decoder *d;
    const char *piece;
    char streamed[100] = "";
    ok(nibble_decoder_create(&d, model, error));
    for (int again = 0; again < 2; again++) {
        streamed[0] = 0;
        for (size_t i = 0; i < n; i++) {
            ok(nibble_decoder_add(d, ids[i], &piece, &size, error));
            assert_int_equal(strlen(piece), size);
            strncat(streamed, piece, size);
        }
        ok(nibble_decoder_finish(d, &piece, &size, error));
        assert_int_equal(size, 0);
        assert_string_equal(streamed, text);
    }
    size_t first_bytes = ids_of_text("\xf0\x9f", 0, ids, 100);
    for (size_t i = 0; i < first_bytes; i++) ok(nibble_decoder_add(d, ids[i], &piece, &size, error));
    ok(nibble_decoder_finish(d, &piece, &size, error));
    assert_string_equal(piece, "\xef\xbf\xbd");
    refused(nibble_decoder_add(d, INT32_MAX, &piece, &size, error), NIBBLE_ARGUMENT, "2147483647");
    nibble_decoder_free(d);
}

static size_t conversation(int32_t ids[100], const char *question) {
    const nibble_message messages[] = {{NIBBLE_USER, question}};
    size_t n = 0;
    ok(nibble_chat_render(model, NULL, messages, 1, ids, 100, &n, error));
    return n;
}

static void conversations(void **state) {
    (void)state;
    const nibble_message m[] = {
        {NIBBLE_SYSTEM, "Be kind."}, {NIBBLE_USER, "Hi <|bos|>"}, {NIBBLE_ASSISTANT, "Hello!"}, {NIBBLE_USER, "Bye"}};
    int32_t ids[200], expected[200];
    size_t n = 0;
    ok(nibble_chat_render(model, NULL, m, 4, ids, 200, &n, error));
    /* As nanochat renders it; a control token's text in a message is text. */
    size_t e = ids_of_text("<|bos|><|user_start|>", NIBBLE_TOKENIZE_CONTROL, expected, 200);
    e += ids_of_text("Be kind.\n\nHi <|bos|>", 0, expected + e, 200 - e);
    e += ids_of_text(
        "<|user_end|><|assistant_start|>Hello!<|assistant_end|><|user_start|>Bye<|user_end|><|assistant_start|>",
        NIBBLE_TOKENIZE_CONTROL, expected + e, 200 - e);
    assert_int_equal(n, e);
    assert_memory_equal(ids, expected, n * sizeof *ids);
    refused(nibble_chat_render(model, NULL, m, 3, ids, 200, &n, error), NIBBLE_ARGUMENT,
            "does not end with the user's");
    refused(nibble_chat_render(model, NULL, m, 1, ids, 200, &n, error), NIBBLE_ARGUMENT, "does not end");
    refused(nibble_chat_render(model, NULL, m, 0, ids, 200, &n, error), NIBBLE_ARGUMENT, "does not end");
    refused(nibble_chat_render(model, NULL, m + 2, 1, ids, 200, &n, error), NIBBLE_ARGUMENT,
            "message 1 is not the user's");
    refused(nibble_chat_render(model, NULL, &(nibble_message){NIBBLE_USER, NULL}, 1, ids, 200, &n, error),
            NIBBLE_ARGUMENT, "message 1 has no text");
    refused(nibble_chat_render(model, "nonesuch", m, 2, ids, 200, &n, error), NIBBLE_UNSUPPORTED, "nonesuch");
    refused(nibble_chat_render(model, "chatml", m, 2, ids, 200, &n, error), NIBBLE_MISSING, "im_start");
    refused(nibble_chat_render(model, NULL, m, 2, ids, 3, &n, error), NIBBLE_LIMIT, "room for 3");
}

typedef struct seen {
    float *logits;
    size_t n, cancel_at;
} seen;

static int keep_logits(void *user, size_t position, const float *logits) {
    seen *s = user;
    assert_int_equal(position, s->n);
    memcpy(s->logits + s->n++ * nibble_model_vocab_size(model), logits,
           nibble_model_vocab_size(model) * sizeof *logits);
    return s->n == s->cancel_at;
}

static void sessions(void **state) {
    (void)state;
    int32_t ids[100];
    size_t n = conversation(ids, "What is 2 plus 3?"), row = nibble_model_vocab_size(model) * sizeof(float);
    nibble_session *s;
    nibble_session_options options = NIBBLE_SESSION_OPTIONS_INIT;
    seen all = {.logits = malloc(n * row)};
    assert_non_null(all.logits);
    ok(nibble_session_create(&s, model, NULL, error));
    assert_null(nibble_session_logits(s));
    refused(nibble_generate(s, NULL, NULL, NULL, NULL, error), NIBBLE_ARGUMENT, "no logits");
    ok(nibble_session_append(s, ids, n, keep_logits, &all, error));
    assert_int_equal(all.n, n);
    assert_null(nibble_session_logits(s));
    assert_int_equal(nibble_session_length(s), n);
    assert_memory_equal(nibble_session_ids(s), ids, n * sizeof *ids);
    assert_int_equal(nibble_session_rewind(s, 5), 5);
    assert_int_equal(nibble_session_rewind(s, 50), 5);
    for (size_t i = 5; i < n; i++) { /* one by one, the same logits */
        ok(nibble_session_append(s, &ids[i], 1, NULL, NULL, error));
        assert_memory_equal(nibble_session_logits(s), (char *)all.logits + i * row, row);
    }
    (void)nibble_session_rewind(s, 0);
    all.n = 0;
    all.cancel_at = 3;
    refused(nibble_session_append(s, ids, n, keep_logits, &all, error), NIBBLE_CANCELLED, "cancelled");
    nibble_session_free(s);

    options.context = 4;
    ok(nibble_session_create(&s, model, &options, error));
    assert_int_equal(nibble_session_room(s), 4);
    refused(nibble_session_append(s, ids, 5, NULL, NULL, error), NIBBLE_LIMIT, "room for 4");
    refused(nibble_session_append(s, (const int32_t[]){-7}, 1, NULL, NULL, error), NIBBLE_ARGUMENT, "-7");
    nibble_session_free(s);
    options.context = 128;
    options.overflow = NIBBLE_OVERFLOW_SLIDE;
    ok(nibble_session_create(&s, model, &options, error));
    for (size_t i = 0; i < 300; i += n) ok(nibble_session_append(s, ids, n, NULL, NULL, error));
    assert_true(nibble_session_length(s) >= 300 && nibble_session_logits(s));
    nibble_session_free(s);
    options.keys = (nibble_kv)7;
    refused(nibble_session_create(&s, model, &options, error), NIBBLE_ARGUMENT, "7 is no type");
    assert_null(s);
    free(all.logits);
}

/* What a listener hears of several texts. */
enum { TEXTS = 3, MOST = 60 };
typedef struct heard {
    int32_t ids[TEXTS][MOST];
    uint8_t sampled[TEXTS][MOST];
    size_t n[TEXTS], items, cancel_after;
    char text[TEXTS][1000];
    nibble_finish finish[TEXTS];
    int32_t end[TEXTS];
} heard;

static int listen(void *user, const nibble_item *items, size_t n) {
    heard *h = user;
    for (size_t i = 0; i < n; i++) {
        uint32_t t = items[i].text_index;
        assert_in_range(t, 0, TEXTS - 1);
        assert_int_equal(h->finish[t], NIBBLE_UNFINISHED);
        strncat(h->text[t], items[i].text, items[i].text_size);
        h->finish[t] = items[i].finish;
        h->end[t] = items[i].terminal ? items[i].id : -1;
        h->sampled[t][h->n[t]] = (uint8_t)items[i].sampled;
        if (!items[i].terminal) h->ids[t][h->n[t]++] = items[i].id;
        h->items++;
    }
    return h->cancel_after && h->items >= h->cancel_after;
}

/* A text as it was streamed and as it is given out. */
static void assert_heard(const heard *h, size_t t, const nibble_texts *texts, size_t i, const int32_t *prompt,
                         size_t n_prompt) {
    size_t n, n_mask, size;
    const int32_t *ids = nibble_texts_ids(texts, i, &n);
    const uint8_t *mask = nibble_texts_mask(texts, i, &n_mask);
    assert_int_equal(n, n_prompt + h->n[t]);
    assert_int_equal(n_mask, n);
    assert_memory_equal(ids, prompt, n_prompt * sizeof *ids);
    assert_memory_equal(ids + n_prompt, h->ids[t], h->n[t] * sizeof *ids);
    for (size_t k = 0; k < n; k++) assert_int_equal(mask[k], k < n_prompt ? 0 : h->sampled[t][k - n_prompt]);
    assert_string_equal(nibble_texts_text(texts, i, &size), h->text[t]);
    assert_int_equal(size, strlen(h->text[t]));
    assert_int_equal(nibble_texts_finish(texts, i), h->finish[t]);
    assert_int_equal(nibble_texts_end_token(texts, i), h->end[t]);
}

static nibble_texts *generate(const int32_t *ids, size_t n, const nibble_generate_options *options, heard *h) {
    nibble_session *s;
    nibble_texts *texts;
    nibble_session_options how = NIBBLE_SESSION_OPTIONS_INIT;
    how.ahead = options->lookup;
    ok(nibble_session_create(&s, model, &how, error));
    ok(nibble_session_append(s, ids, n, NULL, NULL, error));
    ok(nibble_generate(s, options, h ? listen : NULL, h, &texts, error));
    assert_int_equal(nibble_texts_count(texts), 1);
    size_t all;
    const int32_t *sequence = nibble_texts_ids(texts, 0, &all);
    assert_int_equal(nibble_session_length(s), all); /* the session holds the text */
    assert_memory_equal(nibble_session_ids(s), sequence, all * sizeof *sequence);
    nibble_session_free(s);
    return texts;
}

static void generation(void **state) {
    (void)state;
    int32_t ids[100];
    size_t n = conversation(ids, "What is 17 plus 25?");
    nibble_sampling greedy = NIBBLE_SAMPLING_INIT;
    nibble_generate_options options = NIBBLE_GENERATE_OPTIONS_INIT;
    greedy.temperature = 0;
    options.sampling = &greedy;
    options.max_tokens = MOST - 1;
    heard *h = calloc(1, sizeof *h);
    assert_non_null(h);
    nibble_texts *texts = generate(ids, n, &options, h);
    assert_heard(h, 0, texts, 0, ids, n);
    assert_int_equal(nibble_texts_finish(texts, 0), NIBBLE_STOP);
    assert_string_equal(nibble_finish_name(nibble_texts_finish(texts, 0)), "stop");
    assert_non_null(strstr(nibble_texts_text(texts, 0, NULL), "42"));
    assert_non_null(memchr(h->sampled[0], 0, h->n[0])); /* the calculator forced something */
    nibble_texts_free(texts);

    memset(h, 0, sizeof *h);
    h->cancel_after = 2;
    texts = generate(ids, n, &options, h);
    h->finish[0] = NIBBLE_FINISH_CANCELLED;
    assert_heard(h, 0, texts, 0, ids, n);
    nibble_texts_free(texts);

    static const char *const stops[] = {"is"};
    memset(h, 0, sizeof *h);
    options.stops = stops;
    options.n_stops = 1;
    options.lookup = 4;
    texts = generate(ids, n, &options, h);
    assert_heard(h, 0, texts, 0, ids, n);
    assert_null(strstr(h->text[0], "is"));
    assert_int_equal(h->finish[0], NIBBLE_STOP);
    nibble_texts_free(texts);
    free(h);
}

typedef struct asked { /* what a tool was asked, and what it says */
    char call[100];
    int calls;
    const char *result; /* NULL: none */
} asked;

static int answer(void *user, const char *text, size_t n, nibble_tool_result *result) {
    asked *a = user;
    a->calls++;
    assert_int_equal(strlen(text), n);
    snprintf(a->call, sizeof a->call, "%s", text);
    nibble_tool_result_add(result, NULL, 0);
    for (const char *c = a->result; c && *c; c++) nibble_tool_result_add(result, c, 1);
    return !a->result;
}

/* A caller's tool in the calculator's place: the model's call comes to it, and its result is forced. */
static void own_tools(void **state) {
    (void)state;
    int32_t ids[100], result[10];
    size_t n = conversation(ids, "What is 17 plus 25?"), all, n_result = ids_of_text("4321", 0, result, 10);
    asked a = {.result = "4321"};
    nibble_tool tools[] = {{"answer", "<|python_start|>", "<|python_end|>", "<|output_start|>", "<|output_end|>", answer, &a},
                           {"other", "<|user_start|>", "<|python_end|>", "<|output_start|>", "<|output_end|>", answer, &a}};
    nibble_sampling greedy = NIBBLE_SAMPLING_INIT;
    nibble_generate_options options = NIBBLE_GENERATE_OPTIONS_INIT;
    greedy.temperature = 0;
    options.sampling = &greedy;
    options.max_tokens = MOST - 1;
    options.own_tools = tools;
    options.n_own_tools = 2;
    nibble_texts *texts = generate(ids, n, &options, NULL), *many;
    assert_int_equal(a.calls, 1);
    assert_string_equal(a.call, "17+25");
    const int32_t *got = nibble_texts_ids(texts, 0, &all);
    const uint8_t *mask = nibble_texts_mask(texts, 0, NULL), *forced = memchr(mask + n, 0, all - n);
    assert_non_null(forced);
    assert_memory_equal(got + (forced - mask) + 1, result, n_result * sizeof *result);
    assert_non_null(strstr(nibble_texts_text(texts, 0, NULL), "4321"));
    ok(nibble_generate_batch(model, &(nibble_prompt){ids, n, 2}, 1, NULL, &options, NULL, NULL, &many, error));
    assert_int_equal(a.calls, 3);
    for (size_t i = 0; i < 2; i++) {
        size_t n_one;
        const int32_t *one = nibble_texts_ids(many, i, &n_one);
        assert_int_equal(n_one, all);
        assert_memory_equal(one, got, all * sizeof *got);
    }
    nibble_texts_free(many);
    nibble_texts_free(texts);
    a.result = NULL;
    texts = generate(ids, n, &options, NULL);
    mask = nibble_texts_mask(texts, 0, &all);
    assert_int_equal(a.calls, 4);
    assert_null(memchr(mask + n, 0, all - n));
    nibble_texts_free(texts);

    const nibble_prompt prompt = {ids, n, 1};
    nibble_texts *none;
    tools[1].name = "answer";
    refused(nibble_generate_batch(model, &prompt, 1, NULL, &options, NULL, NULL, &none, error), NIBBLE_ARGUMENT,
            "tools 1 and 2");
    tools[1].name = "other";
    tools[1].output_end = "<|nonesuch|>";
    refused(nibble_generate_batch(model, &prompt, 1, NULL, &options, NULL, NULL, &none, error), NIBBLE_MISSING,
            "<|nonesuch|>");
    tools[1].call = NULL;
    refused(nibble_generate_batch(model, &prompt, 1, NULL, &options, NULL, NULL, &none, error), NIBBLE_ARGUMENT,
            "tool 2 lacks");
    options.own_tools = NULL;
    refused(nibble_generate_batch(model, &prompt, 1, NULL, &options, NULL, NULL, &none, error), NIBBLE_ARGUMENT,
            "tools: NULL");
}

/* The sampler alone, driven by hand, gives what generation gives. */
static void samplers(void **state) {
    (void)state;
    int32_t ids[100], next;
    size_t n = conversation(ids, "Tell me a story."), all;
    const nibble_logit_bias bias[] = {{100, -2}, {101, 1.5f}};
    nibble_sampling how = NIBBLE_SAMPLING_INIT;
    how.bias = bias;
    how.n_bias = 2;
    how.frequency_penalty = 0.3f;
    how.typical_p = 0.9f;
    how.seed = 11;
    nibble_generate_options options = NIBBLE_GENERATE_OPTIONS_INIT;
    options.sampling = &how;
    options.stream = 5;
    options.max_tokens = 20;
    options.ignore_stop_tokens = 1;
    options.tools = 0;
    nibble_texts *texts = generate(ids, n, &options, NULL);
    const int32_t *expected = nibble_texts_ids(texts, 0, &all);
    assert_int_equal(all, n + 20);
    assert_int_equal(nibble_texts_finish(texts, 0), NIBBLE_LENGTH);

    nibble_session *s;
    nibble_sampler *sampler;
    ok(nibble_session_create(&s, model, NULL, error));
    ok(nibble_sampler_create(&sampler, model, &how, 5, error));
    assert_int_equal(nibble_sampler_next(sampler, nibble_session_logits(s)), -1);
    ok(nibble_session_append(s, ids, n, NULL, NULL, error));
    for (size_t i = 0; i < n; i++) nibble_sampler_accept(sampler, ids[i]);
    for (size_t i = n; i < all; i++) {
        next = nibble_sampler_next(sampler, nibble_session_logits(s));
        assert_int_equal(next, expected[i]);
        nibble_sampler_accept(sampler, next);
        ok(nibble_session_append(s, &next, 1, NULL, NULL, error));
    }
    nibble_sampler_free(sampler);
    nibble_session_free(s);
    nibble_texts_free(texts);
    how.top_p = 0;
    refused(nibble_sampler_create(&sampler, model, &how, 0, error), NIBBLE_ARGUMENT, "top-p is 0");
    assert_null(sampler);
}

/* Cut after every number of tokens, inside the calculator's call and result too, saved, and restored for another
 * instruction set: the text goes on as if nothing had been. */
static void saved_sessions(void **state) {
    char file[UNIT_PATH];
    int32_t ids[100];
    size_t n = conversation(ids, "What is 17 plus 25?"), all, all_there;
    nibble_model *other;
    nibble_model_options scalar = NIBBLE_MODEL_OPTIONS_INIT;
    nibble_sampling how = NIBBLE_SAMPLING_INIT;
    nibble_generate_options options = NIBBLE_GENERATE_OPTIONS_INIT;
    nibble_session *s, *t;
    nibble_texts *whole, *begin, *rest;
    how.temperature = 0.4f;
    options.sampling = &how;
    options.max_tokens = 40;
    scalar.isa = "scalar";
    unit_path(file, *state, "session.nbs");
    ok(nibble_model_open(&other, model_path, &scalar, error));
    whole = generate(ids, n, &options, NULL);
    const int32_t *expected = nibble_texts_ids(whole, 0, &all);
    for (uint32_t cut = 1; cut < all - n; cut++) {
        options.max_tokens = cut;
        options.resume = 0;
        ok(nibble_session_create(&s, model, NULL, error));
        ok(nibble_session_create(&t, other, NULL, error));
        ok(nibble_session_append(s, ids, n, NULL, NULL, error));
        ok(nibble_generate(s, &options, NULL, NULL, &begin, error));
        ok(nibble_session_save(s, file, error));
        ok(nibble_session_restore(t, file, error));
        options.max_tokens = 40;
        options.resume = 1;
        ok(nibble_generate(t, &options, NULL, NULL, &rest, error));
        const int32_t *there = nibble_texts_ids(rest, 0, &all_there);
        assert_int_equal(all_there, all);
        assert_memory_equal(there, expected, all * sizeof *there);
        const uint8_t *mask = nibble_texts_mask(rest, 0, NULL), *mask_expected = nibble_texts_mask(whole, 0, NULL);
        assert_memory_equal(mask + n + cut, mask_expected + n + cut, all - n - cut);
        (void)nibble_session_rewind(s, (uint32_t)n);
        ok(nibble_session_append(s, ids, 1, NULL, NULL, error));
        refused(nibble_generate(s, &options, NULL, NULL, NULL, error), NIBBLE_ARGUMENT, "nothing to resume");
        nibble_texts_free(begin);
        nibble_texts_free(rest);
        nibble_session_free(s);
        nibble_session_free(t);
    }
    nibble_texts_free(whole);
    nibble_model_close(other);

    char dir[DEMO_PATH], *scratch = unit_scratch_new();
    char path[UNIT_PATH];
    nibble_session_options f16 = NIBBLE_SESSION_OPTIONS_INIT;
    engine e = {0};
    engine_open(&e, demo_dir(&demo_models[2], dir), demo_models[2].setting, NB_TYPE_Q4, scratch);
    engine_close(&e);
    ok(nibble_model_open(&other, unit_path(path, scratch, "golden.nbl"), NULL, error));
    ok(nibble_session_create(&t, other, NULL, error));
    refused(nibble_session_restore(t, file, error), NIBBLE_ARGUMENT, "another model");
    nibble_session_free(t);
    f16.keys = NIBBLE_KV_F16;
    ok(nibble_session_create(&t, model, &f16, error));
    refused(nibble_session_restore(t, file, error), NIBBLE_ARGUMENT, "keys in q8");
    assert_int_equal(nibble_session_length(t), 0);
    assert_null(nibble_session_logits(t));
    refused(nibble_session_save(t, file, error), NIBBLE_ARGUMENT, "0 tokens");
    nibble_session_free(t);
    nibble_model_close(other);
    unit_scratch_free(scratch);
}

/* Each text of a batch is what it is alone, also when there are fewer rows than texts. */
static void batches(void **state) {
    (void)state;
    int32_t a[100], b[100];
    size_t n_a = conversation(a, "Tell me a story."), n_b = conversation(b, "What is 7 times 8?");
    const nibble_prompt prompts[] = {{a, n_a, 2}, {b, n_b, 0}, {b, n_b, 1}};
    nibble_generate_options options = NIBBLE_GENERATE_OPTIONS_INIT;
    options.max_tokens = 30;
    for (uint32_t rows = 0; rows < 4; rows++) {
        nibble_batch_options batch = NIBBLE_BATCH_OPTIONS_INIT;
        heard *h = calloc(1, sizeof *h);
        nibble_texts *texts;
        assert_non_null(h);
        batch.rows = rows;
        options.lookup = rows;
        ok(nibble_generate_batch(model, prompts, 3, &batch, &options, listen, h, &texts, error));
        assert_int_equal(nibble_texts_count(texts), TEXTS);
        for (size_t i = 0; i < TEXTS; i++) {
            const int32_t *prompt = i < 2 ? a : b;
            size_t n = i < 2 ? n_a : n_b;
            heard *alone = calloc(1, sizeof *alone);
            assert_non_null(alone);
            options.stream = i % 2;
            assert_heard(h, i, texts, i, prompt, n);
            nibble_texts *single = generate(prompt, n, &options, alone);
            assert_heard(alone, 0, texts, i, prompt, n);
            nibble_texts_free(single);
            free(alone);
        }
        options.stream = 0;
        nibble_texts_free(texts);
        memset(h, 0, sizeof *h);
        h->cancel_after = 5;
        ok(nibble_generate_batch(model, prompts, 3, &batch, &options, listen, h, &texts, error));
        for (size_t i = 0; i < TEXTS; i++) assert_int_equal(nibble_texts_finish(texts, i), NIBBLE_FINISH_CANCELLED);
        nibble_texts_free(texts);
        free(h);
    }
    nibble_texts *none;
    refused(nibble_generate_batch(model, prompts, 0, NULL, NULL, NULL, NULL, &none, error), NIBBLE_ARGUMENT, "0 texts");
    refused(nibble_generate_batch(model, &(nibble_prompt){a, 0, 1}, 1, NULL, NULL, NULL, NULL, &none, error),
            NIBBLE_ARGUMENT, "no tokens");
    assert_null(none);
    /* What is wrong with the last prompt is said before the first is continued. */
    const nibble_prompt late[] = {{a, n_a, 1}, {(const int32_t[]){1, -1}, 2, 1}};
    const nibble_batch_options one_row = {sizeof one_row, NULL, 1};
    heard *h = calloc(1, sizeof *h);
    assert_non_null(h);
    refused(nibble_generate_batch(model, late, 2, &one_row, &options, listen, h, &none, error), NIBBLE_ARGUMENT,
            "prompt 1: token 1");
    assert_int_equal(h->items, 0);
    free(h);
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
    ok(nibble_session_create(&s, model, NULL, error));
    ok(nibble_session_append(s, NULL, 0, NULL, NULL, error));
    refused(nibble_session_append(s, NULL, 3, NULL, NULL, error), NIBBLE_ARGUMENT, "tokens to append: NULL");
    ok(nibble_session_append(s, ids, 4, NULL, NULL, error));
    refused(nibble_session_save(s, NULL, error), NIBBLE_ARGUMENT, "NULL");
    refused(nibble_model_open(&none, NULL, NULL, error), NIBBLE_ARGUMENT, "path: NULL");
    refused(nibble_model_hparam(model, NULL, &value, error), NIBBLE_ARGUMENT, "NULL");
    assert_int_equal(nibble_control_token(model, NULL), -1);
    ok(nibble_tokenize(model, NULL, 0, 0, NULL, 0, &n, error));
    refused(nibble_tokenize(model, NULL, 3, 0, ids, 4, &n, error), NIBBLE_ARGUMENT, "a text: NULL");
    refused(nibble_tokenize(model, "a", 1, 8, ids, 4, &n, error), NIBBLE_ARGUMENT, "0x8");
    refused(nibble_detokenize(model, NULL, 3, text, sizeof text, &n, error), NIBBLE_ARGUMENT, "token ids: NULL");
    refused(nibble_chat_render(model, NULL, NULL, 1, ids, 4, &n, error), NIBBLE_ARGUMENT, "messages: NULL");
    refused(nibble_generate_batch(model, NULL, 1, NULL, NULL, NULL, NULL, NULL, error), NIBBLE_ARGUMENT, "prompts: NULL");
    refused(nibble_generate_batch(model, &empty, 1, NULL, NULL, NULL, NULL, NULL, error), NIBBLE_ARGUMENT, "tokens: NULL");
    options.resume = 1;
    refused(nibble_generate_batch(model, &prompt, 1, NULL, &options, NULL, NULL, NULL, error), NIBBLE_ARGUMENT,
            "resume");
    options.resume = 0;
    options.n_stops = 1;
    refused(nibble_generate(s, &options, NULL, NULL, NULL, error), NIBBLE_ARGUMENT, "stop texts: NULL");
    options.n_stops = 0;
    options.n_stop_tokens = 1;
    refused(nibble_generate(s, &options, NULL, NULL, NULL, error), NIBBLE_ARGUMENT, "stop tokens: NULL");
    how.n_bias = 2;
    refused(nibble_sampler_create(&sampler, model, &how, 0, error), NIBBLE_ARGUMENT, "biases: NULL");
    refused(nibble_session_restore(s, NULL, error), NIBBLE_ARGUMENT, "NULL");
    assert_int_equal(nibble_session_length(s), 0);
    nibble_session_free(s);
}

static void memory_runs_out(void **state) {
    (void)state;
    int32_t ids[100];
    size_t n = conversation(ids, "Hi");
    asked a = {.result = "1"};
    const nibble_tool tool = {"answer", "<|python_start|>", "<|python_end|>", "<|output_start|>", "<|output_end|>", answer, &a};
    nibble_generate_options options = NIBBLE_GENERATE_OPTIONS_INIT;
    options.max_tokens = 2;
    options.own_tools = &tool;
    options.n_own_tools = 1;
    for (long at = 0;; at++) {
        nibble_session *s = NULL;
        nibble_sampler *sampler = NULL;
        nibble_decoder *d = NULL;
        nibble_texts *one = NULL, *many = NULL;
        nb_mem_fail_at(at);
        nibble_status st = nibble_session_create(&s, model, NULL, error);
        if (!st) st = nibble_session_append(s, ids, n, NULL, NULL, error);
        if (!st) st = nibble_generate(s, &options, NULL, NULL, &one, error);
        if (!st) st = nibble_sampler_create(&sampler, model, NULL, 0, error);
        if (!st) st = nibble_decoder_create(&d, model, error);
        if (!st)
            st = nibble_generate_batch(model, &(nibble_prompt){ids, n, 2}, 1, NULL, &options, NULL, NULL, &many, error);
        bool done = nb_mem_fail_at(-1) <= at;
        assert_int_equal(st, done ? NIBBLE_OK : NIBBLE_MEMORY);
        nibble_texts_free(one);
        nibble_texts_free(many);
        nibble_decoder_free(d);
        nibble_sampler_free(sampler);
        nibble_session_free(s);
        if (done) break;
    }
}

/* A text that a failure has cut goes on from no state that it had before. */
static void failure_within_a_text(void **state) {
    (void)state;
    int32_t ids[100];
    size_t n = conversation(ids, "Hi"), cut = 0;
    nibble_generate_options options = NIBBLE_GENERATE_OPTIONS_INIT;
    for (long at = 0;; at++) {
        nibble_session *s;
        ok(nibble_session_create(&s, model, NULL, error));
        ok(nibble_session_append(s, ids, n, NULL, NULL, error));
        options.max_tokens = 1;
        options.resume = 0;
        ok(nibble_generate(s, &options, NULL, NULL, NULL, error));
        options.max_tokens = 12;
        options.resume = 1;
        uint32_t length = nibble_session_length(s);
        nb_mem_fail_at(at);
        nibble_status st = nibble_generate(s, &options, NULL, NULL, NULL, error);
        bool done = nb_mem_fail_at(-1) <= at;
        assert_int_equal(st, done ? NIBBLE_OK : NIBBLE_MEMORY);
        if (st && nibble_session_length(s) > length) {
            refused(nibble_generate(s, &options, NULL, NULL, NULL, error), NIBBLE_ARGUMENT, "nothing to resume");
            cut++;
        } else if (st) {
            ok(nibble_generate(s, &options, NULL, NULL, NULL, error));
        }
        nibble_session_free(s);
        if (done) break;
    }
    assert_true(cut > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(versions_and_models), cmocka_unit_test(text_and_tokens), cmocka_unit_test(conversations),
        cmocka_unit_test(sessions),            cmocka_unit_test(generation),      cmocka_unit_test(own_tools),
        cmocka_unit_test(samplers),            cmocka_unit_test(saved_sessions),  cmocka_unit_test(batches),
        cmocka_unit_test(nothing_given),       cmocka_unit_test(memory_runs_out), cmocka_unit_test(failure_within_a_text),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
