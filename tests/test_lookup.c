/* Lookup decoding: drafts as they are defined, and generation with them against generation without, on every tier. */
#include "base/mem.h"
#include "core/chat.h"
#include "core/engine.h"
#include "core/lookup.h"
#include "tests/support/demo_model.h"
#include "tests/support/unit.h"

/* The definition, by trying everything. */
static uint32_t plain_draft(const int32_t *text, size_t n, int32_t *draft, uint32_t most) {
    size_t longest = 0, from = 0;
    for (size_t p = 1; p < n; p++) { /* what stands before p, and the end */
        size_t alike = 0;
        while (alike < NB_LOOKUP_LONGEST && alike < p && text[p - 1 - alike] == text[n - 1 - alike]) alike++;
        if (alike >= longest) {
            longest = alike;
            from = p;
        }
    }
    if (longest < NB_LOOKUP_SHORTEST) return 0;
    for (uint32_t i = 0; i < most; i++) draft[i] = from + i < n ? text[from + i] : draft[from + i - n];
    return most;
}

static void drafts(void **state) {
    (void)state;
    enum { MOST = 200 };
    uint64_t seed = 5;
    size_t found = 0;
    for (int round = 0; round < 20000; round++) {
        int32_t text[MOST], a[NB_LOOKUP_MAX], b[NB_LOOKUP_MAX];
        size_t n = 1 + (size_t)(unit_random(&seed) % MOST);
        uint32_t most = (uint32_t)(unit_random(&seed) % (NB_LOOKUP_MAX + 1)),
                 kinds = 1 + (uint32_t)(unit_random(&seed) % 20);
        for (size_t i = 0; i < n; i++) text[i] = (int32_t)(unit_random(&seed) % kinds);
        uint32_t expected = plain_draft(text, n, a, most);
        assert_int_equal(nb_lookup(text, n - 1, text[n - 1], b, most), expected);
        if (expected) assert_memory_equal(a, b, expected * sizeof *a);
        found += expected > 0;
    }
    assert_true(found > 10000);
    static const int32_t repeating[] = {1, 2, 3, 1, 2};
    int32_t draft[5];
    assert_int_equal(nb_lookup(repeating, 4, 2, draft, 5), 5);
    assert_memory_equal(draft, ((const int32_t[]){3, 1, 2, 3, 1}), sizeof draft);
}

/* What a listener hears, and when it cancels. */
typedef struct heard {
    nb_buf ids, text;
    size_t cancel_after;
} heard;

static bool listen(void *user, const nb_step *step) {
    heard *h = user;
    nb_buf_append(&h->ids, &step->id, sizeof step->id);
    nb_buf_append(&h->text, step->text, step->text_size);
    return h->ids.size / sizeof step->id != h->cancel_after;
}

typedef struct outcome {
    nb_generated first, second; /* two generations, one after the other */
    heard heard;
} outcome;

static void outcome_free(outcome *o) {
    nb_generated_free(&o->first);
    nb_generated_free(&o->second);
    nb_buf_free(&o->heard.ids);
    nb_buf_free(&o->heard.text);
}

static void assert_same(const nb_generated *a, const nb_generated *b) {
    assert_int_equal(a->ids.size, b->ids.size);
    if (a->ids.size) assert_memory_equal(a->ids.data, b->ids.data, a->ids.size * sizeof *a->ids.data);
    if (a->ids.size) assert_memory_equal(a->mask.data, b->mask.data, a->mask.size);
    assert_string_equal(nb_buf_str(&a->text), nb_buf_str(&b->text));
    assert_int_equal(a->finish, b->finish);
    assert_int_equal(a->end_token, b->end_token);
}

static void assert_same_heard(const heard *a, const heard *b) {
    assert_int_equal(a->ids.size, b->ids.size);
    if (a->ids.size) assert_memory_equal(a->ids.data, b->ids.data, a->ids.size);
    assert_string_equal(nb_buf_str(&a->text), nb_buf_str(&b->text));
}

/* In a session, then from where that ended: it must be left as if nothing had been drafted. */
static void by_session(const nb_model *m, nb_session_options how, const nb_ids *prompt, nb_generate_options o,
                       outcome *out) {
    nb_error err = {0};
    nb_session *s = NULL;
    how.n_logits = 1 + o.lookup;
    o.step = listen;
    o.user = &out->heard;
    nb_status st = nb_session_create(&s, m, &how, &err);
    if (!st) st = nb_session_append(s, prompt->data, prompt->size, NULL, NULL, &err);
    if (!st) st = nb_generate(s, prompt->data, prompt->size, &o, &out->first, &err);
    if (!st) assert_int_equal(nb_session_length(s), prompt->size + out->first.ids.size);
    out->heard.cancel_after = 0;
    o.stream += 100;
    if (!st) st = nb_generate(s, prompt->data, prompt->size, &o, &out->second, &err);
    if (st) fail_msg("%s", err.text);
    nb_session_free(s);
}

/* As two rows of an engine, the second from another stream. */
static void by_engine(const nb_model *m, nb_session_options how, const nb_ids *prompt, nb_generate_options o,
                      outcome *out) {
    nb_error err = {0};
    nb_engine *e = NULL;
    nb_generate_options each[2] = {o, o};
    nb_generated *generated[2] = {&out->first, &out->second};
    uint32_t rows[2];
    each[1].stream += 1;
    how.n_logits = 2 + 2 * o.lookup;
    nb_status st = nb_engine_create(&e, m, 2, &how, &err);
    if (!st) st = nb_engine_join(e, prompt->data, prompt->size, each, 2, generated, rows, &err);
    while (!st && nb_engine_busy(e)) {
        nb_column column;
        st = nb_engine_step(e, &column, &err);
        for (size_t i = 0; !st && i < column.n; i++)
            if (column.items[i].row == rows[0] && column.items[i].step.id != NB_NO_TOKEN)
                (void)listen(&out->heard, &column.items[i].step);
    }
    if (st) fail_msg("%s", err.text);
    nb_engine_free(e);
}

typedef void (*way)(const nb_model *m, nb_session_options how, const nb_ids *prompt, nb_generate_options o,
                    outcome *out);

/* With drafts of every size in `sizes` as without. */
static void compare(const nb_model *m, nb_session_options how, const nb_ids *prompt, nb_generate_options o,
                    size_t cancel_after, size_t *accepted) {
    static const uint32_t sizes[] = {1, 4, NB_LOOKUP_MAX};
    static const way ways[] = {by_session, by_engine};
    for (size_t w = 0; w < COUNT_OF(ways); w++) {
        outcome plain = {.heard = {.cancel_after = cancel_after}};
        ways[w](m, how, prompt, o, &plain);
        assert_int_equal(plain.first.drafted, 0);
        for (size_t i = 0; i < COUNT_OF(sizes); i++) {
            outcome ahead = {.heard = {.cancel_after = cancel_after}};
            o.lookup = sizes[i];
            ways[w](m, how, prompt, o, &ahead);
            o.lookup = 0;
            assert_same(&ahead.first, &plain.first);
            assert_same(&ahead.second, &plain.second);
            assert_same_heard(&ahead.heard, &plain.heard);
            assert_true(ahead.first.accepted <= ahead.first.drafted && ahead.first.accepted <= ahead.first.ids.size);
            *accepted += ahead.first.accepted;
            outcome_free(&ahead);
        }
        outcome_free(&plain);
    }
}

static void ask(const nb_model *m, const char *question, nb_ids *prompt) {
    const nb_chat_style *style = nb_chat_style_find(nb_model_chat_style(m));
    nb_error err = {0};
    nb_status st = nb_chat_begin(style, nb_model_tokenizer(m), prompt, &err);
    if (!st) st = nb_chat_user(style, nb_model_tokenizer(m), NULL, question, prompt, &err);
    if (st) fail_msg("%s", err.text);
}

#define SUM "What is 17 plus 25?" /* the model calls its calculator */
#define STORY "Once there was a girl named Lily. Once there was a girl"
#define GREEDY .sampling = {.top_p = 1, .repeat_penalty = 1}
static const char *const stops[] = {"not said", " the "};

/* Of one model at a time: the demo model with tools, and the one by character, which repeats itself more. */
static const struct round {
    size_t model;
    const char *prompt;
    nb_generate_options options;
    size_t cancel_after;
} rounds[] = {
    {0, SUM, {GREEDY, .tools = true, .max_tokens = 60}, 0},
    {0, SUM, {GREEDY, .tools = true, .max_tokens = 9}, 7},
    {0, SUM, {.sampling = {.temperature = 0.7F, .top_p = 0.9F, .repeat_penalty = 1, .seed = 3}, .tools = true, .max_tokens = 60,
              .ignore_stop_tokens = true}, 0},
    {2, STORY, {GREEDY, .max_tokens = 100}, 0},
    {2, STORY, {GREEDY, .max_tokens = 100, .stops = stops, .n_stops = 2}, 0},
    {2, STORY, {GREEDY, .max_tokens = 100}, 33},
    {2, STORY,
     {.sampling = {.temperature = 0.5F, .top_k = 5, .top_p = 1, .repeat_penalty = 1, .seed = 4}, .max_tokens = 70}, 0},
    {2, STORY, {.sampling = {.temperature = 1, .typical_p = 0.9F, .min_p = 0.02F, .top_p = 1, .repeat_penalty = 1.1F,
                             .presence_penalty = 0.1F, .frequency_penalty = 0.1F, .repeat_last_n = 20, .seed = 9},
                .max_tokens = 70}, 0},
};

static void compare_round(const nb_model *m, const struct round *r, nb_team *team, size_t *accepted) {
    nb_ids prompt = {0};
    nb_session_options how = {.team = team};
    if (r->model == 0) ask(m, r->prompt, &prompt);
    else assert_int_equal(nb_tokenize(nb_model_tokenizer(m), r->prompt, strlen(r->prompt), &prompt, NULL), NB_OK);
    compare(m, how, &prompt, r->options, r->cancel_after, accepted);
    how.n_ctx = (uint32_t)prompt.size + 12; /* drafts reach the end of the context */
    how.kv = (nb_kv_types){NB_KV_Q8, NB_KV_Q8};
    compare(m, how, &prompt, r->options, 0, accepted);
    if (r->options.ignore_stop_tokens) { /* over the end of the context, again and again */
        nb_generate_options o = r->options;
        how.n_ctx = 128;
        how.overflow = NB_OVERFLOW_SLIDE;
        o.max_tokens = 200;
        compare(m, how, &prompt, o, 0, accepted);
    }
    nb_ids_free(&prompt);
}

static size_t best_tier(void) {
    size_t best = 0;
    for (size_t tier = 0; nb_isa_name(tier); tier++)
        if (nb_isa_supported(tier)) best = tier;
    return best;
}

/* Every round on the best tier, one of them on every other. */
static void same_as_plain(void **state) {
    size_t accepted = 0, best = best_tier();
    for (size_t model = 0; model < DEMO_MODELS; model += 2) {
        char dir[DEMO_PATH], path[UNIT_PATH];
        engine e = {0};
        engine_open(&e, demo_dir(&demo_models[model], dir), demo_models[model].setting, NB_TYPE_Q4, *state);
        unit_path(path, *state, "golden.nbl");
        for (size_t tier = 0; tier <= best; tier++) {
            nb_kernels k;
            nb_model *m = NULL;
            if (!nb_isa_supported(tier)) continue;
            assert_int_equal(nb_kernels_choose(&k, nb_isa_name(tier), NULL), NB_OK);
            assert_int_equal(nb_model_open(&m, path, &(nb_model_options){.kernels = &k}, NULL), NB_OK);
            for (size_t i = 0; i < COUNT_OF(rounds); i++)
                if (rounds[i].model == model && (tier == best || i % best == tier) && !(unit_quick() && i % 3))
                    compare_round(m, &rounds[i], tier % 2 ? e.team : NULL, &accepted);
            nb_model_free(m);
        }
        engine_close(&e);
    }
    if (accepted < 200 && !unit_quick()) fail_msg("only %zu tokens of drafts were right", accepted);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(drafts),
        cmocka_unit_test_setup_teardown(same_as_plain, unit_scratch_setup, unit_scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
