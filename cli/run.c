/* nibble run: continue a prompt, once or several times from one reading of it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "cli/common.h"
#include "core/generate.h"

typedef struct job {
    const options *o;
    engine e;
    const nb_tokenizer *t; /* NULL: the model has none, ids are printed instead of text */
    nb_session *session;
    nb_sampler_params sampling;
    nb_ids prompt;
    speed speed;
    json_t *samples; /* with --json */
    /* of the sample at work */
    size_t printed; /* bytes of its text */
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
    if (!text) return NB_OK; /* --tokens */
    if (!need_tokenizer(j->e.model, j->o->args[0], err)) return NB_MISSING;
    if (strcmp(text, "-") != 0) return add_text(j, text, strlen(text), err);
    nb_buf input = {0};
    nb_status st = nb_read_file("-", INPUT_LIMIT, &input, err);
    /* The newline that ends what `echo` and editors write is not part of the prompt. */
    if (!st) st = add_text(j, nb_buf_str(&input), input.size - (input.size && input.data[input.size - 1] == '\n'), err);
    nb_buf_free(&input);
    return st;
}

static bool take_step(void *user, const nb_step *step) {
    job *j = user;
    if (!j->o->json && j->t) {
        j->output_failed |= !put_text(step->text, step->text_size);
        j->printed += step->text_size;
    } else if (!j->o->json && !step->terminal) {
        char id[16];
        int n = snprintf(id, sizeof id, "%s%" PRId32, j->printed ? " " : "", step->id);
        j->output_failed |= !put_text(id, (size_t)n);
        j->printed += (size_t)n;
    }
    return !interrupted() && !j->output_failed;
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

/* What the stream held back when the text ended, and the end of the line. */
static void finish_text(job *j, const nb_generated *g) {
    if (j->t && g->text.size > j->printed) put_text(nb_buf_str(&g->text) + j->printed, g->text.size - j->printed);
    put_text("\n", 1);
}

static nb_status one_sample(job *j, uint64_t number, nb_error *err) {
    const options *o = j->o;
    if (o->samples > 1 && !o->json) printf("%s--- sample %" PRIu64 "\n", number ? "\n" : "", number);
    j->printed = 0;
    nb_generate_options how = {.sampling = j->sampling,
                               .stream = number,
                               .max_tokens = (uint32_t)o->max_tokens,
                               .stops = o->stops.v,
                               .n_stops = o->stops.n,
                               .tools = true,
                               .step = take_step,
                               .user = j};
    nb_generated g = {0};
    double begin = seconds_now();
    nb_status st = nb_generate(j->session, j->prompt.data, j->prompt.size, &how, &g, err);
    j->speed.decode_seconds += seconds_now() - begin;
    j->speed.decode_tokens += g.ids.size;
    if (!st && o->json)
        json_array_append_new(j->samples, sample_json(j, &g));
    else if (!st)
        finish_text(j, &g);
    nb_generated_free(&g);
    return st;
}

static nb_status all_samples(job *j, nb_error *err) {
    double begin = seconds_now();
    nb_status st = feed(j->session, j->prompt.data, j->prompt.size, j->o->chunk, err);
    j->speed.prefill_seconds = seconds_now() - begin;
    j->speed.prefill_tokens = j->prompt.size;
    size_t last = j->prompt.size - 1;
    for (uint64_t i = 0; i < j->o->samples && !st && !interrupted() && !j->output_failed; i++) {
        if (i) {
            /* Back to the prompt. Logits depend on the tokens alone, so its last token gives the same ones again. */
            nb_session_rewind(j->session, (uint32_t)last);
            st = nb_session_append(j->session, j->prompt.data + last, 1, NULL, NULL, err);
        }
        if (!st) st = one_sample(j, i, err);
    }
    return st;
}

static int print_results(job *j) {
    json_t *stats =
        json_pack("{sI,so,sI,so}", "prefill_tokens", (json_int_t)j->speed.prefill_tokens, "prefill_seconds",
                  json_number(j->speed.prefill_seconds), "decode_tokens", (json_int_t)j->speed.decode_tokens,
                  "decode_seconds", json_number(j->speed.decode_seconds));
    return print_json(json_pack("{so,sO,so}", "prompt_ids", json_ids(j->prompt.data, j->prompt.size), "samples",
                                j->samples, "stats", stats));
}

int cmd_run(const options *o) {
    if (!o->prompt == !o->tokens) return usage_error("run: give either a prompt with -p or token ids with --tokens");
    nb_error err = {0};
    job j = {.o = o, .samples = o->json ? json_array() : NULL};
    int code = EXIT_SUCCESS;
    nb_status st = sampling_params(o, &j.sampling, &err);
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
    if (!st) st = session_open(&j.session, &j.e, o, o->ctx, &err);
    if (!st) st = all_samples(&j, &err);
    if (st)
        code = fail(&err);
    else if (o->json)
        code = print_results(&j);
    if (!code && o->stats) print_speed(&j.speed);
    if (!code && interrupted()) code = EXIT_INTERRUPTED;
out:
    json_decref(j.samples);
    nb_session_free(j.session);
    engine_close(&j.e);
    nb_ids_free(&j.prompt);
    return code;
}
