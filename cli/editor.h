/* A line typed at a terminal, with editing and history where libedit was found when this was built (editor_libedit.c),
 * without where not (editor_plain.c). The prompt and what is typed appear on stderr: stdout is for answers. */
#ifndef NB_CLI_EDITOR_H
#define NB_CLI_EDITOR_H

#include <stdbool.h>
#include "base/buf.h"

typedef struct editor editor;

editor *editor_open(const char *prompt); /* NULL: out of memory, or no terminal to work with */
/* The next line without its newline; false at the end of input or when a signal came. */
bool editor_read(editor *e, nb_buf *line);
void editor_close(editor *e); /* accepts NULL; gives the terminal back as it was */

#endif
