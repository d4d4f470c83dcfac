/* The XSI strerror_r is the one that glibc, musl and macOS share; glibc hides it behind its own under _GNU_SOURCE. */
#undef _GNU_SOURCE
#define _POSIX_C_SOURCE 200809L

#include "base/status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* A sentence under construction. It has its own bytes because arguments may point into the nb_error it ends up in. */
typedef struct sentence {
    char text[NB_ERROR_TEXT];
    size_t length;
    bool cut;
} sentence;

static const char *const status_texts[] = {
#define STATUS(name, text) [NB_##name] = (text),
#include "base/status.def"
#undef STATUS
};

static void add(sentence *s, const char *fmt, va_list args) NB_PRINTF(2, 0);
static void add(sentence *s, const char *fmt, va_list args) {
    size_t room = sizeof s->text - s->length;
    int n = vsnprintf(s->text + s->length, room, fmt, args);
    if (n < 0) n = 0; /* an encoding error: keep what is there */
    if ((size_t)n >= room) {
        s->cut = true;
        s->length = sizeof s->text - 1;
    } else {
        s->length += (size_t)n;
    }
    s->text[s->length] = '\0';
}

static void add_text(sentence *s, const char *text) {
    size_t n = strlen(text), room = sizeof s->text - 1 - s->length;
    if (n > room) {
        s->cut = true;
        n = room;
    }
    memcpy(s->text + s->length, text, n);
    s->length += n;
    s->text[s->length] = '\0';
}

/* Mark a sentence that did not fit, without leaving half a UTF-8 character before the dots. */
static void finish(sentence *s) {
    if (!s->cut) return;
    size_t n = sizeof s->text - 1 - 3;
    while (n > 0 && ((unsigned char)s->text[n] & 0xC0) == 0x80) n--;
    memcpy(s->text + n, "...", 4);
    s->length = n + 3;
}

/* Names in a file can hold what steers a terminal, or a line's end: control characters (C0, C1 and DEL) become '?'. */
static void tame(sentence *s) {
    for (size_t i = 0; i < s->length; i++) {
        unsigned char c = (unsigned char)s->text[i], next = (unsigned char)s->text[i + 1];
        bool c1 = c == 0xc2 && next >= 0x80 && next < 0xa0; /* two bytes of UTF-8 */
        if (c1) s->text[i + 1] = '?';
        if (c < 0x20 || c == 0x7f || c1) s->text[i] = '?';
    }
}

static nb_status store(nb_error *err, nb_status status, sentence *s) {
    finish(s);
    tame(s);
    err->status = nb_not_ok(status);
    memcpy(err->text, s->text, s->length + 1);
    return status;
}

nb_status (nb_fail)(nb_error *err, nb_status status, const char *fmt, ...) {
    if (!err) return status;
    sentence s = {.length = 0};
    va_list args;
    va_start(args, fmt);
    add(&s, fmt, args);
    va_end(args);
    return store(err, status, &s);
}

nb_status (nb_fail_errno)(nb_error *err, int errnum, const char *fmt, ...) {
    nb_status status = errnum == ENOMEM ? NB_MEMORY : NB_IO;
    if (!err) return status;
    sentence s = {.length = 0};
    va_list args;
    va_start(args, fmt);
    add(&s, fmt, args);
    va_end(args);
    char reason[256];
    if (strerror_r(errnum, reason, sizeof reason) != 0) snprintf(reason, sizeof reason, "error %d", errnum);
    add_text(&s, ": ");
    add_text(&s, reason);
    return store(err, status, &s);
}

nb_status (nb_context)(nb_error *err, nb_status status, const char *fmt, ...) {
    if (!err) return status;
    sentence s = {.length = 0};
    va_list args;
    va_start(args, fmt);
    add(&s, fmt, args);
    va_end(args);
    add_text(&s, ": ");
    add_text(&s, err->text);
    return store(err, status, &s);
}

const char *nb_status_text(nb_status status) {
    size_t i = (size_t)status;
    return i < sizeof status_texts / sizeof *status_texts ? status_texts[i] : "unknown status";
}
