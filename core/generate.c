#include "core/generate.h"

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
    *g = (nb_generated){0};
}

static nb_status append(void *self, int32_t id, nb_error *err) {
    return nb_session_append(self, &id, 1, NULL, NULL, err);
}

static const float *logits(void *self) {
    return nb_session_logits(self);
}

static uint32_t room(void *self) {
    return nb_session_room(self) - nb_session_length(self);
}

nb_status nb_generate(nb_session *s, const int32_t *prompt, size_t n_prompt, const nb_generate_options *options,
                      nb_generated *g, nb_error *err) {
    const nb_model *m = nb_session_model(s);
    nb_decoder decoder = {.self = s, .append = append, .logits = logits, .room = room};
    nb_sampler *sampler = NULL;
    nb_row row = {0};
    uint32_t vocab_size = nb_model_hparams(m)->vocab_size;
    if (nb_session_length(s) == 0) return nb_fail(err, NB_ARGUMENT, "nothing to continue: the session holds no tokens");
    nb_status st = nb_sampler_create(&sampler, &options->sampling, options->stream, vocab_size, nb_model_kernels(m), err);
    if (!st) st = nb_row_start(&row, nb_model_tokenizer(m), vocab_size, options, g, err);
    if (st) goto out;
    for (size_t i = 0; i < n_prompt; i++) nb_sampler_accept(sampler, prompt[i]);
    st = nb_row_run(&row, sampler, &decoder, err);
out:
    nb_row_free(&row);
    nb_sampler_free(sampler);
    return st;
}
