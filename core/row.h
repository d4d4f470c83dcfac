/* One row of generation as a state machine that knows no model: it is given the sampled tokens and says what is forced,
 * which text is complete, and when the row ends. nb_generate runs one; a batch runs many side by side. */
#ifndef NB_CORE_ROW_H
#define NB_CORE_ROW_H

#include "core/generate.h"
#include "core/tools.h"

typedef struct nb_row {
    const nb_tokenizer *t;        /* NULL: a model without one; there is no text, and nothing but limits ends the row */
    const nb_generate_options *o; /* not owned */
    nb_generated *g;              /* not owned; grows with every token */
    bool done;                    /* g->finish and g->end_token say how */
    nb_utf8 utf8;
    nb_buf pending;               /* text that may be the beginning of a stop text */
    const nb_tool *tool;          /* whose call is being collected; NULL: none */
    nb_buf call;                  /* its text so far */
    size_t call_tokens;
    nb_ids forced;                /* a result that is being forced, from n_forced on */
    size_t n_forced;
} nb_row;

/* *g is zeroed; `o` and `g` outlive the row. NB_ARGUMENT for an empty stop text, stop texts without a
 * tokenizer, a stop token outside the vocabulary, or a state to go on from whose tool is not there. */
nb_status nb_row_start(nb_row *row, const nb_tokenizer *t, uint32_t vocab_size, const nb_generate_options *o,
                       nb_generated *g, nb_error *err);
void nb_row_free(nb_row *row); /* accepts a zeroed row */

/* The row's next token is forced: it is *id, and nothing is to be sampled. */
bool nb_row_forced(const nb_row *row, int32_t *id);

/* The row's next token: the forced one, or else the sampled one. Fills *step. `last`: there is room for no more; unless
 * a stop ends the row here, its length does. Unless the token is terminal it is part of g->ids, and of the text that
 * the model must see. step->text lives until the next call. */
nb_status nb_row_take(nb_row *row, int32_t id, bool last, nb_step *step, nb_error *err);

/* End a row that is not done: its text becomes complete. */
nb_status nb_row_end(nb_row *row, nb_finish finish, nb_error *err);

/* The next token is chosen: the forced one, or sampled from the logits. The sampler's stream moves on. */
int32_t nb_row_choose(const nb_row *row, nb_sampler *sampler, nb_sampler_room *room, const float *logits);

/* nb_row_take and what goes with it: the sampler counts the token, and `room` says how many tokens the text can still
 * take. */
nb_status nb_row_follow(nb_row *row, nb_sampler *sampler, int32_t id, size_t room, nb_step *step, nb_error *err);

/* The row has ended: g->state becomes what it needs to go on, which leaves the row. */
void nb_row_leave(nb_row *row, const nb_sampler *sampler);

/* What nb_generate needs of a session: append a token, the logits after the last one, and how many more fit. */
typedef struct nb_decoder {
    void *self;
    nb_status (*append)(void *self, int32_t id, nb_error *err);
    const float *(*logits)(void *self);
    uint32_t (*room)(void *self);
} nb_decoder;
nb_status nb_row_run(nb_row *row, nb_sampler *sampler, nb_sampler_room *room, const nb_decoder *decoder, nb_error *err);

#endif
