/* Which rotations a model is to have: those that are measured to help it. */
#ifndef NB_CONVERT_ROTATE_AUTO_H
#define NB_CONVERT_ROTATE_AUTO_H

#include "convert/convert.h"
#include "convert/plan.h"
#include "core/hparams.h"

/* Tokens on which trials are measured, at most. */
enum { NB_ROTATE_TOKENS = 8192 };

/* A rotation is kept when it lowers the divergence by more than so many standard errors, which come from comparing
 * token by token. Of a cache, whose errors are drawn anew with every token, two leave one of forty that does nothing;
 * and as queries and keys are turned at run time, for every token, what they gain must be a twentieth of the divergence
 * at least. Other weights draw the errors of all tokens at once, which such a standard error does not see: by two of
 * them, calibrated q4 of the nanochat demo kept a rotation that lost on other text. */
enum { NB_ROTATE_ERRORS_WEIGHTS = 3, NB_ROTATE_ERRORS_CACHE = 2, NB_ROTATE_PART_CACHE = 20 };

/* Try the rotations of the weights, and each with each, by converting the model as `o` says into temporary files beside
 * the target and measuring the divergences from the exact one; and qk, by the divergence that a q8 cache causes in the
 * exact model. All read o->calibrate's text, or the model's own samples, side by side: the exact model, which is the
 * slowest, reads once. *set becomes what is kept, of NB_ROTATE_<NAME>; the trials are what was measured.
 *
 * `plan` and `h` are of the model without rotations. Weights are not tried where none is quantized; rotations that are
 * not exact for the model are not tried. *reading is what was read, for a calibration to read the same, and the
 * caller's to free, also after a failure. */
nb_status nb_rotate_choose(const char *source, const char *target, const nb_convert_options *o, const nb_plan *plan,
                           const nb_hparams *h, unsigned *set, nb_rotation_trials *trials, nb_reading *reading,
                           nb_error *err);

#endif
