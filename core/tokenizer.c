#include "core/tokenizer.h"

#include <string.h>
#include "base/checked.h"
#include "base/mem.h"
#include "core/normalize.h"
#include "core/specials.h"
#include "core/split.h"
#include "core/tokenizer_kinds.h"

struct nb_tokenizer {
    nb_vocab vocab;
    const nb_tokenizer_kind *kind;
    void *state; /* the kind's */
    nb_normalizer *normalize, *prepare;
    nb_special_finder early, late;
    nb_splitter *splitter;
    nb_buf printed;            /* all tokens' bytes as they are printed */
    uint32_t *printed_offsets; /* [n_tokens + 1]; NULL: they are printed as they stand in the vocabulary */
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

/* ---- building ---- */

/* The bytes of a token with the text that stands for a space turned back into `blank`. */
static void put_printed(nb_buf *out, const uint8_t *bytes, size_t n, const char *space, const char *blank) {
    size_t length = space ? strlen(space) : 0;
    for (const uint8_t *end = bytes + n, *at; length; bytes = at + length) {
        at = memmem(bytes, (size_t)(end - bytes), space, length);
        if (!at) break;
        nb_buf_append(out, bytes, (size_t)(at - bytes));
        nb_buf_text(out, blank);
        n = (size_t)(end - at) - length;
    }
    nb_buf_append(out, bytes, n);
}

/* Tokens are printed as they stand in the vocabulary, but for spaces and the texts of specials. */
static nb_status build_printed(nb_tokenizer *t, nb_error *err) {
    const nb_vocab *v = &t->vocab;
    bool texts = false;
    for (size_t i = 0; i < v->n_specials; i++) texts |= (v->specials[i].flags & NB_SPECIAL_TEXT) != 0;
    if (!texts && !v->space) return NB_OK;
    size_t bytes = ((size_t)v->n_tokens + 1) * sizeof *t->printed_offsets;
    const char **special = nb_calloc(v->n_tokens, sizeof *special);
    t->printed_offsets = nb_alloc(bytes);
    bool failed = !special || !t->printed_offsets;
    for (size_t i = 0; !failed && i < v->n_specials; i++)
        if (v->specials[i].flags & NB_SPECIAL_TEXT) special[v->specials[i].id] = v->specials[i].text;
    if (!failed) t->printed_offsets[0] = 0;
    for (uint32_t id = 0; !failed && id < v->n_tokens; id++) {
        size_t n;
        const uint8_t *as_stored = nb_vocab_bytes(v, id, &n);
        bool byte = nb_vocab_type(v, id) == NB_TOKEN_BYTE;
        if (special[id]) put_printed(&t->printed, (const uint8_t *)special[id], strlen(special[id]), v->space, " ");
        else put_printed(&t->printed, as_stored, n, byte ? NULL : v->space, " ");
        failed = t->printed.failed || t->printed.size > UINT32_MAX;
        t->printed_offsets[id + 1] = (uint32_t)t->printed.size;
    }
    nb_free(special);
    return failed ? nb_oom(err, "tokens as they are printed", bytes) : NB_OK;
}

static nb_status build(nb_tokenizer *t, nb_error *err) {
    const nb_vocab *v = &t->vocab;
    nb_status st = nb_vocab_check_ids(v, err);
    if (st) return st;
    t->kind = nb_tokenizer_kinds[v->kind];
    st = t->kind->build(&t->state, v, err);
    if (!st) st = nb_normalizer_create(&t->normalize, &v->normalize, v, err);
    if (!st) st = nb_normalizer_create(&t->prepare, &v->prepare, v, err);
    if (!st) st = nb_special_finder_build(&t->early, v, t->normalize, false, err);
    if (!st) st = nb_special_finder_build(&t->late, v, t->normalize, true, err);
    if (!st) st = nb_splitter_create(&t->splitter, &v->split, true, err);
    return st ? st : build_printed(t, err);
}

/* All but the vocabulary. */
static void release(nb_tokenizer *t) {
    if (t->kind) t->kind->destroy(t->state);
    nb_normalizer_free(t->normalize);
    nb_normalizer_free(t->prepare);
    nb_special_finder_free(&t->early);
    nb_special_finder_free(&t->late);
    nb_splitter_free(t->splitter);
    nb_buf_free(&t->printed);
    nb_free(t->printed_offsets);
}

nb_status nb_vocab_check(const nb_vocab *v, nb_error *err) {
    nb_tokenizer t = {.vocab = *v};
    nb_status st = build(&t, err);
    release(&t);
    return st;
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
    nb_status st = build(t, err);
    if (st) nb_tokenizer_free(t);
    else *tokenizer = t;
    return st;
}

void nb_tokenizer_free(nb_tokenizer *t) {
    if (!t) return;
    release(t);
    nb_vocab_free(&t->vocab);
    nb_free(t);
}

const nb_vocab *nb_tokenizer_vocab(const nb_tokenizer *t) {
    return &t->vocab;
}

/* ---- text to tokens: every step hands its parts to the next ---- */

typedef struct job {
    const nb_tokenizer *t;
    nb_encoding e;
    nb_normal normal, prepared;
    bool control; /* control tokens are looked for */
    bool behind;  /* a control token stands before the text */
    bool first;   /* the part at work begins the text */
} job;

static nb_status take_piece(void *user, const uint8_t *piece, size_t n, nb_error *err) {
    job *j = user;
    j->e.after_unk = false; /* unknown texts are one within a piece only */
    return j->t->kind->encode(j->t->state, &j->e, piece, n, err);
}

static nb_status take_changed(void *user, const uint8_t *text, size_t n, size_t at, int32_t id, nb_error *err) {
    job *j = user;
    if (id != NB_NO_TOKEN) return nb_ids_push(j->e.out, id, err);
    bool first = j->first && !at && !j->behind && !j->normal.moved;
    nb_status st = nb_normalize(j->t->prepare, text, n, first, &j->prepared, &text, &n, err);
    return st ? st : nb_split(j->t->splitter, (const char *)text, n, take_piece, j, err);
}

static nb_status take_given(void *user, const uint8_t *text, size_t n, size_t at, int32_t id, nb_error *err) {
    job *j = user;
    if (id != NB_NO_TOKEN) return nb_ids_push(j->e.out, id, err);
    j->first = at == 0;
    nb_status st = nb_normalize(j->t->normalize, text, n, j->first, &j->normal, &text, &n, err);
    return st ? st : nb_special_split(&j->t->late, text, n, j->control, take_changed, j, err);
}

nb_status nb_tokenize_as(const nb_tokenizer *t, const char *text, size_t n, unsigned flags, nb_ids *out,
                         nb_error *err) {
    if (n > INT32_MAX)
        return nb_fail(err, NB_LIMIT, "text of %zu bytes: at most %d can be tokenized at once", n, INT32_MAX);
    size_t before = out->size;
    bool ends = flags & NB_TOKENIZE_ENDS;
    job j = {.t = t, .e = {.out = out}, .control = flags & NB_TOKENIZE_CONTROL,
             .behind = flags & NB_TOKENIZE_BEHIND};
    nb_status st = ends && t->vocab.bos != NB_NO_TOKEN ? nb_ids_push(out, t->vocab.bos, err) : NB_OK;
    if (n >= NB_CACHE_TEXT) j.e.cache = nb_calloc(1, sizeof *j.e.cache); /* without memory it goes without one */
    if (!st) st = nb_special_split(&t->early, (const uint8_t *)text, n, j.control, take_given, &j, err);
    if (!st && ends && t->vocab.eos != NB_NO_TOKEN) st = nb_ids_push(out, t->vocab.eos, err);
    nb_free(j.e.cache);
    nb_normal_free(&j.normal);
    nb_normal_free(&j.prepared);
    if (st) out->size = before;
    return st;
}

nb_status nb_tokenize(const nb_tokenizer *t, const char *text, size_t n, nb_ids *out, nb_error *err) {
    return nb_tokenize_as(t, text, n, 0, out, err);
}

nb_status nb_encode_cached(nb_encode_fn *encode, const void *state, nb_encoding *e, const uint8_t *word, size_t n,
                           nb_error *err) {
    if (!e->cache || n > NB_CACHED_BYTES) return encode(state, e, word, n, err);
    nb_cached_word *c = nb_cached(e->cache, word, n);
    if (c->n == n && !memcmp(c->bytes, word, n)) return nb_ids_append(e->out, c->ids, c->n_ids, err);
    size_t before = e->out->size;
    nb_status st = encode(state, e, word, n, err);
    size_t n_ids = e->out->size - before;
    if (st || !n_ids || n_ids > NB_CACHED_IDS) return st;
    memcpy(c->bytes, word, n);
    memcpy(c->ids, e->out->data + before, n_ids * sizeof *c->ids);
    c->n = (uint32_t)n;
    c->n_ids = (uint32_t)n_ids;
    return NB_OK;
}

void nb_vocab_byte_ids(const nb_vocab *v, int32_t ids[256]) {
    size_t n;
    for (int i = 0; i < 256; i++) ids[i] = NB_NO_TOKEN;
    for (uint32_t id = 0; id < v->n_tokens; id++) {
        const uint8_t *bytes = nb_vocab_bytes(v, id, &n);
        nb_token_type type = nb_vocab_type(v, id);
        bool counts = type == NB_TOKEN_BYTE || (!v->types && type == NB_TOKEN_ORDINARY);
        if (n == 1 && counts) ids[bytes[0]] = (int32_t)id;
    }
}

nb_status nb_encode_unknown(const nb_vocab *v, const int32_t byte_ids[256], nb_encoding *e, const uint8_t *text,
                            size_t n, nb_error *err) {
    bool bytes = v->flags & NB_VOCAB_BYTE_FALLBACK;
    nb_status st = NB_OK;
    for (size_t i = 0; i < n && bytes; i++) bytes = byte_ids[text[i]] != NB_NO_TOKEN;
    if (bytes) {
        for (size_t i = 0; !st && i < n; i++) st = nb_ids_push(e->out, byte_ids[text[i]], err);
        e->after_unk = false;
        return st;
    }
    if (v->unk == NB_NO_TOKEN || (e->after_unk && v->flags & NB_VOCAB_FUSE_UNK)) return NB_OK;
    e->after_unk = true;
    return nb_ids_push(e->out, v->unk, err);
}

/* ---- tokens to text ---- */

const uint8_t *nb_token_bytes(const nb_tokenizer *t, int32_t id, size_t *n) {
    const nb_vocab *v = &t->vocab;
    *n = 0;
    if (id < 0 || (uint32_t)id >= v->n_tokens) return (const uint8_t *)"";
    if (!t->printed_offsets) return nb_vocab_bytes(v, (uint32_t)id, n);
    *n = t->printed_offsets[id + 1] - t->printed_offsets[id];
    return (const uint8_t *)nb_buf_str(&t->printed) + t->printed_offsets[id];
}

const char *nb_token_special_text(const nb_tokenizer *t, int32_t id) {
    size_t n;
    nb_token_bytes(t, id, &n);
    if (n) return NULL; /* control tokens have no bytes: most calls end here */
    for (size_t i = 0; i < t->vocab.n_specials; i++)
        if (t->vocab.specials[i].id == id) return t->vocab.specials[i].text;
    return NULL;
}

bool nb_token_is_stop(const nb_tokenizer *t, int32_t id) {
    for (size_t i = 0; i < t->vocab.n_stops; i++)
        if (t->vocab.stops[i] == id) return true;
    return false;
}

/* The token that begins a text, without anything in it that stands for a space. */
static void put_bare(const nb_tokenizer *t, int32_t id, nb_buf *out) {
    const nb_vocab *v = &t->vocab;
    size_t n;
    const uint8_t *bytes = nb_vocab_bytes(v, (uint32_t)id, &n);
    for (const nb_special *s = v->specials; s < v->specials + v->n_specials; s++)
        if (s->id == id && s->flags & NB_SPECIAL_TEXT) bytes = (const uint8_t *)s->text, n = strlen(s->text);
    put_printed(out, bytes, n, nb_vocab_type(v, (uint32_t)id) == NB_TOKEN_BYTE ? NULL : v->space, "");
}

void nb_detokenize(const nb_tokenizer *t, const int32_t *ids, size_t n, bool with_specials, bool first, nb_buf *out) {
    bool strip = first && t->vocab.flags & NB_VOCAB_STRIP, each = t->vocab.flags & NB_VOCAB_STRIP_EACH,
         all = t->vocab.flags & NB_VOCAB_STRIP_ALL;
    for (size_t i = 0; i < n; i++) {
        size_t length;
        const uint8_t *bytes = nb_token_bytes(t, ids[i], &length);
        const char *special = length || !with_specials ? NULL : nb_token_special_text(t, ids[i]);
        if (special) nb_buf_text(out, special);
        if (each && ids[i] == t->vocab.unk) strip = false; /* where SentencePiece prints a sign */
        if (!length) continue;
        bool bare = strip && all, drop = strip && !all && bytes[0] == ' ';
        if (bare) put_bare(t, ids[i], out);
        else nb_buf_append(out, bytes + drop, length - drop);
        strip = drop && length == 1 && each;
    }
}
