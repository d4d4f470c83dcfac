/* Models of real shapes with random weights, for measuring: `convert --synthetic`.
 *
 * A shape stands in for a checkpoint: it opens as an nb_input whose source makes its values up, and goes through the
 * same plan, quantizer and writer as any other. The weights are a function of the tensor and of the element's place in
 * it, so the same shape gives the same file on every machine and for every team size. */
#ifndef NB_CONVERT_SYNTHETIC_H
#define NB_CONVERT_SYNTHETIC_H

#include <stddef.h>
#include "base/status.h"
#include "convert/convert.h"
#include "convert/forms.h"

/* The shape of this name (nb_synthetic_name). Settings override its hyperparameters (n_layer=2 makes a short model
 * of it). nb_input_close, also after a failure. */
nb_status nb_synthetic_open(nb_input *in, const char *shape, const nb_setting *settings, size_t n_settings,
                            nb_error *err);

#endif
