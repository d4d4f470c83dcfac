/* UTF-8 as the Unicode Standard defines it (version 15, table 3-7): no overlong forms, surrogates, or above
 * U+10FFFF. */
#ifndef NB_CORE_UTF8_H
#define NB_CORE_UTF8_H

#include <stddef.h>
#include <stdint.h>

typedef enum nb_utf8_state {
    NB_UTF8_VALID,   /* a whole character */
    NB_UTF8_INVALID, /* can never become one */
    NB_UTF8_CUT      /* the beginning of one; the bytes end before it does */
} nb_utf8_state;

/* What p[n], n >= 1, begins with. *length is the character's, or else that of the maximal subpart (section 3.9): the
 * longest beginning of a character, at least one byte, which is replaced by one U+FFFD. */
nb_utf8_state nb_utf8_next(const uint8_t *p, size_t n, size_t *length);

/* The code point of a valid character of `length` bytes. */
uint32_t nb_utf8_decode(const uint8_t *p, size_t length);

/* How many bytes of p[n] are whole valid characters, from the start. */
size_t nb_utf8_valid_prefix(const uint8_t *p, size_t n);

#endif
