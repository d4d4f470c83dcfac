#include "convert/divergence.h"

#include "base/checked.h"
#include "core/batch.h"
#include "core/score.h"

enum { CHUNK = 256, CHUNK_LOGITS = 1 << 23 };

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

/* Logits of ids[n], which continue or begin a window. */
static nb_status read_chunk(const nb_divergence_reader *r, nb_batch *b, bool begin, const int32_t *ids, uint32_t n,
                            nb_error *err) {
    const nb_batch_part part = {.row = 0, .n = n, .ids = ids};
    if (begin) nb_batch_rewind(b, 0, 0);
    nb_model_rotate_qk(r->model, r->rotate_qk);
    nb_status st = nb_batch_append(b, &part, 1, err);
    if (!st) nb_batch_compute(b, 0, n);
    return st;
}

/* batches[0] is the exact model's, then come those of the readers. */
static nb_status read_all(const nb_divergence_job *job, nb_batch *const *batches, size_t chunk, double *divergence,
                          nb_error *err) {
    scoring s = {.exact = batches[0], .vocab = nb_model_hparams(job->exact.model)->vocab_size};
    nb_status st = NB_OK;
    for (size_t at = 0, n; !st && at < job->n; at += n) {
        size_t of_window = at % job->window;
        n = nb_min_size(nb_min_size(job->window - of_window, job->n - at), chunk);
        st = read_chunk(&job->exact, batches[0], !of_window, job->ids + at, (uint32_t)n, err);
        for (size_t r = 0; !st && r < job->n_readers; r++) {
            st = read_chunk(&job->readers[r], batches[1 + r], !of_window, job->ids + at, (uint32_t)n, err);
            s.changed = batches[1 + r];
            s.divergence = divergence + r * job->n + at;
            if (!st) nb_team_for(job->team, n, 1, score, &s);
        }
        if (!st && !nb_progress_step(job->progress, "measuring", "tokens", at + n, job->n))
            st = nb_fail(err, NB_CANCELLED, "the conversion was cancelled");
    }
    return st;
}

nb_status nb_divergence_measure(const nb_divergence_job *job, double *divergence, nb_error *err) {
    size_t vocab = nb_model_hparams(job->exact.model)->vocab_size;
    size_t chunk = nb_min_size(nb_max_size(CHUNK_LOGITS / vocab, 1), nb_min_size(CHUNK, job->window));
    nb_session_options o = {.n_ctx = (uint32_t)job->window, .n_chunk = (uint32_t)chunk, .n_logits = (uint32_t)chunk,
                            .team = job->team};
    nb_batch *batches[1 + NB_DIVERGENCE_READERS] = {NULL};
    nb_status st = NB_OK;
    for (size_t i = 0; !st && i <= job->n_readers; i++) {
        const nb_divergence_reader *r = i ? &job->readers[i - 1] : &job->exact;
        o.kv = r->kv;
        st = nb_batch_create(&batches[i], r->model, 1, &o, err);
    }
    if (!st) st = read_all(job, batches, chunk, divergence, err);
    for (size_t i = 0; i <= job->n_readers; i++) nb_batch_free(batches[i]);
    return st;
}
