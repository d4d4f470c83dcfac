#include "api/api.h"
#include "base/mem.h"
#include "core/engine.h"
#include "core/lookup.h"

typedef struct text {
    nb_generated g; /* first, so that a generated text is found by it */
    int32_t *ids;   /* [n] the prompt and g.ids */
    uint8_t *mask;
    size_t n;
} text;

struct nibble_texts {
    size_t n;
    text t[];
};

static nibble_texts *texts_create(size_t n, nb_error *err) {
    size_t bytes = 0;
    nibble_texts *texts = NULL;
    if (nb_mul_size(n, sizeof(text), &bytes) && nb_add_size(bytes, sizeof *texts, &bytes)) texts = nb_calloc(1, bytes);
    if (texts) texts->n = n;
    else nb_oom(err, "generated texts", bytes);
    return texts;
}

void nibble_texts_free(nibble_texts *texts) {
    if (!texts) return;
    for (size_t i = 0; i < texts->n; i++) {
        nb_generated_free(&texts->t[i].g);
        nb_free(texts->t[i].ids);
        nb_free(texts->t[i].mask);
    }
    nb_free(texts);
}

/* The whole sequence, when it is known. */
static nb_status complete(text *t, const int32_t *prompt, size_t n, nb_error *err) {
    size_t all = n + t->g.ids.size;
    t->ids = nb_calloc(all, sizeof *t->ids);
    t->mask = nb_calloc(all, 1);
    if (!t->ids || !t->mask) return nb_oom(err, "a generated text", all * sizeof *t->ids);
    memcpy(t->ids, prompt, n * sizeof *t->ids);
    if (t->g.ids.size) {
        memcpy(t->ids + n, t->g.ids.data, t->g.ids.size * sizeof *t->ids);
        memcpy(t->mask + n, t->g.mask.data, t->g.mask.size);
    }
    t->n = all;
    return NB_OK;
}

static void tell(size_t *n, size_t value) {
    if (n) *n = value;
}

size_t nibble_texts_count(const nibble_texts *texts) { return texts->n; }
const int32_t *nibble_texts_ids(const nibble_texts *texts, size_t i, size_t *n) {
    tell(n, texts->t[i].n);
    return texts->t[i].ids;
}
const uint8_t *nibble_texts_mask(const nibble_texts *texts, size_t i, size_t *n) {
    tell(n, texts->t[i].n);
    return texts->t[i].mask;
}
const char *nibble_texts_text(const nibble_texts *texts, size_t i, size_t *n) {
    tell(n, texts->t[i].g.text.size);
    return nb_buf_str(&texts->t[i].g.text);
}
int32_t nibble_texts_end_token(const nibble_texts *texts, size_t i) { return texts->t[i].g.end_token; }

static nibble_finish finish_of(nb_finish f) {
    static const nibble_finish finishes[] = {[NB_FINISH_STOP] = NIBBLE_STOP,
                                             [NB_FINISH_LENGTH] = NIBBLE_LENGTH,
                                             [NB_FINISH_CANCELLED] = NIBBLE_FINISH_CANCELLED};
    return finishes[f];
}
nibble_finish nibble_texts_finish(const nibble_texts *texts, size_t i) { return finish_of(texts->t[i].g.finish); }
const char *nibble_finish_name(nibble_finish finish) {
    static const char *const names[] = {[NIBBLE_UNFINISHED] = "",
                                        [NIBBLE_STOP] = "stop",
                                        [NIBBLE_LENGTH] = "length",
                                        [NIBBLE_FINISH_CANCELLED] = "cancelled"};
    return (unsigned)finish < sizeof names / sizeof *names ? names[finish] : "";
}

/* ---- options */

/* What a caller asks for, in the terms of the core. */
typedef struct request { /* zeroed, then read_request; request_free */
    nb_generate_options core;
    nb_logit_bias *bias;
    nb_tool *tools;
    bool resume;
} request;

static void request_free(request *r) {
    nb_free(r->bias);
    nb_free(r->tools);
}

static nb_status read_request(const nibble_model *model, const nibble_generate_options *given, request *r,
                              nb_error *err) {
    nibble_generate_options o = NIBBLE_GENERATE_OPTIONS_INIT;
    nb_status st = read_options(&o, sizeof o, given, err);
    if (!st) st = need(o.stops, o.n_stops, "stop texts", err);
    if (!st) st = need(o.stop_tokens, o.n_stop_tokens, "stop tokens", err);
    if (!st) st = api_tools(model, o.own_tools, o.n_own_tools, &r->tools, err);
    if (st) return st;
    r->resume = o.resume != 0;
    r->core = (nb_generate_options){.stream = o.stream,
                                    .max_tokens = o.max_tokens,
                                    .stops = o.stops,
                                    .n_stops = o.n_stops,
                                    .stop_tokens = o.stop_tokens,
                                    .n_stop_tokens = o.n_stop_tokens,
                                    .ignore_stop_tokens = o.ignore_stop_tokens != 0,
                                    .tools = o.tools != 0,
                                    .own_tools = r->tools,
                                    .n_own_tools = o.n_own_tools,
                                    .lookup = o.lookup};
    return api_sampling(o.sampling, &r->core.sampling, &r->bias, err);
}

static nibble_item item_of(const nb_step *step, const nb_generated *g, size_t index, bool done) {
    return (nibble_item){.text_index = (uint32_t)index,
                         .id = step->id == NB_NO_TOKEN ? -1 : step->id,
                         .sampled = step->sampled,
                         .terminal = step->terminal,
                         .finish = done ? finish_of(g->finish) : NIBBLE_UNFINISHED,
                         .text = step->text,
                         .text_size = step->text_size};
}

/* ---- one text */

typedef struct listener {
    nibble_column_fn column;
    void *user;
    const nb_generated *g;
} listener;

static bool listen(void *user, const nb_step *step) {
    const listener *l = user;
    nibble_item item = item_of(step, l->g, 0, step->done);
    return l->column(l->user, &item, 1) == 0;
}

/* How the text would go on; after a failure within it nobody knows. */
static void keep_state(nibble_session *s, nb_generated *g, nb_status st) {
    nb_row_state_free(&s->state);
    if (st) return;
    s->state = g->state;
    g->state = (nb_row_state){0};
}

nibble_status nibble_generate(nibble_session *session, const nibble_generate_options *options, nibble_column_fn column,
                              void *user, nibble_texts **texts, nibble_error *error) {
    nb_error *err = err_of(error);
    request r = {0};
    nb_ids prompt = {0};
    if (texts) *texts = NULL;
    if (!session->has_logits)
        return status_of(nb_fail(err, NB_ARGUMENT, "nothing to continue: the session has no logits"));
    nibble_texts *found = texts_create(1, err);
    if (!found) return NIBBLE_MEMORY;
    uint32_t length = nibble_session_length(session);
    listener l = {.column = column, .user = user, .g = &found->t[0].g};
    nb_status st = read_request(session->model, options, &r, err);
    if (!st && r.resume) {
        if (nb_row_state_kept(&session->state)) r.core.resume = &session->state;
        else st = nb_fail(err, NB_ARGUMENT, "nothing to resume: no generation has come to this text");
    }
    if (!st && column) {
        r.core.step = listen;
        r.core.user = &l;
    }
    if (!st) st = nb_ids_append(&prompt, nibble_session_ids(session), nibble_session_length(session), err);
    if (!st) st = nb_generate(session->s, prompt.data, prompt.size, &r.core, &found->t[0].g, err);
    if (!st) st = complete(&found->t[0], prompt.data, prompt.size, err);
    if (!st || nibble_session_length(session) != length) keep_state(session, &found->t[0].g, st);
    request_free(&r);
    nb_ids_free(&prompt);
    if (!st && texts) *texts = found;
    else nibble_texts_free(found);
    return status_of(st);
}

/* ---- many texts */

enum { ROWS_MOST = 64 };

typedef struct work {
    nb_engine *engine;
    nb_team *team;
    request request;
    const nibble_prompt *prompts;
    size_t n_prompts, prompt; /* at work: texts of those before it have joined */
    uint32_t sample;          /* of it have joined */
    size_t joined, room;      /* texts; items of a column */
    uint32_t n_rows;
    nibble_texts *texts;
    nibble_item *items;
    nibble_column_fn column;
    void *user;
} work;

static nb_status count_texts(const nibble_prompt *prompts, size_t n_prompts, size_t *n, size_t *longest,
                             nb_error *err) {
    nb_status st = need(prompts, n_prompts, "prompts", err);
    *n = *longest = 0;
    for (size_t i = 0; !st && i < n_prompts; i++) {
        st = need(prompts[i].ids, prompts[i].n, "a prompt's tokens", err);
        *n += prompts[i].n_texts;
        *longest = nb_max_size(*longest, prompts[i].n);
    }
    if (st || (*n && *n <= INT32_MAX)) return st;
    return nb_fail(err, NB_ARGUMENT, "%zu texts were asked for; possible are 1 to %d", *n, INT32_MAX);
}

static nb_status open_engine(work *w, const nibble_model *model, const nibble_batch_options *given, size_t longest,
                             nb_error *err) {
    nibble_batch_options o = NIBBLE_BATCH_OPTIONS_INIT;
    nb_session_options how = {0};
    nb_status st = read_options(&o, sizeof o, given, err);
    if (!st && o.rows > NB_BATCH_ROWS_MAX)
        st = nb_fail(err, NB_ARGUMENT, "%u rows were asked for; at most %d are possible", o.rows, NB_BATCH_ROWS_MAX);
    if (!st) st = api_session_options(model, o.session, &how, err);
    w->team = how.team;
    w->n_rows = (uint32_t)nb_min_size(o.rows ? o.rows : ROWS_MOST, w->texts->n);
    how.n_logits = w->n_rows + (uint32_t)nb_min_size((size_t)w->request.core.lookup * w->n_rows, NB_LOOKUP_MAX);
    if (w->texts->n > w->n_rows) how.n_prefix = (uint32_t)nb_div_up(longest, 64);
    if (!st) st = nb_engine_create(&w->engine, model->m, w->n_rows, &how, err);
    if (st) return st;
    w->room = w->n_rows + nb_batch_logit_rows(nb_engine_batch(w->engine));
    w->items = nb_calloc(w->room, sizeof *w->items);
    return w->items ? NB_OK : nb_oom(err, "items", w->room * sizeof *w->items);
}

/* A prompt that cannot be continued is found before the others are. */
static nb_status check_prompts(const work *w, nb_error *err) {
    nb_status st = NB_OK;
    for (size_t i = 0; !st && i < w->n_prompts; i++) {
        if (!w->prompts[i].n_texts) continue;
        st = nb_engine_check(w->engine, w->prompts[i].ids, w->prompts[i].n, err);
        if (st) return nb_context(err, st, "prompt %zu", i);
    }
    return st;
}

/* Texts take the rows that are free. */
static nb_status join(work *w, nb_error *err) {
    nb_status st = NB_OK;
    while (!st && w->prompt < w->n_prompts) {
        const nibble_prompt *p = &w->prompts[w->prompt];
        nb_generate_options how[ROWS_MOST];
        nb_generated *generated[ROWS_MOST];
        uint32_t rows[ROWS_MOST], n = 0, most = (uint32_t)nb_min_size(ROWS_MOST, nb_engine_free_rows(w->engine));
        for (; n < most && n < p->n_texts - w->sample; n++) {
            how[n] = w->request.core;
            how[n].stream += w->sample + n;
            generated[n] = &w->texts->t[w->joined + n].g;
        }
        if (!n && p->n_texts) return NB_OK; /* no row is free */
        st = nb_engine_join(w->engine, p->ids, p->n, how, n, generated, rows, err);
        w->joined += n;
        w->sample += n;
        if (w->sample < p->n_texts) continue;
        w->prompt++;
        w->sample = 0;
    }
    return st;
}

static nb_status cancel(work *w, nb_error *err) {
    nb_status st = NB_OK;
    for (uint32_t row = 0; !st && row < w->n_rows; row++) st = nb_engine_cancel(w->engine, row, err);
    for (; w->joined < w->texts->n; w->joined++) {
        w->texts->t[w->joined].g.finish = NB_FINISH_CANCELLED;
        w->texts->t[w->joined].g.end_token = NB_NO_TOKEN;
    }
    w->prompt = w->n_prompts;
    return st;
}

static nb_status step(work *w, nb_error *err) {
    nb_column c;
    nb_status st = nb_engine_step(w->engine, &c, err);
    if (st || !w->column || !c.n) return st;
    for (size_t i = 0; i < c.n; i++) {
        const nb_column_item *item = &c.items[i];
        size_t index = (size_t)((const text *)(const void *)item->generated - w->texts->t);
        w->items[i] = item_of(&item->step, item->generated, index, item->done);
    }
    return w->column(w->user, w->items, c.n) ? cancel(w, err) : NB_OK;
}

static nb_status complete_all(work *w, nb_error *err) {
    nb_status st = NB_OK;
    size_t at = 0;
    for (size_t i = 0; i < w->n_prompts; i++)
        for (uint32_t k = 0; !st && k < w->prompts[i].n_texts; k++)
            st = complete(&w->texts->t[at++], w->prompts[i].ids, w->prompts[i].n, err);
    return st;
}

nibble_status nibble_generate_batch(const nibble_model *model, const nibble_prompt *prompts, size_t n_prompts,
                                    const nibble_batch_options *batch, const nibble_generate_options *options,
                                    nibble_column_fn column, void *user, nibble_texts **texts, nibble_error *error) {
    nb_error *err = err_of(error);
    work w = {.prompts = prompts, .n_prompts = n_prompts, .column = column, .user = user};
    size_t n = 0, longest = 0;
    if (texts) *texts = NULL;
    nb_status st = count_texts(prompts, n_prompts, &n, &longest, err);
    if (!st) st = read_request(model, options, &w.request, err);
    if (!st && w.request.resume)
        st = nb_fail(err, NB_ARGUMENT, "resume is for nibble_generate: a batch has nothing to resume");
    if (!st && !(w.texts = texts_create(n, err))) st = NB_MEMORY;
    if (!st) st = open_engine(&w, model, batch, longest, err);
    if (!st) st = check_prompts(&w, err);
    if (!st) st = join(&w, err);
    while (!st && nb_engine_busy(w.engine)) {
        st = step(&w, err);
        if (!st) st = join(&w, err);
    }
    if (!st) st = complete_all(&w, err);
    nb_engine_free(w.engine);
    nb_team_free(w.team);
    nb_free(w.items);
    request_free(&w.request);
    if (!st && texts) *texts = w.texts;
    else nibble_texts_free(w.texts);
    return status_of(st);
}
