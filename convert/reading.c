#include "convert/reading.h"

#include <string.h>

#include "base/buf.h"
#include "base/checked.h"
#include "base/file.h"
#include "base/mem.h"
#include "core/batch.h"
#include "core/rng.h"
#include "core/sampler.h"

enum { TEXT_LIMIT = 256 << 20, SELF_ROWS = 16, SELF_SEED = 1, WINDOW = 2048 };

typedef struct maker {
    const nb_model *model;
    const char *text;
    size_t most; /* tokens */
    nb_team *team;
    const nb_progress *progress;
    nb_reading *to;
} maker;

static int32_t bos_of(const maker *m) {
    const nb_tokenizer *t = nb_model_tokenizer(m->model);
    return t ? nb_tokenizer_vocab(t)->bos : NB_NO_TOKEN;
}

/* Of a longer text, windows all over it are read. Every window begins with BOS, where there is one. */
static nb_status cut_windows(maker *m, const nb_ids *text, nb_error *err) {
    int32_t bos = bos_of(m);
    size_t of_text = m->to->window - (bos != NB_NO_TOKEN), n_windows = nb_div_up(text->size, of_text);
    size_t most = nb_max_size(1, m->most / m->to->window), n = nb_min_size(n_windows, most);
    nb_status st = NB_OK;
    for (size_t i = 0; !st && i < n; i++) {
        size_t at = i * n_windows / n * of_text;
        if (bos != NB_NO_TOKEN) st = nb_ids_push(&m->to->ids, bos, err);
        if (!st) st = nb_ids_append(&m->to->ids, text->data + at, nb_min_size(of_text, text->size - at), err);
    }
    return st;
}

static nb_status read_text(maker *m, nb_error *err) {
    const nb_tokenizer *t = nb_model_tokenizer(m->model);
    if (!t)
        return nb_fail(err, NB_MISSING,
                       "the model has no tokenizer to read '%s' with: give one with --tokenizer, or take --calibrate "
                       NB_CALIBRATE_SELF, m->text);
    nb_buf text = {0};
    nb_ids ids = {0};
    nb_status st = nb_read_file(m->text, TEXT_LIMIT, &text, err);
    if (!st) st = nb_tokenize(t, nb_buf_str(&text), text.size, &ids, err);
    if (!st && ids.size < m->to->window / 2)
        st = nb_fail(err, NB_ARGUMENT, "'%s' has %zu tokens; calibration takes at least half a context, %zu", m->text,
                     ids.size, m->to->window / 2);
    if (!st) st = cut_windows(m, &ids, err);
    nb_ids_free(&ids);
    nb_buf_free(&text);
    return st;
}

/* One token more for every row of the batch: drawn from its logits, of which row i are those of part i. */
static nb_status extend_samples(maker *m, nb_batch *b, nb_sampler **samplers, nb_sampler_room *room, int32_t *samples,
                                size_t at, nb_error *err) {
    nb_batch_part parts[SELF_ROWS];
    for (uint32_t r = 0; r < SELF_ROWS; r++)
        parts[r] = (nb_batch_part){.row = r, .n = 1, .ids = samples + r * m->to->window + at};
    nb_status st = nb_batch_append(b, parts, SELF_ROWS, err);
    if (st || at + 1 == m->to->window) return st;
    nb_batch_compute(b, 0, SELF_ROWS);
    for (uint32_t r = 0; r < SELF_ROWS; r++)
        samples[r * m->to->window + at + 1] = nb_sampler_next(samplers[r], room, nb_batch_logits(b, r));
    return NB_OK;
}

/* SELF_ROWS windows side by side, from BOS on; without one, from a token that is drawn, as Liu et al. (2023) do. */
static nb_status sample_windows(maker *m, nb_batch *b, nb_sampler **samplers, nb_sampler_room *room, uint64_t first,
                                int32_t *samples, nb_error *err) {
    uint32_t vocab = nb_model_hparams(m->model)->vocab_size;
    nb_status st = NB_OK;
    for (uint32_t r = 0; r < SELF_ROWS; r++) {
        nb_rng rng = nb_rng_start(SELF_SEED, first + r);
        samples[r * m->to->window] = bos_of(m) != NB_NO_TOKEN ? bos_of(m) : (int32_t)(nb_rng_uniform(&rng) * vocab);
        nb_batch_rewind(b, r, 0);
    }
    for (size_t at = 0; !st && at < m->to->window; at++) {
        st = extend_samples(m, b, samplers, room, samples, at, err);
        size_t done = m->to->ids.size + (at + 1) * SELF_ROWS;
        if (!st && !nb_progress_step(m->progress, "sampling", "tokens", done, nb_max_size(done, m->most)))
            st = nb_fail(err, NB_CANCELLED, "the conversion was cancelled");
    }
    return st ? st : nb_ids_append(&m->to->ids, samples, SELF_ROWS * m->to->window, err);
}

static nb_status sample_self(maker *m, nb_error *err) {
    const nb_sampler_params params = {.temperature = 1, .top_p = 1, .repeat_penalty = 1, .seed = SELF_SEED};
    const nb_session_options o = {.n_ctx = (uint32_t)m->to->window, .team = m->team};
    nb_sampler *samplers[SELF_ROWS] = {NULL};
    nb_sampler_room *room = NULL;
    nb_batch *b = NULL;
    int32_t *samples = nb_alloc(SELF_ROWS * m->to->window * sizeof *samples);
    nb_status st = samples ? nb_batch_create(&b, m->model, SELF_ROWS, &o, err)
                           : nb_oom(err, "samples", SELF_ROWS * m->to->window * sizeof *samples);
    for (uint32_t r = 0; !st && r < SELF_ROWS; r++)
        st = nb_sampler_create(&samplers[r], &params, r, nb_model_hparams(m->model)->vocab_size,
                               nb_model_kernels(m->model), err);
    if (!st) st = nb_sampler_room_create(&room, nb_model_hparams(m->model)->vocab_size, err);
    while (!st && m->to->ids.size < m->most)
        st = sample_windows(m, b, samplers, room, m->to->ids.size / m->to->window, samples, err);
    for (uint32_t r = 0; r < SELF_ROWS; r++) nb_sampler_free(samplers[r]);
    nb_sampler_room_free(room);
    nb_batch_free(b);
    nb_free(samples);
    return st;
}

nb_status nb_reading_make(nb_reading *r, const nb_model *model, const char *text, size_t most, nb_team *team,
                          const nb_progress *progress, nb_error *err) {
    maker m = {.model = model, .text = text, .most = most, .team = team, .progress = progress, .to = r};
    bool self = !strcmp(text, NB_CALIBRATE_SELF);
    *r = (nb_reading){.window = nb_min_size(nb_model_hparams(model)->n_ctx, nb_min_size(WINDOW, most / SELF_ROWS))};
    if (r->window < 2) return nb_fail(err, NB_ARGUMENT, "a model with a context of one token cannot be calibrated");
    nb_status st = self ? sample_self(&m, err) : read_text(&m, err);
    if (st) nb_reading_free(r);
    return st;
}

void nb_reading_free(nb_reading *r) {
    nb_ids_free(&r->ids);
    *r = (nb_reading){0};
}
