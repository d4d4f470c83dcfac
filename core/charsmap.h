/* SentencePiece's compiled table of replacements ("precompiled_charsmap"): a u32 with the size of a trie, the trie as
 * u32 units in the form of Darts-clone (a double array), and the replacements, each ended by a NUL. A text's longest
 * beginning that is in the trie becomes its replacement.
 *
 * Read-only after opening. The bytes are not trusted: every step through them is checked. */
#ifndef NB_CORE_CHARSMAP_H
#define NB_CORE_CHARSMAP_H

#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/status.h"

typedef struct nb_charsmap {
    const uint8_t *units; /* [4 n_units] little-endian; not owned */
    size_t n_units;       /* 0: no table */
    const char *texts;
    size_t texts_size;
} nb_charsmap;

/* data[n] must outlive it; n = 0 gives an empty table. NB_FORMAT for sizes that do not fit. */
nb_status nb_charsmap_open(nb_charsmap *m, const uint8_t *data, size_t n, nb_error *err);

/* What text[n > 0] begins with, replaced, is appended to `out`: a beginning in the table, a character, or a byte that
 * is not UTF-8, which becomes U+FFFD. Returns its length. */
size_t nb_charsmap_step(const nb_charsmap *m, const uint8_t *text, size_t n, nb_buf *out);
/* All of text[n]. */
void nb_charsmap_apply(const nb_charsmap *m, const uint8_t *text, size_t n, nb_buf *out);

/* The same as the tokenizers crate's Precompiled does it: a grapheme of less than 6 bytes of which an entry is the
 * beginning becomes that entry's replacement, the shortest entry's; else each of its characters does. Bytes that are
 * not UTF-8 stay. */
void nb_charsmap_apply_graphemes(const nb_charsmap *m, const uint8_t *text, size_t n, nb_buf *out);

#endif
