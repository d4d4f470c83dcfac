#include "convert/calibrate.h"

#include <string.h>

#include "base/checked.h"
#include "base/mem.h"
#include "convert/moments.h"
#include "core/score.h"

/* Of the diagonal's mean: what is added to it, so that inputs which the text hardly shows do not count as nothing. */
static const double DAMPING = 0.01;

enum { CHUNK = 256 };

/* Tokens of which divergences are measured, and how many logits are kept for that but for the least number of tokens. */
enum { PROBE_LEAST = 256, PROBE_MOST = 2048, PROBE_LOGITS = 1 << 24 };

struct nb_calibration {
    nb_model *model;
    const nb_plan *plan;
    nb_calibrate_options o;
    nb_observer observer;
    nb_moments moments;
    nb_session *session;
    nb_feedback feedback; /* of the matrix asked for last */
    const nb_weight *of;  /* that matrix */
    /* for divergences, from when one is asked for */
    nb_session *probe;
    size_t n_probed;
    float *exact;         /* [n_probed][vocab] */
    double divergence;    /* sum so far */
};

/* ---- reading ---- */

static int ignore_logits(void *user, size_t position, const float *logits) {
    (void)user, (void)position, (void)logits;
    return 0;
}

/* The model reads all windows while matrices are watched. Logits are computed only for the head's sake. */
static nb_status read_windows(nb_calibration *c, nb_error *err) {
    bool head = nb_moments_find(&c->moments, nb_model_head(c->model)) != NULL;
    nb_status st = NB_OK;
    for (size_t at = 0; !st && at < c->o.reading->ids.size; at += c->o.reading->window) {
        size_t n = nb_min_size(c->o.reading->window, c->o.reading->ids.size - at);
        nb_session_rewind(c->session, 0);
        st = nb_session_append(c->session, c->o.reading->ids.data + at, n, head ? ignore_logits : NULL, NULL, err);
        if (!st && !nb_progress_step(c->o.progress, "calibrating", at + n, c->o.reading->ids.size))
            st = nb_fail(err, NB_CANCELLED, "the conversion was cancelled");
    }
    return st;
}

/* The matrix that a product reads and nothing else does; NULL: there is none. */
static const nb_weight *product_of(const nb_calibration *c, const nb_plan_tensor *t) {
    bool matrix = t->spec.kind == NB_KIND_MATRIX || t->id == NB_SPEC_head;
    return matrix && nb_types[t->type].scaled ? nb_model_weight(c->model, t->id, t->layer) : NULL;
}

/* Moments for `first` and as many matrices behind it as there is memory for. */
static nb_status gather(nb_calibration *c, const nb_plan_tensor *first, nb_error *err) {
    uint64_t bytes = 0;
    nb_status st = NB_OK;
    nb_moments_clear(&c->moments);
    for (const nb_plan_tensor *t = first; !st && t < c->plan->tensors + c->plan->n; t++) {
        const nb_weight *w = product_of(c, t);
        if (!w) continue;
        bytes += w->cols * w->cols * sizeof(float);
        if (bytes > NB_CALIBRATE_BYTES && t != first) break;
        st = nb_moments_watch(&c->moments, w, err);
    }
    return st ? st : read_windows(c, err);
}

nb_status nb_calibration_feedback(nb_calibration *c, const nb_plan_tensor *t, const nb_feedback **f, nb_error *err) {
    const nb_weight *w = product_of(c, t);
    nb_status st = NB_OK;
    *f = NULL;
    if (!w) return NB_OK;
    if (w == c->of) {
        *f = &c->feedback;
        return NB_OK;
    }
    nb_feedback_free(&c->feedback);
    c->of = NULL;
    nb_moment *m = nb_moments_find(&c->moments, w);
    if (!m || !m->sum) {
        st = gather(c, t, err);
        m = nb_moments_find(&c->moments, w);
    }
    if (st || !m->tokens) return st; /* a matrix that no product reads has no inputs */
    float *sum = m->sum;
    m->sum = NULL; /* becomes the factors */
    st = nb_feedback_make(&c->feedback, sum, m->n, DAMPING, c->o.team, err);
    if (st) return nb_context(err, st, "tensor '%s'", t->name);
    *f = &c->feedback;
    c->of = w;
    return NB_OK;
}

/* ---- divergence ---- */

static int keep_logits(void *user, size_t position, const float *logits) {
    nb_calibration *c = user;
    size_t vocab = nb_model_hparams(c->model)->vocab_size, at = c->n_probed / c->o.reading->window * c->o.reading->window + position;
    memcpy(c->exact + at * vocab, logits, vocab * sizeof *logits);
    c->n_probed++;
    return 0;
}

static int add_divergence(void *user, size_t position, const float *logits) {
    nb_calibration *c = user;
    size_t vocab = nb_model_hparams(c->model)->vocab_size, at = c->n_probed / c->o.reading->window * c->o.reading->window + position;
    const float *exact = c->exact + at * vocab;
    c->divergence += nb_divergence(exact, nb_log_sum_exp(exact, vocab), logits, nb_log_sum_exp(logits, vocab), vocab);
    c->n_probed++;
    return 0;
}

/* The model reads the tokens for divergences, whole windows but for the last. */
static nb_status probe(nb_calibration *c, size_t n, nb_logits_fn each, nb_error *err) {
    nb_status st = NB_OK;
    c->n_probed = 0;
    for (size_t at = 0; !st && at < n; at += c->o.reading->window) {
        nb_session_rewind(c->probe, 0);
        st = nb_session_append(c->probe, c->o.reading->ids.data + at, nb_min_size(c->o.reading->window, n - at), each, c, err);
    }
    return st;
}

static nb_status probe_exact(nb_calibration *c, size_t n, nb_error *err) {
    size_t vocab = nb_model_hparams(c->model)->vocab_size, bytes = n * vocab * sizeof *c->exact;
    const nb_session_options o = {.n_ctx = (uint32_t)c->o.reading->window, .n_chunk = CHUNK, .n_logits = CHUNK, .team = c->o.team};
    c->exact = nb_alloc(bytes);
    if (!c->exact) return nb_oom(err, "the exact model's logits", bytes);
    nb_status st = nb_session_create(&c->probe, c->model, &o, err);
    return st ? st : probe(c, n, keep_logits, err);
}

nb_status nb_calibration_divergence(nb_calibration *c, const nb_plan_tensor *t, const nb_weight *w, double *divergence,
                                    nb_error *err) {
    size_t most = PROBE_LOGITS / nb_model_hparams(c->model)->vocab_size;
    size_t n = nb_min_size(c->o.reading->ids.size, nb_min_size(PROBE_MOST, nb_max_size(PROBE_LEAST, most)));
    nb_status st = c->probe ? NB_OK : probe_exact(c, n, err);
    if (st) return st;
    c->divergence = 0;
    nb_weight exact = nb_model_exchange(c->model, t->id, t->layer, w);
    st = probe(c, n, add_divergence, err);
    nb_model_exchange(c->model, t->id, t->layer, &exact);
    *divergence = c->divergence / (double)n;
    if (!st && !nb_progress_step(c->o.progress, "measuring", (uint64_t)(t - c->plan->tensors) + 1, c->plan->n))
        st = nb_fail(err, NB_CANCELLED, "the conversion was cancelled");
    return st;
}

static nb_status prepare(nb_calibration *c, nb_error *err) {
    size_t widest = 0;
    for (size_t i = 0; i < c->plan->n; i++)
        if (product_of(c, &c->plan->tensors[i])) widest = nb_max_size(widest, (size_t)c->plan->tensors[i].spec.cols);
    c->observer = (nb_observer){.fn = nb_moments_observe, .user = &c->moments};
    const nb_session_options o = {.n_ctx = (uint32_t)c->o.reading->window, .n_chunk = CHUNK, .n_logits = CHUNK, .team = c->o.team,
                                  .observer = &c->observer};
    nb_status st = nb_session_create(&c->session, c->model, &o, err);
    return st ? st : nb_moments_create(&c->moments, nb_model_kernels(c->model), c->o.team, CHUNK, widest, err);
}

nb_status nb_calibration_create(nb_calibration **c, nb_model *model, const nb_plan *plan,
                                const nb_calibrate_options *o, nb_error *err) {
    *c = nb_calloc(1, sizeof **c);
    if (!*c) return nb_oom(err, "a calibration", sizeof **c);
    (*c)->model = model;
    (*c)->plan = plan;
    (*c)->o = *o;
    nb_status st = prepare(*c, err);
    if (st) {
        nb_calibration_free(*c);
        *c = NULL;
    }
    return st;
}

void nb_calibration_free(nb_calibration *c) {
    if (!c) return;
    nb_session_free(c->session);
    nb_session_free(c->probe);
    nb_free(c->exact);
    nb_moments_free(&c->moments);
    nb_feedback_free(&c->feedback);
    nb_free(c);
}
