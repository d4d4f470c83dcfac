/* How run and chat choose tokens and when they stop, from their options. */
#ifndef NB_CLI_SAMPLING_H
#define NB_CLI_SAMPLING_H

#include "cli/options.h"
#include "core/generate.h"

typedef struct sampling {
    nb_sampler_params params;
    nb_logit_bias *bias; /* owned, as are the ids */
    nb_ids stop_tokens;
} sampling;

/* Read and check the options; what needs the vocabulary is checked by nb_generate. sampling_free accepts a zeroed
 * object. */
nb_status sampling_read(sampling *s, const options *o, nb_error *err);
void sampling_free(sampling *s);

/* What nb_generate is to do: sampling, length and stops as the options say. They and `s` outlive the result. */
nb_generate_options sampling_options(const sampling *s, const options *o);

#endif
