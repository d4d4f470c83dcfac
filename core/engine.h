/* Many texts generated side by side: continuous batching over the rows of a batch. Texts join and leave between steps.
 * A step takes the next token of every row that speaks, and as many tokens of waiting prompts as its chunk has room
 * for, through each weight matrix together; then every row that speaks gets its next token. N texts from one prompt
 * share one reading of it, and a prompt that begins like another text, present or of late, shares that one's pages.
 *
 * What a row generates depends on its prompt, its options and its stream alone: it is what nb_generate gives for them,
 * whoever its neighbours are and whenever it joins. One thread at a time per engine; the options' team works for it. */
#ifndef NB_CORE_ENGINE_H
#define NB_CORE_ENGINE_H

#include "core/batch.h"
#include "core/generate.h"
#include "core/saved.h"

typedef struct nb_engine nb_engine;

/* n_rows texts at once, 1 to NB_BATCH_ROWS_MAX; options as for a batch: n_ctx is the room of each row, n_prefix pages
 * are kept of texts that have ended. */
nb_status nb_engine_create(nb_engine **engine, const nb_model *model, uint32_t n_rows,
                           const nb_session_options *options, nb_error *err);
void nb_engine_free(nb_engine *e); /* accepts NULL */

uint32_t nb_engine_free_rows(const nb_engine *e);
bool nb_engine_busy(const nb_engine *e); /* rows are waiting, reading or speaking */
const nb_batch *nb_engine_batch(const nb_engine *e);

/* What nb_engine_join asks of a prompt: NB_ARGUMENT when it is empty or has an id outside the vocabulary, NB_LIMIT when
 * no row has room for it. */
nb_status nb_engine_check(const nb_engine *e, const int32_t *ids, size_t n, nb_error *err);

/* n_texts texts continue the prompt ids[n], n >= 1, each in a row of its own: text i by options[i] into *generated[i],
 * which is zeroed, and belongs to the caller as in nb_generate. The prompt and the options are copied; generated[i] and
 * the options' stop texts must live until text i has ended. `step` of the options is not called: columns tell. rows[i]
 * becomes the row's number. NB_LIMIT when there are fewer free rows, and what nb_engine_check says; nothing joins then.
 * A prompt is read when those before it have been. */
nb_status nb_engine_join(nb_engine *e, const int32_t *ids, size_t n, const nb_generate_options *options,
                         uint32_t n_texts, nb_generated *const *generated, uint32_t *rows, nb_error *err);

/* What a step brought: a token of each row that speaks, and with lookup those of its draft that were right, in their
 * order. */
typedef struct nb_column_item {
    uint32_t row;
    bool done;              /* the text has ended, generated->finish says how; the row is free */
    nb_generated *generated; /* of the text */
    nb_step step;           /* its text lives until the next call; id NB_NO_TOKEN: the prompt left no room for one */
} nb_column_item;
typedef struct nb_column {
    size_t n;
    const nb_column_item *items; /* [n], the engine's, until its next call; rows with common pages are neighbours */
    size_t n_read, n_recalled;   /* tokens of prompts that this step read, and that it found known */
    size_t n_continued;          /* tokens of rows that spoke before: what it took through the model besides */
} nb_column;

/* One step; *column may be without items while prompts are read. After a failure the engine can only be freed. */
nb_status nb_engine_step(nb_engine *e, nb_column *column, nb_error *err);

/* End a row's text as cancelled: its text becomes complete, and the row free. Nothing for a free row. */
nb_status nb_engine_cancel(nb_engine *e, uint32_t row, nb_error *err);

/* A text that has ended, joined with `keep`, to a file: saved->ids is its prompt and what was generated
 * (core/saved.h). */
nb_status nb_engine_save(nb_engine *e, uint32_t row, const nb_saved *saved, const char *path, nb_error *err);

/* A file into a free row, the next that a text will join: a prompt that begins like saved->ids takes what they have in
 * common. saved->ids as the prompt and saved->state to resume from go on where the text stopped. NB_LIMIT without a
 * free row. */
nb_status nb_engine_load(nb_engine *e, const char *path, nb_saved *saved, nb_error *err);

/* Steps until every text has ended. */
nb_status nb_engine_finish(nb_engine *e, nb_error *err);

#endif
