/* A vocabulary's pieces gathered by id, as importers find them: in any order, some twice (as a piece of the model and as
 * an added token). Texts are not owned: they must outlive the table. */
#ifndef NB_CONVERT_TOK_PIECES_H
#define NB_CONVERT_TOK_PIECES_H

#include "base/status.h"
#include "core/vocab.h"

typedef struct nb_piece {
    const char *text; /* of the model; NULL: an added token only, or a hole */
    size_t n;
    double score;
    nb_token_type type;
    bool made;              /* the model makes it of text, or others of it */
    const char *added;      /* NULL: no added token */
    size_t n_added;
    uint32_t flags;         /* of the added token, NB_SPECIAL_... */
} nb_piece;

typedef struct nb_pieces {
    nb_piece *v; /* [n] by id */
    size_t n, capacity;
} nb_pieces;

/* The piece with this id, made when it is not there; valid until the next one is made. NB_LIMIT for ids beyond
 * NB_MAX_VOCAB. */
nb_status nb_pieces_at(nb_pieces *p, uint64_t id, nb_piece **piece, nb_error *err);
void nb_pieces_free(nb_pieces *p); /* accepts a zeroed one */

/* Fill an empty vocabulary that has its kind and flags. With `bytes`, texts of the model are in the alphabet of
 * bytes (core/byte_alphabet.h). With `scores`, the vocabulary gets scores. An added token is no piece of the model: text that spells
 * it never becomes it by merging, only by being found; unless a merge needs it. */
nb_status nb_pieces_put(const nb_pieces *p, nb_vocab *v, bool bytes, bool scores, nb_error *err);

/* Append the bytes of base64 text[n]; false: it is none, or empty. */
bool nb_tok_from_base64(const char *text, size_t n, nb_buf *out);

/* The byte that a text "<0x41>" stands for, or -1. */
int nb_tok_byte_of(const char *text, size_t n);

#endif
