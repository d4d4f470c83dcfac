#include "core/charsmap.h"

#include <stdbool.h>
#include <string.h>
#include <utf8proc.h>
#include "base/bytes.h"
#include "core/utf8.h"

nb_status nb_charsmap_open(nb_charsmap *m, const uint8_t *data, size_t n, nb_error *err) {
    *m = (nb_charsmap){0};
    if (!n) return NB_OK;
    size_t units = n >= 4 ? nb_get_u32(data) : 0;
    if (n < 4 || units > n - 4 || units % 4 || units < 4)
        return nb_fail(err, NB_FORMAT, "vocabulary: the charsmap of %zu bytes has a trie of %zu bytes", n, units);
    if (units + 4 == n || data[n - 1] != 0)
        return nb_fail(err, NB_FORMAT, "vocabulary: the last replacement of the charsmap has no end");
    *m = (nb_charsmap){data + 4, units / 4, (const char *)data + 4 + units, n - 4 - units};
    return NB_OK;
}

/* A unit of the double array. Of a leaf: bit 31 set, the value below. Else the label in bits 0 to 7, "a leaf follows"
 * in bit 8, and the offset to the children in bits 10 to 30, shifted by 8 more when bit 9 is set. */
static uint32_t unit(const nb_charsmap *m, size_t i) {
    return i < m->n_units ? nb_get_u32(m->units + 4 * i) : UINT32_C(1) << 31; /* a leaf ends every path */
}
static size_t offset(uint32_t u) {
    return (size_t)(u >> 10) << ((u & 1u << 9) >> 6);
}
static uint32_t label(uint32_t u) {
    return u & (UINT32_C(1) << 31 | 0xff);
}

/* The replacement of the longest beginning of text[n] in the trie, or of the shortest, or NULL. */
static const char *find(const nb_charsmap *m, const uint8_t *text, size_t n, bool shortest, size_t *length) {
    const char *found = NULL;
    size_t at = offset(unit(m, 0));
    for (size_t i = 0; i < n; i++) {
        at ^= text[i];
        uint32_t u = unit(m, at);
        if (label(u) != text[i]) break;
        at ^= offset(u);
        if (!(u >> 8 & 1)) continue;
        uint32_t value = unit(m, at) & ~(UINT32_C(1) << 31);
        if (value >= m->texts_size) break;
        found = m->texts + value;
        *length = i + 1;
        if (shortest) break;
    }
    return found;
}

size_t nb_charsmap_step(const nb_charsmap *m, const uint8_t *text, size_t n, nb_buf *out) {
    size_t length = 1;
    const char *found = find(m, text, n, false, &length);
    if (found) {
        nb_buf_text(out, found);
    } else if (nb_utf8_next(text, n, &length) == NB_UTF8_VALID) {
        nb_buf_append(out, text, length);
    } else {
        nb_buf_append(out, "\xef\xbf\xbd", 3);
        length = 1;
    }
    return length;
}

void nb_charsmap_apply(const nb_charsmap *m, const uint8_t *text, size_t n, nb_buf *out) {
    for (size_t i = 0; i < n;) i += nb_charsmap_step(m, text + i, n - i, out);
}

static bool put_shortest(const nb_charsmap *m, const uint8_t *text, size_t n, nb_buf *out) {
    size_t length = 0;
    const char *found = find(m, text, n, true, &length);
    if (found) nb_buf_text(out, found);
    return found != NULL;
}

/* The bytes of the grapheme that valid UTF-8 text[n] begins with. */
static size_t grapheme(const uint8_t *text, size_t n) {
    utf8proc_int32_t state = 0, last = 0;
    size_t at = 0, length = 0;
    while (at < n && nb_utf8_next(text + at, n - at, &length) == NB_UTF8_VALID) {
        utf8proc_int32_t c = (utf8proc_int32_t)nb_utf8_decode(text + at, length);
        if (at && utf8proc_grapheme_break_stateful(last, c, &state)) break;
        last = c;
        at += length;
    }
    return at;
}

void nb_charsmap_apply_graphemes(const nb_charsmap *m, const uint8_t *text, size_t n, nb_buf *out) {
    enum { WHOLE = 6 }; /* bytes from which on a grapheme is taken apart */
    for (size_t i = 0, whole = 0, length = 0; i < n; i += whole) {
        whole = grapheme(text + i, n - i);
        if (!whole) {
            nb_buf_byte(out, text[i]);
            whole = 1;
        } else if (whole >= WHOLE || !put_shortest(m, text + i, whole, out)) {
            for (size_t k = 0; k < whole; k += length) {
                (void)nb_utf8_next(text + i + k, whole - k, &length);
                if (!put_shortest(m, text + i + k, length, out)) nb_buf_append(out, text + i + k, length);
            }
        }
    }
}
