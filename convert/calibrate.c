#include "convert/calibrate.h"

#include <string.h>

#include "base/checked.h"
#include "base/mem.h"
#include "convert/moments.h"
#include "core/score.h"
#include "quant/drift.h"

/* Of the diagonal's mean: what is added to it, so that inputs which the text hardly shows do not count as nothing. */
static const double DAMPING = 0.01;

enum { CHUNK = 256 };

/* Tokens of which divergences are measured, and how many logits are kept for that but for the least number of
 * tokens. */
enum { PROBE_LEAST = 256, PROBE_MOST = 2048, PROBE_LOGITS = 1 << 24 };

/* A matrix that has been quantized, or the exact one while that is in the model. */
typedef struct kept {
    const nb_plan_tensor *t;
    nb_weight w;
    uint8_t *panels; /* owned */
} kept;

struct nb_calibration {
    nb_model *model;
    const nb_plan *plan;
    nb_calibrate_options o;
    nb_observer observer, exact_observer;
    nb_moments moments;
    nb_session *session, *exact_session; /* the second, of exact inputs, reads beside the first when that drifts */
    nb_inputs inputs;     /* that the moments are of */
    nb_feedback feedback; /* of the matrix asked for last */
    const nb_weight *of;  /* that matrix */
    kept *list;           /* [n_kept], for every tensor of the plan */
    size_t n_kept;
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

/* Quantized matrices and exact ones change places. */
static void exchange_kept(nb_calibration *c) {
    for (size_t i = 0; i < c->n_kept; i++)
        c->list[i].w = nb_model_exchange(c->model, c->list[i].t->id, c->list[i].t->layer, &c->list[i].w);
}

/* One chunk; first by the exact model where inputs drift. Logits are computed only for the head's sake. */
static nb_status read_chunk(nb_calibration *c, const int32_t *ids, size_t n, bool drift, nb_error *err) {
    nb_logits_fn each = nb_moments_find(&c->moments, nb_model_head(c->model)) ? ignore_logits : NULL;
    if (!drift) return nb_session_append(c->session, ids, n, each, NULL, err);
    nb_status st = nb_session_append(c->exact_session, ids, n, each, NULL, err);
    if (st) return st;
    exchange_kept(c);
    st = nb_session_append(c->session, ids, n, each, NULL, err);
    exchange_kept(c);
    return st;
}

/* The model reads all windows while matrices are watched. */
static nb_status read_windows(nb_calibration *c, bool drift, nb_error *err) {
    const nb_ids *ids = &c->o.reading->ids;
    nb_status st = NB_OK;
    for (size_t at = 0; !st && at < ids->size; at += c->o.reading->window) {
        size_t end = nb_min_size(at + c->o.reading->window, ids->size);
        nb_session_rewind(c->session, 0);
        if (drift) nb_session_rewind(c->exact_session, 0);
        for (size_t i = at; !st && i < end; i += CHUNK)
            st = read_chunk(c, ids->data + i, nb_min_size(CHUNK, end - i), drift, err);
        if (!st && !nb_progress_step(c->o.progress, "calibrating", "tokens", end, ids->size))
            st = nb_fail(err, NB_CANCELLED, "the conversion was cancelled");
    }
    return st;
}

/* The matrix that a product reads and nothing else does; NULL: there is none. */
static const nb_weight *product_of(const nb_calibration *c, const nb_plan_tensor *t) {
    bool matrix = t->spec.kind == NB_KIND_MATRIX || t->id == NB_SPEC_head;
    return matrix && nb_types[t->type].scaled ? nb_model_weight(c->model, t->id, t->layer) : NULL;
}

/* For how many matrices the text is read at a time in sequence: a multiplication and an addition per weight and token,
 * of two models. */
static size_t matrices_at_a_time(const nb_calibration *c) {
    double weights = 0;
    size_t n = 0;
    for (const nb_plan_tensor *t = c->plan->tensors; t < c->plan->tensors + c->plan->n; t++) {
        if (!product_of(c, t)) continue;
        weights += (double)t->spec.rows * (double)t->spec.cols;
        n++;
    }
    double readings = NB_CALIBRATE_WORK / (4 * weights * (double)c->o.reading->ids.size);
    return readings >= (double)n ? 1 : readings < 1 ? n : nb_div_up(n, (size_t)readings);
}

/* Moments for `first` and as many matrices behind it as there is memory for, or as go at a time in sequence. */
static nb_status gather(nb_calibration *c, const nb_plan_tensor *first, nb_inputs inputs, nb_error *err) {
    bool drift = inputs == NB_INPUTS_IN_SEQUENCE && c->n_kept;
    size_t most = inputs == NB_INPUTS_IN_SEQUENCE ? matrices_at_a_time(c) : SIZE_MAX, n_layer = 0;
    uint64_t bytes = 0;
    nb_status st = NB_OK;
    nb_moments_clear(&c->moments);
    for (const nb_plan_tensor *t = first; !st && c->moments.size < most && t < c->plan->tensors + c->plan->n; t++) {
        const nb_weight *w = product_of(c, t);
        if (!w) continue;
        bytes += w->cols * (w->cols + (drift ? w->cols + CHUNK : 0)) * sizeof(float);
        if (bytes > NB_CALIBRATE_BYTES && t != first) break;
        st = nb_moments_watch(&c->moments, w, drift, err);
        n_layer = t->id == NB_SPEC_head ? nb_model_hparams(c->model)->n_layer : nb_max_size(n_layer, t->layer + 1);
    }
    c->observer.n_layer = c->exact_observer.n_layer = (uint32_t)n_layer;
    c->inputs = inputs;
    return st ? st : read_windows(c, drift, err);
}

/* Of a drift that n inputs explain by T tokens, n/T is by chance. */
static double believed(const nb_moment *m) {
    double share = 1 - (double)m->n / (double)m->tokens;
    return share > 0 ? share : 0;
}

nb_status nb_calibration_feedback(nb_calibration *c, const nb_plan_tensor *t, nb_inputs inputs, const nb_feedback **f,
                                  nb_error *err) {
    const nb_weight *w = product_of(c, t);
    nb_status st = NB_OK;
    *f = NULL;
    if (!w) return NB_OK;
    if (w == c->of && c->inputs == inputs) {
        *f = &c->feedback;
        return NB_OK;
    }
    nb_feedback_free(&c->feedback);
    c->of = NULL;
    nb_moment *m = nb_moments_find(&c->moments, w);
    if (!m || !m->sum || c->inputs != inputs) {
        st = gather(c, t, inputs, err);
        m = nb_moments_find(&c->moments, w);
    }
    if (st || !m->tokens) return st; /* a matrix that no product reads has no inputs */
    float *sum = m->sum, *drift = m->drift;
    m->sum = m->drift = NULL; /* become the factors */
    st = nb_feedback_make(&c->feedback, sum, m->n, DAMPING, c->o.team, err);
    if (st) {
        nb_free(drift);
        return nb_context(err, st, "tensor '%s'", t->name);
    }
    if (drift) nb_feedback_set_drift(&c->feedback, drift, believed(m));
    *f = &c->feedback;
    c->of = w;
    return NB_OK;
}

nb_status nb_calibration_keep(nb_calibration *c, const nb_plan_tensor *t, const int8_t codebook[NB_CODEBOOK_SIZE],
                              uint8_t **panels, nb_error *err) {
    uint64_t panel_bytes = 0, bytes = 0;
    if (!nb_panel_bytes(t->type, t->spec.cols, &panel_bytes) ||
        !nb_panels_bytes(t->type, t->spec.rows, t->spec.cols, &bytes) || bytes > SIZE_MAX)
        return nb_fail(err, NB_LIMIT, "tensor '%s' is too large", t->name);
    *panels = nb_alloc((size_t)bytes);
    if (!*panels) return nb_oom(err, "a quantized matrix", (size_t)bytes);
    kept *k = &c->list[c->n_kept++];
    *k = (kept){.t = t, .panels = *panels,
                .w = {.data = *panels, .rows = t->spec.rows, .cols = t->spec.cols, .panel_bytes = panel_bytes,
                      .type = t->type}};
    memcpy(k->w.codebook, codebook, NB_CODEBOOK_SIZE);
    return NB_OK;
}

/* ---- divergence ---- */

static int keep_logits(void *user, size_t position, const float *logits) {
    nb_calibration *c = user;
    size_t vocab = nb_model_hparams(c->model)->vocab_size,
           at = c->n_probed / c->o.reading->window * c->o.reading->window + position;
    memcpy(c->exact + at * vocab, logits, vocab * sizeof *logits);
    c->n_probed++;
    return 0;
}

static int add_divergence(void *user, size_t position, const float *logits) {
    nb_calibration *c = user;
    size_t vocab = nb_model_hparams(c->model)->vocab_size,
           at = c->n_probed / c->o.reading->window * c->o.reading->window + position;
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
        st = nb_session_append(c->probe, c->o.reading->ids.data + at, nb_min_size(c->o.reading->window, n - at), each,
                               c, err);
    }
    return st;
}

static nb_status probe_exact(nb_calibration *c, size_t n, nb_error *err) {
    size_t vocab = nb_model_hparams(c->model)->vocab_size, bytes = n * vocab * sizeof *c->exact;
    const nb_session_options o = {.n_ctx = (uint32_t)c->o.reading->window, .n_chunk = CHUNK, .n_logits = CHUNK,
                                  .team = c->o.team};
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
    if (!st &&
        !nb_progress_step(c->o.progress, "measuring", "tensors", (uint64_t)(t - c->plan->tensors) + 1, c->plan->n))
        st = nb_fail(err, NB_CANCELLED, "the conversion was cancelled");
    return st;
}

static nb_status prepare(nb_calibration *c, nb_error *err) {
    size_t widest = 0;
    for (size_t i = 0; i < c->plan->n; i++)
        if (product_of(c, &c->plan->tensors[i])) widest = nb_max_size(widest, (size_t)c->plan->tensors[i].spec.cols);
    c->list = nb_calloc(c->plan->n, sizeof *c->list);
    if (!c->list) return nb_oom(err, "a list of matrices", c->plan->n * sizeof *c->list);
    c->observer = (nb_observer){.fn = nb_moments_observe, .user = &c->moments};
    c->exact_observer = (nb_observer){.fn = nb_moments_note, .user = &c->moments};
    nb_session_options o = {.n_ctx = (uint32_t)c->o.reading->window, .n_chunk = CHUNK, .n_logits = CHUNK, .team = c->o.team,
                                  .observer = &c->observer};
    nb_status st = nb_session_create(&c->session, c->model, &o, err);
    o.observer = &c->exact_observer;
    if (!st) st = nb_session_create(&c->exact_session, c->model, &o, err);
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
    for (size_t i = 0; i < c->n_kept; i++) nb_free(c->list[i].panels);
    nb_free(c->list);
    nb_session_free(c->session);
    nb_session_free(c->exact_session);
    nb_session_free(c->probe);
    nb_free(c->exact);
    nb_moments_free(&c->moments);
    nb_feedback_free(&c->feedback);
    nb_free(c);
}
