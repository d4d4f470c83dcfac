/* nibble perplexity: how well a model predicts a text, and how far it is from another one. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/dmath.h"
#include "base/file.h"
#include "base/mem.h"
#include "cli/common.h"

enum { PIECE = 64 }; /* tokens per append: the reference's logits of one piece are kept */

typedef struct measure {
    const options *o;
    engine e, reference; /* reference.model NULL: none. Its team is e's */
    nb_session *session, *reference_session;
    nb_ids ids;
    size_t n_vocab, ctx, stride;
    /* per scored token, in nats */
    double *ce, *reference_ce, *kl;
    size_t n_scored, n_agree; /* agree: both models' first choices are the same token */
    /* the reference's logits of the piece at work [PIECE][n_vocab] */
    float *kept;
    size_t piece_begin; /* token index */
    size_t window_begin;
    bool not_finite;
} measure;

typedef struct summary {
    double mean, stderr_mean; /* of the values, and how far the mean may be off */
} summary;

static double log_sum_exp(const float *x, size_t n) {
    float max = x[0];
    for (size_t i = 1; i < n; i++) {
        if (x[i] > max) max = x[i];
    }
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += nb_exp((double)x[i] - (double)max);
    return (double)max + nb_log(sum);
}

static size_t first_choice(const float *x, size_t n) {
    size_t best = 0;
    for (size_t i = 1; i < n; i++) {
        if (x[i] > x[best]) best = i;
    }
    return best;
}

/* KL(P || Q) = sum p (log p - log q), from logits and their log-sum-exps. */
static double divergence(const float *p, double p_lse, const float *q, double q_lse, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        double log_p = (double)p[i] - p_lse, weight = nb_exp(log_p);
        if (weight > 0) sum += weight * (log_p - ((double)q[i] - q_lse));
    }
    return sum > 0 ? sum : 0; /* rounding may leave -1e-17 */
}

static int keep_logits(void *user, size_t position, const float *logits) {
    measure *m = user;
    float *to = m->kept + (m->window_begin + position - m->piece_begin) * m->n_vocab;
    for (size_t i = 0; i < m->n_vocab; i++) to[i] = logits[i];
    return interrupted();
}

static int score(void *user, size_t position, const float *logits) {
    measure *m = user;
    size_t at = m->window_begin + position, target = (size_t)m->ids.data[at + 1];
    double lse = log_sum_exp(logits, m->n_vocab), ce = lse - (double)logits[target];
    m->not_finite |= !isfinite(ce);
    if (m->reference.model) {
        const float *other = m->kept + (at - m->piece_begin) * m->n_vocab;
        double other_lse = log_sum_exp(other, m->n_vocab);
        m->reference_ce[m->n_scored] = other_lse - (double)other[target];
        m->kl[m->n_scored] = divergence(other, other_lse, logits, lse, m->n_vocab);
        m->n_agree += first_choice(other, m->n_vocab) == first_choice(logits, m->n_vocab);
        m->not_finite |= !isfinite(m->reference_ce[m->n_scored]) || !isfinite(m->kl[m->n_scored]);
    }
    m->ce[m->n_scored++] = ce;
    return interrupted() || m->not_finite;
}

/* Read tokens [begin, end) from an empty context; those in [from, end) are scored. */
static nb_status score_window(measure *m, size_t begin, size_t from, size_t end, nb_error *err) {
    nb_session *const sessions[] = {m->session, m->reference_session};
    m->window_begin = begin;
    for (size_t i = 0; i < 2; i++) {
        if (!sessions[i]) continue;
        nb_session_rewind(sessions[i], 0);
        /* The token before the first scored one predicts it; nobody asks for the logits of the earlier ones. */
        nb_status st = feed(sessions[i], m->ids.data + begin, from - 1 - begin, PIECE, err);
        if (st) return st;
    }
    for (size_t at = from - 1; at < end - 1; at += PIECE) {
        size_t n = end - 1 - at < PIECE ? end - 1 - at : PIECE;
        m->piece_begin = at;
        nb_status st = NB_OK;
        if (m->reference_session)
            st = nb_session_append(m->reference_session, m->ids.data + at, n, keep_logits, m, err);
        if (!st) st = nb_session_append(m->session, m->ids.data + at, n, score, m, err);
        if (m->not_finite)
            return nb_fail(err, NB_FORMAT, "the logits at token %zu are not finite",
                           begin + nb_session_length(m->session));
        if (st) return st;
    }
    return NB_OK;
}

static nb_status score_all(measure *m, nb_error *err) {
    progress_bar bar;
    const nb_progress *progress = progress_begin(&bar);
    bar.counts = true;
    nb_status st = NB_OK;
    size_t n = m->ids.size, seen = 0;
    for (size_t begin = 0; seen < n && !st; begin += m->stride) {
        size_t end = n - begin < m->ctx ? n : begin + m->ctx;
        size_t from = seen > begin ? seen : begin + 1;
        if (from < end) st = score_window(m, begin, from, end, err);
        seen = end;
        if (!st && !nb_progress_step(progress, "tokens", seen, n)) st = nb_fail(err, NB_CANCELLED, "interrupted");
    }
    progress_end(&bar);
    return st;
}

static nb_status read_tokens(measure *m, nb_error *err) {
    if (m->o->tokens_file) return ids_from_options(NULL, m->o->tokens_file, &m->ids, err);
    const nb_tokenizer *t = need_tokenizer(m->e.model, m->o->args[0], err);
    if (!t) return NB_MISSING;
    nb_buf text = {0};
    nb_status st = nb_read_file(m->o->text_file, INPUT_LIMIT, &text, err);
    if (!st) st = nb_tokenize(t, nb_buf_str(&text), text.size, &m->ids, err);
    nb_buf_free(&text);
    return st;
}

static nb_status check_tokens(const measure *m, nb_error *err) {
    if (m->ids.size < 2)
        return nb_fail(err, NB_ARGUMENT, "the text has %zu tokens; it takes two to predict one", m->ids.size);
    for (size_t i = 0; i < m->ids.size; i++) {
        if ((size_t)m->ids.data[i] < m->n_vocab) continue;
        return nb_fail(err, NB_ARGUMENT, "token %zu has id %" PRId32 ", but the vocabulary has %zu", i, m->ids.data[i],
                       m->n_vocab);
    }
    return NB_OK;
}

static nb_status open_reference(measure *m, nb_error *err) {
    m->reference.team = m->e.team;
    nb_status st = engine_open(&m->reference, m->o, m->o->reference, err);
    if (st) return st;
    size_t n_vocab = nb_model_hparams(m->reference.model)->vocab_size;
    if (n_vocab != m->n_vocab) {
        return nb_fail(err, NB_ARGUMENT,
                       "'%s' has a vocabulary of %zu tokens and '%s' one of %zu: they cannot be compared",
                       m->o->args[0], m->n_vocab, m->o->reference, n_vocab);
    }
    size_t kept = sizeof *m->kept * PIECE * n_vocab, values = sizeof *m->kl * m->ids.size;
    m->kept = nb_alloc(kept);
    m->kl = nb_alloc(values);
    m->reference_ce = nb_alloc(values);
    if (!m->kept || !m->kl || !m->reference_ce) return nb_oom(err, "the reference's logits", kept + 2 * values);
    return session_open(&m->reference_session, &m->reference, m->o, nb_session_room(m->session), err);
}

static nb_status prepare(measure *m, nb_error *err) {
    const options *o = m->o;
    nb_status st = engine_open(&m->e, o, o->args[0], err);
    if (st) return st;
    const nb_hparams *h = nb_model_hparams(m->e.model);
    m->n_vocab = h->vocab_size;
    m->ctx = o->ctx ? o->ctx : h->n_ctx;
    m->stride = o->stride ? o->stride : m->ctx;
    if (m->stride > m->ctx)
        return nb_fail(err, NB_ARGUMENT, "--stride %zu is larger than the window of %zu: tokens would be left out",
                       m->stride, m->ctx);
    st = read_tokens(m, err);
    if (!st) st = check_tokens(m, err);
    if (!st && !(m->ce = nb_alloc(sizeof *m->ce * m->ids.size)))
        st = nb_oom(err, "cross-entropies", sizeof *m->ce * m->ids.size);
    if (!st) st = session_open(&m->session, &m->e, o, m->ids.size < m->ctx ? m->ids.size : m->ctx, err);
    if (!st && o->reference) st = open_reference(m, err);
    return st;
}

static summary summarise(const double *x, size_t n) {
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++) sum += x[i];
    double mean = sum / (double)n;
    for (size_t i = 0; i < n; i++) squares += (x[i] - mean) * (x[i] - mean);
    return (summary){mean, n > 1 ? sqrt(squares / (double)(n - 1) / (double)n) : 0};
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Everything that is reported; what compares is only there with a reference. */
typedef struct results {
    size_t n;
    bool compared;
    summary ce, reference, kl;
    double perplexity, kl_p99, kl_max, agreement;
} results;

static results evaluate(measure *m) {
    size_t n = m->n_scored;
    results r = {.n = n, .compared = m->reference.model != NULL, .ce = summarise(m->ce, n)};
    r.perplexity = nb_exp(r.ce.mean);
    if (!r.compared) return r;
    r.reference = summarise(m->reference_ce, n);
    r.kl = summarise(m->kl, n);
    qsort(m->kl, n, sizeof *m->kl, by_value);
    r.kl_max = m->kl[n - 1];
    r.kl_p99 = m->kl[(n * 99 + 99) / 100 - 1]; /* the smallest value that 99 % do not exceed */
    r.agreement = (double)m->n_agree / (double)n;
    return r;
}

static int print_as_json(const results *r) {
    const struct {
        const char *name;
        double value;
        bool compares;
    } values[] = {
        {"cross_entropy", r->ce.mean, false},
        {"cross_entropy_stderr", r->ce.stderr_mean, false},
        {"perplexity", r->perplexity, false},
        {"perplexity_stderr", r->perplexity * r->ce.stderr_mean, false},
        {"reference_cross_entropy", r->reference.mean, true},
        {"kl_mean", r->kl.mean, true},
        {"kl_max", r->kl_max, true},
        {"kl_p99", r->kl_p99, true},
        {"top1_agreement", r->agreement, true},
    };
    json_t *out = json_pack("{sI}", "tokens", (json_int_t)r->n);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        bool known = !values[i].compares || r->compared;
        json_object_set_new(out, values[i].name, known ? json_number(values[i].value) : json_null());
    }
    return print_json(out);
}

static int print_readable(const results *r) {
    printf("tokens           %zu\n", r->n);
    printf("cross-entropy    %.6f +- %.6f nats\n", r->ce.mean, r->ce.stderr_mean);
    printf("perplexity       %.4f +- %.4f\n", r->perplexity, r->perplexity * r->ce.stderr_mean);
    if (!r->compared) return EXIT_SUCCESS;
    printf("of the reference %.6f nats, perplexity %.4f\n", r->reference.mean, nb_exp(r->reference.mean));
    printf("KL divergence    %.6f +- %.6f nats, 99 %% at most %.6f, largest %.6f\n", r->kl.mean, r->kl.stderr_mean,
           r->kl_p99, r->kl_max);
    printf("top-1 agreement  %.2f %%\n", 100 * r->agreement);
    return EXIT_SUCCESS;
}

int cmd_perplexity(const options *o) {
    if (!o->text_file == !o->tokens_file) return usage_error("perplexity: give either --text or --tokens-file");
    if (o->ctx == 1) return usage_error("perplexity: --ctx must be at least 2: a window of one token predicts nothing");
    if (o->ctx && o->stride > o->ctx)
        return usage_error("perplexity: --stride must not be larger than --ctx: tokens would be left out");
    nb_error err = {0};
    measure m = {.o = o};
    nb_status st = prepare(&m, &err);
    if (!st) st = score_all(&m, &err);
    int code;
    if (st) {
        code = fail(&err);
    } else {
        results r = evaluate(&m);
        code = o->json ? print_as_json(&r) : print_readable(&r);
    }
    nb_session_free(m.reference_session);
    nb_session_free(m.session);
    m.reference.team = NULL; /* shared: freed with the other engine */
    engine_close(&m.reference);
    engine_close(&m.e);
    nb_free(m.kept);
    nb_free(m.ce);
    nb_free(m.reference_ce);
    nb_free(m.kl);
    nb_ids_free(&m.ids);
    return code;
}
