/* Lookup decoding: drafts of the next tokens that cost nothing, taken from what the text repeats (Saxena 2023, "Prompt
 * Lookup Decoding"; Yang et al. 2023, "Inference with Reference").
 *
 * A draft is read behind the next token in one step, which gives logits for every one of its positions. As long as the
 * token that is chosen from them, forced ones included, is the draft's, the next one needs no reading; the rest is
 * forgotten. Logits do not depend on how tokens were cut into steps, and one token is chosen at each position, from the
 * same logits in the same order: the text, its mask and the random stream are those of plain decoding. */
#ifndef NB_CORE_LOOKUP_H
#define NB_CORE_LOOKUP_H

#include <stddef.h>
#include <stdint.h>

enum {
    NB_LOOKUP_MAX = 64,   /* tokens of a draft */
    NB_LOOKUP_SHORTEST = 2,
    NB_LOOKUP_LONGEST = 8 /* tokens at the end of the text that are looked for */
};

/* The text is text[n] and then `next`. Fills draft with up to `most` tokens, those that followed where the text's end
 * stood before: the place that agrees with most of its last tokens counts, up to NB_LOOKUP_LONGEST, of equal ones the
 * latest. Returns how many: 0 when nothing of NB_LOOKUP_SHORTEST tokens is there. What follows so late that it runs
 * into the end goes on with itself. */
uint32_t nb_lookup(const int32_t *text, size_t n, int32_t next, int32_t *draft, uint32_t most);

#endif
