/* Which type every tensor of a plan gets. */
#ifndef NB_CONVERT_CHOOSE_H
#define NB_CONVERT_CHOOSE_H

#include "convert/convert.h"
#include "convert/plan.h"

/* Matrices get o->type (with q4 the embedding and the head q8), or that of the last of o->rules whose pattern fits; all
 * else is f32. A pattern fits the tensor's name in the file or one of its names in the checkpoint, with or without
 * ".weight" at the end. NB_ARGUMENT for a pattern that fits no matrix. */
nb_status nb_choose_types(nb_plan *plan, const nb_convert_options *o, nb_error *err);

bool nb_plan_is_matrix(const nb_plan_tensor *t); /* panels, in a type that is chosen */

/* What the plan takes in memory, and so in the file before compression. NB_LIMIT when that is more than 64 bits
 * count. */
nb_status nb_plan_bytes(const nb_plan *plan, uint64_t *bytes, nb_error *err);

/* "154 matrices in q4, 2 in q8, 45 vectors in f32" into text[n]. */
void nb_choice_text(const nb_plan *plan, char *text, size_t n);

#endif
