#include "core/generate.h"

#include "base/checked.h"
#include "core/batch.h"
#include "core/lookup.h"
#include "core/row.h"

const char *nb_finish_name(nb_finish f) {
    static const char *const names[] = {
        [NB_FINISH_STOP] = "stop", [NB_FINISH_LENGTH] = "length", [NB_FINISH_CANCELLED] = "cancelled"};
    return names[f];
}

void nb_generated_free(nb_generated *g) {
    if (!g) return;
    nb_ids_free(&g->ids);
    nb_buf_free(&g->mask);
    nb_buf_free(&g->text);
    nb_row_state_free(&g->state);
    *g = (nb_generated){0};
}

/* A session that may have read a draft behind the text. */
typedef struct ahead {
    nb_batch *batch;
    uint32_t length;  /* of the text */
    uint32_t most, n; /* tokens of a draft, of this one */
    uint32_t right;   /* of them are part of the text; logits stand in this row */
    int32_t ids[1 + NB_LOOKUP_MAX]; /* the token before the draft, the draft */
    nb_generated *g;
} ahead;

static void forget_draft(ahead *a) { nb_batch_rewind(a->batch, 0, a->length); }

static nb_status append(void *self, int32_t id, nb_error *err) {
    ahead *a = self;
    if (a->right < a->n && a->ids[1 + a->right] == id) {
        a->right++;
        a->length++;
        a->g->accepted++;
        return NB_OK;
    }
    forget_draft(a);
    uint32_t room = nb_batch_room(a->batch) - a->length;
    uint32_t most = room > a->most ? a->most : room ? room - 1 : 0;
    a->ids[0] = id;
    a->n = nb_lookup(nb_batch_ids(a->batch, 0), a->length, id, a->ids + 1, most);
    a->right = 0;
    nb_status st = nb_batch_append(a->batch, &(nb_batch_part){.n = 1 + a->n, .ids = a->ids}, 1, err);
    if (st) return st;
    nb_batch_compute(a->batch, 0, 1 + a->n);
    a->g->drafted += a->n;
    a->length++;
    return NB_OK;
}

static const float *logits(void *self) {
    const ahead *a = self;
    return nb_batch_logits(a->batch, a->right);
}

static uint32_t room(void *self) {
    const ahead *a = self;
    return nb_batch_room(a->batch) - a->length;
}

static ahead look_ahead(nb_session *s, uint32_t most, nb_generated *g) {
    nb_batch *b = nb_session_batch(s);
    size_t possible = nb_min_size(nb_batch_logit_rows(b), nb_batch_chunk(b)) - 1;
    return (ahead){.batch = b, .length = nb_session_length(s), .g = g,
                   .most = (uint32_t)nb_min_size(nb_min_size(most, NB_LOOKUP_MAX), possible)};
}

/* Leave the session as if nothing had been drafted: its logits are those after the text. */
static void settle(ahead *a) {
    if (a->right) nb_batch_compute(a->batch, a->right, 1);
    forget_draft(a);
}

nb_status nb_generate(nb_session *s, const int32_t *prompt, size_t n_prompt, const nb_generate_options *options,
                      nb_generated *g, nb_error *err) {
    const nb_model *m = nb_session_model(s);
    ahead a = look_ahead(s, options->lookup, g);
    nb_decoder decoder = {.self = &a, .append = append, .logits = logits, .room = room};
    nb_sampler *sampler = NULL;
    nb_sampler_room *choosing = NULL;
    nb_row row = {0};
    uint32_t vocab_size = nb_model_hparams(m)->vocab_size;
    if (nb_session_length(s) == 0) return nb_fail(err, NB_ARGUMENT, "nothing to continue: the session holds no tokens");
    nb_status st =
        nb_sampler_create(&sampler, &options->sampling, options->stream, vocab_size, nb_model_kernels(m), err);
    if (!st) st = nb_sampler_room_create(&choosing, vocab_size, err);
    if (!st) st = nb_row_start(&row, nb_model_tokenizer(m), vocab_size, options, g, err);
    if (st) goto out;
    for (size_t i = 0; i < n_prompt; i++) nb_sampler_accept(sampler, prompt[i]);
    if (options->resume) nb_sampler_resume(sampler, &options->resume->rng);
    st = nb_row_run(&row, sampler, choosing, &decoder, err);
    settle(&a);
    nb_row_leave(&row, sampler);
out:
    nb_row_free(&row);
    nb_sampler_room_free(choosing);
    nb_sampler_free(sampler);
    return st;
}
