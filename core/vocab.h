/* A vocabulary as data: what the converter's importers make, the file stores, and tokenizers are built from.
 *
 * In the file: the model section's "tokenizer" object and plain tensors; format/FORMAT.md, section 11, describes both.
 * An nb_vocab owns everything it points to.
 *
 * From text to tokens (core/tokenizer.c): specials that are found in text are cut out; the `normalize` rules change
 * what lies between; specials that are found in changed text are cut out; the `prepare` rules change what lies between;
 * the `split` rules cut it into pieces; the kind makes tokens of every piece. */
#ifndef NB_CORE_VOCAB_H
#define NB_CORE_VOCAB_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/status.h"
#include "core/vocab_rules.h"
#include "format/reader.h"

/* How a piece of text becomes tokens. */
typedef enum nb_vocab_kind {
    NB_VOCAB_BPE_RANKS,  /* byte-level BPE: neighbours merge when their bytes are a token, the lowest id first */
    NB_VOCAB_CHARS,      /* one token per character; unknown characters become `unk`, or are an error without one */
    NB_VOCAB_BPE_MERGES, /* BPE by a list of pairs, the first first */
    NB_VOCAB_BPE_SCORES, /* SentencePiece's BPE: as by ranks over characters, the highest score first */
    NB_VOCAB_UNIGRAM     /* the tokens with the highest sum of scores */
} nb_vocab_kind;

/* What a token is; `types` in the file. */
typedef enum nb_token_type {
    NB_TOKEN_ORDINARY,
    NB_TOKEN_BYTE,   /* one byte: stands for itself where a character is no token */
    NB_TOKEN_UNUSED, /* never made of a text */
    NB_TOKEN_USER,   /* unigram: wins against every other reading */
    NB_TOKEN_TYPE_COUNT
} nb_token_type;

/* What holds for a vocabulary as a whole; each is true or absent in the file. */
enum {
    NB_VOCAB_CHARACTERS = 1,    /* merges: start from characters, not bytes */
    NB_VOCAB_BYTE_FALLBACK = 2, /* what is no token becomes its bytes */
    NB_VOCAB_FUSE_UNK = 4,      /* neighbouring unknown characters are one unk */
    NB_VOCAB_WHOLE = 8,         /* merges: a piece that is a token is that token, whatever the merges say */
    NB_VOCAB_STRIP = 16,        /* decoding from the beginning drops one space there */
    NB_VOCAB_F32 = 32,          /* unigram: scores are summed in f32 (SentencePiece), not f64 (Hugging Face) */
    NB_VOCAB_STRIP_EACH = 64,   /* with strip: and one of every further token, until one has printed something */
    NB_VOCAB_STRIP_ALL = 128    /* with strip: all that stands for a space in the first token that prints something goes,
                                   and a space that stands there as such stays (Hugging Face's Metaspace) */
};

/* A token with a text of its own, which stands outside of the model's pieces. */
typedef struct nb_special {
    char *text;
    int32_t id;
    uint32_t flags; /* NB_SPECIAL_... */
} nb_special;
enum {
    NB_SPECIAL_TEXT = 1,       /* found in every text and printed; else a control token: neither */
    NB_SPECIAL_NORMALIZED = 2, /* looked for in the changed text, with its own text changed likewise */
    NB_SPECIAL_LATE = 4,       /* looked for in the changed text, as it is */
    NB_SPECIAL_WORD = 8,       /* not beside word characters */
    NB_SPECIAL_LSTRIP = 16,    /* white space before and behind belongs to it */
    NB_SPECIAL_RSTRIP = 32
};

enum {
    NB_NO_TOKEN = -1,
    NB_MAX_STOPS = 16,
    NB_MAX_SPECIALS = 1 << 16,
    NB_MAX_VOCAB = 1 << 24,         /* tokens */
    NB_MAX_VOCAB_BYTES = 256 << 20, /* of all tokens together */
    NB_MAX_CHARSMAP = 16 << 20      /* bytes */
};

typedef struct nb_vocab {
    nb_vocab_kind kind;
    uint32_t flags;     /* NB_VOCAB_... */
    uint32_t n_tokens;  /* ids 0..n_tokens-1; ids without bytes (most specials, holes) have length 0 */
    nb_buf bytes;       /* all tokens' bytes, as they stand in changed text */
    uint32_t *offsets;  /* [n_tokens + 1] into bytes; NULL while n_tokens is 0 */
    uint32_t offsets_capacity;
    uint8_t *types;     /* [n_tokens] of nb_token_type; NULL: all ordinary */
    double *scores;     /* [n_tokens]; NULL: none */
    uint32_t *merges;   /* [n_merges][2] ids, in the order of their ranks */
    size_t n_merges;
    nb_buf charsmap;    /* core/charsmap.h; may be empty */
    nb_text_rules normalize, prepare;
    nb_split_rules split;
    char *space;        /* what stands for a space in tokens, which decoding turns back; NULL: nothing does */
    nb_special *specials;
    size_t n_specials, specials_capacity;
    int32_t bos, eos;               /* put before and behind a text; NB_NO_TOKEN: none */
    int32_t unk, pad;               /* NB_NO_TOKEN: none */
    int32_t stops[NB_MAX_STOPS];    /* tokens that end a generation */
    size_t n_stops;
} nb_vocab;

/* The converter's side: start empty (zeroed, then nb_vocab_init), add tokens in id order. */
void nb_vocab_init(nb_vocab *v, nb_vocab_kind kind);
nb_status nb_vocab_add(nb_vocab *v, const void *bytes, size_t n, nb_error *err);          /* id = n_tokens before */
/* A token with a text of its own (flags NB_SPECIAL_...); extends n_tokens to id + 1 (the ids between become holes).
 * Without NB_SPECIAL_TEXT the id must not have bytes. */
nb_status nb_vocab_add_special(nb_vocab *v, const char *text, size_t n, int32_t id, uint32_t flags, nb_error *err);
nb_status nb_vocab_add_stop(nb_vocab *v, int32_t id, nb_error *err); /* one that is there already is not added again */
/* A pattern whose matches, and what lies between them, are the pieces. */
nb_status nb_vocab_set_pattern(nb_vocab *v, const char *pattern, size_t n, nb_error *err);
/* Types, all ordinary, and scores, all 0, of the tokens that are there. */
nb_status nb_vocab_make_types(nb_vocab *v, nb_error *err);
nb_status nb_vocab_make_scores(nb_vocab *v, nb_error *err);
/* Everything a tokenizer needs: ids in range, control tokens without bytes, specials told apart by text and id, no two
 * tokens with the same bytes; and what the kind asks for. nb_tokenizer_create checks the same. */
nb_status nb_vocab_check(const nb_vocab *v, nb_error *err);
void nb_vocab_free(nb_vocab *v); /* accepts a zeroed one */

/* The special token with this text, or NB_NO_TOKEN. */
int32_t nb_vocab_special(const nb_vocab *v, const char *text);

/* The bytes of a token in changed text, and its type. The id is in range. */
static inline const uint8_t *nb_vocab_bytes(const nb_vocab *v, uint32_t id, size_t *n) {
    *n = v->offsets[id + 1] - v->offsets[id];
    return *n ? v->bytes.data + v->offsets[id] : (const uint8_t *)"";
}
static inline nb_token_type nb_vocab_type(const nb_vocab *v, uint32_t id) {
    return v->types ? (nb_token_type)v->types[id] : NB_TOKEN_ORDINARY;
}

/* The model section's "tokenizer" object (new reference; NULL: out of memory), and the vocabulary back from a file
 * (NB_MISSING when the file has none). */
json_t *nb_vocab_to_json(const nb_vocab *v);
nb_status nb_vocab_load(nb_vocab *v, const json_t *object, const nb_reader *reader, nb_error *err);

/* The tensors of a vocabulary, as a file holds them. */
enum { NB_VOCAB_TENSORS = 6 };
typedef struct nb_vocab_tensor {
    const char *name;
    nb_type type;   /* u8 or u32 */
    uint64_t count; /* elements; 0: the vocabulary does not have it */
    nb_buf bytes;   /* little-endian; owned */
} nb_vocab_tensor;
nb_status nb_vocab_tensors(const nb_vocab *v, nb_vocab_tensor tensors[NB_VOCAB_TENSORS], nb_error *err);
void nb_vocab_tensors_free(nb_vocab_tensor tensors[NB_VOCAB_TENSORS]); /* accepts zeroed ones */
/* What nb_vocab_load does first. */
nb_status nb_vocab_load_tensors(nb_vocab *v, const nb_reader *reader, nb_error *err);

#endif
