/* Choosing the next token. Deterministic: same logits, parameters, seed and stream give the same token on every
 * machine. One sampler belongs to one row of generation and one thread at a time. What is as large as the vocabulary,
 * 20 bytes for each token, is in a room, of which a thread needs only one, whatever the number of its samplers.
 *
 * A sampler goes through these stages, in this order; each sees what the one before it left.
 *   1. bias         logit += bias of the token; -infinity bans it
 *   2. penalties    over the last repeat_last_n tokens of the text, prompt included, in which token t occurs c(t) > 0
 *                   times: repetition (CTRL, Keskar et al. 2019): a logit above 0 is divided by the penalty, others
 *                   multiplied by it; frequency and presence (OpenAI's API reference):
 *                   logit -= c(t) * frequency + presence
 *   3. temperature below 1e-6: the best logit, the lowest id among equals. Nothing below happens.
 *   4. top-k        the k best logits (Fan et al. 2018), the lower ids among equals
 *   5. temperature  weights w = exp((logit - best) / temperature); a token's chance is its share of all weights
 *   6. typical      the fewest tokens whose surprisals -log(share) lie closest to their expected value, the entropy,
 *                   that together have a share of typical_p (Meister et al. 2023)
 *   7. top-p        the fewest best tokens that together have a share of top_p (nucleus: Holtzman et al. 2020)
 *   8. min-p        the tokens of at least min_p times the best one's share (Nguyen et al. 2024)
 *   9. a draw by what is left
 * Stages 6 to 8 leave at least min_keep tokens, those that they rank first. Shares are always of what the stage is
 * given. */
#ifndef NB_CORE_SAMPLER_H
#define NB_CORE_SAMPLER_H

#include <stddef.h>
#include <stdint.h>
#include "base/status.h"
#include "core/rng.h"
#include "simd/kernels.h"

typedef struct nb_logit_bias {
    int32_t id;
    float bias; /* finite, or -infinity */
} nb_logit_bias;

typedef struct nb_sampler_params {
    float temperature;       /* 0: always the best */
    uint32_t top_k;          /* 0: all */
    float typical_p;         /* 1 or 0: all */
    float top_p;             /* 1: all */
    float min_p;             /* 0: all */
    uint32_t min_keep;       /* 0 is as 1 */
    float repeat_penalty;    /* 1: none */
    float frequency_penalty; /* 0: none; below 0 it rewards */
    float presence_penalty;
    uint32_t repeat_last_n;  /* the window of all three penalties; 0: none */
    uint64_t seed;
    const nb_logit_bias *bias; /* [n_bias], copied by nb_sampler_create; biases of the same token add up */
    size_t n_bias;
} nb_sampler_params;
/* Temperature 0.8 and a window of 64, the rest off; seed 0. */
extern const nb_sampler_params nb_sampler_defaults;

/* NB_ARGUMENT when a parameter is out of its range. */
nb_status nb_sampler_params_check(const nb_sampler_params *p, nb_error *err);

typedef struct nb_sampler nb_sampler;
/* `stream` tells rows with the same seed apart: row i of a batch draws from stream i. NB_ARGUMENT also for a bias of an
 * id outside the vocabulary. */
nb_status nb_sampler_create(nb_sampler **sampler, const nb_sampler_params *params, uint64_t stream, uint32_t vocab_size,
                            const nb_kernels *k, nb_error *err);
void nb_sampler_free(nb_sampler *s);

/* Memory to choose in, for vocabularies of up to vocab_size tokens. Holds nothing from one call to the next. */
typedef struct nb_sampler_room nb_sampler_room;
nb_status nb_sampler_room_create(nb_sampler_room **room, uint32_t vocab_size, nb_error *err);
void nb_sampler_room_free(nb_sampler_room *room); /* accepts NULL */

/* Its random stream, and going on with one. */
nb_rng nb_sampler_rng(const nb_sampler *s);
void nb_sampler_resume(nb_sampler *s, const nb_rng *rng);
/* The next token; logits [vocab_size] are not changed. With a temperature it takes one uniform number from the stream.
 *
 * NaN counts as -infinity; when the best logit is infinite, all that equal it have the same chance. Weights are f32 of
 * the exp kernel, shares are sums of them in double. */
int32_t nb_sampler_next(nb_sampler *s, nb_sampler_room *room, const float *logits);
/* Tell the sampler a token that is now part of the text (prompt, forced or sampled): penalties count it. */
void nb_sampler_accept(nb_sampler *s, int32_t id);

/* What nb_sampler_next chooses among, for temperatures above 0. The arrays are the room's and live until its next
 * use. */
typedef struct nb_candidates {
    const int32_t *id;   /* [n], ascending */
    const float *weight; /* [n]: the chance of each is its part of their sum; 0, or no id here: it was left out */
    size_t n;            /* with top_k and nothing else: top_k, also where weights are 0 */
} nb_candidates;
nb_candidates nb_sampler_candidates(const nb_sampler *s, nb_sampler_room *room, const float *logits);

#endif
