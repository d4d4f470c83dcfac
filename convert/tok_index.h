/* From the texts of a vocabulary's pieces to their ids. */
#ifndef NB_CONVERT_TOK_INDEX_H
#define NB_CONVERT_TOK_INDEX_H

#include "base/status.h"
#include "convert/tok_pieces.h"

typedef struct nb_tok_index {
    const nb_pieces *pieces; /* not owned; they may not change */
    int32_t *slots;          /* [mask + 1] ids, -1 free: open addressing */
    size_t mask;
} nb_tok_index;

/* Of pieces with one text the last counts. */
nb_status nb_tok_index_build(nb_tok_index *x, const nb_pieces *pieces, nb_error *err);
void nb_tok_index_free(nb_tok_index *x); /* accepts a zeroed one */

/* The id of the piece with this text; NB_NO_TOKEN when there is none. */
int32_t nb_tok_index_find(const nb_tok_index *x, const char *text, size_t n);

#endif
