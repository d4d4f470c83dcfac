/* What generation of a row must know, besides the text, to go on where it stopped: the random stream, an open call of a
 * tool, a result that is being forced, a character that was cut. (Counts for penalties follow from the text.) */
#ifndef NB_CORE_ROW_STATE_H
#define NB_CORE_ROW_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/status.h"
#include "core/rng.h"
#include "core/tokenizer.h"

typedef struct nb_row_state { /* zeroed: a row at its beginning */
    nb_rng rng;           /* never all zero in a state that was kept */
    nb_utf8 utf8;         /* the beginning of a character */
    nb_buf tool, call;    /* name of the tool whose call is open, or empty; the call's text so far */
    uint32_t call_tokens; /* of it */
    nb_ids forced;        /* tokens that are forced next */
} nb_row_state;

bool nb_row_state_kept(const nb_row_state *s); /* false: it is zeroed */
void nb_row_state_free(nb_row_state *s);       /* accepts a zeroed one */

/* To bytes, appended to `out`, and back, into a zeroed one: NB_FORMAT for what no row can be in. All little-endian: 4
 * u64 rng, 4 bytes held of a character and u32 how many of them count; then each with its length in a u32 before it:
 * tool, call, the forced ids (u32 each); and u32 call_tokens. */
void nb_row_state_write(const nb_row_state *s, nb_buf *out);
nb_status nb_row_state_read(nb_row_state *s, const uint8_t *bytes, size_t n, uint32_t vocab_size, nb_error *err);

#endif
