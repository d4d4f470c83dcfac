#include "tests/support/unit.h"

#include "base/mem.h"
#include "core/row.h"

/* A byte vocabulary with nanochat's control tokens. In scripts and expectations below, control tokens are written as
 * these letters between tildes, every other character is one token. */
static const char *const control[] = {"<|bos|>",        "<|assistant_end|>", "<|python_start|>",
                                      "<|python_end|>", "<|output_start|>",  "<|output_end|>",
                                      "<|shout_start|>", "<|shout_end|>"};
static const char letters[] = "BEPQORST";
enum { N_CONTROL = COUNT_OF(control), VOCAB = 256 + N_CONTROL, MAX_TOKENS = 300 };

static nb_kernels kernels;
static nb_sampler_room *choosing;
static nb_tokenizer *tokenizer;

static int set_up(void **state) {
    (void)state;
    nb_vocab v;
    nb_error err = {0};
    nb_vocab_init(&v, NB_VOCAB_BPE_RANKS);
    nb_status st = nb_vocab_set_pattern(&v, "\\S|\\s", 5, &err);
    for (unsigned i = 0; !st && i < 256; i++) st = nb_vocab_add(&v, &(uint8_t){(uint8_t)i}, 1, &err);
    for (size_t i = 0; !st && i < N_CONTROL; i++)
        st = nb_vocab_add_special(&v, control[i], strlen(control[i]), (int32_t)(256 + i), 0, &err);
    if (!st) st = nb_vocab_add_stop(&v, 256, &err);
    if (!st) st = nb_vocab_add_stop(&v, 257, &err);
    if (!st) st = nb_tokenizer_create(&tokenizer, &v, &err);
    if (!st) st = nb_kernels_choose(&kernels, NULL, &err);
    if (!st) st = nb_sampler_room_create(&choosing, VOCAB, &err);
    return st ? -1 : 0;
}

static int tear_down(void **state) {
    (void)state;
    nb_sampler_room_free(choosing);
    nb_tokenizer_free(tokenizer);
    return 0;
}

static size_t parse(const char *script, int32_t *ids) {
    size_t n = 0;
    for (const char *p = script; *p; p++)
        ids[n++] = *p == '~' ? 256 + (int32_t)(strchr(letters, *++p) - letters) : (int32_t)(uint8_t)*p;
    return n;
}

/* A model whose argmax at step i is script[i], and `after` beyond its end. */
typedef struct fake {
    int32_t script[MAX_TOKENS], appended[MAX_TOKENS];
    size_t n, n_appended;
    uint32_t room;
    float logits[VOCAB];
} fake;

static nb_status fake_append(void *self, int32_t id, nb_error *err) {
    fake *f = self;
    if (f->n_appended == f->room) return nb_fail(err, NB_LIMIT, "full");
    f->appended[f->n_appended++] = id;
    return NB_OK;
}
static const float *fake_logits(void *self) {
    fake *f = self;
    memset(f->logits, 0, sizeof f->logits);
    f->logits[f->n_appended < f->n ? f->script[f->n_appended] : 'z'] = 5;
    return f->logits;
}
static uint32_t fake_room(void *self) {
    fake *f = self;
    return f->room - (uint32_t)f->n_appended;
}

/* What a listener saw. */
typedef struct seen {
    nb_buf text, mask, ids;
    size_t terminals, cancel_after;
} seen;

static bool listen(void *user, const nb_step *step) {
    seen *s = user;
    nb_buf_append(&s->text, step->text, step->text_size);
    nb_buf_byte(&s->mask, step->sampled ? '1' : '0');
    nb_buf_append(&s->ids, &step->id, sizeof step->id);
    s->terminals += step->terminal;
    return s->mask.size != s->cancel_after;
}

static void seen_free(seen *s) {
    nb_buf_free(&s->text);
    nb_buf_free(&s->mask);
    nb_buf_free(&s->ids);
}

typedef struct run {
    const char *script;
    nb_generate_options options;
    uint32_t room; /* 0: enough */
    size_t cancel_after;
    const char *expected;      /* tokens as they join the text, the terminal one included */
    const char *mask;          /* of these; NULL: all sampled */
    const char *text;
    nb_finish finish;
    int32_t end_token;         /* 0: none */
} run;

static nb_status generate(const run *r, fake *f, seen *s, nb_generated *g, nb_error *err) {
    nb_sampler *sampler = NULL;
    nb_row row = {0};
    nb_generate_options o = r->options;
    nb_decoder decoder = {.self = f, .append = fake_append, .logits = fake_logits, .room = fake_room};
    memset(f, 0, sizeof *f);
    f->n = parse(r->script, f->script);
    f->room = r->room ? r->room : MAX_TOKENS;
    s->cancel_after = r->cancel_after;
    o.sampling = (nb_sampler_params){.top_p = 1, .repeat_penalty = 1};
    o.step = listen;
    o.user = s;
    nb_status st = nb_sampler_create(&sampler, &o.sampling, 0, VOCAB, &kernels, err);
    if (!st) st = nb_row_start(&row, tokenizer, VOCAB, &o, g, err);
    if (!st) st = nb_row_run(&row, sampler, choosing, &decoder, err);
    nb_row_free(&row);
    nb_sampler_free(sampler);
    return st;
}

static void check(const run *r) {
    static fake f;
    seen s = {0};
    nb_generated g = {0};
    nb_error err = {0};
    int32_t expected[MAX_TOKENS];
    size_t n = parse(r->expected, expected);
    if (generate(r, &f, &s, &g, &err)) fail_msg("%s", err.text);
    if (s.mask.size != n || (n && memcmp(s.ids.data, expected, n * sizeof *expected) != 0))
        fail_msg("'%s': %zu tokens, expected %zu", r->script, s.mask.size, n);
    if (r->mask) assert_string_equal(nb_buf_str(&s.mask), r->mask);
    else assert_int_equal(strspn(nb_buf_str(&s.mask), "1"), n);
    assert_string_equal(nb_buf_str(&g.text), r->text);
    if (g.finish != NB_FINISH_CANCELLED)
        assert_string_equal(nb_buf_str(&s.text), r->text); /* the stream had all of it */
    assert_int_equal(g.finish, r->finish);
    assert_int_equal(g.end_token, r->end_token ? r->end_token : NB_NO_TOKEN);
    assert_int_equal(s.terminals, r->end_token != 0);
    assert_int_equal(g.ids.size, n - s.terminals);
    assert_int_equal(g.mask.size, g.ids.size);
    for (size_t i = 0; i < g.ids.size; i++) {
        assert_int_equal(g.ids.data[i], expected[i]);
        assert_int_equal(g.mask.data[i], s.mask.data[i] - '0');
    }
    assert_int_equal(f.n_appended, g.ids.size); /* the session holds what the ids say */
    if (g.ids.size) assert_memory_equal(f.appended, g.ids.data, g.ids.size * sizeof *f.appended);
    nb_generated_free(&g);
    seen_free(&s);
}

/* The cases of nanochat's Engine: forced tokens take the place of what the model would have said at these steps. What
 * passes between the model and the tool is no text. */
static void tools(void **state) {
    (void)state;
    static const char *const stop[] = {"*98"};
    static const run runs[] = {
        {.script = "Let ~P12*7~Qignored~E",
         .expected = "Let ~P12*7~Q~O84~Rred~E",
         .mask = "111111111100001111",
         .text = "Let red",
         .end_token = 257},
        {.script = "~P2**8~Qafter~E", .expected = "~P2**8~Qafter~E", .text = "after", .end_token = 257},
        {.script = "~P'strawberry'.count('r')~Qzyxw~E",
         .expected = "~P'strawberry'.count('r')~Q~O3~Rw~E",
         .mask = "1111111111111111111111111"
                 "000"
                 "11",
         .text = "w",
         .end_token = 257},
        {.script = "~P~Qtail~E", .expected = "~P~Qtail~E", .text = "tail", .end_token = 257},
        {.script = "~Qtail~B", .expected = "~Qtail~B", .text = "tail", .end_token = 256},
        {.script = "~P1+~P2+3~Qabcd~E",
         .expected = "~P1+~P2+3~Q~O5~Rd~E",
         .mask = "11111111"
                 "000"
                 "11",
         .text = "d",
         .end_token = 257},
        {.script = "~P10/4~Qabcdefg~E",
         .expected = "~P10/4~Q~O2.5~Rfg~E",
         .mask = "111111"
                 "00000"
                 "111",
         .text = "fg",
         .end_token = 257},
        /* A control token inside a call is text there, and no number. */
        {.script = "~P1~R2~Qab~E", .expected = "~P1~R2~Qab~E", .text = "ab", .end_token = 257},
        /* A call that never ends; an end token inside one. */
        {.script = "~P1+1~E", .expected = "~P1+1~E", .text = "", .end_token = 257},
        /* The result does not fit. */
        {.script = "~P9*9~Q",
         .expected = "~P9*9~Q~O8",
         .mask = "1111100",
         .text = "",
         .finish = NB_FINISH_LENGTH,
         .room = 7},
        {.script = "~P9*9~Q",
         .options = {.max_tokens = 6},
         .expected = "~P9*9~Q~O",
         .mask = "111110",
         .text = "",
         .finish = NB_FINISH_LENGTH},
        /* Neither a call nor its result is text, so no stop text is found in them. */
        {.script = "~P9*98~Qstuvwxab*98c~E",
         .options = {.stops = stop, .n_stops = 1},
         .expected = "~P9*98~Q~O882~Rxab*98",
         .mask = "111111"
                 "00000"
                 "111111",
         .text = "xab",
         .finish = NB_FINISH_STOP},
    };
    for (size_t i = 0; i < COUNT_OF(runs); i++) {
        run r = runs[i];
        r.options.tools = true;
        check(&r);
    }
    check(&(run){.script = "~P9*9~Qab~E",
                 .expected = "~P9*9~Qab~E",
                 .text = "9*9ab",
                 .end_token = 257}); /* no tools asked for */
}

static int a_tools_own;

static bool shout(void *user, const char *text, size_t n, nb_buf *out) {
    assert_ptr_equal(user, &a_tools_own);
    for (size_t i = 0; i < n; i++)
        nb_buf_byte(out, (uint8_t)(text[i] >= 'a' && text[i] <= 'z' ? text[i] - 32 : text[i]));
    return n < 4;
}

/* Another tool is another row, beside the calculator, in its place or alone; one whose control tokens the vocabulary
 * lacks does nothing. */
static void another_tool(void **state) {
    (void)state;
    static const nb_tool rows[] = {
        {.name = "missing", .call_start = "<|shout_start|>", .call_end = "<|nowhere|>", .output_start = "<|output_start|>",
         .output_end = "<|output_end|>", .call = shout},
        {.name = "shout", .call_start = "<|shout_start|>", .call_end = "<|shout_end|>", .output_start = "<|output_start|>",
         .output_end = "<|output_end|>", .call = shout, .user = &a_tools_own},
    };
    static const nb_tool instead = {.name = "instead", .call_start = "<|python_start|>", .call_end = "<|python_end|>",
                                    .output_start = "<|output_start|>", .output_end = "<|output_end|>", .call = shout,
                                    .user = &a_tools_own};
#define SHOUT .own_tools = rows, .n_own_tools = COUNT_OF(rows)
    static const run runs[] = {
        {.script = "~Shey~Tabcdef~P1+1~Qghijk~E",
         .options = {SHOUT, .tools = true},
         .expected = "~Shey~T~OHEY~Rf~P1+1~Q~O2~Rjk~E",
         .mask = "11111" "00000" "111111" "000" "111",
         .text = "fjk",
         .end_token = 257},
        {.script = "~Shello~Tab~E", .options = {SHOUT}, .expected = "~Shello~Tab~E", .text = "ab", .end_token = 257},
        {.script = "~Shi~Tabcdef~P1+1~Q~E",
         .options = {SHOUT},
         .expected = "~Shi~T~OHI~Ref~P1+1~Q~E",
         .mask = "1111" "0000" "1111111" "1",
         .text = "ef1+1",
         .end_token = 257},
        {.script = "~P1+a~Qabcdef~E",
         .options = {.own_tools = &instead, .n_own_tools = 1, .tools = true},
         .expected = "~P1+a~Q~O1+A~Rf~E",
         .mask = "11111" "00000" "11",
         .text = "f",
         .end_token = 257},
    };
    for (size_t i = 0; i < COUNT_OF(runs); i++) check(&runs[i]);
}

static void ends(void **state) {
    (void)state;
    static const char *const stops[] = {"STOP", "\n\n", "TOPS", "\xc3\xa9"};
    static const int32_t own[] = {'x', 'c'};
#define STOPS .options = {.stops = stops, .n_stops = COUNT_OF(stops)}
    static const run runs[] = {
        {.script = "abc~Edef", .expected = "abc~E", .text = "abc", .end_token = 257},
        {.script = "abcde", .options = {.stop_tokens = own, .n_stop_tokens = 2}, .expected = "abc", .text = "ab",
         .end_token = 'c'},
        {.script = "ab~Ecde",
         .options = {.stop_tokens = own, .n_stop_tokens = 2, .ignore_stop_tokens = true},
         .expected = "ab~Ec",
         .text = "ab",
         .end_token = 'c'},
        {.script = "~B", .expected = "~B", .text = "", .end_token = 256},
        {.script = "ab~Ec~Bd",
         .options = {.ignore_stop_tokens = true, .max_tokens = 6},
         .expected = "ab~Ec~Bd",
         .text = "abcd",
         .finish = NB_FINISH_LENGTH},
        {.script = "abcdef",
         .options = {.max_tokens = 4},
         .expected = "abcd",
         .text = "abcd",
         .finish = NB_FINISH_LENGTH},
        {.script = "abcdef", .room = 3, .expected = "abc", .text = "abc", .finish = NB_FINISH_LENGTH},
        {.script = "abc~E", .options = {.max_tokens = 3}, .expected = "abc", .text = "abc", .finish = NB_FINISH_LENGTH},
        {.script = "abcdef", .cancel_after = 2, .expected = "ab", .text = "ab", .finish = NB_FINISH_CANCELLED},
        {.script = "abSTcdSTOPef", STOPS, .expected = "abSTcdSTOP", .text = "abSTcd", .finish = NB_FINISH_STOP},
        {.script = "aSTSTOP", STOPS, .expected = "aSTSTOP", .text = "aST", .finish = NB_FINISH_STOP},
        {.script = "a\nb\n\nc", STOPS, .expected = "a\nb\n\n", .text = "a\nb", .finish = NB_FINISH_STOP},
        {.script = "aTOPS", STOPS, .expected = "aTOPS", .text = "a", .finish = NB_FINISH_STOP},
        {.script = "caf\xc3\xa9!", STOPS, .expected = "caf\xc3\xa9", .text = "caf", .finish = NB_FINISH_STOP},
        {.script = "aSTO~E",
         STOPS,
         .expected = "aSTO~E",
         .text = "aSTO",
         .end_token = 257}, /* held back, then let go */
        {.script = "aSTO",
         .options = {.stops = stops, .n_stops = 1, .max_tokens = 4},
         .expected = "aSTO",
         .text = "aSTO",
         .finish = NB_FINISH_LENGTH},
        {.script = "aSTO",
         .options = {.stops = stops, .n_stops = 1},
         .cancel_after = 3,
         .expected = "aST",
         .text = "aST",
         .finish = NB_FINISH_CANCELLED},
        /* Characters come whole; what cannot become one is replaced. */
        {.script = "\xe4\xbd\xa0x\xf0\x9f~E",
         .expected = "\xe4\xbd\xa0x\xf0\x9f~E",
         .text = "\xe4\xbd\xa0x\xef\xbf\xbd",
         .end_token = 257},
        {.script = "a\xff"
                   "b~E",
         .expected = "a\xff"
                     "b~E",
         .text = "a\xef\xbf\xbd"
                 "b",
         .end_token = 257},
        {.script = "\xe4\xbd\xa0",
         .options = {.max_tokens = 2},
         .expected = "\xe4\xbd",
         .text = "\xef\xbf\xbd",
         .finish = NB_FINISH_LENGTH},
    };
    for (size_t i = 0; i < COUNT_OF(runs); i++) check(&runs[i]);
}

/* A part of a text, which ends after `most` tokens; with `before` it goes on from that state, as bytes in between. */
static void generate_part(fake *f, uint32_t most, const nb_row_state *before, nb_generated *g) {
    nb_sampler *sampler = NULL;
    nb_row row = {0};
    nb_row_state state = {0};
    nb_buf bytes = {0};
    nb_error err = {0};
    nb_generate_options o = {.tools = true, .max_tokens = most, .sampling = {.top_p = 1, .repeat_penalty = 1}};
    const nb_decoder decoder = {.self = f, .append = fake_append, .logits = fake_logits, .room = fake_room};
    if (before) {
        nb_row_state_write(before, &bytes);
        assert_int_equal(nb_row_state_read(&state, bytes.data, bytes.size, VOCAB, &err), NB_OK);
        o.resume = &state;
    }
    assert_int_equal(nb_sampler_create(&sampler, &o.sampling, 0, VOCAB, &kernels, &err), NB_OK);
    assert_int_equal(nb_row_start(&row, tokenizer, VOCAB, &o, g, &err), NB_OK);
    assert_int_equal(nb_row_run(&row, sampler, choosing, &decoder, &err), NB_OK);
    nb_row_leave(&row, sampler);
    nb_row_free(&row);
    nb_sampler_free(sampler);
    nb_row_state_free(&state);
    nb_buf_free(&bytes);
}

/* A text that is cut anywhere, in a call or its result too, goes on as if it had not been; a cut character becomes
 * whole. */
static void rows_go_on(void **state) {
    (void)state;
    static const char *const scripts[] = {"Let ~P12*7~Qignored~E", "~P1+~P2+3~Qabcd~E", "x\xe4\xbd\xa0y~E"};
    static fake f;
    for (size_t i = 0; i < COUNT_OF(scripts); i++) {
        nb_generated whole = {0};
        memset(&f, 0, sizeof f);
        f.room = MAX_TOKENS;
        f.n = parse(scripts[i], f.script);
        generate_part(&f, 0, NULL, &whole);
        for (uint32_t cut = 1; cut < whole.ids.size; cut++) {
            nb_generated first = {0}, second = {0};
            f.n_appended = 0;
            generate_part(&f, cut, NULL, &first);
            generate_part(&f, 0, &first.state, &second);
            assert_int_equal(first.ids.size, cut);
            assert_int_equal(cut + second.ids.size, whole.ids.size);
            assert_memory_equal(first.mask.data, whole.mask.data, cut);
            assert_memory_equal(second.ids.data, whole.ids.data + cut, second.ids.size * sizeof *second.ids.data);
            assert_memory_equal(second.mask.data, whole.mask.data + cut, second.mask.size);
            assert_non_null(strstr(nb_buf_str(&whole.text), nb_buf_str(&second.text)));
            nb_generated_free(&first);
            nb_generated_free(&second);
        }
        nb_generated_free(&whole);
    }
}

/* A state names its tool, and is no good where that is not. */
static void a_state_needs_its_tool(void **state) {
    (void)state;
    nb_row row;
    nb_row_state before = {.rng = {{1}}};
    nb_generated g = {0};
    nb_error err = {0};
    const nb_generate_options o = {.tools = true, .resume = &before};
    nb_buf_text(&before.tool, "oracle");
    assert_int_equal(nb_row_start(&row, tokenizer, VOCAB, &o, &g, &err), NB_ARGUMENT);
    assert_non_null(strstr(err.text, "'oracle'"));
    nb_row_free(&row);
    nb_row_state_free(&before);
    nb_generated_free(&g);
}

static void text_is_streamed_whole(void **state) {
    (void)state;
    static const char *const stops[] = {"xyz"};
    nb_row row;
    nb_generated g = {0};
    nb_generate_options o = {.stops = stops, .n_stops = 1};
    nb_error err = {0};
    nb_step step;
    static const struct { int32_t id; const char *text;
    } steps[] = {{'a', "a"}, {0xe4, ""}, {0xbd, ""},  {0xa0, "\xe4\xbd\xa0"},
                 {'x', ""},  {'x', "x"}, {'y', ""},   {'x', "xy"},
                 {258, ""},  {'y', ""},  {'!', "xy!"}};
    assert_int_equal(nb_row_start(&row, tokenizer, VOCAB, &o, &g, &err), NB_OK);
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        assert_int_equal(nb_row_take(&row, steps[i].id, false, &step, &err), NB_OK);
        assert_int_equal(step.text_size, strlen(steps[i].text));
        assert_memory_equal(step.text, steps[i].text, step.text_size);
    }
    assert_false(row.done);
    nb_row_free(&row);
    nb_generated_free(&g);
}

/* A model without a tokenizer: ids only. */
static void without_a_tokenizer(void **state) {
    (void)state;
    nb_row row;
    nb_generated g = {0};
    nb_generate_options o = {.tools = true};
    nb_error err = {0};
    nb_step step;
    int32_t id;
    assert_int_equal(nb_row_start(&row, NULL, VOCAB, &o, &g, &err), NB_OK);
    assert_int_equal(nb_row_take(&row, 257, false, &step, &err), NB_OK);
    assert_false(step.terminal || nb_row_forced(&row, &id));
    assert_int_equal(nb_row_take(&row, 3, true, &step, &err), NB_OK);
    assert_true(row.done);
    assert_int_equal(g.ids.size, 2);
    assert_string_equal(step.text, "");
    nb_row_free(&row);
    nb_generated_free(&g);
    o = (nb_generate_options){.stops = (const char *const[]){"x"}, .n_stops = 1};
    assert_int_equal(nb_row_start(&row, NULL, VOCAB, &o, &g, &err), NB_ARGUMENT);
    o.stops = (const char *const[]){""};
    assert_int_equal(nb_row_start(&row, tokenizer, VOCAB, &o, &g, &err), NB_ARGUMENT);
    for (int i = 0; i < 2; i++) {
        o = (nb_generate_options){.stop_tokens = (const int32_t[]){i ? VOCAB : -1}, .n_stop_tokens = 1};
        assert_int_equal(nb_row_start(&row, NULL, VOCAB, &o, &g, &err), NB_ARGUMENT);
    }
}

static void no_room_at_all(void **state) {
    (void)state;
    nb_row row;
    nb_generated g = {0};
    nb_generate_options o = {0};
    nb_error err = {0};
    fake *f = calloc(1, sizeof *f);
    assert_non_null(f);
    nb_decoder decoder = {.self = f, .append = fake_append, .logits = fake_logits, .room = fake_room};
    assert_int_equal(nb_row_start(&row, tokenizer, VOCAB, &o, &g, &err), NB_OK);
    assert_int_equal(nb_row_run(&row, NULL, NULL, &decoder, &err), NB_OK);
    assert_int_equal(g.finish, NB_FINISH_LENGTH);
    assert_int_equal(g.ids.size, 0);
    nb_row_free(&row);
    nb_generated_free(&g);
    free(f);
}

static void memory_runs_out(void **state) {
    (void)state;
    static const char *const stop[] = {"STOP"};
    static const run r = {.script = "ab~P12*7~Qignored STOP", .options = {.tools = true, .stops = stop, .n_stops = 1}};
    static fake f;
    for (long n = 0;; n++) {
        seen s = {0};
        nb_generated g = {0};
        nb_error err = {0};
        nb_mem_fail_at(n);
        nb_status st = generate(&r, &f, &s, &g, &err);
        bool done = nb_mem_fail_at(-1) <= n, heard = !s.text.failed && !s.mask.failed && !s.ids.failed;
        assert_true(st == NB_MEMORY || (st == NB_OK && (done || !heard))); /* the listener's own memory, or PCRE2's */
        nb_generated_free(&g);
        seen_free(&s);
        if (done) break;
    }
}

static void names(void **state) {
    (void)state;
    assert_string_equal(nb_finish_name(NB_FINISH_STOP), "stop");
    assert_string_equal(nb_finish_name(NB_FINISH_LENGTH), "length");
    assert_string_equal(nb_finish_name(NB_FINISH_CANCELLED), "cancelled");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tools),
        cmocka_unit_test(another_tool),
        cmocka_unit_test(ends),
        cmocka_unit_test(rows_go_on),
        cmocka_unit_test(a_state_needs_its_tool),
        cmocka_unit_test(text_is_streamed_whole),
        cmocka_unit_test(without_a_tokenizer),
        cmocka_unit_test(no_room_at_all),
        cmocka_unit_test(names),
        cmocka_unit_test(memory_runs_out),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
