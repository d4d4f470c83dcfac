#include "core/split.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <string.h>
#include "base/buf.h"
#include "base/mem.h"
#include "core/utf8.h"

/* White_Space of Unicode (PropList.txt; the set has not changed since version 6.3), as members of a class. */
#define WHITE_SPACE \
    "\\x{9}-\\x{d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"

enum {
    MAX_PATTERN = 1 << 16,
    HEAP_KIB = 256 << 10, /* for backtracking, per match */
    STEPS = 10000000      /* and as many again for every byte of text, times 8 */
};

struct nb_splitter {
    pcre2_general_context *memory;
    pcre2_code *code;
};

static void *pcre_alloc(size_t bytes, void *user) {
    (void)user;
    return nb_alloc(bytes);
}

static void pcre_free(void *p, void *user) {
    (void)user;
    nb_free(p);
}

/* The pattern with \s and \S written out, so that they mean White_Space. Inside a class \S stays: it cannot be. */
static void translate(const char *pattern, nb_buf *out) {
    bool in_class = false;
    for (const char *p = pattern; *p; p++) {
        if (p[0] == '\\' && p[1]) {
            if (p[1] == 's') nb_buf_text(out, in_class ? WHITE_SPACE : "[" WHITE_SPACE "]");
            else if (p[1] == 'S' && !in_class) nb_buf_text(out, "[^" WHITE_SPACE "]");
            else nb_buf_append(out, p, 2);
            p++;
            continue;
        }
        size_t n = 1;
        if (!in_class && *p == '[') {
            in_class = true;
            if (p[n] == '^') n++;
            if (p[n] == ']') n++; /* first in a class it is a member */
        } else if (in_class && p[0] == '[' && p[1] == ':') {
            const char *end = strstr(p, ":]");
            n = end ? (size_t)(end - p) + 2 : 1;
        } else if (in_class && *p == ']') {
            in_class = false;
        }
        nb_buf_append(out, p, n);
        p += n - 1;
    }
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

static nb_status build(nb_splitter *s, const char *pattern, bool jit, nb_error *err) {
    nb_status st = NB_OK;
    nb_buf translated = {0};
    int code = 0;
    size_t offset = 0, n = strlen(pattern);
    if (n > MAX_PATTERN)
        return nb_fail(err, NB_LIMIT, "tokenizer pattern: %zu bytes, at most %d are supported", n, (int)MAX_PATTERN);
    translate(pattern, &translated);
    s->memory = pcre2_general_context_create(pcre_alloc, pcre_free, NULL);
    if (translated.failed || !s->memory) {
        st = nb_oom(err, "tokenizer pattern", n);
        goto out;
    }
    s->code = compile(s->memory, nb_buf_str(&translated), translated.size, &code, &offset);
    if (!s->code) {
        st = compile_error(s->memory, pattern, n, code, offset, err);
        goto out;
    }
    if (jit) (void)pcre2_jit_compile(s->code, PCRE2_JIT_COMPLETE); /* where it fails, pcre2_match interprets */
out:
    nb_buf_free(&translated);
    return st;
}

nb_status nb_splitter_create(nb_splitter **splitter, const char *pattern, bool jit, nb_error *err) {
    *splitter = NULL;
    nb_splitter *s = nb_calloc(1, sizeof *s);
    if (!s) return nb_oom(err, "tokenizer pattern", sizeof *s);
    nb_status st = build(s, pattern, jit, err);
    if (st) nb_splitter_free(s);
    else *splitter = s;
    return st;
}

void nb_splitter_free(nb_splitter *s) {
    if (!s) return;
    pcre2_code_free(s->code);
    pcre2_general_context_free(s->memory);
    nb_free(s);
}

/* What one call of nb_split needs of its own. */
typedef struct matcher {
    const pcre2_code *code;
    pcre2_match_data *data;
    pcre2_match_context *limits;
} matcher;

static nb_status matcher_open(matcher *m, const nb_splitter *s, size_t n, nb_error *err) {
    m->code = s->code;
    m->data = pcre2_match_data_create(1, s->memory);
    m->limits = pcre2_match_context_create(s->memory);
    if (!m->data || !m->limits) return nb_oom(err, "matching the tokenizer pattern", n);
    uint64_t steps = STEPS + 8 * (uint64_t)n;
    pcre2_set_match_limit(m->limits, steps > UINT32_MAX ? UINT32_MAX : (uint32_t)steps);
    pcre2_set_heap_limit(m->limits, HEAP_KIB);
    return NB_OK;
}

static void matcher_close(matcher *m) {
    pcre2_match_data_free(m->data);
    pcre2_match_context_free(m->limits);
}

/* The next match in valid UTF-8 text[n] at or after `from`: [*begin, *end), not empty; n, n when there is none. */
static nb_status next_match(matcher *m, const uint8_t *text, size_t n, size_t from, size_t *begin, size_t *end,
                            nb_error *err) {
    uint32_t options = PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY; /* text is valid: checking again would cost O(n) a match */
    int rc = pcre2_match(m->code, text, n, from, options, m->data, m->limits);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT) /* the interpreter takes its memory from the heap */
        rc = pcre2_match(m->code, text, n, from, options | PCRE2_NO_JIT, m->data, m->limits);
    *begin = *end = n;
    if (rc == PCRE2_ERROR_NOMATCH) return NB_OK;
    if (rc == PCRE2_ERROR_NOMEMORY) return nb_oom(err, "matching the tokenizer pattern", n);
    if (rc == PCRE2_ERROR_MATCHLIMIT || rc == PCRE2_ERROR_HEAPLIMIT || rc == PCRE2_ERROR_DEPTHLIMIT)
        return nb_fail(err, NB_LIMIT, "tokenizer pattern: too many steps for a text of %zu bytes, at byte %zu", n,
                       from);
    if (rc < 0) return pattern_error(err, rc, from);
    const size_t *ends = pcre2_get_ovector_pointer(m->data);
    /* \K may put the beginning before `from` or behind the end. */
    if (ends[0] < from || ends[1] <= ends[0] || ends[1] > n)
        return nb_fail(err, NB_FORMAT, "tokenizer pattern: a match ends before it begins, at byte %zu of the text",
                       from);
    *begin = ends[0];
    *end = ends[1];
    return NB_OK;
}

static nb_status split_valid(matcher *m, const uint8_t *text, size_t n, nb_piece_fn *piece, void *user, nb_error *err) {
    for (size_t at = 0; at < n;) {
        size_t begin, end;
        nb_status st = next_match(m, text, n, at, &begin, &end, err);
        if (!st && begin > at) st = piece(user, text + at, begin - at, err);
        if (!st && end > begin) st = piece(user, text + begin, end - begin, err);
        if (st) return st;
        at = end;
    }
    return NB_OK;
}

/* How many bytes from the start do not belong to a valid character. */
static size_t invalid_prefix(const uint8_t *p, size_t n) {
    size_t i = 0, length = 0;
    while (i < n && nb_utf8_next(p + i, n - i, &length) != NB_UTF8_VALID) i += length;
    return i;
}

nb_status nb_split(const nb_splitter *s, const char *text, size_t n, nb_piece_fn *piece, void *user, nb_error *err) {
    if (n > INT32_MAX)
        return nb_fail(err, NB_LIMIT, "text of %zu bytes, at most %d can be tokenized at once", n, INT32_MAX);
    matcher m = {0};
    nb_status st = matcher_open(&m, s, n, err);
    const uint8_t *p = (const uint8_t *)text;
    for (size_t at = 0; !st && at < n;) {
        size_t valid = nb_utf8_valid_prefix(p + at, n - at);
        st = split_valid(&m, p + at, valid, piece, user, err);
        at += valid;
        size_t invalid = invalid_prefix(p + at, n - at);
        if (!st && invalid) st = piece(user, p + at, invalid, err);
        at += invalid;
    }
    matcher_close(&m);
    return st;
}
