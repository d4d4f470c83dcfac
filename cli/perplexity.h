/* What `nibble perplexity` measures of every scored token, and how it is told. */
#ifndef NB_CLI_PERPLEXITY_H
#define NB_CLI_PERPLEXITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* In nats per scored token, in the order of the text; of the last five nothing without a reference. */
typedef struct token_scores {
    size_t n;
    double *ce;
    double bytes; /* of the text that the scored tokens stand for; 0: not known */
    bool compared;
    double *reference_ce, *kl; /* kl: sorted by the report */
    size_t n_agree;            /* both models' first choices are the same token */
    double rest;               /* mean probability that a saved reference keeps as one; 0 with a model */
    uint64_t reference_identity;
} token_scores;

/* Print everything, as one JSON object or to be read. Returns an exit code. */
int perplexity_report(token_scores *s, bool json);

#endif
