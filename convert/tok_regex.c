#include "convert/tok_regex.h"

#include <stdbool.h>
#include <string.h>
#include "base/mem.h"
#include "core/regex.h"

/* What a library reads otherwise than core/regex.h. */
static const struct dialect {
    const char *word;        /* members of \w */
    bool word_in_class;      /* in a class too */
    bool intervals;          /* a{1,3}+ is a loop, not possessive */
    bool dot_lines;          /* (?m) is about . */
    bool lines;              /* ^ and $ are the ends of lines */
    bool empty;              /* empty matches cut text, or are replaced */
    const char *class_marks; /* what, twice, is an operation on classes */
} dialects[] = {
    /* Outside of classes its \w takes some more: for Latin-1 it asks another table. */
    [NB_DIALECT_ONIGURUMA] = {"\\w\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}", false, true, true, true, true, "&"},
    [NB_DIALECT_RUST] = {"\\w\\x{200c}\\x{200d}", true, false, false, false, false, "&-~"}, /* with the joiners */
};

/* What outside of a class is written out; % is a class of word characters, ^ its complement. */
static const struct {
    const char *escape, *text;
} written[] = {
    {"\\w", "%"},
    {"\\W", "^"},
    {"\\b", "(?:(?<=%)(?!%)|(?<!%)(?=%))"},
    {"\\B", "(?:(?<=%)(?=%)|(?<!%)(?!%))"},
};

/* Escapes that mean other things to PCRE2: hexadecimal digits or horizontal space, vertical tab or space, quotes,
 * grapheme clusters of another version of Unicode. */
static bool is_other(char c) {
    return c && strchr("hHvVQEGNX", c);
}

/* What of the text at p is not known here, or NULL. */
static const char *unknown_at(const struct dialect *d, const char *text, const char *p, bool in_class) {
    if (p[0] == '\\' && in_class && d->word_in_class && p[1] == 'W') return "has \\W in a class";
    if (p[0] == '\\') return is_other(p[1]) ? "has an escape that PCRE2 reads otherwise" : NULL;
    if (in_class && p[0] == p[1] && strchr(d->class_marks, *p)) return "intersects classes with && or the like";
    if (in_class && p[0] == '[') return "has a class within a class";
    bool interval = p[0] == '}' && p > text && (p[-1] == ',' || (p[-1] >= '0' && p[-1] <= '9'));
    if (interval && p[1] == '+' && d->intervals) return "repeats an interval";
    if (p[0] != '(' || p[1] != '?' || !d->dot_lines) return NULL;
    for (p += 2; (*p >= 'a' && *p <= 'z') || *p == '-'; p++)
        if (*p == 'm') return "asks for . at ends of lines with (?m)";
    return NULL;
}

static void put_written(const struct dialect *d, const char *text, nb_buf *out) {
    for (; *text; text++)
        if (*text == '%' || *text == '^') nb_buf_printf(out, *text == '%' ? "[%s]" : "[^%s]", d->word);
        else nb_buf_byte(out, (uint8_t)*text);
}

/* What stands at p, as core/regex.h reads it; returns how many characters it covers. */
static size_t put_part(const struct dialect *d, const char *p, bool in_class, nb_buf *out) {
    size_t n = p[0] == '\\' && p[1] ? 2 : 1;
    if (in_class && d->word_in_class && strncmp(p, "\\w", 2) == 0) {
        nb_buf_text(out, d->word);
        return n;
    }
    for (size_t i = 0; n == 2 && !in_class && i < sizeof written / sizeof *written; i++) {
        if (strncmp(p, written[i].escape, n) != 0) continue;
        put_written(d, written[i].text, out);
        return n;
    }
    nb_buf_append(out, p, n);
    return n;
}

static nb_status refuse_empty(const char *text, const nb_buf *pattern, nb_error *err) {
    nb_regex *regex = NULL;
    nb_status st = nb_regex_create(&regex, nb_buf_str(pattern), false, err);
    if (!st && nb_regex_may_be_empty(regex))
        st = nb_fail(err, NB_UNSUPPORTED, "its pattern '%.80s' can match an empty text, which is not known here", text);
    nb_regex_free(regex);
    return st;
}

nb_status nb_tok_regex(nb_dialect dialect, const char *text, nb_buf *out, nb_error *err) {
    const struct dialect *d = &dialects[dialect];
    const char *class = NULL; /* where the members of the class at work begin */
    nb_buf parts = {0};
    bool lines = false;
    for (const char *p = text; *p;) {
        const char *unknown = unknown_at(d, text, p, class != NULL);
        if (unknown) {
            nb_buf_free(&parts);
            return nb_fail(err, NB_UNSUPPORTED, "its pattern '%.80s' %s, which is not known here", text, unknown);
        }
        size_t n = put_part(d, p, class != NULL, &parts);
        lines |= !class && (*p == '^' || *p == '$');
        if (class && *p == ']' && p > class) class = NULL;
        else if (!class && *p == '[') {
            if (p[1] == '^') nb_buf_byte(&parts, (uint8_t)p[n++]);
            class = p + n;
        }
        p += n;
    }
    nb_buf_text(out, lines && d->lines ? "(?m)" : "");
    nb_buf_append(out, nb_buf_str(&parts), parts.size);
    out->failed |= parts.failed;
    nb_buf_free(&parts);
    if (out->failed) return nb_oom(err, "tokenizer pattern", strlen(text));
    return d->empty ? refuse_empty(text, out, err) : NB_OK;
}
