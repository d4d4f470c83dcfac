/* Unigram (Kudo 2018): of all ways to cut a piece into tokens, the one with the highest sum of scores, found from left
 * to right (Viterbi). As in SentencePiece and Hugging Face tokenizers, a character that is no token scores 10 less than
 * the worst token, and among equals the reading that was found first stays: longer last tokens before shorter ones. */
#include <math.h>
#include <string.h>
#include "base/checked.h"
#include "base/mem.h"
#include "core/tokenizer_kinds.h"
#include "core/trie.h"
#include "core/utf8.h"

typedef struct unigram {
    const nb_vocab *v;
    nb_trie trie;
    int32_t byte_ids[256];
    double unknown; /* score of a character that is no token */
} unigram;

/* The best reading of the text up to a place. */
typedef struct place {
    double score;
    uint32_t start; /* of its last token; NOT_REACHED */
    int32_t id;     /* NB_NO_TOKEN: a character that is no token */
} place;
#define NOT_REACHED UINT32_MAX

static void destroy(void *state) {
    unigram *u = state;
    if (!u) return;
    nb_trie_free(&u->trie);
    nb_free(u);
}

static bool is_piece(const nb_vocab *v, uint32_t id) {
    nb_token_type type = nb_vocab_type(v, id);
    return v->offsets[id] != v->offsets[id + 1] && type != NB_TOKEN_BYTE && type != NB_TOKEN_UNUSED;
}

static nb_status build_trie(unigram *u, const nb_vocab *v, nb_error *err) {
    nb_trie_key *keys = nb_alloc(v->n_tokens * sizeof *keys);
    if (!keys) return nb_oom(err, "tokens of a vocabulary", v->n_tokens * sizeof *keys);
    size_t n = 0, length = 0;
    for (uint32_t id = 0; id < v->n_tokens; id++) {
        if (!is_piece(v, id)) continue;
        const uint8_t *bytes = nb_vocab_bytes(v, id, &length);
        keys[n++] = (nb_trie_key){bytes, (uint32_t)length, (int32_t)id};
    }
    nb_status st = nb_trie_build(&u->trie, keys, n, err);
    nb_free(keys);
    return st;
}

static nb_status build(void **state, const nb_vocab *v, nb_error *err) {
    if (!v->scores) return nb_fail(err, NB_MISSING, "vocabulary: it has no scores");
    unigram *u = nb_calloc(1, sizeof *u);
    if (!u) return nb_oom(err, "tokenizer", sizeof *u);
    u->v = v;
    nb_vocab_byte_ids(v, u->byte_ids);
    double lowest = (double)INFINITY;
    bool every = !(v->flags & NB_VOCAB_F32); /* SentencePiece looks at ordinary pieces only, Hugging Face at all */
    bool found = false;
    for (uint32_t id = 0; id < v->n_tokens; id++) {
        bool ordinary = is_piece(v, id) && nb_vocab_type(v, id) == NB_TOKEN_ORDINARY;
        if (every || ordinary) lowest = fmin(lowest, (double)v->scores[id]);
        found |= ordinary;
    }
    u->unknown = lowest - 10.0;
    if (v->flags & NB_VOCAB_F32) u->unknown = (double)((float)lowest - 10.0f);
    nb_status st = build_trie(u, v, err);
    if (!st && (!found || !isfinite(u->unknown)))
        st = nb_fail(err, NB_FORMAT, "vocabulary: it has no ordinary tokens");
    if (st) destroy(u);
    else *state = u;
    return st;
}

/* A way to `to` whose last token begins at `start`. */
static void reach(const unigram *u, place *places, size_t start, size_t to, int32_t id, double score) {
    place *p = &places[to];
    double sum = score + places[start].score;
    if (u->v->flags & NB_VOCAB_F32) sum = (double)(float)sum; /* that of two f32 is exact before it is rounded */
    if (p->start == NOT_REACHED || sum > p->score) *p = (place){sum, (uint32_t)start, id};
}

/* A token that somebody defined scores a little more than nothing, where others score below: what SentencePiece does
 * since 0.2, whatever the scores in its file are. */
static double score_of(const unigram *u, int32_t id, size_t length) {
    if (nb_vocab_type(u->v, (uint32_t)id) != NB_TOKEN_USER) return u->v->scores[id];
    return (double)(float)(0.1 * (double)length - 0.1);
}

/* All tokens that begin at `start`, where a character begins. Returns where the next one does. */
static size_t extend(const unigram *u, place *places, const uint8_t *text, size_t n, size_t start) {
    size_t length = 0;
    bool single = false;
    uint32_t node = 0;
    (void)nb_utf8_next(text + start, n - start, &length);
    for (size_t i = start; i < n && (node = nb_trie_step(&u->trie, node, text[i])); i++) {
        int32_t id = u->trie.nodes[node].value;
        if (id < 0) continue;
        reach(u, places, start, i + 1, id, score_of(u, id, i + 1 - start));
        single |= i + 1 - start == length;
    }
    if (!single) reach(u, places, start, start + length, NB_NO_TOKEN, u->unknown);
    return start + length;
}

/* From the end back to the beginning, turning the chain around: afterwards places[i].start is where the token that
 * begins at i ends. */
static void turn_around(place *places, size_t n) {
    uint32_t end = (uint32_t)n;
    int32_t id = places[n].id;
    uint32_t start = places[n].start;
    while (end > 0) {
        uint32_t before = places[start].start;
        int32_t id_before = places[start].id;
        places[start].start = end;
        places[start].id = id;
        end = start;
        start = before;
        id = id_before;
    }
}

/* Neighbours that are no tokens are one unknown text: bytes when all of it can be spelled so. */
static size_t end_of_unknown(const place *places, size_t at, size_t n) {
    while (at < n && places[at].id == NB_NO_TOKEN) at = places[at].start;
    return at;
}

static nb_status put_ids(const unigram *u, nb_encoding *e, const place *places, const uint8_t *text, size_t n,
                         nb_error *err) {
    nb_status st = NB_OK;
    for (size_t i = 0, end; !st && i < n; i = end) {
        end = end_of_unknown(places, i, n);
        if (end > i) {
            st = nb_encode_unknown(u->v, u->byte_ids, e, text + i, end - i, err);
        } else {
            end = places[i].start;
            st = nb_ids_push(e->out, places[i].id, err);
            e->after_unk = false;
        }
    }
    return st;
}

static nb_status best_reading(const void *state, nb_encoding *e, const uint8_t *piece, size_t n, nb_error *err) {
    const unigram *u = state;
    place few[128], *places = few;
    if (n >= sizeof few / sizeof *few) {
        places = nb_alloc((n + 1) * sizeof *places);
        if (!places) return nb_oom(err, "readings of a text", (n + 1) * sizeof *places);
    }
    for (size_t i = 0; i <= n; i++) places[i] = (place){.start = NOT_REACHED};
    for (size_t i = 0; i < n;) i = extend(u, places, piece, n, i);
    turn_around(places, n);
    nb_status st = put_ids(u, e, places, piece, n, err);
    if (places != few) nb_free(places);
    return st;
}

static nb_status encode(const void *state, nb_encoding *e, const uint8_t *piece, size_t n, nb_error *err) {
    const unigram *u = state;
    return nb_encode_cached(best_reading, u, e, piece, n, err);
}

const nb_tokenizer_kind nb_tokenizer_unigram = {"unigram", build, destroy, encode};
