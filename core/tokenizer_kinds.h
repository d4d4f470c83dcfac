/* What a kind of vocabulary must be able to do; one row each in nb_tokenizer_kinds, indexed by nb_vocab_kind. */
#ifndef NB_CORE_TOKENIZER_KINDS_H
#define NB_CORE_TOKENIZER_KINDS_H

#include "core/tokenizer.h"
#include "core/word_cache.h"

/* One call of nb_tokenize. */
typedef struct nb_encoding {
    nb_ids *out;
    nb_word_cache *cache; /* NULL: none */
    bool after_unk;       /* the last id of this piece is an unk */
} nb_encoding;

typedef struct nb_tokenizer_kind {
    const char *name; /* in the file */
    /* Check what is particular to the kind and build *state (freed with `destroy`, which accepts NULL). The vocabulary
     * has passed nb_vocab_check_ids and outlives the state. */
    nb_status (*build)(void **state, const nb_vocab *v, nb_error *err);
    void (*destroy)(void *state);
    /* Append the ids of one piece to e->out; n >= 1. */
    nb_status (*encode)(const void *state, nb_encoding *e, const uint8_t *piece, size_t n, nb_error *err);
} nb_tokenizer_kind;

enum { NB_VOCAB_KIND_COUNT = NB_VOCAB_UNIGRAM + 1 };
extern const nb_tokenizer_kind *const nb_tokenizer_kinds[NB_VOCAB_KIND_COUNT];
extern const nb_tokenizer_kind nb_tokenizer_bpe, nb_tokenizer_chars, nb_tokenizer_merges, nb_tokenizer_scores,
    nb_tokenizer_unigram;

/* The part of nb_vocab_check that holds for every kind. */
nb_status nb_vocab_check_ids(const nb_vocab *v, nb_error *err);

/* Room for `more` ids at out->data + out->size. */
nb_status nb_ids_reserve(nb_ids *ids, size_t more, nb_error *err);

/* Append the ids of word[n] as `encode` gives them, from the cache where it has them. */
typedef nb_status nb_encode_fn(const void *state, nb_encoding *e, const uint8_t *word, size_t n, nb_error *err);
nb_status nb_encode_cached(nb_encode_fn *encode, const void *state, nb_encoding *e, const uint8_t *word, size_t n,
                           nb_error *err);

/* The tokens that stand for bytes: by type or, in a vocabulary of bytes, by what they are. NB_NO_TOKEN: none. */
void nb_vocab_byte_ids(const nb_vocab *v, int32_t ids[256]);

/* Append what stands for text[n] that is no token: its bytes' tokens, or unk (with NB_VOCAB_FUSE_UNK one for neighbours),
 * or nothing in a vocabulary that has neither. */
nb_status nb_encode_unknown(const nb_vocab *v, const int32_t byte_ids[256], nb_encoding *e, const uint8_t *text,
                            size_t n, nb_error *err);

#endif
