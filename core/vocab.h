/* A vocabulary as data: what the converter's importers make, the file stores, and tokenizers are built from.
 *
 * In the file: the model section's "tokenizer" object and two plain tensors, "tokenizer.bytes" (u8, all tokens' bytes
 * one after the other) and "tokenizer.offsets" (u32 [n_tokens + 1]). An nb_vocab owns everything it points to. */
#ifndef NB_CORE_VOCAB_H
#define NB_CORE_VOCAB_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/status.h"
#include "format/reader.h"

/* How text becomes tokens. */
typedef enum nb_vocab_kind {
    NB_VOCAB_BPE_RANKS, /* byte-level BPE: pieces found by `pattern`, pairs merged by lowest rank; a token's rank is its
                           id */
    NB_VOCAB_CHARS      /* one token per character; unknown characters become `unk`, or are an error without one */
} nb_vocab_kind;

typedef struct nb_special {
    char *text;
    int32_t id;
} nb_special;

enum {
    NB_NO_TOKEN = -1,
    NB_MAX_STOPS = 16,
    NB_MAX_VOCAB = 1 << 24,        /* tokens */
    NB_MAX_VOCAB_BYTES = 256 << 20 /* of all tokens together */
};

typedef struct nb_vocab {
    nb_vocab_kind kind;
    char *pattern;      /* PCRE2 pattern that splits text into pieces; NULL for characters */
    uint32_t n_tokens;  /* ids 0..n_tokens-1; ids without bytes (specials, holes) have length 0 */
    nb_buf bytes;       /* all tokens' bytes */
    uint32_t *offsets;  /* [n_tokens + 1] into bytes; NULL while n_tokens is 0 */
    uint32_t offsets_capacity;
    nb_special *specials; /* control tokens by their text; never matched in ordinary text, never printed */
    size_t n_specials;
    int32_t bos, unk, pad;          /* NB_NO_TOKEN: none */
    int32_t stops[NB_MAX_STOPS];    /* tokens that end a generation */
    size_t n_stops;
} nb_vocab;

/* The converter's side: start empty (zeroed, then nb_vocab_init), add tokens in id order. */
void nb_vocab_init(nb_vocab *v, nb_vocab_kind kind);
nb_status nb_vocab_add(nb_vocab *v, const void *bytes, size_t n, nb_error *err);          /* id = n_tokens before */
/* A control token; extends n_tokens to id + 1 (the ids between become holes). The id must not have bytes. */
nb_status nb_vocab_add_special(nb_vocab *v, const char *text, size_t n, int32_t id, nb_error *err);
/* The pattern, copied. */
nb_status nb_vocab_set_pattern(nb_vocab *v, const char *pattern, size_t n, nb_error *err);
nb_status nb_vocab_add_stop(nb_vocab *v, int32_t id, nb_error *err); /* one that is there already is not added again */
/* Everything a tokenizer needs: ids in range, specials without bytes and told apart by text and id, no two tokens with
 * the same bytes; all 256 bytes and a pattern that compiles for BPE; tokens of one character each for characters.
 * nb_tokenizer_create checks the same. */
nb_status nb_vocab_check(const nb_vocab *v, nb_error *err);
void nb_vocab_free(nb_vocab *v); /* accepts a zeroed one */

/* The special token with this text, or NB_NO_TOKEN. */
int32_t nb_vocab_special(const nb_vocab *v, const char *text);

/* The model section's "tokenizer" object (new reference; NULL: out of memory), and the vocabulary back from a file
 * (NB_MISSING when the file has none). */
json_t *nb_vocab_to_json(const nb_vocab *v);
nb_status nb_vocab_load(nb_vocab *v, const json_t *object, const nb_reader *reader, nb_error *err);

#endif
