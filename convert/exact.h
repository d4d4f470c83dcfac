/* Models that the converter makes to measure something, and one that computes with the checkpoint's very weights. */
#ifndef NB_CONVERT_EXACT_H
#define NB_CONVERT_EXACT_H

#include "convert/convert.h"
#include "convert/plan.h"
#include "core/model.h"

/* Convert `source` as o says, without a word and uncompressed, to a temporary file beside `target`, and open it. The
 * file has no name any more when this returns; its space is free again when the model is. */
nb_status nb_trial_open(nb_model **model, const char *source, const char *target, const nb_convert_options *o,
                        nb_error *err);

/* The same with matrices in a type that holds them exactly: bf16 and f16 checkpoints stay so, others and rotated ones
 * become f32. `plan` is of the model. */
nb_status nb_exact_open(nb_model **model, const char *source, const char *target, const nb_convert_options *o,
                        const nb_plan *plan, nb_error *err);

#endif
