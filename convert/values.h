/* Whether weights can be stored. */
#ifndef NB_CONVERT_VALUES_H
#define NB_CONVERT_VALUES_H

#include <stddef.h>
#include <stdint.h>
#include "base/status.h"
#include "convert/plan.h"
#include "quant/types.h"

/* Weights must be finite, and stay so in the type they get. `first` is the index of x[0] in the tensor. */
nb_status nb_check_values(const nb_plan_tensor *t, nb_type type, const float *x, size_t n, uint64_t first,
                          nb_error *err);

#endif
