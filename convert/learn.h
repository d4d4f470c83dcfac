/* Codebooks of planned matrices, each learned from a sample of its rows (quant/codebook.h). Members of the team learn
 * those of different matrices side by side; what is learned does not depend on them. */
#ifndef NB_CONVERT_LEARN_H
#define NB_CONVERT_LEARN_H

#include <stddef.h>
#include <stdint.h>
#include "base/status.h"
#include "base/team.h"
#include "convert/plan.h"
#include "convert/rotate.h"
#include "quant/search.h"
#include "quant/types.h"

typedef struct nb_learning {
    nb_source *source;
    nb_rotation *rotation; /* through which it is read */
    nb_team *team;         /* may be NULL */
    const nb_search *search;
} nb_learning;

/* Of those of tensors[n] that will be q4; the other codebooks become zero. */
nb_status nb_learn_codebooks(const nb_learning *l, const nb_plan_tensor *tensors, size_t n,
                             int8_t (*codebooks)[NB_CODEBOOK_SIZE], nb_error *err);

#endif
