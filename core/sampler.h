/* Choosing the next token. Deterministic: same logits, parameters, seed and stream give the same token on every machine.
 * One sampler belongs to one row of generation and one thread at a time. */
#ifndef NB_CORE_SAMPLER_H
#define NB_CORE_SAMPLER_H

#include <stddef.h>
#include <stdint.h>
#include "base/status.h"
#include "simd/kernels.h"

typedef struct nb_sampler_params {
    float temperature;    /* 0: argmax, the lowest id wins a tie */
    uint32_t top_k;       /* keep the k best before the temperature softmax; 0: all */
    float top_p;          /* nucleus (Holtzman et al. 2020): fewest best tokens whose probabilities reach p; 1: all */
    float min_p;          /* keep tokens of at least min_p times the best probability (Nguyen et al. 2024); 0: all */
    float repeat_penalty; /* of tokens among the last repeat_last_n (CTRL, Keskar et al. 2019); 1: none */
    uint32_t repeat_last_n;
    uint64_t seed;
} nb_sampler_params;
extern const nb_sampler_params nb_sampler_defaults; /* as nanochat's and llama.cpp's users expect: temperature 0.8, ... */

nb_status nb_sampler_params_check(const nb_sampler_params *p, nb_error *err);

typedef struct nb_sampler nb_sampler;
/* `stream` tells rows with the same seed apart: row i of a batch draws from stream i. */
nb_status nb_sampler_create(nb_sampler **sampler, const nb_sampler_params *params, uint64_t stream, uint32_t vocab_size,
                            const nb_kernels *k, nb_error *err);
void nb_sampler_free(nb_sampler *s);
/* The next token; logits [vocab_size] are not changed. */
int32_t nb_sampler_next(nb_sampler *s, const float *logits);
/* Tell the sampler a token that is now part of the text (prompt, forced or sampled): penalties count it. */
void nb_sampler_accept(nb_sampler *s, int32_t id);

#endif
