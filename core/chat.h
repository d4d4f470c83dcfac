/* Conversations: how a model's chat style turns messages into tokens. The styles are the rows of one table. */
#ifndef NB_CORE_CHAT_H
#define NB_CORE_CHAT_H

#include <stdbool.h>
#include "core/tokenizer.h"

typedef enum nb_chat_role { NB_ROLE_SYSTEM, NB_ROLE_USER, NB_ROLE_ASSISTANT } nb_chat_role;

typedef struct nb_chat_style nb_chat_style;

/* "nanochat", "minigpt", "plain", ...; NULL: no such style. nb_chat_style_at walks the table (NULL at its end). */
const nb_chat_style *nb_chat_style_find(const char *name);
const nb_chat_style *nb_chat_style_at(size_t i);
const char *nb_chat_style_name(const nb_chat_style *style);
/* The style's tools work on this model's tokens (the calculator's control tokens exist). */
bool nb_chat_style_has_tools(const nb_chat_style *style, const nb_tokenizer *t);

/* Append the tokens that start a conversation, a user's message up to the point where the assistant speaks, and what
 * follows a finished answer (unless the answer's own end token said it). NB_MISSING names a control token that the
 * vocabulary lacks. A system text is only valid with the first user message. */
nb_status nb_chat_begin(const nb_chat_style *style, const nb_tokenizer *t, nb_ids *out, nb_error *err);
nb_status nb_chat_user(const nb_chat_style *style, const nb_tokenizer *t, const char *system, const char *text, nb_ids *out,
                       nb_error *err);
/* `ended` : the token that ended the answer, or NB_NO_TOKEN when a limit did. */
nb_status nb_chat_assistant_end(const nb_chat_style *style, const nb_tokenizer *t, int32_t ended, nb_ids *out, nb_error *err);

#endif
