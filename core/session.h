/* A session: one text's KV cache and the memory to extend it. All memory is planned and taken at creation (KV pages are
 * committed as the text grows). One thread at a time per session; its team works for it.
 *
 * The logits of a position depend only on the tokens up to it: not on how they were cut into appends or chunks, not on
 * the team's size, not on the CPU. Bit for bit. */
#ifndef NB_CORE_SESSION_H
#define NB_CORE_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/status.h"
#include "base/team.h"
#include "core/model.h"

typedef struct nb_session nb_session;

/* Element types of the KV cache, of keys and of values independently. */
typedef enum nb_kv_type {
#define KV_TYPE(NAME, name) NB_KV_##NAME,
#include "core/kv_types.def"
#undef KV_TYPE
} nb_kv_type;

const char *nb_kv_type_name(size_t type);                      /* NULL past the end */
bool nb_kv_type_by_name(const char *name, nb_kv_type *type); /* false: no such type */

typedef struct nb_kv_types {
    nb_kv_type keys, values;
} nb_kv_types;

/* What becomes of a text that reaches n_ctx tokens. */
typedef enum nb_overflow {
    NB_OVERFLOW_STOP, /* it takes no more */
    /* It goes on, and sees its first 64 tokens and the latest of the others, n_ctx at most: the 64-blocks before them
     * are dropped, so its memory stays what it is. The token at position p sees the positions from 64 (p / 64 + 2 -
     * n_ctx / 64) on besides the first 64. Positions go on growing, up to n_ctx of the model with learned ones, else up
     * to NB_SLIDE_POSITIONS. n_ctx is 128 at least. */
    NB_OVERFLOW_SLIDE
} nb_overflow;

enum { NB_SESSION_CHUNK_MAX = 4096, NB_SLIDE_POSITIONS = 1 << 20 };

/* Sees what enters every matrix product, before it is computed: the rows x[n][stride], of which w->cols columns count.
 * Called on the session's thread while its team rests. For measuring (calibration); changes nothing. */
typedef struct nb_observer {
    void (*fn)(void *user, const nb_weight *w, const float *x, size_t stride, size_t n);
    void *user;
    uint32_t n_layer; /* blocks that are computed, when what is to be seen lies in the first ones; 0: all */
} nb_observer;

typedef struct nb_session_options {
    uint32_t n_ctx;   /* room for this many positions; 0: the model's n_ctx; more is refused with learned positions */
    uint32_t n_chunk; /* most tokens per forward pass, up to NB_SESSION_CHUNK_MAX; 0: 256 */
    uint32_t n_logits; /* most positions whose logits are computed together, up to NB_SESSION_CHUNK_MAX; 0: 8 */
    nb_kv_types kv;
    nb_overflow overflow;
    uint32_t n_prefix; /* pages of 64 positions that a batch keeps of ended texts, for others that begin alike */
    nb_team *team;    /* may be NULL: one thread */
    const nb_observer *observer; /* may be NULL; must outlive the session */
} nb_session_options;

nb_status nb_session_create(nb_session **session, const nb_model *model, const nb_session_options *options,
                            nb_error *err);
void nb_session_free(nb_session *s); /* accepts NULL */

/* Called with the logits [vocab_size] of one position, in order; returns 0 to go on, anything else cancels. */
typedef int (*nb_logits_fn)(void *user, size_t position, const float *logits);

/* Append ids[n]. With `each`, it is called for every new position; without, only the last position's logits are
 * computed (and are at nb_session_logits afterwards, until the next call). NB_LIMIT when the room does not suffice
 * (nothing is appended), NB_ARGUMENT for an id outside the vocabulary, NB_CANCELLED when `each` cancelled. */
nb_status nb_session_append(nb_session *s, const int32_t *ids, size_t n, nb_logits_fn each, void *user, nb_error *err);
const float *nb_session_logits(const nb_session *s);

uint32_t nb_session_length(const nb_session *s); /* positions held */
uint32_t nb_session_room(const nb_session *s);   /* most that it can hold: n_ctx, or what `overflow` makes of it */
const nb_model *nb_session_model(const nb_session *s);
struct nb_batch *nb_session_batch(nb_session *s); /* a session is a batch of one row */

/* Forget all positions from `length` on (length <= nb_session_length). The logits become those of no position. Where
 * the next token would see what windows or `overflow` have dropped, all is forgotten. Returns the length that is left;
 * `length` for certain when it is not below what nb_session_length was before the last append. */
uint32_t nb_session_rewind(nb_session *s, uint32_t length);

#endif
