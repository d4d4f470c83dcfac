/* Generating text from a session: sampling, forced tokens, tools, stop tokens and stop texts, for one row at a time.
 * The column callback is what streams, counts and cancels. */
#ifndef NB_CORE_GENERATE_H
#define NB_CORE_GENERATE_H

#include <stdbool.h>
#include "core/row_state.h"
#include "core/sampler.h"
#include "core/session.h"
#include "core/tokenizer.h"

typedef enum nb_finish { NB_FINISH_STOP, NB_FINISH_LENGTH, NB_FINISH_CANCELLED } nb_finish;
const char *nb_finish_name(nb_finish f); /* "stop", "length", "cancelled" */

/* One token as it joins the text. */
typedef struct nb_step {
    int32_t id;
    bool sampled;    /* false: forced by a tool */
    bool terminal;   /* a stop token: the end of the row */
    bool done;       /* the row has ended with it, in whatever way but by being cancelled */
    const char *text; /* UTF-8 that became complete with this token and no stop text can still claim; may be empty */
    size_t text_size;
} nb_step;

typedef struct nb_generate_options {
    nb_sampler_params sampling;
    uint64_t stream;          /* row number: own random stream */
    const nb_row_state *resume; /* go on where a row stopped that had come to this text, not with a new stream; or NULL */
    uint32_t max_tokens;      /* 0: until the session's room ends */
    const char *const *stops; /* stop texts [n_stops]; the text ends before the first of them */
    size_t n_stops;
    const int32_t *stop_tokens; /* [n_stop_tokens], besides those of the vocabulary */
    size_t n_stop_tokens;
    bool ignore_stop_tokens;    /* the vocabulary's */
    bool keep;                /* in an engine: the batch row keeps the text when it has ended, until another joins there */
    bool tools;               /* run the tools of the registry whose control tokens the vocabulary has */
    const struct nb_tool *own_tools; /* [n_own_tools] the caller's (core/tools.h), looked for before those */
    size_t n_own_tools;
    uint32_t lookup; /* read drafts of up to so many tokens ahead (core/lookup.h), up to NB_LOOKUP_MAX and one less
                      * than the session's n_logits; 0: none. Changes no result */
    bool (*step)(void *user, const nb_step *step); /* may be NULL; false cancels */
    void *user;
} nb_generate_options;

typedef struct nb_generated { /* zeroed by the caller; nb_generated_free */
    nb_ids ids;      /* generated tokens, forced ones included; the terminal token is not part of it */
    nb_buf mask;     /* one byte per id: 1 sampled, 0 forced */
    nb_buf text;     /* UTF-8 of what is meant to be read: no control tokens, no tool calls, no results */
    nb_finish finish;
    int32_t end_token; /* the terminal token, or NB_NO_TOKEN */
    size_t drafted, accepted; /* tokens of drafts, and those that were right */
    nb_row_state state; /* when the row has ended: how it would go on */
} nb_generated;
void nb_generated_free(nb_generated *g);

/* Continue the session, whose last append gave logits, by one row. `prompt` [n_prompt] is what the session holds (for
 * penalties). When the row ends, every token of g->ids is in the session (the terminal token is not). */
nb_status nb_generate(nb_session *s, const int32_t *prompt, size_t n_prompt, const nb_generate_options *options,
                      nb_generated *g, nb_error *err);

#endif
