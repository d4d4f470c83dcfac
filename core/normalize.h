/* Text as the tokenizer wants it: a vocabulary's text rules, one after the other. Unicode's normalization forms are
 * utf8proc's. Bytes that are not UTF-8 stay as they are, unless a rule says otherwise.
 *
 * A normalizer is immutable and may be shared by threads. */
#ifndef NB_CORE_NORMALIZE_H
#define NB_CORE_NORMALIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/status.h"
#include "core/vocab.h"

typedef struct nb_normalizer nb_normalizer;

/* By one of the vocabulary's lists of rules, with its charsmap (checked here; may be empty) and its tokens. It must
 * outlive the normalizer. */
nb_status nb_normalizer_create(nb_normalizer **normalizer, const nb_text_rules *rules, const nb_vocab *v,
                               nb_error *err);
void nb_normalizer_free(nb_normalizer *z); /* accepts NULL */

/* Where results are put: one per thread, zeroed, used again and again, freed at the end. */
typedef struct nb_normal {
    nb_buf bufs[2];
    bool moved; /* what begins the last result did not begin its text: rules took what stood before it */
} nb_normal;
void nb_normal_free(nb_normal *scratch);

/* *out[*n_out] is text[n] after all rules: in the scratch memory, or the text itself when no rule changed it. `first`:
 * the whole text begins here. */
nb_status nb_normalize(const nb_normalizer *z, const uint8_t *text, size_t n, bool first, nb_normal *scratch,
                       const uint8_t **out, size_t *n_out, nb_error *err);

#endif
