/* What a kind of vocabulary must be able to do; one row each in nb_tokenizer_kinds, indexed by nb_vocab_kind. */
#ifndef NB_CORE_TOKENIZER_KINDS_H
#define NB_CORE_TOKENIZER_KINDS_H

#include "core/tokenizer.h"

typedef struct nb_tokenizer_kind {
    const char *name; /* in the file */
    /* Check what is particular to the kind and build *state (freed with `destroy`, which accepts NULL). The vocabulary
     * has passed nb_vocab_check_ids and outlives the state. */
    nb_status (*build)(void **state, const nb_vocab *v, nb_error *err);
    void (*destroy)(void *state);
    nb_status (*encode)(const void *state, const char *text, size_t n, nb_ids *out, nb_error *err);
} nb_tokenizer_kind;

enum { NB_VOCAB_KIND_COUNT = NB_VOCAB_CHARS + 1 };
extern const nb_tokenizer_kind *const nb_tokenizer_kinds[NB_VOCAB_KIND_COUNT];
extern const nb_tokenizer_kind nb_tokenizer_bpe, nb_tokenizer_chars;

/* The part of nb_vocab_check that holds for every kind. */
nb_status nb_vocab_check_ids(const nb_vocab *v, nb_error *err);

/* Room for `more` ids at out->data + out->size. */
nb_status nb_ids_reserve(nb_ids *ids, size_t more, nb_error *err);

#endif
