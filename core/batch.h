/* Texts of one model side by side: what they are given in a step goes through each weight matrix together, so a step
 * with eight rows reads the weights once. A row's logits are, bit for bit, those that it would have alone, also when it
 * has taken the beginning of its text from another row or from the index of prefixes. Rows share pages of the KV cache
 * as long as they have the same text. One thread at a time per batch; its team works for it. */
#ifndef NB_CORE_BATCH_H
#define NB_CORE_BATCH_H

#include "core/session.h"

typedef struct nb_batch nb_batch;

enum { NB_BATCH_ROWS_MAX = 4096 };

/* Tokens for one row. */
typedef struct nb_batch_part {
    uint32_t row, n;
    const int32_t *ids; /* [n] */
} nb_batch_part;

/* The room of a row with these options. NB_ARGUMENT when the model has no positions for so many tokens, or when a text
 * that slides would see too few. */
nb_status nb_batch_context(const nb_model *model, const nb_session_options *options, uint32_t *room, nb_error *err);

/* n_rows empty rows, 1 to NB_BATCH_ROWS_MAX; options->n_ctx is the room of each. Address space is taken for all of
 * them, memory as their pages are written. */
nb_status nb_batch_create(nb_batch **batch, const nb_model *model, uint32_t n_rows, const nb_session_options *options,
                          nb_error *err);
void nb_batch_free(nb_batch *b); /* accepts NULL */

/* Append every part's tokens to its row, which no other part names. Together they are 1 to nb_batch_chunk tokens.
 * NB_LIMIT when a row or the chunk has no room for them, NB_ARGUMENT for an id outside the vocabulary: nothing is
 * appended then. */
nb_status nb_batch_append(nb_batch *b, const nb_batch_part *parts, size_t n_parts, nb_error *err);

/* Whether a row can take ids[n], however many chunks they need: NB_LIMIT and NB_ARGUMENT as above. */
nb_status nb_batch_check(const nb_batch *b, uint32_t row, const int32_t *ids, size_t n, nb_error *err);
nb_status nb_batch_check_ids(const nb_batch *b, const int32_t *ids, size_t n, nb_error *err); /* NB_ARGUMENT only */

/* Compute the logits after tokens first..first+n-1 of the last append, counted through its parts; n is at most
 * nb_batch_logit_rows. Row i of the result, [vocab_size], is at nb_batch_logits until the next call. */
void nb_batch_compute(nb_batch *b, uint32_t first, uint32_t n);
void nb_batch_compute_at(nb_batch *b, const uint32_t *tokens, uint32_t n); /* the same, any tokens of the last append */
const float *nb_batch_logits(const nb_batch *b, size_t i);

uint32_t nb_batch_chunk(const nb_batch *b);      /* most tokens per append */
uint32_t nb_batch_logit_rows(const nb_batch *b); /* at least the number of rows */
uint32_t nb_batch_room(const nb_batch *b);       /* positions of a row */
uint32_t nb_batch_length(const nb_batch *b, uint32_t row);
const int32_t *nb_batch_ids(const nb_batch *b, uint32_t row); /* [nb_batch_length], until the row changes */
const nb_model *nb_batch_model(const nb_batch *b);
nb_team *nb_batch_team(const nb_batch *b); /* NULL: one thread */

/* Forget all but a row's first `length` tokens, or all where the next one would see what was dropped; the length that
 * is left. Pages are dropped at the beginning of an append, as far as its first token sees none of them. */
uint32_t nb_batch_rewind(nb_batch *b, uint32_t row, uint32_t length);

/* The row `to`, whatever it held, becomes the first `length` tokens of the row `from`, and that as short as by
 * nb_batch_rewind. Nothing is copied until one of them goes on. */
void nb_batch_share(nb_batch *b, uint32_t to, uint32_t from, uint32_t length);

/* How long a beginning of ids[n] a row or the index of prefixes has; the row takes it in place of what it held, and is
 * as long then. */
uint32_t nb_batch_known(const nb_batch *b, const int32_t *ids, size_t n);
uint32_t nb_batch_recall(nb_batch *b, uint32_t row, const int32_t *ids, size_t n);

/* An order of rows in which those that share pages are neighbours: below, equal to or above 0. An append in that order
 * reads what they share once. */
int nb_batch_compare(const nb_batch *b, uint32_t row, uint32_t other);

/* The cache behind the rows, row i being text i, and the first page, besides the sinks, that a token at `position` sees
 * in a layer. For core/saved.c. */
struct nb_kv *nb_batch_kv(nb_batch *b);
uint32_t nb_batch_first_page(const nb_batch *b, uint32_t layer, uint32_t position);

/* The row, whatever it held, becomes ids[length], in pages that hold nothing yet: the caller fills those that the next
 * token sees. NB_LIMIT and NB_ARGUMENT as for an append, and the row is empty then. */
nb_status nb_batch_restore(nb_batch *b, uint32_t row, const int32_t *ids, uint32_t length, nb_error *err);

/* Bytes of the KV cache that rows and the index of prefixes hold, what is shared once. */
size_t nb_batch_kv_bytes(const nb_batch *b);

#endif
