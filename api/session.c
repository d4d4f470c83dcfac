#include "api/api.h"
#include "base/mem.h"
#include "core/batch.h"
#include "core/lookup.h"
#include "core/saved.h"

static nb_status kv_type(nibble_kv given, nb_kv_type *type, nb_error *err) {
    static const nb_kv_type types[] = {
        [NIBBLE_KV_F32] = NB_KV_F32, [NIBBLE_KV_F16] = NB_KV_F16, [NIBBLE_KV_Q8] = NB_KV_Q8};
    if ((unsigned)given >= sizeof types / sizeof *types)
        return nb_fail(err, NB_ARGUMENT, "%d is no type of the KV cache", (int)given);
    *type = types[given];
    return NB_OK;
}

nb_status api_session_options(const nibble_model *model, const nibble_session_options *given, nb_session_options *how,
                              nb_error *err) {
    nibble_session_options o = NIBBLE_SESSION_OPTIONS_INIT;
    nb_status st = read_options(&o, sizeof o, given, err);
    uint32_t threads = o.threads ? o.threads : model->threads;
    *how = (nb_session_options){.n_ctx = o.context, .n_logits = 1 + (uint32_t)nb_min_size(o.ahead, NB_LOOKUP_MAX)};
    if (!st && threads > NB_TEAM_MAX)
        st = nb_fail(err, NB_ARGUMENT, "%u threads were asked for; at most %d are possible", threads, NB_TEAM_MAX);
    if (!st && o.overflow != NIBBLE_OVERFLOW_STOP && o.overflow != NIBBLE_OVERFLOW_SLIDE)
        st = nb_fail(err, NB_ARGUMENT, "%d is no way of overflow", (int)o.overflow);
    how->overflow = o.overflow == NIBBLE_OVERFLOW_SLIDE ? NB_OVERFLOW_SLIDE : NB_OVERFLOW_STOP;
    if (!st) st = kv_type(o.keys, &how->kv.keys, err);
    if (!st) st = kv_type(o.values, &how->kv.values, err);
    if (!st) st = nb_team_create(&how->team, (int)threads, err);
    return st;
}

nibble_status nibble_session_create(nibble_session **session, const nibble_model *model,
                                    const nibble_session_options *options, nibble_error *error) {
    nb_error *err = err_of(error);
    nb_session_options how = {0};
    *session = NULL;
    nibble_session *s = nb_calloc(1, sizeof *s);
    if (!s) return status_of(nb_oom(err, "a session", sizeof *s));
    s->model = model;
    nb_status st = api_session_options(model, options, &how, err);
    s->team = how.team;
    if (!st) st = nb_session_create(&s->s, model->m, &how, err);
    if (st) nibble_session_free(s);
    else *session = s;
    return status_of(st);
}

void nibble_session_free(nibble_session *session) {
    if (!session) return;
    nb_row_state_free(&session->state);
    nb_session_free(session->s);
    nb_team_free(session->team);
    nb_free(session);
}

/* The text is not what it was. */
static void forget_state(nibble_session *s) {
    nb_row_state_free(&s->state);
    s->state = (nb_row_state){0};
}

nibble_status nibble_session_append(nibble_session *session, const int32_t *ids, size_t n, nibble_logits_fn each,
                                    void *user, nibble_error *error) {
    uint32_t before = nb_session_length(session->s);
    nb_status st = need(ids, n, "tokens to append", err_of(error));
    if (!st) st = nb_session_append(session->s, ids, n, each, user, err_of(error));
    if (nb_session_length(session->s) == before) return status_of(st);
    session->has_logits = !each && !st;
    forget_state(session);
    return status_of(st);
}

const float *nibble_session_logits(const nibble_session *session) {
    return session->has_logits ? nb_session_logits(session->s) : NULL;
}
uint32_t nibble_session_length(const nibble_session *session) { return nb_session_length(session->s); }
uint32_t nibble_session_room(const nibble_session *session) { return nb_session_room(session->s); }
const int32_t *nibble_session_ids(const nibble_session *session) {
    return nb_batch_ids(nb_session_batch(session->s), 0);
}

uint32_t nibble_session_rewind(nibble_session *session, uint32_t length) {
    if (length >= nb_session_length(session->s)) return nb_session_length(session->s);
    session->has_logits = false;
    forget_state(session);
    return nb_session_rewind(session->s, length);
}

nibble_status nibble_session_save(nibble_session *session, const char *path, nibble_error *error) {
    nb_saved saved = {.state = session->state};
    nb_status st = need(path, 1, "the saved session's path", err_of(error));
    if (!st) st = nb_ids_append(&saved.ids, nibble_session_ids(session), nibble_session_length(session), err_of(error));
    if (!st) st = nb_session_save(session->s, &saved, path, err_of(error));
    nb_ids_free(&saved.ids);
    return status_of(st);
}

nibble_status nibble_session_restore(nibble_session *session, const char *path, nibble_error *error) {
    nb_saved saved = {0};
    nb_status st = need(path, 1, "the saved session's path", err_of(error));
    if (!st) st = nb_session_load(session->s, path, &saved, err_of(error));
    else nb_session_rewind(session->s, 0);
    session->has_logits = !st;
    forget_state(session);
    if (!st) {
        session->state = saved.state;
        saved.state = (nb_row_state){0};
    }
    nb_saved_free(&saved);
    return status_of(st);
}

/* ---- sampling */

nb_status api_sampling(const nibble_sampling *given, nb_sampler_params *p, nb_logit_bias **bias, nb_error *err) {
    nibble_sampling o = NIBBLE_SAMPLING_INIT;
    *bias = NULL;
    nb_status st = read_options(&o, sizeof o, given, err);
    if (!st) st = need(o.bias, o.n_bias, "biases", err);
    if (!st && o.n_bias) {
        *bias = nb_calloc(o.n_bias, sizeof **bias);
        if (!*bias) return nb_oom(err, "biases", o.n_bias * sizeof **bias);
        for (size_t i = 0; i < o.n_bias; i++) (*bias)[i] = (nb_logit_bias){.id = o.bias[i].id, .bias = o.bias[i].bias};
    }
    *p = (nb_sampler_params){.temperature = o.temperature,
                             .top_k = o.top_k,
                             .typical_p = o.typical_p,
                             .top_p = o.top_p,
                             .min_p = o.min_p,
                             .min_keep = o.min_keep,
                             .repeat_penalty = o.repeat_penalty,
                             .frequency_penalty = o.frequency_penalty,
                             .presence_penalty = o.presence_penalty,
                             .repeat_last_n = o.repeat_last_n,
                             .seed = o.seed,
                             .bias = *bias,
                             .n_bias = o.n_bias};
    return st;
}

struct nibble_sampler {
    nb_sampler *s;
    nb_sampler_room *room;
};

nibble_status nibble_sampler_create(nibble_sampler **sampler, const nibble_model *model,
                                    const nibble_sampling *sampling, uint64_t stream, nibble_error *error) {
    nb_error *err = err_of(error);
    nb_sampler_params p;
    nb_logit_bias *bias;
    *sampler = NULL;
    nibble_sampler *s = nb_calloc(1, sizeof *s);
    if (!s) return status_of(nb_oom(err, "a sampler", sizeof *s));
    nb_status st = api_sampling(sampling, &p, &bias, err);
    if (!st) st = nb_sampler_create(&s->s, &p, stream, nibble_model_vocab_size(model), &model->k, err);
    if (!st) st = nb_sampler_room_create(&s->room, nibble_model_vocab_size(model), err);
    nb_free(bias);
    if (st) nibble_sampler_free(s);
    else *sampler = s;
    return status_of(st);
}

void nibble_sampler_free(nibble_sampler *sampler) {
    if (!sampler) return;
    nb_sampler_room_free(sampler->room);
    nb_sampler_free(sampler->s);
    nb_free(sampler);
}

int32_t nibble_sampler_next(nibble_sampler *sampler, const float *logits) {
    return logits ? nb_sampler_next(sampler->s, sampler->room, logits) : -1;
}
void nibble_sampler_accept(nibble_sampler *sampler, int32_t id) { nb_sampler_accept(sampler->s, id); }
