#include "core/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdio.h>
#include <string.h>
#include "base/buf.h"
#include "base/mem.h"

/* White_Space of Unicode (PropList.txt; the set has not changed since version 6.3), as members of a class. */
#define WHITE_SPACE \
    "\\x{9}-\\x{d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"

/* Word characters as Oniguruma takes them (those of Unicode's Technical Standard 18 without the two joiners), as
 * members of a class. */
#define WORD "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}"

enum {
    MAX_PATTERN = 1 << 16,
    HEAP_KIB = 256 << 10, /* for backtracking, per match */
    STEPS = 10000000      /* and as many again for every byte of text, times 8 */
};

struct nb_regex {
    pcre2_general_context *memory;
    pcre2_code *code;
    bool jit; /* compiled to machine code */
};

static void *pcre_alloc(size_t bytes, void *user) {
    (void)user;
    return nb_alloc(bytes);
}

static void pcre_free(void *p, void *user) {
    (void)user;
    nb_free(p);
}

/* NULL, with *code and *offset of the error, or the compiled pattern. */
static pcre2_code *compile(pcre2_general_context *memory, const char *pattern, size_t n, int *code, size_t *offset) {
    pcre2_compile_context *context = pcre2_compile_context_create(memory);
    if (!context) {
        *code = PCRE2_ERROR_NOMEMORY;
        return NULL;
    }
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_DOLLAR_ENDONLY | PCRE2_NO_AUTO_CAPTURE | PCRE2_NEVER_BACKSLASH_C;
    pcre2_code *compiled = pcre2_compile((PCRE2_SPTR)pattern, n, options, code, offset, context);
    pcre2_compile_context_free(context);
    return compiled;
}

/* Whether `name` is that of a script: PCRE2 takes it with the prefix that asks for the characters' own script. */
static bool is_script(pcre2_general_context *memory, const char *name, size_t n) {
    char pattern[64];
    int code = 0;
    size_t offset = 0;
    if (n < 3 || n > 40) return false; /* shorter ones are general categories */
    n = (size_t)snprintf(pattern, sizeof pattern, "\\p{sc:%.*s}", (int)n, name);
    pcre2_code *compiled = compile(memory, pattern, n, &code, &offset);
    pcre2_code_free(compiled);
    return compiled != NULL;
}

typedef struct translation {
    pcre2_general_context *memory;
    nb_buf *out;
    bool no_space, no_word; /* \S, \W were met in the class at work, which cannot hold a complement */
} translation;

/* \p{Script}: a bare name would be the script's extensions too. Returns how many characters that covers, 0: none. */
static size_t translate_script(translation *t, const char *p) {
    const char *end = strchr(p, '}');
    if (!strchr("pP", p[1]) || p[2] != '{' || !end || !is_script(t->memory, p + 3, (size_t)(end - p) - 3)) return 0;
    nb_buf_append(t->out, p, 3);
    nb_buf_text(t->out, "sc:");
    nb_buf_append(t->out, p + 3, (size_t)(end - p) - 2);
    return (size_t)(end - p) + 1;
}

/* The escape at p (a backslash, then a character); returns how many characters it covers. */
static size_t translate_escape(translation *t, const char *p, bool in_class) {
    const char *members = strchr("sS", p[1]) ? WHITE_SPACE : strchr("wW", p[1]) ? WORD : NULL;
    bool complement = p[1] == 'S' || p[1] == 'W';
    if (!members) {
        size_t n = translate_script(t, p);
        if (!n) nb_buf_append(t->out, p, 2);
        return n ? n : 2;
    }
    if (in_class && complement) {
        *(p[1] == 'S' ? &t->no_space : &t->no_word) = true;
        return 2;
    }
    nb_buf_printf(t->out, in_class ? "%s" : complement ? "[^%s]" : "[%s]", members);
    return 2;
}

/* The members of a class up to its ]; returns where that stands, or where the pattern ends. */
static const char *translate_members(translation *t, const char *p) {
    for (bool first = true; *p && (first || *p != ']'); first = false) {
        const char *end = p[0] == '[' && p[1] == ':' ? strstr(p, ":]") : NULL;
        size_t n = end ? (size_t)(end - p) + 2 : 1;
        if (p[0] == '\\' && p[1]) n = translate_escape(t, p, true);
        else nb_buf_append(t->out, p, n);
        p += n;
    }
    return p;
}

/* The class at p. With complements among its members it becomes alternatives: [^\S\n] is (?:(?![\n]|[^\s])(?s:.)). */
static const char *translate_class(translation *t, const char *p) {
    nb_buf *out = t->out, members = {0};
    bool negated = p[1] == '^';
    t->no_space = t->no_word = false;
    t->out = &members;
    p = translate_members(t, p + 1 + negated);
    t->out = out;
    const char *text = nb_buf_str(&members);
    bool plain = !t->no_space && !t->no_word;
    if (!plain) nb_buf_text(out, negated ? "(?:(?!" : "(?:");
    if (plain || members.size) {
        nb_buf_text(out, plain && negated ? "[^" : *text == '^' ? "[\\" : "[");
        nb_buf_append(out, text, members.size);
        if (*p) nb_buf_byte(out, ']');
        if (!plain) nb_buf_byte(out, '|');
    }
    if (t->no_space) nb_buf_text(out, "[^" WHITE_SPACE "]");
    if (t->no_space && t->no_word) nb_buf_byte(out, '|');
    if (t->no_word) nb_buf_text(out, "[^" WORD "]");
    if (!plain) nb_buf_text(out, negated ? ")(?s:.))" : ")");
    out->failed |= members.failed;
    nb_buf_free(&members);
    return *p ? p + 1 : p;
}

/* The pattern with what PCRE2 reads differently written out. */
static void translate(pcre2_general_context *memory, const char *p, nb_buf *out) {
    translation t = {.memory = memory, .out = out};
    while (*p) {
        if (*p == '[') {
            p = translate_class(&t, p);
        } else if (p[0] == '\\' && p[1]) {
            p += translate_escape(&t, p, false);
        } else {
            nb_buf_byte(out, (uint8_t)*p++);
        }
    }
}

static nb_status pattern_error(nb_error *err, int code, size_t offset) {
    PCRE2_UCHAR text[256] = "unknown error";
    pcre2_get_error_message(code, text, sizeof text);
    return nb_fail(err, NB_FORMAT, "tokenizer pattern: %s at offset %zu", (const char *)text, offset);
}

/* The error of the translated pattern, at the offset that it has in the pattern as it was given. */
static nb_status compile_error(pcre2_general_context *memory, const char *pattern, size_t n, int code, size_t offset,
                               nb_error *err) {
    if (code == PCRE2_ERROR_NOMEMORY || code == PCRE2_ERROR_HEAP_FAILED)
        return nb_oom(err, "compiled tokenizer pattern", n);
    int code_as_given = 0;
    size_t offset_as_given = 0;
    pcre2_code *as_given = compile(memory, pattern, n, &code_as_given, &offset_as_given);
    pcre2_code_free(as_given);
    return as_given ? pattern_error(err, code, offset) : pattern_error(err, code_as_given, offset_as_given);
}

static nb_status build(nb_regex *r, const char *pattern, bool jit, nb_error *err) {
    nb_status st = NB_OK;
    nb_buf translated = {0};
    int code = 0;
    size_t offset = 0, n = strlen(pattern);
    if (n > MAX_PATTERN)
        return nb_fail(err, NB_LIMIT, "tokenizer pattern: %zu bytes, at most %d are supported", n, (int)MAX_PATTERN);
    r->memory = pcre2_general_context_create(pcre_alloc, pcre_free, NULL);
    if (r->memory) translate(r->memory, pattern, &translated);
    if (translated.failed || !r->memory) {
        st = nb_oom(err, "tokenizer pattern", n);
        goto out;
    }
    r->code = compile(r->memory, nb_buf_str(&translated), translated.size, &code, &offset);
    if (!r->code) {
        st = compile_error(r->memory, pattern, n, code, offset, err);
        goto out;
    }
    r->jit = jit && pcre2_jit_compile(r->code, PCRE2_JIT_COMPLETE) == 0; /* where it fails, pcre2_match interprets */
out:
    nb_buf_free(&translated);
    return st;
}

nb_status nb_regex_create(nb_regex **regex, const char *pattern, bool jit, nb_error *err) {
    *regex = NULL;
    nb_regex *r = nb_calloc(1, sizeof *r);
    if (!r) return nb_oom(err, "tokenizer pattern", sizeof *r);
    nb_status st = build(r, pattern, jit, err);
    if (st) nb_regex_free(r);
    else *regex = r;
    return st;
}

void nb_regex_free(nb_regex *r) {
    if (!r) return;
    pcre2_code_free(r->code);
    pcre2_general_context_free(r->memory);
    nb_free(r);
}

bool nb_regex_may_be_empty(const nb_regex *r) {
    uint32_t may = 1;
    return pcre2_pattern_info(r->code, PCRE2_INFO_MATCHEMPTY, &may) || may;
}

nb_status nb_regex_open(nb_regex_run *run, const nb_regex *r, size_t n, nb_error *err) {
    *run = (nb_regex_run){.regex = r};
    run->data = pcre2_match_data_create(1, r->memory);
    run->limits = pcre2_match_context_create(r->memory);
    if (!run->data || !run->limits) return nb_oom(err, "matching the tokenizer pattern", n);
    uint64_t steps = STEPS + 8 * (uint64_t)n;
    pcre2_set_match_limit(run->limits, steps > UINT32_MAX ? UINT32_MAX : (uint32_t)steps);
    pcre2_set_heap_limit(run->limits, HEAP_KIB);
    return NB_OK;
}

void nb_regex_close(nb_regex_run *run) {
    pcre2_match_data_free(run->data);
    pcre2_match_context_free(run->limits);
    *run = (nb_regex_run){0};
}

/* The machine code called directly: that saves a third of the time of a short match. */
static int match(const nb_regex_run *run, const uint8_t *text, size_t n, size_t from) {
    const nb_regex *r = run->regex;
    uint32_t options = PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY; /* text is valid: checking again would cost O(n) a match */
    if (!r->jit) return pcre2_match(r->code, text, n, from, options, run->data, run->limits);
    int rc = pcre2_jit_match(r->code, text, n, from, PCRE2_NOTEMPTY, run->data, run->limits);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT) /* the interpreter takes its memory from the heap */
        rc = pcre2_match(r->code, text, n, from, options | PCRE2_NO_JIT, run->data, run->limits);
    return rc;
}

nb_status nb_regex_next(nb_regex_run *run, const uint8_t *text, size_t n, size_t from, size_t *begin, size_t *end,
                        nb_error *err) {
    int rc = match(run, text, n, from);
    *begin = *end = n;
    if (rc == PCRE2_ERROR_NOMATCH) return NB_OK;
    if (rc == PCRE2_ERROR_NOMEMORY) return nb_oom(err, "matching the tokenizer pattern", n);
    if (rc == PCRE2_ERROR_MATCHLIMIT || rc == PCRE2_ERROR_HEAPLIMIT || rc == PCRE2_ERROR_DEPTHLIMIT)
        return nb_fail(err, NB_LIMIT, "tokenizer pattern: too many steps for a text of %zu bytes, at byte %zu", n,
                       from);
    if (rc < 0) return pattern_error(err, rc, from);
    const size_t *ends = pcre2_get_ovector_pointer(run->data);
    /* \K may put the beginning before `from` or behind the end. */
    if (ends[0] < from || ends[1] <= ends[0] || ends[1] > n)
        return nb_fail(err, NB_FORMAT, "tokenizer pattern: a match ends before it begins, at byte %zu of the text",
                       from);
    *begin = ends[0];
    *end = ends[1];
    return NB_OK;
}
