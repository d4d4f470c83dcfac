/* Which chat style a checkpoint's chat template writes.
 *
 * Templates are Jinja programs; this project does not run them. A template is recognised by what every published one of
 * its family has to spell to do its work, the control texts, and by what it must not spell; what the style then writes
 * is compared with what the templates render in tests/test_chat_templates.c. */
#ifndef NB_CONVERT_CHAT_TEMPLATE_H
#define NB_CONVERT_CHAT_TEMPLATE_H

#include <stdbool.h>
#include "base/buf.h"

/* The name of a row of core/chat.def, or NULL: not a template that is known. */
const char *nb_chat_style_of_template(const char *text);

/* Append the system text that a known template writes where the messages bring none; false: it writes none. */
bool nb_chat_system_of_template(const char *text, nb_buf *out);

#endif
