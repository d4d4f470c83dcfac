#include "core/batch.h"

#include "base/checked.h"
#include "base/mem.h"
#include "core/forward.h"
#include "core/kv.h"

struct nb_batch {
    const nb_model *model;
    nb_kv kv;
    nb_forward forward;
    nb_span *spans; /* [n_rows] of the step */
    uint32_t n_ctx, n_chunk, n_rows, n_logits;
};

enum { CHUNK_DEFAULT = 256 };

static nb_status plan_context(nb_batch *b, const nb_session_options *o, nb_error *err) {
    const nb_hparams *h = nb_model_hparams(b->model);
    b->n_ctx = o->n_ctx ? o->n_ctx : h->n_ctx;
    if (h->pos == NB_POS_LEARNED && b->n_ctx > h->n_ctx)
        return nb_fail(err, NB_ARGUMENT, "a context of %u tokens was asked for, but the model has learned positions for %u",
                       b->n_ctx, h->n_ctx);
    b->n_chunk = o->n_chunk ? o->n_chunk : CHUNK_DEFAULT;
    if (b->n_chunk > NB_SESSION_CHUNK_MAX)
        return nb_fail(err, NB_ARGUMENT, "a chunk of %u tokens was asked for; at most %d are possible", b->n_chunk,
                       NB_SESSION_CHUNK_MAX);
    if ((uint64_t)b->n_ctx * b->n_rows < b->n_chunk) b->n_chunk = b->n_ctx * b->n_rows;
    b->n_chunk = (uint32_t)nb_max_size(b->n_chunk, b->n_rows); /* a token for every row */
    size_t n_logits = o->n_logits ? nb_min_size(o->n_logits, NB_SESSION_CHUNK_MAX) : NB_LOGIT_ROWS;
    b->n_logits = (uint32_t)nb_max_size(n_logits, b->n_rows);
    return NB_OK;
}

static nb_status take_memory(nb_batch *b, const nb_session_options *o, nb_error *err) {
    nb_status st = plan_context(b, o, err);
    nb_kv_plan plan = {.n_texts = b->n_rows, .n_positions = b->n_ctx, .type = o->kv};
    if (!st) st = nb_kv_create(&b->kv, nb_model_hparams(b->model), &plan, err);
    if (st) return st;
    b->spans = nb_calloc(b->n_rows, sizeof *b->spans);
    if (!b->spans) return nb_oom(err, "a batch", b->n_rows * sizeof *b->spans);
    return nb_forward_create(&b->forward, b->model, &b->kv, b->n_chunk, nb_batch_logit_rows(b), o->team, err);
}

nb_status nb_batch_create(nb_batch **batch, const nb_model *model, uint32_t n_rows, const nb_session_options *options,
                          nb_error *err) {
    static const nb_session_options none = {0};
    *batch = NULL;
    if (n_rows < 1 || n_rows > NB_BATCH_ROWS_MAX)
        return nb_fail(err, NB_ARGUMENT, "a batch of %u rows was asked for; possible are 1 to %d", n_rows, NB_BATCH_ROWS_MAX);
    nb_batch *b = nb_calloc(1, sizeof *b);
    if (!b) return nb_oom(err, "a batch", sizeof *b);
    b->model = model;
    b->n_rows = n_rows;
    nb_status st = take_memory(b, options ? options : &none, err);
    if (st) nb_batch_free(b);
    else *batch = b;
    return st;
}

void nb_batch_free(nb_batch *b) {
    if (!b) return;
    nb_forward_free(&b->forward);
    nb_kv_free(&b->kv);
    nb_free(b->spans);
    nb_free(b);
}

nb_status nb_batch_check(const nb_batch *b, uint32_t row, const int32_t *ids, size_t n, nb_error *err) {
    uint32_t vocab = nb_model_hparams(b->model)->vocab_size, length = nb_batch_length(b, row);
    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || (uint32_t)ids[i] >= vocab)
            return nb_fail(err, NB_ARGUMENT, "token %zu: expected an id from 0 to %u, found %d", i, vocab - 1, ids[i]);
    if (n > b->n_ctx - length)
        return nb_fail(err, NB_LIMIT, "%zu tokens do not fit: the context has room for %u, of which %u are taken", n, b->n_ctx,
                       length);
    return NB_OK;
}

nb_status nb_batch_append(nb_batch *b, const nb_batch_part *parts, size_t n_parts, nb_error *err) {
    size_t total = 0;
    nb_status st = NB_OK;
    for (size_t i = 0; !st && i < n_parts; i++) {
        st = nb_batch_check(b, parts[i].row, parts[i].ids, parts[i].n, err);
        total += parts[i].n;
    }
    if (!st && total > b->n_chunk)
        st = nb_fail(err, NB_LIMIT, "%zu tokens were given at once; a chunk has room for %u", total, b->n_chunk);
    if (st) return st;
    for (size_t i = 0; i < n_parts; i++) {
        nb_kv_text *text = &b->kv.texts[parts[i].row];
        b->spans[i] = (nb_span){.text = text, .ids = parts[i].ids, .position = text->length, .n = parts[i].n};
        nb_kv_extend(&b->kv, text, parts[i].n); /* every row has leaves for n_ctx positions */
    }
    nb_forward_chunk(&b->forward, b->spans, n_parts);
    return NB_OK;
}

void nb_batch_compute(nb_batch *b, uint32_t first, uint32_t n) { nb_forward_logits(&b->forward, first, n); }
const float *nb_batch_logits(const nb_batch *b, size_t i) { return b->forward.logits + i * b->forward.stride_vocab; }

uint32_t nb_batch_chunk(const nb_batch *b) { return b->n_chunk; }
uint32_t nb_batch_logit_rows(const nb_batch *b) { return b->n_logits; }
uint32_t nb_batch_room(const nb_batch *b) { return b->n_ctx; }
uint32_t nb_batch_length(const nb_batch *b, uint32_t row) { return b->kv.texts[row].length; }
const nb_model *nb_batch_model(const nb_batch *b) { return b->model; }
void nb_batch_rewind(nb_batch *b, uint32_t row, uint32_t length) {
    nb_kv_rewind(&b->kv, &b->kv.texts[row], length);
}
