#include "convert/divergence.h"

#include "base/checked.h"
#include "core/batch.h"
#include "core/score.h"

enum { CHUNK = 256, CHUNK_LOGITS = 1 << 24 };

typedef struct scoring {
    const nb_batch *exact, *changed;
    double *divergence; /* [n] of the chunk */
    size_t vocab;
} scoring;

static void score(void *arg, size_t begin, size_t end, int member) {
    (void)member;
    const scoring *s = arg;
    for (size_t i = begin; i < end; i++) {
        const float *p = nb_batch_logits(s->exact, i), *q = nb_batch_logits(s->changed, i);
        s->divergence[i] = nb_divergence(p, nb_log_sum_exp(p, s->vocab), q, nb_log_sum_exp(q, s->vocab), s->vocab);
    }
}

static nb_status append(nb_batch *b, const int32_t *ids, uint32_t n, nb_error *err) {
    const nb_batch_part part = {.row = 0, .n = n, .ids = ids};
    nb_status st = nb_batch_append(b, &part, 1, err);
    if (!st) nb_batch_compute(b, 0, n);
    return st;
}

static nb_status measure(const nb_divergence_job *job, nb_batch *exact, nb_batch *changed, size_t chunk, double *divergence,
                         nb_error *err) {
    scoring s = {.exact = exact, .changed = changed, .vocab = nb_model_hparams(job->exact)->vocab_size};
    nb_status st = NB_OK;
    for (size_t at = 0, n; !st && at < job->n; at += n) {
        size_t of_window = at % job->window;
        n = nb_min_size(nb_min_size(job->window - of_window, job->n - at), chunk);
        if (!of_window) {
            nb_batch_rewind(exact, 0, 0);
            nb_batch_rewind(changed, 0, 0);
        }
        st = append(exact, job->ids + at, (uint32_t)n, err);
        if (!st) st = append(changed, job->ids + at, (uint32_t)n, err);
        if (st) break;
        s.divergence = divergence + at;
        nb_team_for(job->team, n, 1, score, &s);
        if (!nb_progress_step(job->progress, "measuring", at + n, job->n))
            st = nb_fail(err, NB_CANCELLED, "the conversion was cancelled");
    }
    return st;
}

nb_status nb_divergence_measure(const nb_divergence_job *job, double *divergence, nb_error *err) {
    size_t vocab = nb_model_hparams(job->exact)->vocab_size;
    size_t chunk = nb_min_size(nb_max_size(CHUNK_LOGITS / vocab, 1), nb_min_size(CHUNK, job->window));
    nb_session_options o = {.n_ctx = (uint32_t)job->window, .n_chunk = (uint32_t)chunk, .n_logits = (uint32_t)chunk,
                            .team = job->team};
    nb_batch *exact = NULL, *changed = NULL;
    nb_status st = nb_batch_create(&exact, job->exact, 1, &o, err);
    o.kv = job->kv;
    if (!st) st = nb_batch_create(&changed, job->changed, 1, &o, err);
    if (!st) st = measure(job, exact, changed, chunk, divergence, err);
    nb_batch_free(exact);
    nb_batch_free(changed);
    return st;
}
