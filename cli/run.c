/* nibble run: continue a prompt, once or several times side by side from one reading of it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/checked.h"
#include "base/file.h"
#include "base/mem.h"
#include "cli/common.h"
#include "cli/sampling.h"
#include "core/engine.h"
#include "core/lookup.h"
#include "core/kv.h"

enum { ROWS_MOST = 64 }; /* samples side by side: more of them read no weights less often that would show */

typedef struct sample {
    nb_generated g;
    bool done;
} sample;

typedef struct job {
    const options *o;
    engine e;
    const nb_tokenizer *t; /* NULL: the model has none, ids are printed instead of text */
    nb_engine *rows;
    uint32_t n_rows;
    sampling how;
    nb_ids prompt;
    nb_saved before; /* from --load */
    speed speed;
    size_t kv_bytes; /* of the KV cache, at most */
    sample *samples; /* [o->samples] */
    uint64_t joined; /* of them */
    uint64_t shown;  /* the sample that is being printed: those before it have been */
    bool begun;      /* it has a heading, where there are any */
    size_t printed;  /* bytes of its text, or ids */
    bool output_failed;
} job;

static nb_status add_text(job *j, const char *text, size_t n, nb_error *err) {
    int32_t bos = nb_tokenizer_vocab(j->t)->bos;
    nb_status st = bos != NB_NO_TOKEN ? nb_ids_push(&j->prompt, bos, err) : NB_OK;
    if (!st) st = nb_tokenize(j->t, text, n, &j->prompt, err);
    if (!st && !j->prompt.size)
        st = nb_fail(err, NB_ARGUMENT, "the prompt is empty, and the model has no BOS token to begin with");
    return st;
}

/* Text is taken only when the model can turn it into ids. */
static nb_status read_prompt(job *j, nb_error *err) {
    const char *text = j->o->prompt;
    if (!text) return NB_OK; /* ids */
    if (!need_tokenizer(j->e.model, j->o->args[0], err)) return NB_MISSING;
    if (strcmp(text, "-") != 0) return add_text(j, text, strlen(text), err);
    nb_buf input = {0};
    nb_status st = nb_read_file("-", INPUT_LIMIT, &input, err);
    /* The newline that ends what `echo` and editors write is not part of the prompt. */
    if (!st) st = add_text(j, nb_buf_str(&input), input.size - (input.size && input.data[input.size - 1] == '\n'), err);
    nb_buf_free(&input);
    return st;
}

static json_t *sample_json(const job *j, const nb_generated *g) {
    json_t *ids = json_ids(j->prompt.data, j->prompt.size), *mask = json_array();
    for (size_t i = 0; i < j->prompt.size; i++) json_array_append_new(mask, json_integer(0));
    for (size_t i = 0; i < g->ids.size; i++) {
        json_array_append_new(ids, json_integer(g->ids.data[i]));
        json_array_append_new(mask, json_integer(g->mask.data[i]));
    }
    return json_pack("{so,so,so,ss}", "ids", ids, "mask", mask, "text",
                     json_stringn(nb_buf_str(&g->text), g->text.size), "finish_reason", nb_finish_name(g->finish));
}

/* ---- printing: samples grow side by side, and are printed one after the other */

static bool print_ids(const nb_ids *ids, size_t from) {
    bool ok = true;
    for (size_t i = from; ok && i < ids->size; i++) {
        char id[16];
        int n = snprintf(id, sizeof id, "%s%" PRId32, i ? " " : "", ids->data[i]);
        ok = put_text(id, (size_t)n);
    }
    return ok;
}

/* Whatever there is of the sample whose turn it is, and of those behind it when it is complete. */
static void print_more(job *j) {
    for (bool done = true; done && !j->o->json && j->shown < j->joined && !j->output_failed;) {
        sample *s = &j->samples[j->shown];
        if (!j->begun && j->o->samples > 1) printf("%s--- sample %" PRIu64 "\n", j->shown ? "\n" : "", j->shown);
        j->begun = true;
        if (j->t) {
            j->output_failed |= !put_text(nb_buf_str(&s->g.text) + j->printed, s->g.text.size - j->printed);
            j->printed = s->g.text.size;
        } else {
            j->output_failed |= !print_ids(&s->g.ids, j->printed);
            j->printed = s->g.ids.size;
        }
        done = s->done;
        if (!done) break;
        j->output_failed |= !put_text("\n", 1);
        if (!j->o->save) nb_generated_free(&s->g);
        j->begun = false;
        j->printed = 0;
        j->shown++;
    }
}

/* ---- generating */

static bool prompted(const options *o) { return o->prompt || o->tokens || o->tokens_file; }

/* The text of --load goes on as if it had not stopped; a file of `chat` has no state of a row to go on from. */
static bool goes_on(const job *j) { return !prompted(j->o) && nb_row_state_kept(&j->before.state); }

/* Samples take the rows that are free. */
static nb_status join_samples(job *j, nb_error *err) {
    nb_generate_options how[ROWS_MOST];
    nb_generated *generated[ROWS_MOST];
    uint32_t rows[ROWS_MOST], n = 0;
    for (uint32_t most = nb_engine_free_rows(j->rows); n < most && j->joined + n < j->o->samples; n++) {
        how[n] = sampling_options(&j->how, j->o);
        how[n].stream = j->joined + n;
        how[n].tools = true;
        how[n].resume = goes_on(j) ? &j->before.state : NULL;
        how[n].keep = j->o->save != NULL;
        generated[n] = &j->samples[j->joined + n].g;
    }
    nb_status st = nb_engine_join(j->rows, j->prompt.data, j->prompt.size, how, n, generated, rows, err);
    if (!st) j->joined += n;
    return st;
}

/* A sample is complete. */
static void finish_sample(job *j, sample *s) {
    s->done = true;
    j->speed.drafted += s->g.drafted;
    j->speed.accepted += s->g.accepted;
}

static nb_status cancel_all(job *j, nb_error *err) {
    nb_status st = NB_OK;
    for (uint32_t row = 0; !st && row < j->n_rows; row++) st = nb_engine_cancel(j->rows, row, err);
    for (uint64_t i = j->shown; i < j->joined; i++)
        if (!j->samples[i].done) finish_sample(j, &j->samples[i]);
    return st;
}

static sample *sample_of(nb_generated *g) { return (sample *)(void *)g; } /* its first member */

/* A step's time is that of the prompts as far as its tokens are theirs. */
static void count_step(job *j, const nb_column *column, double seconds) {
    double share = (double)column->n_read / (double)(column->n_read + column->n_continued);
    j->speed.prefill_seconds += seconds * share;
    j->speed.decode_seconds += seconds * (1 - share);
    j->speed.prefill_tokens += column->n_read;
    for (size_t i = 0; i < column->n; i++) j->speed.decode_tokens += !column->items[i].step.terminal;
    j->kv_bytes = nb_max_size(j->kv_bytes, nb_batch_kv_bytes(nb_engine_batch(j->rows)));
}

static nb_status all_samples(job *j, nb_error *err) {
    nb_status st = join_samples(j, err);
    bool speaking = false;
    while (!st && nb_engine_busy(j->rows)) {
        nb_column column;
        double begin = seconds_now();
        st = nb_engine_step(j->rows, &column, err);
        if (st) break;
        count_step(j, &column, seconds_now() - begin);
        speaking |= column.n > 0;
        for (size_t i = 0; i < column.n; i++)
            if (column.items[i].done) finish_sample(j, sample_of(column.items[i].generated));
        print_more(j);
        if (interrupted() && !speaking) st = nb_fail(err, NB_CANCELLED, "interrupted");
        else if (interrupted() || j->output_failed) st = cancel_all(j, err);
        else st = join_samples(j, err);
    }
    print_more(j);
    return st;
}

/* Rows with room for the prompt and what is asked for. */
static nb_status open_rows(job *j, nb_error *err) {
    const options *o = j->o;
    nb_session_options how = session_options(&j->e, o, o->ctx);
    uint32_t room = 0;
    nb_status st = nb_batch_context(j->e.model, &how, &room, err);
    if (!st) st = check_room(j->prompt.size, 0, room, err);
    if (st) return st;
    size_t samples = (size_t)o->samples, wanted = j->prompt.size + (size_t)o->max_tokens;
    if (how.overflow == NB_OVERFLOW_STOP && !o->load && o->max_tokens && wanted < room) how.n_ctx = (uint32_t)wanted;
    j->n_rows = (uint32_t)nb_min_size(samples, ROWS_MOST);
    how.n_logits = j->n_rows + (uint32_t)nb_min_size((size_t)o->lookup * j->n_rows, NB_LOOKUP_MAX);
    if (samples > j->n_rows) how.n_prefix = (uint32_t)nb_div_up(j->prompt.size, NB_KV_PAGE);
    j->samples = nb_calloc(samples, sizeof *j->samples);
    if (!j->samples) return nb_oom(err, "samples", samples * sizeof *j->samples);
    st = nb_engine_create(&j->rows, j->e.model, j->n_rows, &how, err);
    if (!st && o->load) st = nb_engine_load(j->rows, o->load, &j->before, err);
    /* Without a prompt the saved text is it, and goes on where it stopped. */
    if (!st && !j->prompt.size) st = nb_ids_append(&j->prompt, j->before.ids.data, j->before.ids.size, err);
    return st;
}

static nb_status save_text(job *j, nb_error *err) {
    nb_generated *g = &j->samples[0].g;
    nb_saved saved = {.state = g->state};
    nb_status st = nb_ids_append(&saved.ids, j->prompt.data, j->prompt.size, err);
    if (!st) st = nb_ids_append(&saved.ids, g->ids.data, g->ids.size, err);
    if (!st) st = nb_engine_save(j->rows, 0, &saved, j->o->save, err);
    nb_ids_free(&saved.ids);
    return st;
}

static int print_results(job *j) {
    json_t *samples = json_array();
    for (uint64_t i = 0; i < j->joined; i++) json_array_append_new(samples, sample_json(j, &j->samples[i].g));
    json_t *stats =
        json_pack("{sI,so,sI,so,sI,sI,sI,sI}", "prefill_tokens", (json_int_t)j->speed.prefill_tokens, "prefill_seconds",
                  json_number(j->speed.prefill_seconds), "decode_tokens", (json_int_t)j->speed.decode_tokens,
                  "decode_seconds", json_number(j->speed.decode_seconds), "rows", (json_int_t)j->n_rows, "kv_bytes",
                  (json_int_t)j->kv_bytes, "drafted", (json_int_t)j->speed.drafted, "accepted",
                  (json_int_t)j->speed.accepted);
    return print_json(json_pack("{so,so,so}", "prompt_ids", json_ids(j->prompt.data, j->prompt.size), "samples",
                                samples, "stats", stats));
}

static void print_stats(const job *j) {
    char size[SIZE_TEXT];
    print_speed(&j->speed);
    fprintf(stderr, "%" PRIu32 " row%s side by side, KV cache %s\n", j->n_rows, j->n_rows == 1 ? "" : "s",
            size_text(j->kv_bytes, size));
}

int cmd_run(const options *o) {
    int prompts = (o->prompt != NULL) + (o->tokens != NULL) + (o->tokens_file != NULL);
    if (prompts > 1 || (!prompts && !o->load))
        return usage_error("run: give either a prompt with -p or token ids with --tokens or --tokens-file, or a saved "
                           "text with --load");
    if (o->samples > 1 && (o->save || !prompts))
        return usage_error("run: --samples takes a prompt; one text is saved with --save, and goes on with --load "
                           "alone");
    nb_error err = {0};
    job j = {.o = o};
    int code = EXIT_SUCCESS;
    nb_status st = sampling_read(&j.how, o, &err);
    if (!st && o->tokens) st = ids_from_options(o->tokens, NULL, &j.prompt, &err);
    if (st) {
        code = usage_error("run: %s", err.text);
        goto out;
    }
    st = engine_open(&j.e, o, o->args[0], &err);
    if (!st) {
        j.t = nb_model_tokenizer(j.e.model);
        st = read_prompt(&j, &err);
    }
    if (!st && o->tokens_file) st = ids_from_options(NULL, o->tokens_file, &j.prompt, &err);
    if (!st) st = open_rows(&j, &err);
    if (!st) st = all_samples(&j, &err);
    if (!st && o->save) st = save_text(&j, &err);
    if (st)
        code = fail(&err);
    else if (o->json)
        code = print_results(&j);
    if (!code && o->stats) print_stats(&j);
    if (!code && interrupted()) code = EXIT_INTERRUPTED;
out:
    nb_engine_free(j.rows);
    for (uint64_t i = 0; i < j.joined; i++) nb_generated_free(&j.samples[i].g);
    nb_free(j.samples);
    nb_saved_free(&j.before);
    engine_close(&j.e);
    nb_ids_free(&j.prompt);
    sampling_free(&j.how);
    return code;
}
