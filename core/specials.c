#include "core/specials.h"

#include <string.h>
#include "base/mem.h"
#include "core/unicode.h"

static bool is_late(const nb_special *s) {
    return s->flags & (NB_SPECIAL_NORMALIZED | NB_SPECIAL_LATE);
}

/* The text that is looked for: that of normalized ones is changed like the text around them. Appended to `texts`, of
 * which the keys are made later, because it moves. */
static nb_status put_text(const nb_special *s, const nb_normalizer *z, nb_normal *scratch, nb_buf *texts,
                          nb_error *err) {
    const uint8_t *text = (const uint8_t *)s->text;
    size_t n = strlen(s->text);
    nb_status st = NB_OK;
    if (s->flags & NB_SPECIAL_NORMALIZED) st = nb_normalize(z, text, n, true, scratch, &text, &n, err);
    if (!st) nb_buf_append(texts, text, n);
    return st;
}

nb_status nb_special_finder_build(nb_special_finder *f, const nb_vocab *v, const nb_normalizer *z, bool late,
                                  nb_error *err) {
    *f = (nb_special_finder){.vocab = v};
    nb_buf texts = {0};
    nb_normal scratch = {0};
    nb_status st = NB_OK;
    size_t n = 0, at = 0, bytes = (v->n_specials + 1) * sizeof(nb_trie_key);
    nb_trie_key *keys = nb_alloc(bytes);
    if (!keys) return nb_oom(err, "special tokens", bytes);
    for (size_t i = 0; !st && i < v->n_specials; i++) {
        if (is_late(&v->specials[i]) != late) continue;
        size_t before = texts.size;
        st = put_text(&v->specials[i], z, &scratch, &texts, err);
        f->texts |= (v->specials[i].flags & NB_SPECIAL_TEXT) != 0;
        if (!st && !texts.failed && texts.size == before) /* the library finds such a one between any two characters */
            st = nb_fail(err, NB_UNSUPPORTED, "vocabulary: its rules leave nothing of the special token %d",
                         (int)v->specials[i].id);
        keys[n] = (nb_trie_key){.n = (uint32_t)(texts.size - before), .value = (int32_t)i};
        n++;
    }
    for (size_t i = 0; i < n; at += keys[i++].n) keys[i].bytes = (const uint8_t *)nb_buf_str(&texts) + at;
    if (!st && texts.failed) st = nb_oom(err, "special tokens", texts.size);
    if (!st) st = nb_trie_build(&f->trie, keys, n, err);
    nb_free(keys);
    nb_buf_free(&texts);
    nb_normal_free(&scratch);
    return st;
}

void nb_special_finder_free(nb_special_finder *f) {
    nb_trie_free(&f->trie);
    *f = (nb_special_finder){0};
}

/* Whether a word character stands directly before text[begin] or at text[end]. */
static bool beside_word(const uint8_t *text, size_t n, size_t begin, size_t end) {
    size_t length = 0;
    return nb_is_word(nb_last_character(text, begin, &length)) ||
           nb_is_word(nb_first_character(text + end, n - end, &length));
}

/* Where the white space before text[begin] begins, but not before `from`. */
static size_t strip_left(const uint8_t *text, size_t from, size_t begin) {
    size_t length = 0;
    if (begin < from) return from; /* the special before took it */
    while (begin > from && nb_is_white_space(nb_last_character(text + from, begin - from, &length))) begin -= length;
    return begin;
}

static size_t strip_right(const uint8_t *text, size_t n, size_t end) {
    size_t length = 0;
    while (end < n && nb_is_white_space(nb_first_character(text + end, n - end, &length))) end += length;
    return end;
}

nb_status nb_special_split(const nb_special_finder *f, const uint8_t *text, size_t n, bool control, nb_special_fn *fn,
                           void *user, nb_error *err) {
    size_t from = 0, at = 0; /* text[from, at) belongs to no special */
    nb_status st = NB_OK;
    if (!f->trie.nodes || !(f->texts || control)) return n ? fn(user, text, n, 0, NB_NO_TOKEN, err) : NB_OK;
    while (!st && at < n) {
        size_t length = 1;
        int32_t found = f->trie.start[text[at]] ? nb_trie_longest(&f->trie, text + at, n - at, &length) : -1;
        const nb_special *s = found < 0 ? NULL : &f->vocab->specials[found];
        bool taken = s && (control || s->flags & NB_SPECIAL_TEXT) &&
                     !(s->flags & NB_SPECIAL_WORD && beside_word(text, n, at, at + length));
        if (!taken) {
            at += s ? length : 1;
            continue;
        }
        size_t begin = s->flags & NB_SPECIAL_LSTRIP ? strip_left(text, from, at) : at;
        size_t end = s->flags & NB_SPECIAL_RSTRIP ? strip_right(text, n, at + length) : at + length;
        if (begin > from) st = fn(user, text + from, begin - from, from, NB_NO_TOKEN, err);
        if (!st && begin < end) st = fn(user, text + begin, end - begin, begin, s->id, err);
        /* The next one may begin in the white space that this one took. */
        at += length;
        from = end;
    }
    if (!st && from < n) st = fn(user, text + from, n - from, from, NB_NO_TOKEN, err);
    return st;
}
