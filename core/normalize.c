#include "core/normalize.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>
#include "base/checked.h"
#include "base/mem.h"
#include "core/charsmap.h"
#include "core/regex.h"
#include "core/trie.h"
#include "core/unicode.h"
#include "core/utf8.h"

struct nb_normalizer {
    const nb_text_rules *rules;
    nb_charsmap charsmap;
    nb_trie user; /* tokens that somebody defined, where a rule asks for them */
    nb_regex **regexes; /* [rules->n]; NULL for rules without one */
};

/* Tokens that somebody defined, as they stand in text: pieces of a unigram vocabulary, special ones of others. */
static nb_status build_user(nb_normalizer *z, const nb_vocab *v, nb_error *err) {
    size_t bytes = ((size_t)v->n_tokens + v->n_specials + 1) * sizeof(nb_trie_key), n = 0, length = 0;
    nb_trie_key *keys = nb_alloc(bytes);
    if (!keys) return nb_oom(err, "tokens of a vocabulary", bytes);
    for (uint32_t id = 0; id < v->n_tokens; id++) {
        if (nb_vocab_type(v, id) != NB_TOKEN_USER) continue;
        const uint8_t *text = nb_vocab_bytes(v, id, &length);
        if (length) keys[n++] = (nb_trie_key){text, (uint32_t)length, (int32_t)id};
    }
    for (const nb_special *s = v->specials; s < v->specials + v->n_specials; s++)
        if (s->flags & NB_SPECIAL_LATE)
            keys[n++] = (nb_trie_key){(const uint8_t *)s->text, (uint32_t)strlen(s->text), s->id};
    nb_status st = nb_trie_build(&z->user, keys, n, err);
    nb_free(keys);
    return st;
}

nb_status nb_normalizer_create(nb_normalizer **normalizer, const nb_text_rules *rules, const nb_vocab *v,
                               nb_error *err) {
    *normalizer = NULL;
    nb_normalizer *z = nb_calloc(1, sizeof *z);
    if (!z) return nb_oom(err, "normalizer", sizeof *z);
    *z = (nb_normalizer){.rules = rules};
    nb_status st = nb_charsmap_open(&z->charsmap, v->charsmap.data, v->charsmap.size, err);
    if (!st && !(z->regexes = nb_calloc(rules->n + 1, sizeof *z->regexes))) st = nb_oom(err, "normalizer", rules->n);
    for (size_t i = 0; !st && i < rules->n; i++) {
        if (rules->v[i].flags & NB_TEXT_REGEX) st = nb_regex_create(&z->regexes[i], rules->v[i].find, true, err);
        if (rules->v[i].how == NB_TEXT_CHARSMAP && !z->charsmap.n_units)
            st = nb_fail(err, NB_MISSING, "vocabulary: a rule needs the charsmap, and there is none");
        if (!st && rules->v[i].flags & NB_TEXT_USER && !z->user.nodes) st = build_user(z, v, err);
    }
    if (st) nb_normalizer_free(z);
    else *normalizer = z;
    return st;
}

void nb_normalizer_free(nb_normalizer *z) {
    if (!z) return;
    for (size_t i = 0; z->regexes && i < z->rules->n; i++) nb_regex_free(z->regexes[i]);
    nb_free(z->regexes);
    nb_trie_free(&z->user);
    nb_free(z);
}

void nb_normal_free(nb_normal *scratch) {
    nb_buf_free(&scratch->bufs[0]);
    nb_buf_free(&scratch->bufs[1]);
}

/* One rule at work on text[n]. It appends the result to `out`, or leaves `changed` false. */
typedef struct change {
    const nb_normalizer *z;
    const nb_text_rule *rule;
    nb_regex *regex;
    const uint8_t *text;
    size_t n;
    size_t before; /* bytes of the text before all rules */
    bool first;
    nb_buf *out;
    bool changed, moved; /* moved: nb_normal */
} change;

static void keep(change *c, size_t from, size_t to) {
    nb_buf_append(c->out, c->text + from, to - from);
    c->changed = true;
}

/* ---- Unicode ---- */

/* Room for valid UTF-8 as it is decomposed, or with `points` the decomposition itself; how many code points that
 * are. */
static size_t decompose(const uint8_t *text, size_t n, utf8proc_option_t form, int32_t *points, size_t room) {
    size_t count = 0, length = 0;
    int boundary = 0;
    for (size_t i = 0; i < n; i += length) {
        (void)nb_utf8_next(text + i, n - i, &length);
        size_t left = count < room ? room - count : 0;
        utf8proc_ssize_t more =
            utf8proc_decompose_char((utf8proc_int32_t)nb_utf8_decode(text + i, length), left ? points + count : NULL,
                                    (utf8proc_ssize_t)left, form, &boundary);
        count += more > 0 ? (size_t)more : 0;
    }
    return count;
}

static int combining_class(int32_t point) {
    return utf8proc_get_property(point)->combining_class;
}

static int compare_keys(const void *a, const void *b) {
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* A run of n >= 2 combining characters in the order of their classes, those of one class as they stood. */
static nb_status order_run(int32_t *points, size_t n, nb_error *err) {
    uint64_t few[32], *keys = n <= sizeof few / sizeof *few ? few : nb_alloc(n * sizeof *keys);
    int32_t *moved = nb_alloc(n * sizeof *moved);
    nb_status st = keys && moved ? NB_OK : nb_oom(err, "normalized text", n * sizeof *keys);
    for (size_t i = 0; !st && i < n; i++) keys[i] = (uint64_t)combining_class(points[i]) << 32 | i;
    if (!st) {
        qsort(keys, n, sizeof *keys, compare_keys);
        for (size_t i = 0; i < n; i++) moved[i] = points[(uint32_t)keys[i]];
        memcpy(points, moved, n * sizeof *moved);
    }
    nb_free(moved);
    if (keys != few) nb_free(keys);
    return st;
}

/* Canonical ordering (Unicode, section 3.11). utf8proc's own takes the square of the length of a run. */
static nb_status order(int32_t *points, size_t n, nb_error *err) {
    nb_status st = NB_OK;
    for (size_t i = 0, end; !st && i < n; i = end) {
        bool sorted = true;
        for (end = i; end < n && combining_class(points[end]); end++)
            sorted &= end == i || combining_class(points[end - 1]) <= combining_class(points[end]);
        if (!sorted) st = order_run(points + i, end - i, err);
        end += end == i;
    }
    return st;
}

/* Valid UTF-8 in a normalization form. */
static nb_status append_form(const uint8_t *text, size_t n, utf8proc_option_t form, nb_buf *out, nb_error *err) {
    size_t count = decompose(text, n, form, NULL, 0), bytes = (count + 1) * sizeof(int32_t);
    int32_t *points = nb_alloc(bytes);
    if (!points) return nb_oom(err, "normalized text", bytes);
    (void)decompose(text, n, form, points, count);
    nb_status st = order(points, count, err);
    utf8proc_ssize_t written = st ? 0 : utf8proc_reencode(points, (utf8proc_ssize_t)count, form);
    if (written > 0) nb_buf_append(out, points, (size_t)written);
    nb_free(points);
    return written < 0 ? nb_fail(err, NB_LIMIT, "text of %zu bytes: %s", n, utf8proc_errmsg(written)) : st;
}

/* Bytes at the beginning that no form changes: those below `safe`, of which the last may be changed by what follows. */
static size_t unchanged_prefix(const uint8_t *text, size_t n, uint8_t safe) {
    size_t i = 0;
    while (i < n && text[i] < safe) i++;
    if (i == n || i == 0) return i;
    for (i--; i > 0 && (text[i] & 0xc0) == 0x80; i--) continue;
    return i;
}

static nb_status normal_form(change *c, utf8proc_option_t form, uint8_t safe, nb_error *err) {
    nb_status st = NB_OK;
    size_t at = unchanged_prefix(c->text, c->n, safe);
    if (at == c->n) return NB_OK;
    keep(c, 0, at);
    while (!st && at < c->n) {
        size_t valid = nb_utf8_valid_prefix(c->text + at, c->n - at), length = 0;
        if (valid) st = append_form(c->text + at, valid, form, c->out, err);
        at += valid;
        while (at < c->n && nb_utf8_next(c->text + at, c->n - at, &length) != NB_UTF8_VALID) {
            keep(c, at, at + length);
            at += length;
        }
    }
    return st;
}

/* Letters from U+0300 on begin with 0xcc in UTF-8: what is below is composed already, and U+0000 to U+007F is its own
 * decomposition. */
static nb_status nfc(change *c, nb_error *err) {
    return normal_form(c, UTF8PROC_STABLE | UTF8PROC_COMPOSE, 0xcc, err);
}
static nb_status nfd(change *c, nb_error *err) {
    return normal_form(c, UTF8PROC_STABLE | UTF8PROC_DECOMPOSE, 0x80, err);
}
static nb_status nfkc(change *c, nb_error *err) {
    return normal_form(c, UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT, 0x80, err);
}
static nb_status nfkd(change *c, nb_error *err) {
    return normal_form(c, UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT, 0x80, err);
}

/* The only character whose lower case is two, whatever stands around it: U+0130. */
static void append_lower(nb_buf *out, uint32_t point) {
    uint8_t bytes[4];
    if (point == 0x130) {
        nb_buf_text(out, "i\xcc\x87");
        return;
    }
    utf8proc_ssize_t n = utf8proc_encode_char(utf8proc_tolower((utf8proc_int32_t)point), bytes);
    nb_buf_append(out, bytes, (size_t)n);
}

static nb_status lowercase(change *c, nb_error *err) {
    (void)err;
    size_t length = 0;
    c->changed = true;
    for (size_t i = 0; i < c->n; i += length) {
        if (nb_utf8_next(c->text + i, c->n - i, &length) == NB_UTF8_VALID)
            append_lower(c->out, nb_utf8_decode(c->text + i, length));
        else
            nb_buf_append(c->out, c->text + i, length);
    }
    return NB_OK;
}

static nb_status strip(change *c, nb_error *err) {
    (void)err;
    size_t from = 0, to = c->n, length = 0;
    while (c->rule->flags & NB_TEXT_LEFT && from < to &&
           nb_is_white_space(nb_first_character(c->text + from, to - from, &length)))
        from += length;
    while (c->rule->flags & NB_TEXT_RIGHT && from < to &&
           nb_is_white_space(nb_last_character(c->text + from, to - from, &length)))
        to -= length;
    if (from || to < c->n) keep(c, from, to);
    c->moved = from > 0;
    return NB_OK;
}

/* ---- texts ---- */

static nb_status prepend(change *c, nb_error *err) {
    (void)err;
    size_t n = strlen(c->rule->text);
    bool there = c->n >= n && !memcmp(c->text, c->rule->text, n);
    size_t had = c->rule->flags & NB_TEXT_ANY ? c->before : c->n;
    if (!had || (c->rule->flags & NB_TEXT_IF_FIRST && !c->first) || (c->rule->flags & NB_TEXT_UNLESS && there))
        return NB_OK;
    nb_buf_append(c->out, c->rule->text, n);
    keep(c, 0, c->n);
    return NB_OK;
}

static nb_status append(change *c, nb_error *err) {
    (void)err;
    size_t n = strlen(c->rule->text);
    bool there = c->n >= n && !memcmp(c->text + c->n - n, c->rule->text, n);
    if (!c->n || (c->rule->flags & NB_TEXT_UNLESS && there)) return NB_OK;
    keep(c, 0, c->n);
    nb_buf_append(c->out, c->rule->text, n);
    return NB_OK;
}

static void replace_match(change *c, size_t from, size_t begin) {
    keep(c, from, begin);
    nb_buf_text(c->out, c->rule->text);
}

/* To Hugging Face what replaces a match stands where the match's last character stood. */
static void took(change *c, size_t begin, size_t end) {
    size_t length = 0;
    (void)nb_utf8_next(c->text, c->n, &length);
    c->moved |= begin == 0 && (end > length || !*c->rule->text);
}

static nb_status replace_text(change *c) {
    size_t from = 0, length = strlen(c->rule->find);
    for (const uint8_t *at; (at = memmem(c->text + from, c->n - from, c->rule->find, length)); from += length) {
        size_t begin = (size_t)(at - c->text);
        replace_match(c, from, begin);
        took(c, begin, begin + length);
        from = begin;
    }
    if (c->changed) keep(c, from, c->n);
    return NB_OK;
}

static nb_status replace(change *c, nb_error *err) {
    if (!c->regex) return replace_text(c);
    nb_regex_run run;
    nb_status st = nb_regex_open(&run, c->regex, c->n, err);
    for (size_t at = 0; !st && at < c->n;) {
        size_t end = at + nb_utf8_valid_prefix(c->text + at, c->n - at), length = 0;
        for (size_t from = at; !st && from < end;) {
            size_t begin = 0, stop = 0;
            st = nb_regex_next(&run, c->text + at, end - at, from - at, &begin, &stop, err);
            keep(c, from, at + begin);
            if (begin < stop) nb_buf_text(c->out, c->rule->text);
            if (begin < stop) took(c, at + begin, at + stop);
            from = at + stop;
        }
        at = end;
        while (at < c->n && nb_utf8_next(c->text + at, c->n - at, &length) != NB_UTF8_VALID) {
            keep(c, at, at + length);
            at += length;
        }
    }
    nb_regex_close(&run);
    return st;
}

static nb_status collapse(change *c, nb_error *err) {
    (void)err;
    bool after_space = true;
    size_t from = 0;
    for (size_t i = 0; i < c->n; i++) {
        bool space = c->text[i] == ' ';
        if (space && after_space) {
            keep(c, from, i);
            from = i + 1;
        }
        after_space = space;
    }
    if (c->changed) keep(c, from, c->n);
    return NB_OK;
}

static nb_status trim(change *c, nb_error *err) {
    (void)err;
    size_t length = strlen(c->rule->find), to = c->n;
    while (to >= length && !memcmp(c->text + to - length, c->rule->find, length)) to -= length;
    if (to < c->n) keep(c, 0, to);
    return NB_OK;
}

static nb_status valid(change *c, nb_error *err) {
    (void)err;
    size_t at = nb_utf8_valid_prefix(c->text, c->n);
    if (at == c->n) return NB_OK;
    keep(c, 0, at);
    while (at < c->n) {
        nb_buf_append(c->out, "\xef\xbf\xbd", 3);
        at++;
        size_t next = at + nb_utf8_valid_prefix(c->text + at, c->n - at);
        keep(c, at, next);
        at = next;
    }
    return NB_OK;
}

static nb_status charsmap(change *c, nb_error *err) {
    (void)err;
    size_t i = 0, length = 0;
    c->changed = true;
    if (c->rule->flags & NB_TEXT_GRAPHEMES) nb_charsmap_apply_graphemes(&c->z->charsmap, c->text, c->n, c->out);
    else if (c->rule->flags & NB_TEXT_USER && c->z->user.nodes)
        for (; i < c->n; i += length)
            if (nb_trie_longest(&c->z->user, c->text + i, c->n - i, &length) >= 0)
                nb_buf_append(c->out, c->text + i, length);
            else length = nb_charsmap_step(&c->z->charsmap, c->text + i, c->n - i, c->out);
    else nb_charsmap_apply(&c->z->charsmap, c->text, c->n, c->out);
    return NB_OK;
}

static nb_status (*const changes[NB_TEXT_COUNT])(change *c, nb_error *err) = {
    [NB_TEXT_NFC] = nfc,         [NB_TEXT_NFD] = nfd,           [NB_TEXT_NFKC] = nfkc,
    [NB_TEXT_NFKD] = nfkd,       [NB_TEXT_LOWERCASE] = lowercase, [NB_TEXT_STRIP] = strip,
    [NB_TEXT_PREPEND] = prepend, [NB_TEXT_APPEND] = append,     [NB_TEXT_REPLACE] = replace,
    [NB_TEXT_COLLAPSE] = collapse, [NB_TEXT_TRIM] = trim,       [NB_TEXT_VALID] = valid,
    [NB_TEXT_CHARSMAP] = charsmap,
};

nb_status nb_normalize(const nb_normalizer *z, const uint8_t *text, size_t n, bool first, nb_normal *scratch,
                       const uint8_t **out, size_t *n_out, nb_error *err) {
    *out = text;
    *n_out = n;
    unsigned into = 0;
    scratch->moved = false;
    for (size_t i = 0; i < z->rules->n; i++) {
        nb_buf *buf = &scratch->bufs[into];
        change c = {z, &z->rules->v[i], z->regexes[i], *out, *n_out, n, first, buf, false, false};
        nb_buf_clear(buf);
        nb_status st = changes[c.rule->how](&c, err);
        if (st) return st;
        if (buf->failed) return nb_oom(err, "normalized text", *n_out);
        scratch->moved |= c.moved;
        if (!c.changed) continue;
        *out = (const uint8_t *)nb_buf_str(buf);
        *n_out = buf->size;
        into ^= 1;
    }
    if (*n_out <= INT32_MAX) return NB_OK;
    return nb_fail(err, NB_LIMIT, "text of %zu bytes after normalization: at most %d", *n_out, INT32_MAX);
}
