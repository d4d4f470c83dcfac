#include "core/vocab.h"

#include <string.h>
#include "base/mem.h"
#include "core/tokenizer_kinds.h"
#include "core/utf8.h"

const nb_tokenizer_kind *const nb_tokenizer_kinds[NB_VOCAB_KIND_COUNT] = {
    [NB_VOCAB_BPE_RANKS] = &nb_tokenizer_bpe,
    [NB_VOCAB_CHARS] = &nb_tokenizer_chars,
};

void nb_vocab_init(nb_vocab *v, nb_vocab_kind kind) {
    *v = (nb_vocab){.kind = kind, .bos = NB_NO_TOKEN, .unk = NB_NO_TOKEN, .pad = NB_NO_TOKEN};
}

void nb_vocab_free(nb_vocab *v) {
    if (!v) return;
    for (size_t i = 0; i < v->n_specials; i++) nb_free(v->specials[i].text);
    nb_free(v->specials);
    nb_free(v->offsets);
    nb_free(v->pattern);
    nb_buf_free(&v->bytes);
    *v = (nb_vocab){0};
}

/* Room for offsets[0..n_tokens + more]; the first offset is there afterwards. */
static nb_status reserve_offsets(nb_vocab *v, uint32_t more, nb_error *err) {
    if (more > NB_MAX_VOCAB - v->n_tokens)
        return nb_fail(err, NB_LIMIT, "vocabulary: more than %d tokens", (int)NB_MAX_VOCAB);
    uint32_t need = v->n_tokens + more + 1, capacity = v->offsets_capacity ? v->offsets_capacity : 512;
    if (need <= v->offsets_capacity) return NB_OK;
    while (capacity < need) capacity *= 2;
    size_t held = v->offsets ? v->n_tokens + (size_t)1 : 0;
    uint32_t *offsets = nb_realloc(v->offsets, held * sizeof *offsets, capacity * sizeof *offsets);
    if (!offsets) return nb_oom(err, "vocabulary", capacity * sizeof *offsets);
    if (!held) offsets[0] = 0;
    v->offsets = offsets;
    v->offsets_capacity = capacity;
    return NB_OK;
}

nb_status nb_vocab_add(nb_vocab *v, const void *bytes, size_t n, nb_error *err) {
    nb_status st = reserve_offsets(v, 1, err);
    if (st) return st;
    if (n > NB_MAX_VOCAB_BYTES - v->bytes.size)
        return nb_fail(err, NB_LIMIT, "vocabulary: more than %d bytes in all tokens", (int)NB_MAX_VOCAB_BYTES);
    nb_buf_append(&v->bytes, bytes, n);
    if (v->bytes.failed) return nb_oom(err, "vocabulary", v->bytes.size + n);
    v->offsets[++v->n_tokens] = (uint32_t)v->bytes.size;
    return NB_OK;
}

/* Holes up to and including `id`. */
static nb_status extend_to(nb_vocab *v, int32_t id, nb_error *err) {
    if (id < 0 || id >= NB_MAX_VOCAB)
        return nb_fail(err, NB_FORMAT, "vocabulary: token id %d, expected 0 to %d", (int)id, (int)NB_MAX_VOCAB - 1);
    if ((uint32_t)id < v->n_tokens) return NB_OK;
    nb_status st = reserve_offsets(v, (uint32_t)id + 1 - v->n_tokens, err);
    if (st) return st;
    while (v->n_tokens <= (uint32_t)id) {
        v->offsets[v->n_tokens + 1] = (uint32_t)v->bytes.size;
        v->n_tokens++;
    }
    return NB_OK;
}

nb_status nb_vocab_add_special(nb_vocab *v, const char *text, size_t n, int32_t id, nb_error *err) {
    if (n == 0 || memchr(text, 0, n))
        return nb_fail(err, NB_FORMAT, "vocabulary: the text of special token %d is empty or holds a NUL", (int)id);
    nb_status st = extend_to(v, id, err);
    if (st) return st;
    if (v->offsets[id] != v->offsets[id + 1])
        return nb_fail(err, NB_FORMAT, "vocabulary: token %d cannot be special as '%.*s', it has bytes of its own",
                       (int)id, n < 80 ? (int)n : 80, text);
    size_t held = v->n_specials * sizeof *v->specials;
    nb_special *specials = nb_realloc(v->specials, held, held + sizeof *v->specials);
    if (!specials) return nb_oom(err, "special tokens", held + sizeof *v->specials);
    v->specials = specials;
    char *copy = nb_strndup(text, n);
    if (!copy) return nb_oom(err, "special tokens", n);
    v->specials[v->n_specials++] = (nb_special){.text = copy, .id = id};
    return NB_OK;
}

nb_status nb_vocab_set_pattern(nb_vocab *v, const char *pattern, size_t n, nb_error *err) {
    if (memchr(pattern, 0, n)) return nb_fail(err, NB_FORMAT, "vocabulary: the pattern holds a NUL");
    char *copy = nb_strndup(pattern, n);
    if (!copy) return nb_oom(err, "tokenizer pattern", n);
    nb_free(v->pattern);
    v->pattern = copy;
    return NB_OK;
}

nb_status nb_vocab_add_stop(nb_vocab *v, int32_t id, nb_error *err) {
    for (size_t i = 0; i < v->n_stops; i++)
        if (v->stops[i] == id) return NB_OK;
    if (v->n_stops == NB_MAX_STOPS)
        return nb_fail(err, NB_LIMIT, "vocabulary: more than %d stop tokens", (int)NB_MAX_STOPS);
    v->stops[v->n_stops++] = id;
    return NB_OK;
}

int32_t nb_vocab_special(const nb_vocab *v, const char *text) {
    for (size_t i = 0; i < v->n_specials; i++)
        if (strcmp(v->specials[i].text, text) == 0) return v->specials[i].id;
    return NB_NO_TOKEN;
}

static bool is_utf8(const char *text) {
    size_t n = strlen(text);
    return nb_utf8_valid_prefix((const uint8_t *)text, n) == n;
}

static nb_status check_range(const nb_vocab *v, const char *what, int32_t id, bool may_lack, nb_error *err) {
    if (id == NB_NO_TOKEN && may_lack) return NB_OK;
    if (id >= 0 && (uint32_t)id < v->n_tokens) return NB_OK;
    return nb_fail(err, NB_FORMAT, "vocabulary: %s is token %d, expected 0 to %u", what, (int)id,
                   (unsigned)v->n_tokens - 1);
}

static nb_status check_specials(const nb_vocab *v, nb_error *err) {
    for (size_t i = 0; i < v->n_specials; i++) {
        const nb_special *s = &v->specials[i];
        nb_status st = check_range(v, s->text, s->id, false, err);
        if (st) return st;
        if (!s->text[0] || !is_utf8(s->text))
            return nb_fail(err, NB_FORMAT, "vocabulary: the text of special token %d is empty or not UTF-8",
                           (int)s->id);
        if (v->offsets[s->id] != v->offsets[s->id + 1])
            return nb_fail(err, NB_FORMAT, "vocabulary: special token %d, '%s', has bytes of its own", (int)s->id,
                           s->text);
        for (size_t j = 0; j < i; j++)
            if (v->specials[j].id == s->id || strcmp(v->specials[j].text, s->text) == 0)
                return nb_fail(err, NB_FORMAT,
                               "vocabulary: special tokens '%s' (%d) and '%s' (%d) have the same text or id",
                               v->specials[j].text, (int)v->specials[j].id, s->text, (int)s->id);
    }
    return NB_OK;
}

nb_status nb_vocab_check_ids(const nb_vocab *v, nb_error *err) {
    if ((unsigned)v->kind >= NB_VOCAB_KIND_COUNT)
        return nb_fail(err, NB_FORMAT, "vocabulary: kind %d is not known", (int)v->kind);
    if (v->n_tokens == 0) return nb_fail(err, NB_FORMAT, "vocabulary: it has no tokens");
    if (v->pattern && !is_utf8(v->pattern)) return nb_fail(err, NB_FORMAT, "vocabulary: the pattern is not UTF-8");
    bool ordered = v->offsets[0] == 0 && v->offsets[v->n_tokens] == v->bytes.size;
    for (uint32_t i = 0; ordered && i < v->n_tokens; i++) ordered = v->offsets[i] <= v->offsets[i + 1];
    if (!ordered) return nb_fail(err, NB_FORMAT, "vocabulary: token offsets do not rise from 0 to %zu", v->bytes.size);
    if (v->n_stops > NB_MAX_STOPS) return nb_fail(err, NB_FORMAT, "vocabulary: %zu stop tokens", v->n_stops);
    nb_status st = check_specials(v, err);
    if (!st) st = check_range(v, "bos", v->bos, true, err);
    if (!st) st = check_range(v, "unk", v->unk, true, err);
    if (!st) st = check_range(v, "pad", v->pad, true, err);
    for (size_t i = 0; !st && i < v->n_stops; i++) st = check_range(v, "a stop token", v->stops[i], false, err);
    return st;
}

nb_status nb_vocab_check(const nb_vocab *v, nb_error *err) {
    void *state = NULL;
    nb_status st = nb_vocab_check_ids(v, err);
    if (!st) st = nb_tokenizer_kinds[v->kind]->build(&state, v, err);
    if (!st) nb_tokenizer_kinds[v->kind]->destroy(state);
    return st;
}
