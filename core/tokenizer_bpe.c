/* The three kinds of byte-pair encoding: by ranks (as in tiktoken), by a list of merges (as in Hugging Face tokenizers)
 * and by scores (as in SentencePiece). core/bpe.c merges. */
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "core/bpe.h"
#include "core/tokenizer_kinds.h"
#include "core/utf8.h"

/* ---- building ---- */

static void destroy(void *state) {
    nb_bpe *b = state;
    if (!b) return;
    nb_token_map_free(&b->map);
    nb_pair_map_free(&b->pairs);
    nb_free(b->order);
    nb_free(b);
}

/* Whether no token holds a `space` behind something else: then words can be told apart before anything is merged, and
 * merge by themselves. */
static bool has_words(const nb_vocab *v, const nb_token_map *map) {
    size_t space = v->space ? strlen(v->space) : 0, n = 0;
    if (!space || nb_token_map_find(map, (const uint8_t *)v->space, space) == NB_NO_TOKEN) return false;
    for (uint32_t id = 0; id < v->n_tokens; id++) {
        const uint8_t *p = nb_vocab_bytes(v, id, &n), *end = p + n;
        while ((size_t)(end - p) >= space && !memcmp(p, v->space, space)) p += space;
        if (p < end && memmem(p, (size_t)(end - p), v->space, space)) return false;
    }
    return true;
}

/* A byte-pair encoder is built in one way, and `more` adds what its kind needs. */
static nb_status build(void **state, const nb_vocab *v, nb_status (*more)(nb_bpe *b, nb_error *err), nb_error *err) {
    nb_bpe *b = nb_calloc(1, sizeof *b);
    if (!b) return nb_oom(err, "tokenizer", sizeof *b);
    b->vocab = v;
    nb_status st = nb_token_map_build(&b->map, v, err);
    if (!st) {
        nb_vocab_byte_ids(v, b->byte_ids);
        st = more(b, err);
    }
    b->words = !st && b->characters && has_words(v, &b->map);
    if (st) destroy(b);
    else *state = b;
    return st;
}

static nb_status add_ranks(nb_bpe *b, nb_error *err) {
    b->whole = true;
    if (!b->vocab->split.n)
        return nb_fail(err, NB_MISSING, "vocabulary: byte-pair encoding needs a pattern that splits text");
    for (unsigned i = 0; i < 256; i++)
        if (b->byte_ids[i] == NB_NO_TOKEN)
            return nb_fail(err, NB_FORMAT, "vocabulary: byte 0x%02x is not a token; byte-pair encoding needs all 256",
                           i);
    return NB_OK;
}

static nb_status build_ranks(void **state, const nb_vocab *v, nb_error *err) {
    return build(state, v, add_ranks, err);
}

static nb_status add_merges(nb_bpe *b, nb_error *err) {
    const nb_vocab *v = b->vocab;
    nb_buf both = {0};
    b->whole = v->flags & NB_VOCAB_WHOLE;
    b->characters = v->flags & NB_VOCAB_CHARACTERS;
    nb_status st = nb_pair_map_create(&b->pairs, v->n_merges, err);
    for (size_t i = 0; !st && i < v->n_merges; i++) {
        uint32_t left = v->merges[2 * i], right = v->merges[2 * i + 1];
        size_t n_left = 0, n_right = 0;
        const uint8_t *a = nb_vocab_bytes(v, left, &n_left), *b_bytes = nb_vocab_bytes(v, right, &n_right);
        nb_buf_clear(&both);
        nb_buf_append(&both, a, n_left);
        nb_buf_append(&both, b_bytes, n_right);
        const uint8_t *bytes = (const uint8_t *)nb_buf_str(&both);
        int32_t id = both.failed ? NB_NO_TOKEN : nb_token_map_find(&b->map, bytes, both.size);
        if (both.failed) st = nb_oom(err, "merges", both.size);
        else if (id == NB_NO_TOKEN)
            st = nb_fail(err, NB_FORMAT, "vocabulary: merge %zu joins tokens %u and %u to what is no token", i,
                         (unsigned)left, (unsigned)right);
        else nb_pair_map_put(&b->pairs, (int32_t)left, (int32_t)right, (nb_merge){(int32_t)i, id});
    }
    nb_buf_free(&both);
    return st;
}

static nb_status build_merges(void **state, const nb_vocab *v, nb_error *err) {
    return build(state, v, add_merges, err);
}

typedef struct scored {
    double score;
    int32_t id;
} scored;

static int compare_scored(const void *a, const void *b) {
    const scored *x = a, *y = b;
    return (x->score < y->score) - (x->score > y->score);
}

/* The highest score gets rank 0, equal scores get equal ranks. */
static nb_status add_scores(nb_bpe *b, nb_error *err) {
    const nb_vocab *v = b->vocab;
    b->characters = true;
    if (!v->scores) return nb_fail(err, NB_MISSING, "vocabulary: it has no scores");
    scored *sorted = nb_alloc(v->n_tokens * sizeof *sorted);
    b->order = nb_alloc(v->n_tokens * sizeof *b->order);
    nb_status st = sorted && b->order ? NB_OK : nb_oom(err, "scores of tokens", v->n_tokens * sizeof *sorted);
    for (uint32_t id = 0; !st && id < v->n_tokens; id++) sorted[id] = (scored){v->scores[id], (int32_t)id};
    if (!st) qsort(sorted, v->n_tokens, sizeof *sorted, compare_scored);
    for (uint32_t i = 0, rank = 0; !st && i < v->n_tokens; i++) {
        rank = i && sorted[i].score < sorted[i - 1].score ? i : rank;
        b->order[sorted[i].id] = (int32_t)rank;
    }
    nb_free(sorted);
    return st;
}

static nb_status build_scores(void **state, const nb_vocab *v, nb_error *err) {
    return build(state, v, add_scores, err);
}

/* ---- encoding ---- */

static void put_part(nb_bpe_parts *p, size_t start, int32_t id) {
    p->start[p->count] = (uint32_t)start;
    p->ids[p->count++] = id;
}

/* By merges, a character that is no token becomes the tokens of its bytes, unk or nothing before anything is merged; by
 * scores it stays, because together with a neighbour it may still be one. */
static void put_unknown(const nb_bpe *b, nb_bpe_parts *p, const uint8_t *word, size_t at, size_t n) {
    const nb_vocab *v = b->vocab;
    bool bytes = v->flags & NB_VOCAB_BYTE_FALLBACK;
    for (size_t i = 0; i < n && bytes; i++) bytes = b->byte_ids[word[at + i]] != NB_NO_TOKEN;
    if (b->order) {
        put_part(p, at, NB_NO_TOKEN);
    } else if (bytes) {
        for (size_t i = 0; i < n; i++) put_part(p, at + i, b->byte_ids[word[at + i]]);
    } else if (v->unk != NB_NO_TOKEN) {
        bool fused = v->flags & NB_VOCAB_FUSE_UNK && p->count && p->ids[p->count - 1] == v->unk;
        if (!fused) put_part(p, at, v->unk);
    }
}

static void first_parts(const nb_bpe *b, const uint8_t *word, size_t n, nb_bpe_parts *p) {
    size_t length = 1;
    p->count = 0;
    for (size_t i = 0; i < n; i += length) {
        int32_t id = NB_NO_TOKEN;
        if (!b->characters) id = b->byte_ids[word[i]];
        else if (nb_utf8_next(word + i, n - i, &length) == NB_UTF8_VALID)
            id = nb_token_map_find(&b->map, word + i, length);
        if (id == NB_NO_TOKEN) put_unknown(b, p, word, i, length);
        else put_part(p, i, id);
    }
    p->start[p->count] = (uint32_t)n;
}

static nb_status put_ids(const nb_bpe *b, nb_encoding *e, const uint8_t *word, const nb_bpe_parts *p, nb_error *err) {
    nb_status st = nb_ids_reserve(e->out, p->count, err);
    for (size_t i = 0; !st && i < p->count; i++) {
        if (p->ids[i] == NB_NO_TOKEN) {
            st = nb_encode_unknown(b->vocab, b->byte_ids, e, word + p->start[i], p->start[i + 1] - p->start[i], err);
        } else {
            st = nb_ids_push(e->out, p->ids[i], err);
            e->after_unk = false;
        }
    }
    return st;
}

static nb_status merge_word(const void *state, nb_encoding *e, const uint8_t *word, size_t n, nb_error *err) {
    const nb_bpe *b = state;
    uint32_t start[NB_BPE_SMALL + 1];
    int32_t ids[NB_BPE_SMALL];
    nb_bpe_parts p = {start, ids, 0};
    nb_status st = NB_OK;
    if (n > NB_BPE_SMALL) {
        p.start = nb_alloc((n + 1) * sizeof *p.start);
        p.ids = nb_alloc(n * sizeof *p.ids);
        if (!p.start || !p.ids) st = nb_oom(err, "a long word's parts", n * (sizeof *p.start + sizeof *p.ids));
    }
    if (!st) {
        first_parts(b, word, n, &p);
        st = nb_bpe_merge(b, word, &p, err);
    }
    if (!st) st = put_ids(b, e, word, &p, err);
    if (n > NB_BPE_SMALL) {
        nb_free(p.start);
        nb_free(p.ids);
    }
    return st;
}

static nb_status encode_word(const nb_bpe *b, nb_encoding *e, const uint8_t *word, size_t n, nb_error *err) {
    int32_t id = b->whole ? nb_token_map_find(&b->map, word, n) : NB_NO_TOKEN;
    if (id != NB_NO_TOKEN) {
        e->after_unk = false;
        return nb_ids_push(e->out, id, err);
    }
    return nb_encode_cached(merge_word, b, e, word, n, err);
}

/* Where the word that text[n] begins with ends: before the first `space` that does not follow another. */
static size_t word_end(const nb_bpe *b, const uint8_t *text, size_t n) {
    const char *space = b->vocab->space;
    size_t length = strlen(space), i = 0;
    while (n - i >= length && !memcmp(text + i, space, length)) i += length;
    const uint8_t *next = memmem(text + i, n - i, space, length);
    return next ? (size_t)(next - text) : n;
}

static nb_status encode(const void *state, nb_encoding *e, const uint8_t *piece, size_t n, nb_error *err) {
    const nb_bpe *b = state;
    if (!b->words) return encode_word(b, e, piece, n, err);
    nb_status st = NB_OK;
    for (size_t at = 0, end; !st && at < n; at = end) {
        end = at + word_end(b, piece + at, n - at);
        st = encode_word(b, e, piece + at, end - at, err);
    }
    return st;
}

const nb_tokenizer_kind nb_tokenizer_bpe = {"bpe-ranks", build_ranks, destroy, encode};
const nb_tokenizer_kind nb_tokenizer_merges = {"bpe-merges", build_merges, destroy, encode};
const nb_tokenizer_kind nb_tokenizer_scores = {"bpe-scores", build_scores, destroy, encode};
