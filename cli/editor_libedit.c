/* Lines edited with libedit. */
#include <errno.h>
#include <histedit.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>
#include "cli/common.h"
#include "cli/editor.h"

struct editor {
    const char *prompt;
    EditLine *edit;
    History *history;
};

/* libedit hands the prompt out as char *, but only reads it. */
static char *get_prompt(EditLine *edit) {
    editor *e;
    el_get(edit, EL_CLIENTDATA, &e);
    return (char *)(uintptr_t)e->prompt;
}

/* One character. libedit's own function would swallow the first Ctrl-C: read() returns, it reads again. */
static int get_character(EditLine *edit, wchar_t *out) {
    (void)edit;
    mbstate_t state = {0};
    for (;;) {
        char byte;
        ssize_t n = interrupted() ? 0 : read(STDIN_FILENO, &byte, 1);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return (int)n;
        size_t used = mbrtowc(out, &byte, 1, &state);
        if (used == (size_t)-1)
            memset(&state, 0, sizeof state); /* no character: leave it out */
        else if (used != (size_t)-2)
            return 1;
    }
}

editor *editor_open(const char *prompt) {
    editor *e = calloc(1, sizeof *e);
    if (!e) return NULL;
    /* Which bytes make a character; numbers keep their point. */
    if (!setlocale(LC_CTYPE, "") || MB_CUR_MAX == 1) setlocale(LC_CTYPE, "C.UTF-8");
    e->prompt = prompt;
    e->edit = el_init("nibble", stdin, stderr, stderr);
    e->history = history_init();
    if (!e->edit || !e->history) {
        editor_close(e);
        return NULL;
    }
    HistEvent event;
    history(e->history, &event, H_SETSIZE, 1000);
    el_set(e->edit, EL_CLIENTDATA, e);
    el_set(e->edit, EL_PROMPT, get_prompt);
    el_set(e->edit, EL_EDITOR, "emacs");
    el_set(e->edit, EL_GETCFN, get_character);
    el_set(e->edit, EL_HIST, history, e->history);
    el_source(e->edit, NULL);
    return e;
}

bool editor_read(editor *e, nb_buf *line) {
    int n = 0;
    const char *text = el_gets(e->edit, &n);
    if (!text || n <= 0) {
        fputc('\n', stderr); /* what comes next begins a line of its own */
        return false;
    }
    HistEvent event;
    if (text[strspn(text, " \r\n")]) history(e->history, &event, H_ENTER, text);
    size_t length = (size_t)n;
    while (length && (text[length - 1] == '\n' || text[length - 1] == '\r')) length--;
    nb_buf_clear(line);
    nb_buf_append(line, text, length);
    return !line->failed;
}

void editor_close(editor *e) {
    if (!e) return;
    if (e->history) history_end(e->history);
    if (e->edit) el_end(e->edit);
    free(e);
}
