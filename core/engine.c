#include "core/engine.h"

#include "base/checked.h"
#include "base/mem.h"
#include "core/lookup.h"
#include "core/row.h"

typedef enum row_state {
    FREE,
    READING,   /* its prompt, or waiting for its turn to */
    FOLLOWING, /* waits for its leader, which reads the same prompt */
    SPEAKING   /* `next` is chosen, and not yet in the batch but for a step that also reads a draft behind it */
} row_state;

typedef struct engine_row {
    row_state state;
    bool begun;        /* reading it has begun */
    uint32_t leader;
    uint64_t turn;     /* when it joined: prompts are read in this order */
    nb_ids prompt;
    nb_generate_options options;
    nb_row row;
    nb_sampler *sampler;
    int32_t next[1 + NB_LOOKUP_MAX]; /* the next token, and a draft of those behind it */
    uint32_t n_draft;
    uint32_t logits; /* of the step, from which the next token is chosen */
} engine_row;

struct nb_engine {
    nb_batch *batch;
    uint32_t n_rows;
    uint64_t turn;
    engine_row *rows; /* [n_rows] */
    nb_sampler_room **rooms; /* [n_rooms] of the team's members, to choose tokens in */
    uint32_t n_rooms;

    /* Of the step, [n_rows] each; items and tokens also have room for drafts. */
    uint32_t *speaking; /* rows, in nb_batch_compare's order */
    uint32_t n_speaking;
    bool unsorted;
    nb_batch_part *parts;
    uint32_t n_parts, n_tokens;
    uint32_t *tokens; /* whose logits are wanted */
    uint32_t n_logits, n_draft;
    nb_column_item *items;
};

nb_status nb_engine_create(nb_engine **engine, const nb_model *model, uint32_t n_rows,
                           const nb_session_options *options, nb_error *err) {
    *engine = NULL;
    nb_engine *e = nb_calloc(1, sizeof *e);
    if (!e) return nb_oom(err, "an engine", sizeof *e);
    nb_status st = nb_batch_create(&e->batch, model, n_rows, options, err);
    if (st) goto out;
    e->n_rows = n_rows;
    e->rows = nb_calloc(n_rows, sizeof *e->rows);
    e->speaking = nb_calloc(n_rows, sizeof *e->speaking);
    e->parts = nb_calloc(n_rows, sizeof *e->parts);
    e->tokens = nb_calloc(nb_batch_logit_rows(e->batch), sizeof *e->tokens);
    e->items = nb_calloc(n_rows + nb_batch_logit_rows(e->batch), sizeof *e->items);
    e->n_rooms = (uint32_t)nb_team_size(nb_batch_team(e->batch));
    e->rooms = nb_calloc(e->n_rooms, sizeof *e->rooms);
    if (!e->rows || !e->speaking || !e->parts || !e->tokens || !e->items || !e->rooms)
        st = nb_oom(err, "an engine's rows", n_rows * sizeof *e->rows);
    for (uint32_t i = 0; !st && i < e->n_rooms; i++)
        st = nb_sampler_room_create(&e->rooms[i], nb_model_hparams(model)->vocab_size, err);
out:
    if (st) nb_engine_free(e);
    else *engine = e;
    return st;
}

/* What a row has beside its pages. */
static void empty(engine_row *r) {
    nb_row_free(&r->row);
    nb_sampler_free(r->sampler);
    nb_ids_free(&r->prompt);
    *r = (engine_row){0};
}

void nb_engine_free(nb_engine *e) {
    if (!e) return;
    for (uint32_t i = 0; e->rows && i < e->n_rows; i++) empty(&e->rows[i]);
    for (uint32_t i = 0; e->rooms && i < e->n_rooms; i++) nb_sampler_room_free(e->rooms[i]);
    nb_batch_free(e->batch);
    nb_free(e->rooms);
    nb_free(e->rows);
    nb_free(e->speaking);
    nb_free(e->parts);
    nb_free(e->tokens);
    nb_free(e->items);
    nb_free(e);
}

uint32_t nb_engine_free_rows(const nb_engine *e) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < e->n_rows; i++) n += e->rows[i].state == FREE;
    return n;
}
bool nb_engine_busy(const nb_engine *e) { return nb_engine_free_rows(e) < e->n_rows; }
const nb_batch *nb_engine_batch(const nb_engine *e) { return e->batch; }

/* ---- joining and leaving */

static nb_status start(nb_engine *e, engine_row *r, const int32_t *ids, size_t n, const nb_generate_options *o,
                       nb_generated *g, nb_error *err) {
    const nb_model *m = nb_batch_model(e->batch);
    r->options = *o;
    uint32_t vocab_size = nb_model_hparams(m)->vocab_size;
    nb_status st = nb_sampler_create(&r->sampler, &o->sampling, o->stream, vocab_size, nb_model_kernels(m), err);
    if (!st) st = nb_row_start(&r->row, nb_model_tokenizer(m), vocab_size, &r->options, g, err);
    for (size_t i = 0; !st && i < n; i++) nb_sampler_accept(r->sampler, ids[i]);
    if (!st && o->resume) nb_sampler_resume(r->sampler, &o->resume->rng);
    return st;
}

nb_status nb_engine_check(const nb_engine *e, const int32_t *ids, size_t n, nb_error *err) {
    if (!n) return nb_fail(err, NB_ARGUMENT, "nothing to continue: the prompt holds no tokens");
    if (n > nb_batch_room(e->batch))
        return nb_fail(err, NB_LIMIT, "%zu tokens do not fit: a row has room for %u", n, nb_batch_room(e->batch));
    return nb_batch_check_ids(e->batch, ids, n, err);
}

nb_status nb_engine_join(nb_engine *e, const int32_t *ids, size_t n, const nb_generate_options *options,
                         uint32_t n_texts, nb_generated *const *generated, uint32_t *rows, nb_error *err) {
    uint32_t joined = 0, row = 0;
    if (!n_texts) return NB_OK;
    if (n_texts > nb_engine_free_rows(e))
        return nb_fail(err, NB_LIMIT, "%u texts want to join, and %u rows are free", n_texts, nb_engine_free_rows(e));
    nb_status st = nb_engine_check(e, ids, n, err);
    for (; !st && joined < n_texts; joined++) {
        while (e->rows[row].state != FREE) row++;
        engine_row *r = &e->rows[row];
        rows[joined] = row;
        r->state = joined ? FOLLOWING : READING;
        r->leader = rows[0];
        st = start(e, r, ids, n, &options[joined], generated[joined], err);
    }
    if (!st) st = nb_ids_append(&e->rows[rows[0]].prompt, ids, n, err);
    if (!st) e->rows[rows[0]].turn = ++e->turn;
    while (st && joined > 0) empty(&e->rows[rows[--joined]]);
    return st;
}

/* A text has ended, and its row becomes free. */
static void leave(nb_engine *e, uint32_t row) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < e->n_speaking; i++)
        if (e->speaking[i] != row) e->speaking[kept++] = e->speaking[i];
    e->n_speaking = kept;
    nb_row_leave(&e->rows[row].row, e->rows[row].sampler);
    if (!e->rows[row].options.keep) nb_batch_rewind(e->batch, row, 0);
    empty(&e->rows[row]);
}

/* Another row must read in a leader's place. */
static nb_status hand_over(nb_engine *e, uint32_t leader, nb_error *err) {
    engine_row *old = &e->rows[leader], *heir = NULL;
    for (uint32_t i = 0; i < e->n_rows; i++) {
        engine_row *r = &e->rows[i];
        if (r->state != FOLLOWING || r->leader != leader) continue;
        if (!heir) {
            nb_status st = nb_ids_append(&r->prompt, old->prompt.data, old->prompt.size, err);
            if (st) return st;
            heir = r;
            heir->state = READING;
            heir->turn = old->turn;
            heir->begun = old->begun;
            nb_batch_share(e->batch, i, leader, nb_batch_length(e->batch, leader));
        }
        r->leader = (uint32_t)(heir - e->rows);
    }
    return NB_OK;
}

nb_status nb_engine_cancel(nb_engine *e, uint32_t row, nb_error *err) {
    engine_row *r = &e->rows[row];
    if (r->state == FREE) return NB_OK;
    nb_status st = r->state == READING ? hand_over(e, row, err) : NB_OK;
    if (!st) st = nb_row_end(&r->row, NB_FINISH_CANCELLED, err);
    if (!st) leave(e, row);
    return st;
}

/* ---- a step */

/* Joins and forks move few rows: what is nearly in order is quickly put in order. */
static void sort_speaking(nb_engine *e) {
    for (uint32_t i = 1; e->unsorted && i < e->n_speaking; i++) {
        uint32_t row = e->speaking[i], at = i;
        for (; at > 0 && nb_batch_compare(e->batch, row, e->speaking[at - 1]) < 0; at--)
            e->speaking[at] = e->speaking[at - 1];
        e->speaking[at] = row;
    }
    e->unsorted = false;
}

/* Logits after the last n tokens of the step so far. */
static void want_logits(nb_engine *e, engine_row *r, uint32_t n) {
    r->logits = e->n_logits;
    while (n > 0) e->tokens[e->n_logits++] = e->n_tokens - n--;
}

static void add_part(nb_engine *e, uint32_t row, const int32_t *ids, uint32_t n) {
    e->parts[e->n_parts++] = (nb_batch_part){.row = row, .n = n, .ids = ids};
    e->n_tokens += n;
}

/* The row that has waited longest among those whose prompt is not a part of this step yet. */
static engine_row *next_reader(const nb_engine *e, uint64_t after) {
    engine_row *first = NULL;
    for (engine_row *r = e->rows; r < e->rows + e->n_rows; r++)
        if (r->state == READING && r->turn > after && (!first || r->turn < first->turn)) first = r;
    return first;
}

/* A prompt of this step begins like that of `r`, and longer than what is known now: its pages are worth the wait. */
static bool better_known_after_step(const nb_engine *e, const engine_row *r) {
    if (e->n_parts == e->n_speaking) return false;
    size_t known = nb_batch_known(e->batch, r->prompt.data, r->prompt.size - 1);
    for (uint32_t i = e->n_speaking; i < e->n_parts; i++) {
        const nb_ids *other = &e->rows[e->parts[i].row].prompt;
        size_t most = nb_min_size(r->prompt.size - 1, other->size), alike = 0;
        while (alike < most && r->prompt.data[alike] == other->data[alike]) alike++;
        if (alike > known) return true;
    }
    return false;
}

/* As much of the waiting prompts as there is room for. What a prompt has in common with others is looked up when its
 * reading begins; the last token is always read, for its logits. */
static void add_readers(nb_engine *e, nb_column *column) {
    for (engine_row *r = next_reader(e, 0); r && e->n_tokens < nb_batch_chunk(e->batch); r = next_reader(e, r->turn)) {
        uint32_t row = (uint32_t)(r - e->rows);
        if (!r->begun) {
            if (better_known_after_step(e, r)) break;
            column->n_recalled += nb_batch_recall(e->batch, row, r->prompt.data, r->prompt.size - 1);
            r->begun = true;
        }
        uint32_t length = nb_batch_length(e->batch, row);
        size_t n = nb_min_size(r->prompt.size - length, nb_batch_chunk(e->batch) - e->n_tokens);
        add_part(e, row, r->prompt.data + length, (uint32_t)n);
        column->n_read += n;
        if (length + n < r->prompt.size) break; /* the chunk is full */
        want_logits(e, r, 1);
    }
}

/* Those who have read speak, and those who follow them from the same tokens and logits. */
static void begin_speaking(nb_engine *e) {
    for (uint32_t part = 0; part < e->n_parts; part++) {
        uint32_t row = e->parts[part].row;
        engine_row *r = &e->rows[row];
        if (r->state != READING || nb_batch_length(e->batch, row) < r->prompt.size) continue;
        for (uint32_t i = 0; i < e->n_rows; i++) {
            engine_row *f = &e->rows[i];
            if (i != row && (f->state != FOLLOWING || f->leader != row)) continue;
            if (i != row) nb_batch_share(e->batch, i, row, nb_batch_length(e->batch, row));
            f->logits = r->logits;
            f->state = SPEAKING;
            e->speaking[e->n_speaking++] = i;
        }
        nb_ids_free(&r->prompt);
        e->unsorted = true;
    }
}

static void choose(nb_engine *e, engine_row *r, uint32_t logits, int member) {
    r->next[0] = nb_row_choose(&r->row, r->sampler, e->rooms[member], nb_batch_logits(e->batch, logits));
}

static void choose_share(void *arg, size_t begin, size_t end, int member) {
    nb_engine *e = arg;
    for (size_t i = begin; i < end; i++) choose(e, &e->rows[e->speaking[i]], e->rows[e->speaking[i]].logits, member);
}

/* As many tokens behind the next one as the options say, and as there is room for: logits for all other rows come
 * first. */
static void draft(nb_engine *e, uint32_t row) {
    engine_row *r = &e->rows[row];
    size_t most = nb_min_size(r->options.lookup, NB_LOOKUP_MAX);
    size_t length = nb_batch_length(e->batch, row), drafts = e->n_draft;
    most = nb_min_size(most, nb_batch_logit_rows(e->batch) - e->n_rows - drafts);
    most = nb_min_size(most, nb_batch_chunk(e->batch) - nb_min_size(nb_batch_chunk(e->batch), e->n_rows + drafts));
    most = nb_min_size(most, nb_batch_room(e->batch) - length - 1);
    r->n_draft = nb_lookup(nb_batch_ids(e->batch, row), length, r->next[0], r->next + 1, (uint32_t)most);
    r->row.g->drafted += r->n_draft;
    e->n_draft += r->n_draft;
}

/* A row takes the token that is chosen, and goes on as long as that is what its draft has. The rest of the draft is
 * forgotten. */
static nb_status take_row(nb_engine *e, uint32_t row, nb_column *column, nb_error *err) {
    engine_row *r = &e->rows[row];
    nb_generated *g = r->row.g;
    size_t first = column->n, text = g->text.size;
    uint32_t length = nb_batch_length(e->batch, row) - r->n_draft, right = 0;
    nb_status st;
    for (;;) {
        nb_column_item *item = &e->items[column->n++];
        *item = (nb_column_item){.row = row, .generated = g, .step = {.id = NB_NO_TOKEN, .text = ""}};
        uint32_t left = nb_batch_room(e->batch) - length;
        if (left) st = nb_row_follow(&r->row, r->sampler, r->next[0], left, &item->step, err);
        else st = nb_row_end(&r->row, NB_FINISH_LENGTH, err);
        item->done = r->row.done;
        if (st || item->done || right == r->n_draft || r->next[1 + right] != r->next[0]) break;
        length++;
        right++;
        choose(e, r, r->logits + right, 0);
    }
    g->accepted += right;
    r->n_draft = 0;
    nb_batch_rewind(e->batch, row, length);
    for (size_t i = first; i < column->n; i++) { /* the text may have moved as it grew */
        nb_step *step = &e->items[i].step;
        if (step->id != NB_NO_TOKEN) step->text = nb_buf_str(&g->text) + text;
        text += step->text_size;
    }
    return st;
}

/* Every row that speaks takes its tokens; those that end leave. */
static nb_status take_tokens(nb_engine *e, nb_column *column, nb_error *err) {
    nb_team_for(nb_batch_team(e->batch), e->n_speaking, 1, choose_share, e);
    nb_status st = NB_OK;
    for (uint32_t i = 0; !st && i < e->n_speaking; i++) st = take_row(e, e->speaking[i], column, err);
    for (size_t i = 0; !st && i < column->n; i++)
        if (e->items[i].done) leave(e, e->items[i].row);
    return st;
}

nb_status nb_engine_step(nb_engine *e, nb_column *column, nb_error *err) {
    *column = (nb_column){.items = e->items, .n_continued = e->n_speaking};
    e->n_parts = e->n_tokens = e->n_logits = e->n_draft = 0;
    sort_speaking(e);
    for (uint32_t i = 0; i < e->n_speaking; i++) {
        engine_row *r = &e->rows[e->speaking[i]];
        draft(e, e->speaking[i]);
        add_part(e, e->speaking[i], r->next, 1 + r->n_draft);
        want_logits(e, r, 1 + r->n_draft);
    }
    add_readers(e, column);
    if (!e->n_parts) return NB_OK;
    nb_status st = nb_batch_append(e->batch, e->parts, e->n_parts, err);
    if (st) return st;
    if (e->n_logits) nb_batch_compute_at(e->batch, e->tokens, e->n_logits);
    begin_speaking(e);
    return take_tokens(e, column, err);
}

nb_status nb_engine_save(nb_engine *e, uint32_t row, const nb_saved *saved, const char *path, nb_error *err) {
    return nb_saved_write(e->batch, row, saved, path, err);
}

nb_status nb_engine_load(nb_engine *e, const char *path, nb_saved *saved, nb_error *err) {
    for (uint32_t row = 0; row < e->n_rows; row++)
        if (e->rows[row].state == FREE) return nb_saved_read(e->batch, row, path, saved, err);
    return nb_fail(err, NB_LIMIT, "no row is free for '%s'", path);
}

nb_status nb_engine_finish(nb_engine *e, nb_error *err) {
    nb_status st = NB_OK;
    nb_column column;
    while (!st && nb_engine_busy(e)) st = nb_engine_step(e, &column, err);
    return st;
}
