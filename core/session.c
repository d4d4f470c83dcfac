#include "core/session.h"

#include "base/checked.h"
#include "base/mem.h"
#include "core/batch.h"
#include "core/saved.h"

/* A batch of one row. */
struct nb_session {
    nb_batch *batch;
};

nb_status nb_session_create(nb_session **session, const nb_model *model, const nb_session_options *options,
                            nb_error *err) {
    *session = NULL;
    nb_session *s = nb_calloc(1, sizeof *s);
    if (!s) return nb_oom(err, "a session", sizeof *s);
    nb_status st = nb_batch_create(&s->batch, model, 1, options, err);
    if (st) nb_session_free(s);
    else *session = s;
    return st;
}

void nb_session_free(nb_session *s) {
    if (!s) return;
    nb_batch_free(s->batch);
    nb_free(s);
}

/* Logits of the last chunk's n tokens, as many at once as there is room for. */
static nb_status tell_logits(nb_session *s, uint32_t n, nb_logits_fn each, void *user, nb_error *err) {
    uint32_t before = nb_session_length(s) - n, most = nb_batch_logit_rows(s->batch);
    for (uint32_t first = 0; first < n; first += most) {
        uint32_t rows = n - first < most ? n - first : most;
        nb_batch_compute(s->batch, first, rows);
        for (uint32_t i = 0; i < rows; i++)
            if (each(user, before + first + i, nb_batch_logits(s->batch, i)) != 0)
                return nb_fail(err, NB_CANCELLED, "cancelled at position %u", before + first + i);
    }
    return NB_OK;
}

nb_status nb_session_append(nb_session *s, const int32_t *ids, size_t n, nb_logits_fn each, void *user, nb_error *err) {
    nb_status st = nb_batch_check(s->batch, 0, ids, n, err);
    for (size_t at = 0; !st && at < n; at += nb_batch_chunk(s->batch)) {
        uint32_t chunk = (uint32_t)nb_min_size(nb_batch_chunk(s->batch), n - at);
        st = nb_batch_append(s->batch, &(nb_batch_part){.n = chunk, .ids = ids + at}, 1, err);
        if (!st && each) st = tell_logits(s, chunk, each, user, err);
        else if (!st && at + chunk == n) nb_batch_compute(s->batch, chunk - 1, 1);
    }
    return st;
}

const float *nb_session_logits(const nb_session *s) { return nb_batch_logits(s->batch, 0); }
uint32_t nb_session_length(const nb_session *s) { return nb_batch_length(s->batch, 0); }
uint32_t nb_session_room(const nb_session *s) { return nb_batch_room(s->batch); }
nb_batch *nb_session_batch(nb_session *s) { return s->batch; }
const nb_model *nb_session_model(const nb_session *s) { return nb_batch_model(s->batch); }
uint32_t nb_session_rewind(nb_session *s, uint32_t length) { return nb_batch_rewind(s->batch, 0, length); }

nb_status nb_session_save(nb_session *s, const nb_saved *saved, const char *path, nb_error *err) {
    return nb_saved_write(s->batch, 0, saved, path, err);
}

nb_status nb_session_load(nb_session *s, const char *path, nb_saved *saved, nb_error *err) {
    nb_status st = nb_saved_read(s->batch, 0, path, saved, err);
    if (st) return st;
    uint32_t held = nb_session_length(s);
    st = nb_session_append(s, saved->ids.data + held, saved->ids.size - held, NULL, NULL, err);
    if (st) nb_saved_free(saved);
    return st;
}
