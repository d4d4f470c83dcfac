/* Choosing the next token. Deterministic: same logits, parameters, seed and stream give the same token on every
 * machine. One sampler belongs to one row of generation and one thread at a time. */
#ifndef NB_CORE_SAMPLER_H
#define NB_CORE_SAMPLER_H

#include <stddef.h>
#include <stdint.h>
#include "base/status.h"
#include "simd/kernels.h"

typedef struct nb_sampler_params {
    float temperature;    /* 0 (as is all below 1e-6): argmax, the lowest id wins a tie */
    uint32_t top_k;       /* keep the k best before the temperature softmax; 0: all */
    float top_p;          /* nucleus (Holtzman et al. 2020): fewest best tokens whose probabilities reach p; 1: all */
    float min_p;          /* keep tokens of at least min_p times the best probability (Nguyen et al. 2024); 0: all */
    float repeat_penalty; /* of tokens among the last repeat_last_n (CTRL, Keskar et al. 2019); 1: none */
    uint32_t repeat_last_n;
    uint64_t seed;
} nb_sampler_params;
/* Temperature 0.8 and top-k 50, the rest off; seed 42 as nanochat's. */
extern const nb_sampler_params nb_sampler_defaults;

nb_status nb_sampler_params_check(const nb_sampler_params *p, nb_error *err);

typedef struct nb_sampler nb_sampler;
/* `stream` tells rows with the same seed apart: row i of a batch draws from stream i. */
nb_status nb_sampler_create(nb_sampler **sampler, const nb_sampler_params *params, uint64_t stream, uint32_t vocab_size,
                            const nb_kernels *k, nb_error *err);
void nb_sampler_free(nb_sampler *s);
/* The next token; logits [vocab_size] are not changed. With a temperature it takes one uniform number from the stream.
 *
 * In this order: penalties; top-k; weights exp((logit - best) / temperature); top-p and then min-p over what is left.
 * Equal logits rank by id, the lower first. NaN counts as -infinity; when the best logit is infinite, all that equal it
 * have the same chance. Weights are f32 of the exp kernel, sums are double in the candidates' order: best first after
 * top-k or top-p, otherwise by id. */
int32_t nb_sampler_next(nb_sampler *s, const float *logits);
/* Tell the sampler a token that is now part of the text (prompt, forced or sampled): penalties count it. */
void nb_sampler_accept(nb_sampler *s, int32_t id);

/* What nb_sampler_next chooses among, for temperatures above 0: the chance of a candidate is its weight divided by the
 * sum of all weights. Returned candidates belong to the sampler and live until its next call. */
typedef struct nb_candidate {
    float logit, weight;
    int32_t id;
} nb_candidate;
const nb_candidate *nb_sampler_candidates(nb_sampler *s, const float *logits, size_t *n);

#endif
