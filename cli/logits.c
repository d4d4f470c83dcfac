/* nibble logits: the raw numbers, for comparing with another implementation or machine. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>
#include "base/bytes.h"
#include "base/file.h"
#include "base/mem.h"
#include "cli/common.h"

/* Where logits go: a file, a hash, or both. */
typedef struct sink {
    nb_replace file; /* when to_file */
    bool to_file;
    XXH3_state_t *hash;
    uint8_t *bytes; /* [n * 4], one position, little-endian */
    size_t n;       /* vocabulary */
    nb_error err; /* its status: of a write that failed */
} sink;

static int take_logits(void *user, size_t position, const float *logits) {
    (void)position;
    sink *s = user;
    for (size_t i = 0; i < s->n; i++) nb_put_f32(s->bytes + 4 * i, logits[i]);
    if (s->to_file)
        nb_replace_write(&s->file, s->bytes, 4 * s->n, &s->err);
    else
        XXH3_64bits_update(s->hash, s->bytes, 4 * s->n);
    return s->err.status || interrupted();
}

static nb_status sink_open(sink *s, const options *o, size_t n, nb_error *err) {
    *s = (sink){.to_file = o->output != NULL, .n = n};
    s->bytes = nb_alloc(4 * n);
    s->hash = XXH3_createState();
    if (!s->bytes || !s->hash) return nb_oom(err, "logits", 4 * n);
    XXH3_64bits_reset(s->hash);
    return s->to_file ? nb_replace_begin(&s->file, o->output, true, err) : NB_OK;
}

static nb_status sink_commit(sink *s, nb_error *err) {
    if (s->to_file) return nb_replace_commit(&s->file, err);
    printf("%016" PRIx64 "\n", (uint64_t)XXH3_64bits_digest(s->hash));
    return NB_OK;
}

static void sink_close(sink *s) {
    if (s->to_file) nb_replace_abandon(&s->file);
    XXH3_freeState(s->hash);
    nb_free(s->bytes);
}

static nb_status compute(nb_session *session, const options *o, const nb_ids *ids, sink *s, nb_error *err) {
    nb_status st = NB_OK;
    if (!o->all) {
        st = feed(session, ids->data, ids->size, o->chunk, err);
        if (!st) take_logits(s, ids->size - 1, nb_session_logits(session));
    }
    for (size_t at = 0; o->all && at < ids->size && !st; at += o->chunk) {
        size_t n = ids->size - at < o->chunk ? ids->size - at : o->chunk;
        st = nb_session_append(session, ids->data + at, n, take_logits, s, err);
    }
    if (!s->err.status) return st;
    *err = s->err; /* a write that failed is the reason, not the cancelling that it caused */
    return err->status;
}

int cmd_logits(const options *o) {
    if (!o->tokens == !o->tokens_file) return usage_error("logits: give either --tokens or --tokens-file");
    nb_error err = {0};
    nb_ids ids = {0};
    engine e = {0};
    nb_session *session = NULL;
    sink s = {0};
    nb_status st = ids_from_options(o->tokens, o->tokens_file, &ids, &err);
    if (st && o->tokens) {
        nb_ids_free(&ids);
        return usage_error("logits: %s", err.text);
    }
    if (!st) st = engine_open(&e, o, o->args[0], &err);
    if (!st) st = session_open(&session, &e, o, ids.size, &err);
    if (!st) st = sink_open(&s, o, nb_model_hparams(e.model)->vocab_size, &err);
    if (!st) st = compute(session, o, &ids, &s, &err);
    if (!st) st = sink_commit(&s, &err);
    sink_close(&s);
    nb_session_free(session);
    engine_close(&e);
    nb_ids_free(&ids);
    return st ? fail(&err) : EXIT_SUCCESS;
}
