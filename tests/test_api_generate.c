/* The public interface as a program meets it, on the demo model: generating, and going on from what was
 * saved. */
#include "base/mem.h"
#include "tests/support/api.h"
#include "tests/support/demo_model.h"

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
    api_ok(nibble_session_create(&s, api.model, &how, api.error));
    api_ok(nibble_session_append(s, ids, n, NULL, NULL, api.error));
    api_ok(nibble_generate(s, options, h ? listen : NULL, h, &texts, api.error));
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
    size_t n = api_conversation(ids, "What is 17 plus 25?");
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
    size_t n = api_conversation(ids, "What is 17 plus 25?"), all, n_result = api_ids("4321", 0, result, 10);
    asked a = {.result = "4321"};
    nibble_tool tools[] = {{"answer", "<|python_start|>", "<|python_end|>", "<|output_start|>", "<|output_end|>",
                            answer, &a},
                           {"other", "<|user_start|>", "<|python_end|>", "<|output_start|>", "<|output_end|>", answer,
                            &a}};
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
    api_ok(nibble_generate_batch(api.model, &(nibble_prompt){ids, n, 2}, 1, NULL, &options, NULL, NULL, &many,
                                 api.error));
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
    api_refused(nibble_generate_batch(api.model, &prompt, 1, NULL, &options, NULL, NULL, &none, api.error),
                NIBBLE_ARGUMENT, "tools 1 and 2");
    tools[1].name = "other";
    tools[1].output_end = "<|nonesuch|>";
    api_refused(nibble_generate_batch(api.model, &prompt, 1, NULL, &options, NULL, NULL, &none, api.error),
                NIBBLE_MISSING, "<|nonesuch|>");
    tools[1].call = NULL;
    api_refused(nibble_generate_batch(api.model, &prompt, 1, NULL, &options, NULL, NULL, &none, api.error),
                NIBBLE_ARGUMENT, "tool 2 lacks");
    options.own_tools = NULL;
    api_refused(nibble_generate_batch(api.model, &prompt, 1, NULL, &options, NULL, NULL, &none, api.error),
                NIBBLE_ARGUMENT, "tools: NULL");
}

/* The sampler alone, driven by hand, gives what generation gives. */
static void samplers(void **state) {
    (void)state;
    int32_t ids[100], next;
    size_t n = api_conversation(ids, "Tell me a story."), all;
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
    api_ok(nibble_session_create(&s, api.model, NULL, api.error));
    api_ok(nibble_sampler_create(&sampler, api.model, &how, 5, api.error));
    assert_int_equal(nibble_sampler_next(sampler, nibble_session_logits(s)), -1);
    api_ok(nibble_session_append(s, ids, n, NULL, NULL, api.error));
    for (size_t i = 0; i < n; i++) nibble_sampler_accept(sampler, ids[i]);
    for (size_t i = n; i < all; i++) {
        next = nibble_sampler_next(sampler, nibble_session_logits(s));
        assert_int_equal(next, expected[i]);
        nibble_sampler_accept(sampler, next);
        api_ok(nibble_session_append(s, &next, 1, NULL, NULL, api.error));
    }
    nibble_sampler_free(sampler);
    nibble_session_free(s);
    nibble_texts_free(texts);
    how.top_p = 0;
    api_refused(nibble_sampler_create(&sampler, api.model, &how, 0, api.error), NIBBLE_ARGUMENT, "top-p is 0");
    assert_null(sampler);
}

/* Cut after every number of tokens, inside the calculator's call and result too, saved, and restored for another
 * instruction set: the text goes on as if nothing had been. */
static void saved_sessions(void **state) {
    char file[UNIT_PATH];
    int32_t ids[100];
    size_t n = api_conversation(ids, "What is 17 plus 25?"), all, all_there;
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
    api_ok(nibble_model_open(&other, api.path, &scalar, api.error));
    whole = generate(ids, n, &options, NULL);
    const int32_t *expected = nibble_texts_ids(whole, 0, &all);
    for (uint32_t cut = 1; cut < all - n; cut++) {
        options.max_tokens = cut;
        options.resume = 0;
        api_ok(nibble_session_create(&s, api.model, NULL, api.error));
        api_ok(nibble_session_create(&t, other, NULL, api.error));
        api_ok(nibble_session_append(s, ids, n, NULL, NULL, api.error));
        api_ok(nibble_generate(s, &options, NULL, NULL, &begin, api.error));
        api_ok(nibble_session_save(s, file, api.error));
        api_ok(nibble_session_restore(t, file, api.error));
        options.max_tokens = 40;
        options.resume = 1;
        api_ok(nibble_generate(t, &options, NULL, NULL, &rest, api.error));
        const int32_t *there = nibble_texts_ids(rest, 0, &all_there);
        assert_int_equal(all_there, all);
        assert_memory_equal(there, expected, all * sizeof *there);
        const uint8_t *mask = nibble_texts_mask(rest, 0, NULL), *mask_expected = nibble_texts_mask(whole, 0, NULL);
        assert_memory_equal(mask + n + cut, mask_expected + n + cut, all - n - cut);
        (void)nibble_session_rewind(s, (uint32_t)n);
        api_ok(nibble_session_append(s, ids, 1, NULL, NULL, api.error));
        api_refused(nibble_generate(s, &options, NULL, NULL, NULL, api.error), NIBBLE_ARGUMENT, "nothing to resume");
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
    api_ok(nibble_model_open(&other, unit_path(path, scratch, "golden.nbl"), NULL, api.error));
    api_ok(nibble_session_create(&t, other, NULL, api.error));
    api_refused(nibble_session_restore(t, file, api.error), NIBBLE_ARGUMENT, "another model");
    nibble_session_free(t);
    f16.keys = NIBBLE_KV_F16;
    api_ok(nibble_session_create(&t, api.model, &f16, api.error));
    api_refused(nibble_session_restore(t, file, api.error), NIBBLE_ARGUMENT, "keys in q8");
    assert_int_equal(nibble_session_length(t), 0);
    assert_null(nibble_session_logits(t));
    api_refused(nibble_session_save(t, file, api.error), NIBBLE_ARGUMENT, "0 tokens");
    nibble_session_free(t);
    nibble_model_close(other);
    unit_scratch_free(scratch);
}

/* Each text of a batch is what it is alone, also when there are fewer rows than texts. */
static void batches(void **state) {
    (void)state;
    int32_t a[100], b[100];
    size_t n_a = api_conversation(a, "Tell me a story."), n_b = api_conversation(b, "What is 7 times 8?");
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
        api_ok(nibble_generate_batch(api.model, prompts, 3, &batch, &options, listen, h, &texts, api.error));
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
        api_ok(nibble_generate_batch(api.model, prompts, 3, &batch, &options, listen, h, &texts, api.error));
        for (size_t i = 0; i < TEXTS; i++) assert_int_equal(nibble_texts_finish(texts, i), NIBBLE_FINISH_CANCELLED);
        nibble_texts_free(texts);
        free(h);
    }
    nibble_texts *none;
    api_refused(nibble_generate_batch(api.model, prompts, 0, NULL, NULL, NULL, NULL, &none, api.error),
                NIBBLE_ARGUMENT, "0 texts");
    api_refused(nibble_generate_batch(api.model, &(nibble_prompt){a, 0, 1}, 1, NULL, NULL, NULL, NULL, &none,
                                      api.error),
                NIBBLE_ARGUMENT, "no tokens");
    assert_null(none);
    /* What is wrong with the last prompt is said before the first is continued. */
    const nibble_prompt late[] = {{a, n_a, 1}, {(const int32_t[]){1, -1}, 2, 1}};
    const nibble_batch_options one_row = {sizeof one_row, NULL, 1};
    heard *h = calloc(1, sizeof *h);
    assert_non_null(h);
    api_refused(nibble_generate_batch(api.model, late, 2, &one_row, &options, listen, h, &none, api.error),
                NIBBLE_ARGUMENT, "prompt 1: token 1");
    assert_int_equal(h->items, 0);
    free(h);
}

static void memory_runs_out(void **state) {
    (void)state;
    int32_t ids[100];
    size_t n = api_conversation(ids, "Hi");
    asked a = {.result = "1"};
    const nibble_tool tool = {"answer", "<|python_start|>", "<|python_end|>", "<|output_start|>", "<|output_end|>",
                              answer, &a};
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
        nibble_status st = nibble_session_create(&s, api.model, NULL, api.error);
        if (!st) st = nibble_session_append(s, ids, n, NULL, NULL, api.error);
        if (!st) st = nibble_generate(s, &options, NULL, NULL, &one, api.error);
        if (!st) st = nibble_sampler_create(&sampler, api.model, NULL, 0, api.error);
        if (!st) st = nibble_decoder_create(&d, api.model, api.error);
        if (!st)
            st = nibble_generate_batch(api.model, &(nibble_prompt){ids, n, 2}, 1, NULL, &options, NULL, NULL, &many,
                                       api.error);
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
    size_t n = api_conversation(ids, "Hi"), cut = 0;
    nibble_generate_options options = NIBBLE_GENERATE_OPTIONS_INIT;
    for (long at = 0;; at++) {
        nibble_session *s;
        api_ok(nibble_session_create(&s, api.model, NULL, api.error));
        api_ok(nibble_session_append(s, ids, n, NULL, NULL, api.error));
        options.max_tokens = 1;
        options.resume = 0;
        api_ok(nibble_generate(s, &options, NULL, NULL, NULL, api.error));
        options.max_tokens = 12;
        options.resume = 1;
        uint32_t length = nibble_session_length(s);
        nb_mem_fail_at(at);
        nibble_status st = nibble_generate(s, &options, NULL, NULL, NULL, api.error);
        bool done = nb_mem_fail_at(-1) <= at;
        assert_int_equal(st, done ? NIBBLE_OK : NIBBLE_MEMORY);
        if (st && nibble_session_length(s) > length) {
            api_refused(nibble_generate(s, &options, NULL, NULL, NULL, api.error), NIBBLE_ARGUMENT,
                        "nothing to resume");
            cut++;
        } else if (st) {
            api_ok(nibble_generate(s, &options, NULL, NULL, NULL, api.error));
        }
        nibble_session_free(s);
        if (done) break;
    }
    assert_true(cut > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(generation), cmocka_unit_test(own_tools), cmocka_unit_test(samplers),
        cmocka_unit_test(saved_sessions), cmocka_unit_test(batches), cmocka_unit_test(memory_runs_out),
        cmocka_unit_test(failure_within_a_text),
    };
    return cmocka_run_group_tests(tests, api_set_up, api_tear_down);
}
