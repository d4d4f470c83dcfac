/* Regular expressions of a tokenizer.json, which are Oniguruma's: as core/regex.h reads them, or refused where the two
 * differ and no tokenizer is known that needs it. */
#include <string.h>
#include "base/mem.h"
#include "convert/tok_hf.h"
#include "core/regex.h"

/* Outside of classes its \w takes these too: for Latin-1 it asks another table. */
#define WORD "\\w\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}"
#define IN "[" WORD "]"

/* What outside of a class is written out. */
static const struct {
    const char *escape, *text;
} written[] = {
    {"\\w", IN},
    {"\\W", "[^" WORD "]"},
    {"\\b", "(?:(?<=" IN ")(?!" IN ")|(?<!" IN ")(?=" IN "))"},
    {"\\B", "(?:(?<=" IN ")(?=" IN ")|(?<!" IN ")(?!" IN "))"},
};

/* Escapes that mean other things to PCRE2: hexadecimal digits or horizontal space, vertical tab or space, quotes,
 * grapheme clusters of another version of Unicode. */
static bool is_other(char c) {
    return c && strchr("hHvVQEGNX", c);
}

/* What of the text at p is not known here, or NULL. */
static const char *unknown_at(const char *text, const char *p, bool in_class) {
    if (p[0] == '\\') return is_other(p[1]) ? "has an escape that PCRE2 reads otherwise" : NULL;
    if (p[0] == '&' && p[1] == '&') return "intersects classes with &&";
    if (p[0] == '[' && in_class) return "has a class within a class";
    bool interval = p[0] == '}' && p > text && (p[-1] == ',' || (p[-1] >= '0' && p[-1] <= '9'));
    if (interval && p[1] == '+') return "repeats an interval"; /* possessive in PCRE2, a loop in Oniguruma */
    if (p[0] != '(' || p[1] != '?') return NULL;
    for (p += 2; (*p >= 'a' && *p <= 'z') || *p == '-'; p++)
        if (*p == 'm') return "asks for . at ends of lines with (?m)";
    return NULL;
}

/* What stands at p, as core/regex.h reads it; returns how many characters it covers. */
static size_t put_part(const char *p, bool in_class, nb_buf *out) {
    size_t n = p[0] == '\\' && p[1] ? 2 : 1;
    for (size_t i = 0; n == 2 && !in_class && i < sizeof written / sizeof *written; i++) {
        if (strncmp(p, written[i].escape, n) != 0) continue;
        nb_buf_text(out, written[i].text);
        return n;
    }
    nb_buf_append(out, p, n);
    return n;
}

/* Oniguruma cuts text at empty matches too, and puts what replaces them there. */
static nb_status refuse_empty(const char *text, const nb_buf *pattern, nb_error *err) {
    nb_regex *regex = NULL;
    nb_status st = nb_regex_create(&regex, nb_buf_str(pattern), false, err);
    if (!st && nb_regex_may_be_empty(regex))
        st = nb_fail(err, NB_UNSUPPORTED, "its pattern '%.80s' can match an empty text, which is not known here", text);
    nb_regex_free(regex);
    return st;
}

nb_status nb_hf_regex(const char *text, nb_buf *out, nb_error *err) {
    const char *class = NULL; /* where the members of the class at work begin */
    nb_buf parts = {0};
    bool lines = false;
    for (const char *p = text; *p;) {
        const char *unknown = unknown_at(text, p, class != NULL);
        if (unknown) {
            nb_buf_free(&parts);
            return nb_fail(err, NB_UNSUPPORTED, "its pattern '%.80s' %s, which is not known here", text, unknown);
        }
        size_t n = put_part(p, class != NULL, &parts);
        lines |= !class && (*p == '^' || *p == '$');
        if (class && *p == ']' && p > class) class = NULL;
        else if (!class && *p == '[') {
            if (p[1] == '^') nb_buf_byte(&parts, (uint8_t)p[n++]);
            class = p + n;
        }
        p += n;
    }
    nb_buf_text(out, lines ? "(?m)" : ""); /* as tokenizers sets Oniguruma up, ^ and $ are the ends of lines */
    nb_buf_append(out, nb_buf_str(&parts), parts.size);
    out->failed |= parts.failed;
    nb_buf_free(&parts);
    return out->failed ? nb_oom(err, "tokenizer pattern", strlen(text)) : refuse_empty(text, out, err);
}
