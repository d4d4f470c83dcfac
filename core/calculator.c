/* nanochat's calculator: what its use_calculator() lets Python evaluate, parsed and computed here.
 *
 * Upstream removes commas and then hands two kinds of text to eval(): such as consist of "0123456789*+-/.() " without
 * "**", and such as consist of letters, digits, quotes, "()._" and blanks, hold ".count(" and none of a list of words.
 * Of the first kind everything that has a value in Python has the same value here: also "()", which is an empty tuple,
 * and "...", Ellipsis. Of the second kind only string literals with .count() are evaluated; whatever else eval() would
 * accept gives no result.
 *
 * Limits, beyond which there is no result: 512 bytes, 64 levels of parentheses. Ints need no limit of their own: no
 * operation gives more digits than its operands have together, so 512 bytes make less than 10^512 < 2^1701. */
#include <math.h>
#include <string.h>
#include "core/bignum.h"
#include "core/pyfloat.h"
#include "core/tools.h"

enum { MAX_BYTES = 512, MAX_DEPTH = 64 };
_Static_assert(32 * NB_BIG_LIMBS >= 1701 + 56, "ints of 512 digits, and room for nb_big_ratio's scaling");

typedef struct value {
    enum { INT, FLOAT, EMPTY_TUPLE, ELLIPSIS } kind;
    double f;
    nb_big i;
} value;

typedef struct parser {
    const char *p, *end;
    int depth;
} parser;

static bool expression(parser *s, value *v);

static char peek(parser *s) {
    while (s->p < s->end && *s->p == ' ') s->p++;
    return s->p < s->end ? *s->p : '\0';
}

/* The text begins with `token` here; steps over it. */
static bool take(parser *s, const char *token) {
    size_t n = strlen(token);
    (void)peek(s);
    if ((size_t)(s->end - s->p) < n || memcmp(s->p, token, n) != 0) return false;
    s->p += n;
    return true;
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool take_digits(parser *s, nb_big *mantissa, size_t *count) {
    const char *from = s->p;
    for (; s->p < s->end && is_digit(*s->p); s->p++) nb_big_mul_small(mantissa, 10, (uint32_t)(*s->p - '0'));
    *count = (size_t)(s->p - from);
    return *count > 0;
}

/* Digits with at most one point: an int without a point (no leading zeros, unless all are), else a float. A float's
 * value is the quotient of two ints, rounded once. */
static bool number(parser *s, value *v) {
    const char *from = s->p;
    size_t whole, decimals = 0;
    v->i = nb_big_from(0);
    v->kind = INT;
    take_digits(s, &v->i, &whole);
    if (s->p == s->end || *s->p != '.') return *from != '0' || v->i.n == 0;
    s->p++;
    if (!take_digits(s, &v->i, &decimals) && !whole) return false;
    nb_big power = nb_big_from(1);
    for (size_t i = 0; i < decimals; i++) nb_big_mul_small(&power, 10, 0);
    v->kind = FLOAT;
    v->f = nb_big_ratio(&v->i, &power); /* infinite when it is too large, as in Python */
    return true;
}

static bool primary(parser *s, value *v) {
    if (take(s, "...")) {
        v->kind = ELLIPSIS;
        return true;
    }
    if (!take(s, "(")) return (is_digit(peek(s)) || peek(s) == '.') && number(s, v);
    if (take(s, ")")) {
        v->kind = EMPTY_TUPLE;
        return true;
    }
    if (s->depth == MAX_DEPTH) return false;
    s->depth++;
    bool ok = expression(s, v) && take(s, ")");
    s->depth--;
    return ok;
}

static bool factor(parser *s, value *v) {
    bool negate = false, any = false;
    for (char sign; (sign = peek(s)) == '-' || sign == '+'; s->p++) {
        negate ^= sign == '-';
        any = true;
    }
    if (!primary(s, v)) return false;
    if (any && v->kind != INT && v->kind != FLOAT) return false;
    if (negate && v->kind == INT) nb_big_negate(&v->i);
    if (negate && v->kind == FLOAT) v->f = -v->f;
    return true;
}

typedef enum operation { ADD, SUBTRACT, MULTIPLY, DIVIDE, FLOOR_DIVIDE } operation;

static bool int_operation(operation op, value *a, const value *b) {
    if ((op == DIVIDE || op == FLOOR_DIVIDE) && b->i.n == 0) return false;
    switch (op) {
    case ADD: nb_big_add(&a->i, &a->i, &b->i); break;
    case SUBTRACT: nb_big_sub(&a->i, &a->i, &b->i); break;
    case MULTIPLY: nb_big_mul(&a->i, &a->i, &b->i); break;
    case FLOOR_DIVIDE: nb_big_floor_divide(&a->i, &a->i, &b->i); break;
    case DIVIDE:
        a->f = nb_big_ratio(&a->i, &b->i);
        a->kind = FLOAT;
        return !isinf(a->f); /* OverflowError */
    }
    return true;
}

static bool to_float(const value *v, double *f) {
    nb_big one = nb_big_from(1);
    *f = v->kind == FLOAT ? v->f : nb_big_ratio(&v->i, &one);
    return v->kind == FLOAT || !isinf(*f); /* OverflowError */
}

static bool float_operation(operation op, value *a, const value *b) {
    double x, y;
    if (!to_float(a, &x) || !to_float(b, &y)) return false;
    if ((op == DIVIDE || op == FLOOR_DIVIDE) && y == 0) return false;
    a->kind = FLOAT;
    switch (op) {
    case ADD: a->f = x + y; break;
    case SUBTRACT: a->f = x - y; break;
    case MULTIPLY: a->f = x * y; break;
    case DIVIDE: a->f = x / y; break;
    case FLOOR_DIVIDE: a->f = nb_float_floor_divide(x, y); break;
    }
    return true;
}

/* () + (), () * n and n * () are (); n must fit 64 bits. */
static bool tuple_operation(operation op, value *a, const value *b) {
    const value *count = a->kind == EMPTY_TUPLE ? b : a;
    bool both = count->kind == EMPTY_TUPLE;
    nb_big least = nb_big_from(UINT64_C(1) << 63);
    bool fits = count->kind == INT && (nb_big_bits(&count->i) <= 63 ||
                                       (count->i.negative && nb_big_compare_magnitude(&count->i, &least) == 0));
    a->kind = EMPTY_TUPLE;
    return both ? op == ADD : op == MULTIPLY && fits;
}

/* a = a op b; false where Python raises. */
static bool operate(operation op, value *a, const value *b) {
    if (a->kind == ELLIPSIS || b->kind == ELLIPSIS) return false;
    if (a->kind == EMPTY_TUPLE || b->kind == EMPTY_TUPLE) return tuple_operation(op, a, b);
    if (a->kind == INT && b->kind == INT) return int_operation(op, a, b);
    return float_operation(op, a, b);
}

static bool term(parser *s, value *v) {
    value right;
    bool ok = factor(s, v);
    while (ok) {
        operation op;
        if (take(s, "*")) op = MULTIPLY;
        else if (take(s, "//")) op = FLOOR_DIVIDE;
        else if (take(s, "/")) op = DIVIDE;
        else break;
        ok = factor(s, &right) && operate(op, v, &right);
    }
    return ok;
}

static bool expression(parser *s, value *v) {
    value right;
    bool ok = term(s, v);
    for (char sign; ok && ((sign = peek(s)) == '+' || sign == '-');) {
        s->p++;
        ok = term(s, &right) && operate(sign == '+' ? ADD : SUBTRACT, v, &right);
    }
    return ok;
}

static bool arithmetic(const char *text, size_t n, nb_buf *out) {
    parser s = {.p = text, .end = text + n};
    value v;
    if (strstr(text, "**") || !expression(&s, &v) || peek(&s)) return false;
    switch (v.kind) {
    case INT: nb_big_print(&v.i, out); break;
    case FLOAT: nb_float_repr(v.f, out); break;
    case EMPTY_TUPLE: nb_buf_text(out, "()"); break;
    case ELLIPSIS: nb_buf_text(out, "Ellipsis"); break;
    }
    return true;
}

/* A string, or with text == NULL the int `size`. */
typedef struct counted {
    const char *text;
    size_t size;
} counted;

typedef struct strings {
    parser s;
    char text[MAX_BYTES]; /* of all literals, one after the other */
    size_t used;
} strings;

/* One literal at the quote; its text is appended. There are no backslashes and no line ends. */
static bool literal(strings *t) {
    parser *s = &t->s;
    char quote[4] = {*s->p, *s->p, *s->p, 0};
    if (!take(s, quote)) {
        quote[1] = 0;
        (void)take(s, quote);
    }
    const char *from = s->p, *end = strstr(from, quote);
    if (!end) return false;
    memcpy(t->text + t->used, from, (size_t)(end - from));
    t->used += (size_t)(end - from);
    s->p = end + strlen(quote);
    return true;
}

/* str.count: occurrences that do not overlap; an empty text is found before, between and after all characters. */
static size_t occurrences(const counted *in, const counted *of) {
    if (of->size == 0) return in->size + 1;
    size_t count = 0;
    for (size_t i = 0; i + of->size <= in->size;) {
        bool here = memcmp(in->text + i, of->text, of->size) == 0;
        i += here ? of->size : 1;
        count += here;
    }
    return count;
}

/* Literals side by side are one string; "(" ... ")"; then any number of ".count(" ... ")". */
static bool string_expression(strings *t, counted *v) {
    parser *s = &t->s;
    counted argument;
    if (take(s, "(")) {
        if (s->depth++ == MAX_DEPTH || !string_expression(t, v) || !take(s, ")")) return false;
        s->depth--;
    } else {
        *v = (counted){.text = t->text + t->used};
        size_t before = t->used;
        do {
            char c = peek(s);
            if ((c != '\'' && c != '"') || !literal(t)) return false;
        } while (peek(s) == '\'' || peek(s) == '"');
        v->size = t->used - before;
    }
    while (take(s, ".")) {
        if (s->depth++ == MAX_DEPTH || !v->text || !take(s, "count") || !take(s, "(")) return false;
        if (!string_expression(t, &argument) || !argument.text || !take(s, ")")) return false;
        *v = (counted){.size = occurrences(v, &argument)};
        s->depth--;
    }
    return true;
}

static bool holds_word(const char *text) {
    static const char *const words[] = {"__",      "import",  "exec",    "eval",   "compile", "open",
                                        "file",    "input",   "globals", "locals", "vars",    "dir",
                                        "getattr", "setattr", "delattr", "hasattr"};
    char lower[MAX_BYTES + 1];
    size_t i = 0;
    for (; text[i]; i++) lower[i] = (char)(text[i] >= 'A' && text[i] <= 'Z' ? text[i] + 32 : text[i]);
    lower[i] = 0;
    for (i = 0; i < sizeof words / sizeof *words; i++)
        if (strstr(lower, words[i])) return true;
    return false;
}

static bool string_count(const char *text, size_t n, nb_buf *out) {
    strings t = {.s = {.p = text, .end = text + n}};
    counted v;
    if (holds_word(text) || !strstr(text, ".count(")) return false;
    if (!string_expression(&t, &v) || peek(&t.s) || v.text) return false;
    nb_buf_printf(out, "%zu", v.size);
    return true;
}

bool nb_calculate(const char *expression_text, size_t n, nb_buf *out) {
    static const char numeric[] = "0123456789*+-/.() ";
    static const char strings_too[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789'\"()._ ";
    char text[MAX_BYTES + 1];
    size_t used = 0;
    if (n > MAX_BYTES || memchr(expression_text, 0, n)) return false;
    for (size_t i = 0; i < n; i++)
        if (expression_text[i] != ',') text[used++] = expression_text[i];
    text[used] = 0;
    if (strspn(text, numeric) == used) return arithmetic(text, used, out);
    return strspn(text, strings_too) == used && string_count(text, used, out);
}
