/* Weights for inputs that are not what they should be (Li et al. 2025, GPTAQ: asymmetric calibration).
 *
 * A matrix whose predecessors are quantized meets inputs y in place of the exact x. What row w should give is w x, so v costs
 * E[(w x - v y)^2] = (w - v) H (w - v)' + 2 (w - v) b' + what does not depend on v, with H = E[y y'] and b = w C of the drift
 * C = E[(x - y) y']. That is (u - v) H (u - v)' for u = w + b inverse(H): the weights that do best with these inputs, to be
 * quantized in w's place. The inverse is that of H's factors (quant/gptq.h), so it is damped as they are. */
#ifndef NB_QUANT_DRIFT_H
#define NB_QUANT_DRIFT_H

#include <stddef.h>
#include "quant/gptq.h"

/* From now on f has this drift. drift [n][n]: sums of y[k] (x - y)[j] at [k * n + j] over the tokens that f's moments were
 * summed over, owned by f from here on. share: how much of it is believed, from 0 to 1. */
void nb_feedback_set_drift(nb_feedback *f, float *drift, double share);

/* w[n][16] becomes u. Nothing happens without a drift. scratch: [2][n][16]. */
void nb_drift_correct(const nb_search *search, const nb_feedback *f, float *w, float *scratch);

#endif
