/* Lines as the terminal driver gives them. */
#include <stdio.h>
#include <stdlib.h>
#include "cli/common.h"
#include "cli/editor.h"

struct editor {
    const char *prompt;
};

editor *editor_open(const char *prompt) {
    editor *e = malloc(sizeof *e);
    if (e) e->prompt = prompt;
    return e;
}

bool editor_read(editor *e, nb_buf *line) {
    fputs(e->prompt, stderr);
    if (read_line(line)) return true;
    fputc('\n', stderr); /* what comes next begins a line of its own */
    return false;
}

void editor_close(editor *e) {
    free(e);
}
