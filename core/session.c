#include "core/session.h"

#include "base/checked.h"
#include "base/mem.h"
#include "core/forward.h"
#include "core/kv.h"

struct nb_session {
    const nb_model *model;
    nb_kv kv;
    nb_forward forward;
    uint32_t n_ctx, n_chunk, length;
};

enum { CHUNK_DEFAULT = 256 };

static nb_status plan_context(nb_session *s, const nb_session_options *o, nb_error *err) {
    const nb_hparams *h = nb_model_hparams(s->model);
    s->n_ctx = o->n_ctx ? o->n_ctx : h->n_ctx;
    if (h->pos == NB_POS_LEARNED && s->n_ctx > h->n_ctx)
        return nb_fail(err, NB_ARGUMENT, "a context of %u tokens was asked for, but the model has learned positions for %u",
                       s->n_ctx, h->n_ctx);
    s->n_chunk = o->n_chunk ? o->n_chunk : CHUNK_DEFAULT;
    if (s->n_chunk > NB_SESSION_CHUNK_MAX)
        return nb_fail(err, NB_ARGUMENT, "a chunk of %u tokens was asked for; at most %d are possible", s->n_chunk,
                       NB_SESSION_CHUNK_MAX);
    if (s->n_chunk > s->n_ctx) s->n_chunk = s->n_ctx;
    return NB_OK;
}

nb_status nb_session_create(nb_session **session, const nb_model *model, const nb_session_options *options, nb_error *err) {
    static const nb_session_options none = {0};
    if (!options) options = &none;
    *session = NULL;
    nb_session *s = nb_calloc(1, sizeof *s);
    if (!s) return nb_oom(err, "a session", sizeof *s);
    s->model = model;
    nb_status st = plan_context(s, options, err);
    if (!st) st = nb_kv_create(&s->kv, nb_model_hparams(model), s->n_ctx, options->kv, err);
    if (!st) st = nb_forward_create(&s->forward, model, &s->kv, s->n_chunk, options->team, err);
    if (st) nb_session_free(s);
    else *session = s;
    return st;
}

void nb_session_free(nb_session *s) {
    if (!s) return;
    nb_forward_free(&s->forward);
    nb_kv_free(&s->kv);
    nb_free(s);
}

static nb_status check_append(const nb_session *s, const int32_t *ids, size_t n, nb_error *err) {
    uint32_t vocab = nb_model_hparams(s->model)->vocab_size;
    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || (uint32_t)ids[i] >= vocab)
            return nb_fail(err, NB_ARGUMENT, "token %zu: expected an id from 0 to %u, found %d", i, vocab - 1, ids[i]);
    if (n > s->n_ctx - s->length)
        return nb_fail(err, NB_LIMIT, "%zu tokens do not fit: the context has room for %u, of which %u are taken", n, s->n_ctx,
                       s->length);
    return NB_OK;
}

static nb_status tell_logits(nb_session *s, size_t n, nb_logits_fn each, void *user, nb_error *err) {
    for (size_t first = 0; first < n; first += NB_LOGIT_ROWS) {
        size_t rows = nb_min_size(NB_LOGIT_ROWS, n - first);
        nb_forward_logits(&s->forward, first, rows);
        for (size_t i = 0; i < rows; i++)
            if (each(user, s->length + first + i, s->forward.logits + i * s->forward.stride_vocab) != 0)
                return nb_fail(err, NB_CANCELLED, "cancelled at position %zu", s->length + first + i);
    }
    return NB_OK;
}

nb_status nb_session_append(nb_session *s, const int32_t *ids, size_t n, nb_logits_fn each, void *user, nb_error *err) {
    nb_status st = check_append(s, ids, n, err);
    for (size_t at = 0; !st && at < n; at += s->n_chunk) {
        size_t chunk = nb_min_size(s->n_chunk, n - at);
        nb_forward_chunk(&s->forward, ids + at, chunk, s->length);
        if (each) st = tell_logits(s, chunk, each, user, err);
        else if (at + chunk == n) nb_forward_logits(&s->forward, chunk - 1, 1);
        s->length += (uint32_t)chunk;
    }
    return st;
}

const float *nb_session_logits(const nb_session *s) { return s->forward.logits; }
uint32_t nb_session_length(const nb_session *s) { return s->length; }
uint32_t nb_session_room(const nb_session *s) { return s->n_ctx; }
const nb_model *nb_session_model(const nb_session *s) { return s->model; }
void nb_session_rewind(nb_session *s, uint32_t length) { s->length = length < s->length ? length : s->length; }
