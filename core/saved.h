/* Texts in files: a row's tokens, its pages of the KV cache and what else it takes to go on, for the same model on any
 * machine. docs/sessions.md has the format. A file is written beside its target and renamed; what is read is trusted in
 * nothing: every byte is under a checksum, every size follows from the model and is compared before it is used.
 *
 * Keys and values are the same bits on every CPU, so a text that is restored on another one goes on with the same
 * tokens. Logits are not saved: the last token is left to be read again. One thread at a time per batch. */
#ifndef NB_CORE_SAVED_H
#define NB_CORE_SAVED_H

#include "core/batch.h"
#include "core/row_state.h"

typedef struct nb_saved { /* zeroed by the caller; nb_saved_free */
    nb_ids ids;         /* the text */
    nb_row_state state; /* how its generation goes on */
    nb_buf more;        /* bytes of the caller's own, up to NB_SAVED_MORE_MAX */
} nb_saved;
enum { NB_SAVED_MORE_MAX = 16 << 20 };
void nb_saved_free(nb_saved *s);

/* Write saved->ids, of which the row holds a beginning, and that beginning's pages. The file is replaced when it
 * exists. */
nb_status nb_saved_write(nb_batch *b, uint32_t row, const nb_saved *saved, const char *path, nb_error *err);

/* Read a file into a zeroed *saved, and into the row, which then holds all of saved->ids but the last token, or fewer
 * when the file had fewer pages. NB_ARGUMENT with a sentence for a file of another model, other types of keys and
 * values or another window; NB_LIMIT when the row has no room for the text; NB_FORMAT, NB_TRUNCATED, NB_CHECKSUM for a
 * bad file. The row is empty after a failure. */
nb_status nb_saved_read(nb_batch *b, uint32_t row, const char *path, nb_saved *saved, nb_error *err);

/* The same for a session. After reading, it holds all of saved->ids, and nb_session_logits are those after the last. */
nb_status nb_session_save(nb_session *s, const nb_saved *saved, const char *path, nb_error *err);
nb_status nb_session_load(nb_session *s, const char *path, nb_saved *saved, nb_error *err);

#endif
