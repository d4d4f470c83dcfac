/* Finding a vocabulary's specials in text: the leftmost, and of those that begin at one place the longest, with what
 * their flags ask for. Read-only after the building. */
#ifndef NB_CORE_SPECIALS_H
#define NB_CORE_SPECIALS_H

#include "base/buf.h"
#include "core/normalize.h"
#include "core/trie.h"
#include "core/vocab.h"

typedef struct nb_special_finder {
    const nb_vocab *vocab;
    nb_trie trie; /* values are indices into vocab->specials */
    bool texts;   /* some have NB_SPECIAL_TEXT */
} nb_special_finder;

/* A finder of the specials that are looked for in the text as it was given (`late` false), or in changed text. */
nb_status nb_special_finder_build(nb_special_finder *f, const nb_vocab *v, const nb_normalizer *z, bool late,
                                  nb_error *err);
void nb_special_finder_free(nb_special_finder *f); /* accepts a zeroed one */

/* Called in turn for a special (its id) and for what lies between two (NB_NO_TOKEN, n >= 1); `at` is where it
 * begins. */
typedef nb_status nb_special_fn(void *user, const uint8_t *text, size_t n, size_t at, int32_t id, nb_error *err);
/* `control`: control tokens are found too, else only those with NB_SPECIAL_TEXT. */
nb_status nb_special_split(const nb_special_finder *f, const uint8_t *text, size_t n, bool control, nb_special_fn *fn,
                           void *user, nb_error *err);

#endif
