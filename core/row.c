#include "core/row.h"

#include <string.h>
#include "base/mem.h"

void nb_row_free(nb_row *row) {
    nb_buf_free(&row->pending);
    nb_buf_free(&row->call);
    nb_ids_free(&row->forced);
    *row = (nb_row){0};
}

bool nb_row_forced(const nb_row *row, int32_t *id) {
    if (row->n_forced == row->forced.size) return false;
    *id = row->forced.data[row->n_forced];
    return true;
}

/* Force the tool's result, if the call has one. */
static nb_status answer_call(nb_row *row, nb_error *err) {
    const nb_vocab *v = nb_tokenizer_vocab(row->t);
    const nb_tool *tool = row->tool;
    nb_buf result = {0};
    nb_status st = NB_OK;
    row->tool = NULL;
    if (row->call.failed) return nb_oom(err, "a tool call", row->call.size);
    if (row->call_tokens && tool->call(tool->user, nb_buf_str(&row->call), row->call.size, &result)) {
        row->forced.size = row->n_forced = 0;
        st = nb_ids_push(&row->forced, nb_vocab_special(v, tool->output_start), err);
        if (!st && result.failed) st = nb_oom(err, "a tool's result", result.size);
        if (!st) st = nb_tokenize(row->t, nb_buf_str(&result), result.size, &row->forced, err);
        if (!st) st = nb_ids_push(&row->forced, nb_vocab_special(v, tool->output_end), err);
    }
    nb_buf_free(&result);
    return st;
}

/* The i-th tool that the row may use, or NULL past the end. */
static const nb_tool *tool_at(const nb_row *row, size_t i) {
    size_t own = row->o->n_own_tools;
    if (i < own) return &row->o->own_tools[i];
    return row->o->tools && i - own < nb_tool_count ? &nb_tools[i - own] : NULL;
}

/* The tool whose call this control token starts. */
static const nb_tool *tool_started_by(const nb_row *row, const char *special) {
    const nb_tool *tool;
    for (size_t i = 0; special && (tool = tool_at(row, i)) != NULL; i++)
        if (strcmp(tool->call_start, special) == 0 && nb_tool_usable(tool, nb_tokenizer_vocab(row->t))) return tool;
    return NULL;
}

/* nanochat's Engine: a start inside a call starts it anew, an end outside is nothing, control tokens inside count as
 * their text. */
static nb_status follow_tools(nb_row *row, int32_t id, nb_error *err) {
    if (!row->t || !(row->o->tools || row->o->n_own_tools)) return NB_OK;
    const char *special = nb_token_special_text(row->t, id);
    const nb_tool *started = tool_started_by(row, special);
    if (started) {
        row->tool = started;
        row->call_tokens = 0;
        nb_buf_clear(&row->call);
    } else if (row->tool && special && strcmp(special, row->tool->call_end) == 0) {
        return answer_call(row, err);
    } else if (row->tool) {
        row->call_tokens++;
        nb_detokenize(row->t, &id, 1, true, false, &row->call);
    }
    return NB_OK;
}

/* Where in text[n] a stop text begins, or n. */
static size_t find_stop(const nb_row *row, const char *text, size_t n) {
    size_t first = n;
    for (size_t i = 0; i < row->o->n_stops; i++) {
        const char *at = memmem(text, n, row->o->stops[i], strlen(row->o->stops[i]));
        if (at && (size_t)(at - text) < first) first = (size_t)(at - text);
    }
    return first;
}

/* The longest end of text[n] that could be the beginning of a stop text. */
static size_t held_back(const nb_row *row, const char *text, size_t n) {
    size_t longest = 0;
    for (size_t i = 0; i < row->o->n_stops; i++) {
        size_t k = strlen(row->o->stops[i]) - 1;
        for (k = k < n ? k : n; k > longest; k--)
            if (memcmp(text + n - k, row->o->stops[i], k) == 0) longest = k;
    }
    return longest;
}

/* Move pending text to the row's, up to a stop text, or up to what may become one (`all`: to the end). */
static nb_status release(nb_row *row, bool all, nb_error *err) {
    const char *text = nb_buf_str(&row->pending);
    size_t n = row->pending.size, end = find_stop(row, text, n);
    if (end < n) {
        row->done = true;
        row->g->finish = NB_FINISH_STOP;
        nb_buf_append(&row->g->text, text, end);
        nb_buf_clear(&row->pending);
    } else {
        size_t kept = all ? 0 : held_back(row, text, n);
        nb_buf_append(&row->g->text, text, n - kept);
        if (n) memmove(row->pending.data, row->pending.data + n - kept, kept + 1); /* and the NUL */
        row->pending.size = kept;
    }
    return row->pending.failed || row->g->text.failed ? nb_oom(err, "generated text", row->g->text.size + n) : NB_OK;
}

nb_status nb_row_end(nb_row *row, nb_finish finish, nb_error *err) {
    if (row->done) return NB_OK;
    row->g->state.utf8 = row->utf8;
    nb_utf8_finish(&row->utf8, &row->pending);
    row->done = true;
    row->g->finish = finish;
    return release(row, true, err); /* finds no stop text, unless U+FFFD completes one */
}

static nb_status take_ordinary(nb_row *row, int32_t id, bool sampled, nb_error *err) {
    size_t n = 0;
    nb_status st = nb_ids_push(&row->g->ids, id, err);
    if (st) return st;
    nb_buf_byte(&row->g->mask, sampled);
    if (row->g->mask.failed) return nb_oom(err, "generated tokens", row->g->mask.size);
    if (row->t && sampled && !row->tool) { /* calls and their results are between the model and the tool */
        const uint8_t *bytes = nb_token_bytes(row->t, id, &n);
        nb_utf8_feed(&row->utf8, bytes, n, &row->pending);
        st = release(row, false, err);
    }
    return st ? st : follow_tools(row, id, err);
}

static bool is_terminal(const nb_row *row, int32_t id) {
    const nb_generate_options *o = row->o;
    for (size_t i = 0; i < o->n_stop_tokens; i++)
        if (o->stop_tokens[i] == id) return true;
    return row->t && !o->ignore_stop_tokens && nb_token_is_stop(row->t, id);
}

nb_status nb_row_take(nb_row *row, int32_t id, bool last, nb_step *step, nb_error *err) {
    size_t before = row->g->text.size;
    bool forced = row->n_forced < row->forced.size;
    bool terminal = is_terminal(row, id);
    nb_status st;
    row->n_forced += forced;
    if (terminal) {
        row->g->end_token = id;
        st = nb_row_end(row, NB_FINISH_STOP, err);
    } else {
        st = take_ordinary(row, id, !forced, err);
        if (!st && last) st = nb_row_end(row, NB_FINISH_LENGTH, err);
    }
    *step = (nb_step){.id = id, .sampled = !forced, .terminal = terminal, .done = row->done,
                      .text = nb_buf_str(&row->g->text) + before, .text_size = row->g->text.size - before};
    return st;
}

/* ---- where it begins, and what it leaves for going on */

static nb_status resume(nb_row *row, const nb_row_state *s, nb_error *err) {
    const nb_tool *tool = NULL;
    const char *name = nb_buf_str(&s->tool);
    for (size_t i = 0; *name && (tool = tool_at(row, i)) != NULL && strcmp(tool->name, name) != 0; i++) continue;
    if (*name && (!tool || !row->t))
        return nb_fail(err, NB_ARGUMENT, "the row stopped in a call of the tool '%s', which is not there now", name);
    row->tool = tool;
    row->utf8 = s->utf8;
    row->call_tokens = s->call_tokens;
    nb_buf_append(&row->call, s->call.data, s->call.size);
    if (s->tool.failed || s->call.failed || row->call.failed) return nb_oom(err, "a tool call", s->call.size);
    return nb_ids_append(&row->forced, s->forced.data, s->forced.size, err);
}

nb_status nb_row_start(nb_row *row, const nb_tokenizer *t, uint32_t vocab_size, const nb_generate_options *o,
                       nb_generated *g, nb_error *err) {
    *row = (nb_row){.t = t, .o = o, .g = g};
    g->end_token = NB_NO_TOKEN;
    g->finish = NB_FINISH_LENGTH;
    if (o->n_stops && !t) return nb_fail(err, NB_ARGUMENT, "stop texts need a tokenizer, and the model has none");
    for (size_t i = 0; i < o->n_stops; i++)
        if (!o->stops[i] || !o->stops[i][0]) return nb_fail(err, NB_ARGUMENT, "stop text %zu is empty", i + 1);
    for (size_t i = 0; i < o->n_stop_tokens; i++)
        if (o->stop_tokens[i] < 0 || (uint32_t)o->stop_tokens[i] >= vocab_size)
            return nb_fail(err, NB_ARGUMENT, "stop token %d: expected an id from 0 to %u", (int)o->stop_tokens[i],
                           vocab_size - 1);
    return o->resume ? resume(row, o->resume, err) : NB_OK;
}

/* Memory that runs out shows in the buffers, when the state is written or gone on from. */
void nb_row_leave(nb_row *row, const nb_sampler *sampler) {
    nb_row_state *s = &row->g->state;
    s->rng = nb_sampler_rng(sampler);
    if (row->tool) {
        nb_buf_text(&s->tool, row->tool->name);
        s->call = row->call;
        s->call_tokens = (uint32_t)row->call_tokens;
        row->call = (nb_buf){0};
    }
    s->forced = row->forced;
    s->forced.size -= row->n_forced;
    if (s->forced.size)
        memmove(s->forced.data, s->forced.data + row->n_forced, s->forced.size * sizeof *s->forced.data);
    row->forced = (nb_ids){0};
    row->n_forced = 0;
}

int32_t nb_row_choose(const nb_row *row, nb_sampler *sampler, nb_sampler_room *room, const float *logits) {
    int32_t id;
    return nb_row_forced(row, &id) ? id : nb_sampler_next(sampler, room, logits);
}

nb_status nb_row_follow(nb_row *row, nb_sampler *sampler, int32_t id, size_t room, nb_step *step, nb_error *err) {
    uint32_t most = row->o->max_tokens;
    nb_status st = nb_row_take(row, id, room <= 1 || (most && row->g->ids.size + 1 >= most), step, err);
    if (!st) nb_sampler_accept(sampler, id);
    return st;
}

nb_status nb_row_run(nb_row *row, nb_sampler *sampler, nb_sampler_room *room, const nb_decoder *decoder,
                     nb_error *err) {
    const nb_generate_options *o = row->o;
    nb_status st = NB_OK;
    if (decoder->room(decoder->self) == 0) st = nb_row_end(row, NB_FINISH_LENGTH, err);
    while (!st && !row->done) {
        nb_step step;
        int32_t id = nb_row_choose(row, sampler, room, decoder->logits(decoder->self));
        st = nb_row_follow(row, sampler, id, decoder->room(decoder->self), &step, err);
        if (st) break;
        bool cancelled = o->step && !o->step(o->user, &step); /* told first: the next logits take a while */
        if (!step.terminal) st = decoder->append(decoder->self, id, err);
        if (!st && cancelled) st = nb_row_end(row, NB_FINISH_CANCELLED, err);
    }
    return st;
}
