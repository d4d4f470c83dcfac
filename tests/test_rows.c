/* Texts side by side, joining and leaving in any order, against each of them alone: the same tokens, on every tier. */
#include "base/mem.h"
#include "core/engine.h"
#include "simd/kernels.h"
#include "tests/support/tiny_model.h"
#include "tests/support/unit.h"

enum { ROWS = 5, CTX = 200, TEXTS = 40, BASES = 3, MOST_PROMPT = 150 };

static nb_model *open_model(const char *dir, const nb_kernels *k) {
    return tiny_open(dir, "n_ctx=200 n_kv_head=1 n_head=2", 11, NB_TYPE_Q8, k);
}

typedef struct text {
    int32_t prompt[MOST_PROMPT];
    size_t n;
    nb_generate_options options;
    nb_generated alone, found;
    uint32_t row;
    bool cancelled;
} text;

/* Prompts begin like one of a few, for some way. */
static void make_text(text *t, uint64_t stream, uint32_t vocab, uint64_t *seed) {
    uint64_t base = unit_random(seed) % BASES, common = unit_random(seed) % MOST_PROMPT;
    t->n = (size_t)(1 + unit_random(seed) % MOST_PROMPT);
    for (size_t i = 0; i < t->n; i++)
        t->prompt[i] = (int32_t)((i < common ? i * (7 + base) + base : unit_random(seed)) % vocab);
    t->options = (nb_generate_options){.sampling = nb_sampler_defaults, .stream = stream,
                                       .max_tokens = (uint32_t)(unit_random(seed) % 40)};
    t->options.sampling.temperature = (float)(unit_random(seed) % 3);
    t->options.sampling.repeat_penalty = unit_random(seed) % 2 ? 1.0f : 1.3f;
}

static void generate_alone(const nb_model *model, nb_kv_type kv, text *t) {
    nb_error err = {0};
    nb_session *s = NULL;
    nb_status st = nb_session_create(&s, model, &(nb_session_options){.kv = {kv, kv}}, &err);
    if (!st) st = nb_session_append(s, t->prompt, t->n, NULL, NULL, &err);
    if (!st) st = nb_generate(s, t->prompt, t->n, &t->options, &t->alone, &err);
    if (st) fail_msg("%s", err.text);
    nb_session_free(s);
}

static void check_text(const text *t) {
    const nb_generated *a = &t->alone, *f = &t->found;
    if (t->cancelled) {
        assert_int_equal(f->finish, NB_FINISH_CANCELLED);
        assert_true(f->ids.size <= a->ids.size);
    } else {
        assert_int_equal(f->finish, a->finish);
        assert_int_equal(f->ids.size, a->ids.size);
        assert_memory_equal(f->mask.data, a->mask.data, a->mask.size);
    }
    if (f->ids.size) assert_memory_equal(f->ids.data, a->ids.data, f->ids.size * sizeof *f->ids.data);
}

/* Some of the texts that are left join, perhaps with others that continue the same prompt. */
static size_t join_some(nb_engine *e, text *texts, size_t next, uint64_t *seed) {
    size_t n = (size_t)(unit_random(seed) % 4);
    n = n < nb_engine_free_rows(e) ? n : nb_engine_free_rows(e);
    n = n < TEXTS - next ? n : TEXTS - next;
    for (size_t end = next + n; next < end;) {
        nb_generate_options options[ROWS];
        nb_generated *generated[ROWS];
        uint32_t rows[ROWS], group = 0;
        for (text *first = &texts[next], *t = first; next < end && t->n == first->n; t++, next++) {
            if (t != first && memcmp(t->prompt, first->prompt, t->n * sizeof *t->prompt) != 0) break;
            options[group] = t->options;
            generated[group++] = &t->found;
        }
        nb_error err = {0};
        text *first = &texts[next - group];
        if (nb_engine_join(e, first->prompt, first->n, options, group, generated, rows, &err)) fail_msg("%s", err.text);
        for (uint32_t i = 0; i < group; i++) first[i].row = rows[i];
    }
    return next;
}

static void cancel_one(nb_engine *e, text *texts, size_t joined, uint64_t *seed) {
    nb_error err = {0};
    text *t = &texts[unit_random(seed) % (joined + 1)];
    if (t == &texts[joined] || t->row == UINT32_MAX) return;
    assert_int_equal(nb_engine_cancel(e, t->row, &err), NB_OK);
    t->cancelled = true;
    t->row = UINT32_MAX;
}

static void run_together(const nb_model *model, nb_kv_type kv, text *texts, uint64_t *seed) {
    nb_error err = {0};
    nb_engine *e;
    nb_team *team;
    const uint32_t chunks[] = {ROWS, 20, 300};
    assert_int_equal(nb_team_create(&team, 2, &err), NB_OK);
    const nb_session_options how = {.kv = {kv, kv}, .n_logits = 2 * ROWS, .n_prefix = (uint32_t)(unit_random(seed) % 4), .team = team,
                                    .n_chunk = chunks[unit_random(seed) % COUNT_OF(chunks)]};
    assert_int_equal(nb_engine_create(&e, model, ROWS, &how, &err), NB_OK);
    size_t joined = 0;
    for (nb_column column; joined < TEXTS || nb_engine_busy(e);) {
        joined = join_some(e, texts, joined, seed);
        if (unit_random(seed) % 16 == 0) cancel_one(e, texts, joined, seed);
        if (nb_engine_step(e, &column, &err)) fail_msg("%s", err.text);
        for (size_t i = 0; i < column.n; i++)
            for (text *t = texts; t < texts + joined; t++)
                if (column.items[i].done && column.items[i].generated == &t->found) t->row = UINT32_MAX;
    }
    assert_int_equal(nb_engine_free_rows(e), ROWS);
    if (!how.n_prefix) assert_int_equal(nb_batch_kv_bytes(nb_engine_batch(e)), 0); /* every page has come back */
    nb_engine_free(e);
    nb_team_free(team);
}

static void in_any_order(void **state) {
    static text texts[TEXTS];
    uint64_t seed = unit_seed();
    for (size_t tier = 0; nb_isa_name(tier); tier++) {
        nb_kernels k;
        if (!nb_isa_supported(tier)) continue;
        assert_int_equal(nb_kernels_choose(&k, nb_isa_name(tier), NULL), NB_OK);
        nb_model *model = open_model(*state, &k);
        nb_kv_type kv = tier % 2 ? NB_KV_F32 : NB_KV_Q8;
        memset(texts, 0, sizeof texts);
        for (size_t i = 0; i < TEXTS; i++) {
            make_text(&texts[i], i, nb_model_hparams(model)->vocab_size, &seed);
            if (i && unit_random(&seed) % 3 == 0) { /* the same prompt again */
                texts[i].n = texts[i - 1].n;
                memcpy(texts[i].prompt, texts[i - 1].prompt, sizeof texts[i].prompt);
            }
            generate_alone(model, kv, &texts[i]);
            texts[i].options.lookup = (uint32_t)(i % 4); /* changes nothing */
        }
        run_together(model, kv, texts, &seed);
        for (text *t = texts; t < texts + TEXTS; t++) {
            check_text(t);
            nb_generated_free(&t->alone);
            nb_generated_free(&t->found);
        }
        nb_model_free(model);
    }
}

/* Texts from one prompt: it is read once, held once, and their columns are in step. */
static void one_prompt(void **state) {
    nb_model *model = open_model(*state, NULL);
    nb_error err = {0};
    nb_engine *e;
    nb_column column;
    int32_t ids[130];
    uint32_t rows[4];
    nb_generated found[4] = {0}, *generated[4];
    nb_generate_options options[4];
    for (int i = 0; i < 130; i++) ids[i] = i % 19;
    for (uint32_t i = 0; i < 4; i++) {
        options[i] = (nb_generate_options){.sampling = nb_sampler_defaults, .stream = i, .max_tokens = 3 + i};
        generated[i] = &found[i];
    }
    assert_int_equal(nb_engine_create(&e, model, 4, &(nb_session_options){.n_chunk = 100}, &err), NB_OK);
    assert_int_equal(nb_engine_join(e, ids, 130, options, 4, generated, rows, &err), NB_OK);
    assert_int_equal(nb_engine_join(e, ids, 130, options, 1, generated, rows, &err), NB_LIMIT);
    const size_t read[] = {100, 30, 0, 0, 0, 0, 0}, taken[] = {0, 4, 4, 4, 3, 2, 1};
    size_t one = 0;
    for (size_t i = 0; i < COUNT_OF(read); i++) {
        assert_int_equal(nb_engine_step(e, &column, &err), NB_OK);
        assert_int_equal(column.n_read, read[i]);
        assert_int_equal(column.n, taken[i]);
        if (i == 0) one = nb_batch_kv_bytes(nb_engine_batch(e)); /* two pages */
        if (i == 1) assert_int_equal(nb_batch_kv_bytes(nb_engine_batch(e)), one / 2 * 3);
        if (i == 2) assert_int_equal(nb_batch_kv_bytes(nb_engine_batch(e)), one / 2 * (2 + 4)); /* the last page is copied */
    }
    assert_false(nb_engine_busy(e));
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(found[i].ids.size, 3 + i);
        nb_generated_free(&found[i]);
    }
    nb_engine_free(e);
    nb_model_free(model);
}

/* A text that has ended leaves its whole pages behind for the next that begins like it. */
static void known_prefixes(void **state) {
    nb_model *model = open_model(*state, NULL);
    nb_error err = {0};
    nb_engine *e;
    nb_column column;
    int32_t ids[CTX];
    for (int i = 0; i < CTX; i++) ids[i] = i % 23;
    assert_int_equal(nb_engine_create(&e, model, 1, &(nb_session_options){.n_prefix = 2}, &err), NB_OK);
    const struct { int32_t first; size_t n, recalled; } turns[] = {
        {1, 150, 0}, {1, 150, 128}, {1, 129, 128}, {1, 128, 64}, /* the last token is read in any case */
        {1, 40, 0},  {2, 70, 0},    {1, 150, 64},                /* the other beginning took the place of the second page */
        {2, 70, 0}, /* and lost its own to it */
    };
    for (size_t i = 0; i < COUNT_OF(turns); i++) {
        nb_generated found = {0}, *generated = &found;
        const nb_generate_options options = {.sampling = nb_sampler_defaults, .max_tokens = 1};
        uint32_t row;
        ids[0] = turns[i].first;
        assert_int_equal(nb_engine_join(e, ids, turns[i].n, &options, 1, &generated, &row, &err), NB_OK);
        assert_int_equal(nb_engine_step(e, &column, &err), NB_OK);
        if (column.n_recalled != turns[i].recalled) fail_msg("turn %zu: %zu tokens were known", i, column.n_recalled);
        assert_int_equal(column.n_read, turns[i].n - turns[i].recalled);
        assert_true(column.n == 1 && column.items[0].done);
        nb_generated_free(&found);
    }
    nb_engine_free(e);
    nb_model_free(model);
}

/* A prompt that fills its row ends at once; what cannot join leaves nothing behind. */
static void refusals(void **state) {
    nb_model *model = open_model(*state, NULL);
    nb_error err = {0};
    nb_engine *e;
    nb_column column = {0};
    int32_t ids[CTX + 1] = {0};
    nb_generated found = {0}, *generated[] = {&found, &found};
    nb_generate_options options[2] = {{.sampling = nb_sampler_defaults}, {.sampling = {.temperature = -1}}};
    uint32_t rows[2];
    assert_int_equal(nb_engine_create(&e, model, 2, NULL, &err), NB_OK);
    assert_int_equal(nb_engine_join(e, ids, CTX + 1, options, 1, generated, rows, &err), NB_LIMIT);
    assert_int_equal(nb_engine_join(e, ids, 0, options, 1, generated, rows, &err), NB_ARGUMENT);
    assert_int_equal(nb_engine_join(e, ids, 3, options, 2, generated, rows, &err), NB_ARGUMENT); /* the second one's */
    ids[2] = -1;
    assert_int_equal(nb_engine_join(e, ids, 3, options, 1, generated, rows, &err), NB_ARGUMENT);
    assert_int_equal(nb_engine_free_rows(e), 2);
    ids[2] = 0;
    assert_int_equal(nb_engine_join(e, ids, CTX, options, 1, generated, rows, &err), NB_OK);
    while (nb_engine_busy(e)) assert_int_equal(nb_engine_step(e, &column, &err), NB_OK);
    assert_true(column.items && column.items[0].step.id == NB_NO_TOKEN);
    assert_int_equal(found.finish, NB_FINISH_LENGTH);
    nb_generated_free(&found);
    nb_engine_free(e);
    nb_model_free(model);
}

/* Any allocation may fail, when an engine is made, when texts join and in a step. */
static void memory_may_fail(void **state) {
    nb_model *model = open_model(*state, NULL);
    const int32_t ids[70] = {1, 2, 3};
    nb_generate_options options[2] = {{.sampling = nb_sampler_defaults, .max_tokens = 9},
                                      {.sampling = nb_sampler_defaults}};
    options[0].sampling.repeat_penalty = 2;
    options[1].max_tokens = 3;
    for (long n = 0;; n++) {
        nb_engine *e = NULL;
        nb_error err = {0};
        nb_generated found[2] = {0}, *generated[] = {&found[0], &found[1]};
        uint32_t rows[2];
        nb_mem_fail_at(n);
        nb_status st = nb_engine_create(&e, model, 3, &(nb_session_options){.n_prefix = 1}, &err);
        if (!st) st = nb_engine_join(e, ids, COUNT_OF(ids), options, 2, generated, rows, &err);
        if (!st) st = nb_engine_finish(e, &err);
        bool reached = nb_mem_fail_at(-1) > n;
        nb_engine_free(e);
        nb_generated_free(&found[0]);
        nb_generated_free(&found[1]);
        assert_int_equal(st, reached ? NB_MEMORY : NB_OK);
        if (!reached) break;
    }
    nb_model_free(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_any_order), cmocka_unit_test(one_prompt),      cmocka_unit_test(known_prefixes),
        cmocka_unit_test(refusals),     cmocka_unit_test(memory_may_fail),
    };
    return cmocka_run_group_tests(tests, unit_scratch_setup, unit_scratch_teardown);
}
