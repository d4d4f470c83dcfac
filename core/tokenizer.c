#include "core/tokenizer.h"

#include <string.h>
#include "base/checked.h"
#include "base/mem.h"
#include "core/tokenizer_kinds.h"

struct nb_tokenizer {
    nb_vocab vocab;
    const nb_tokenizer_kind *kind;
    void *state; /* the kind's */
};

nb_status nb_ids_reserve(nb_ids *ids, size_t more, nb_error *err) {
    size_t need, bytes;
    if (!nb_add_size(ids->size, more, &need) || !nb_mul_size(need, 2 * sizeof *ids->data, &bytes))
        return nb_oom(err, "token ids", more);
    if (need <= ids->capacity) return NB_OK;
    size_t capacity = nb_max_size(nb_max_size(need, 2 * ids->capacity), 64);
    int32_t *data = nb_realloc(ids->data, ids->size * sizeof *data, capacity * sizeof *data);
    if (!data) return nb_oom(err, "token ids", capacity * sizeof *data);
    ids->data = data;
    ids->capacity = capacity;
    return NB_OK;
}

nb_status nb_ids_push(nb_ids *ids, int32_t id, nb_error *err) {
    return nb_ids_append(ids, &id, 1, err);
}

nb_status nb_ids_append(nb_ids *ids, const int32_t *more, size_t n, nb_error *err) {
    nb_status st = nb_ids_reserve(ids, n, err);
    if (st) return st;
    if (n) memcpy(ids->data + ids->size, more, n * sizeof *more);
    ids->size += n;
    return NB_OK;
}

void nb_ids_free(nb_ids *ids) {
    if (!ids) return;
    nb_free(ids->data);
    *ids = (nb_ids){0};
}

nb_status nb_tokenizer_create(nb_tokenizer **tokenizer, nb_vocab *vocab, nb_error *err) {
    *tokenizer = NULL;
    nb_tokenizer *t = nb_calloc(1, sizeof *t);
    if (!t) {
        nb_vocab_free(vocab);
        return nb_oom(err, "tokenizer", sizeof *t);
    }
    t->vocab = *vocab;
    *vocab = (nb_vocab){0};
    nb_status st = nb_vocab_check_ids(&t->vocab, err);
    if (!st) {
        t->kind = nb_tokenizer_kinds[t->vocab.kind];
        st = t->kind->build(&t->state, &t->vocab, err);
    }
    if (st) nb_tokenizer_free(t);
    else *tokenizer = t;
    return st;
}

void nb_tokenizer_free(nb_tokenizer *t) {
    if (!t) return;
    if (t->kind) t->kind->destroy(t->state);
    nb_vocab_free(&t->vocab);
    nb_free(t);
}

const nb_vocab *nb_tokenizer_vocab(const nb_tokenizer *t) {
    return &t->vocab;
}

nb_status nb_tokenize(const nb_tokenizer *t, const char *text, size_t n, nb_ids *out, nb_error *err) {
    if (n > INT32_MAX)
        return nb_fail(err, NB_LIMIT, "text of %zu bytes: at most %d can be tokenized at once", n, INT32_MAX);
    size_t before = out->size;
    nb_status st = n ? t->kind->encode(t->state, text, n, out, err) : NB_OK;
    if (st) out->size = before;
    return st;
}

const uint8_t *nb_token_bytes(const nb_tokenizer *t, int32_t id, size_t *n) {
    const nb_vocab *v = &t->vocab;
    *n = 0;
    if (id < 0 || (uint32_t)id >= v->n_tokens || v->offsets[id] == v->offsets[id + 1]) return (const uint8_t *)"";
    *n = v->offsets[id + 1] - v->offsets[id];
    return v->bytes.data + v->offsets[id];
}

const char *nb_token_special_text(const nb_tokenizer *t, int32_t id) {
    size_t n;
    nb_token_bytes(t, id, &n);
    if (n) return NULL; /* specials have no bytes: most calls end here */
    for (size_t i = 0; i < t->vocab.n_specials; i++)
        if (t->vocab.specials[i].id == id) return t->vocab.specials[i].text;
    return NULL;
}

bool nb_token_is_stop(const nb_tokenizer *t, int32_t id) {
    for (size_t i = 0; i < t->vocab.n_stops; i++)
        if (t->vocab.stops[i] == id) return true;
    return false;
}

void nb_detokenize(const nb_tokenizer *t, const int32_t *ids, size_t n, bool with_specials, nb_buf *out) {
    for (size_t i = 0; i < n; i++) {
        size_t length;
        const uint8_t *bytes = nb_token_bytes(t, ids[i], &length);
        const char *special = length || !with_specials ? NULL : nb_token_special_text(t, ids[i]);
        if (special) nb_buf_text(out, special);
        else nb_buf_append(out, bytes, length);
    }
}
