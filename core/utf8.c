#include "core/utf8.h"

#include <stdbool.h>
#include <string.h>
#include "core/tokenizer.h"

nb_utf8_state nb_utf8_next(const uint8_t *p, size_t n, size_t *length) {
    unsigned lead = p[0], low = 0x80, high = 0xbf; /* range of the second byte; later ones are 80..BF */
    *length = 1;
    if (lead < 0x80) return NB_UTF8_VALID;
    if (lead < 0xc2 || lead > 0xf4) return NB_UTF8_INVALID;
    size_t need = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    if (lead == 0xe0) low = 0xa0;
    if (lead == 0xed) high = 0x9f;
    if (lead == 0xf0) low = 0x90;
    if (lead == 0xf4) high = 0x8f;
    for (size_t i = 1; i < need; i++) {
        *length = i;
        if (i == n) return NB_UTF8_CUT;
        if (p[i] < low || p[i] > high) return NB_UTF8_INVALID;
        low = 0x80;
        high = 0xbf;
    }
    *length = need;
    return NB_UTF8_VALID;
}

uint32_t nb_utf8_decode(const uint8_t *p, size_t length) {
    if (length == 1) return p[0];
    uint32_t c = p[0] & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) c = c << 6 | (p[i] & 0x3fu);
    return c;
}

size_t nb_utf8_valid_prefix(const uint8_t *p, size_t n) {
    size_t i = 0, length = 0;
    while (i < n) {
        uint64_t word = 0;
        if (n - i >= sizeof word) { /* eight ASCII bytes at a time */
            memcpy(&word, p + i, sizeof word);
            if (!(word & UINT64_C(0x8080808080808080))) {
                i += sizeof word;
                continue;
            }
        }
        if (nb_utf8_next(p + i, n - i, &length) != NB_UTF8_VALID) break;
        i += length;
    }
    return i;
}

static void replace(nb_buf *out) {
    nb_buf_append(out, "\xef\xbf\xbd", 3); /* U+FFFD */
}

/* Add bytes to the held beginning of a character until it is decided; returns how many were used. */
static size_t feed_held(nb_utf8 *u, const uint8_t *bytes, size_t n, nb_buf *out) {
    for (size_t i = 0; i < n; i++) {
        size_t length = 0;
        u->held[u->n_held++] = bytes[i];
        nb_utf8_state state = nb_utf8_next(u->held, u->n_held, &length);
        if (state == NB_UTF8_CUT) continue;
        u->n_held = 0;
        if (state == NB_UTF8_VALID) {
            nb_buf_append(out, u->held, length);
            return i + 1;
        }
        replace(out); /* what was held is a maximal subpart; this byte begins something new */
        return i;
    }
    return n;
}

void nb_utf8_feed(nb_utf8 *u, const uint8_t *bytes, size_t n, nb_buf *out) {
    size_t i = u->n_held ? feed_held(u, bytes, n, out) : 0;
    while (i < n) {
        size_t length = nb_utf8_valid_prefix(bytes + i, n - i);
        if (length) nb_buf_append(out, bytes + i, length);
        i += length;
        if (i == n) return;
        if (nb_utf8_next(bytes + i, n - i, &length) == NB_UTF8_CUT) {
            memcpy(u->held, bytes + i, length); /* at most 3 bytes */
            u->n_held = length;
            return;
        }
        replace(out);
        i += length;
    }
}

void nb_utf8_finish(nb_utf8 *u, nb_buf *out) {
    if (u->n_held) replace(out);
    u->n_held = 0;
}
