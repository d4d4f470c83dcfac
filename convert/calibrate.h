/* Calibration: what a checkpoint's own activations say about how its matrices should be quantized.
 *
 * The model, converted exactly, reads a text (or its own samples) in windows from an empty context, and the second
 * moments of every matrix's inputs become the factors that let columns make up for one another's errors (quant/gptq.h).
 * This is the one place where the converter runs the forward pass.
 *
 * In sequence, matrices that have been quantized take their exact ones' places before the text is read for those behind
 * them, side by side with the exact model: inputs are what they will be, and what they lack is made up for
 * (quant/drift.h). The text is read for a few matrices at a time: for one in a small model, in a large one for more, so
 * that all reading takes about NB_CALIBRATE_WORK; and for no more than NB_CALIBRATE_BYTES hold of their moments.
 *
 * Memory besides: one matrix's factors, 12 n^2 bytes for n inputs; in sequence the quantized model; and the exact
 * model, mapped from a temporary file beside the target. */
#ifndef NB_CONVERT_CALIBRATE_H
#define NB_CONVERT_CALIBRATE_H

#include "base/progress.h"
#include "base/status.h"
#include "base/team.h"
#include "convert/plan.h"
#include "convert/reading.h"
#include "core/model.h"
#include "quant/gptq.h"

#define NB_CALIBRATE_BYTES (UINT64_C(2) << 30)
#define NB_CALIBRATE_WORK 1e14 /* floating-point operations: a quarter of an hour of two cores */

typedef struct nb_calibration nb_calibration;

typedef struct nb_calibrate_options {
    const nb_reading *reading;   /* what the model reads; must outlive the calibration */
    nb_team *team;               /* may be NULL */
    const nb_progress *progress; /* may be NULL */
} nb_calibrate_options;

/* `model` is the checkpoint as f32 or as what else holds its weights exactly, and `plan` its plan; both must outlive
 * the calibration. */
nb_status nb_calibration_create(nb_calibration **c, nb_model *model, const nb_plan *plan,
                                const nb_calibrate_options *o, nb_error *err);
void nb_calibration_free(nb_calibration *c); /* accepts NULL */

/* How inputs are measured: in the exact model, or with those matrices quantized that were (nb_calibration_keep). */
typedef enum nb_inputs { NB_INPUTS_EXACT, NB_INPUTS_IN_SEQUENCE } nb_inputs;

/* The factors of a matrix of the plan, valid until the next call; NULL for what is no product's matrix (an embedding).
 * Tensors are asked for in the plan's order; any other lets the model read the text again. */
nb_status nb_calibration_feedback(nb_calibration *c, const nb_plan_tensor *t, nb_inputs inputs, const nb_feedback **f,
                                  nb_error *err);

/* Memory for the tensor's matrix in its type, as panels, which the caller fills before it asks for the next tensor's
 * factors: from then on it is quantized for those behind it. Owned by the calibration. */
nb_status nb_calibration_keep(nb_calibration *c, const nb_plan_tensor *t, const int8_t codebook[NB_CODEBOOK_SIZE],
                              uint8_t **panels, nb_error *err);

/* The mean divergence KL(exact || changed) in nats, on the first tokens that were read, when w takes the place of this
 * tensor's matrix in the model. */
nb_status nb_calibration_divergence(nb_calibration *c, const nb_plan_tensor *t, const nb_weight *w, double *divergence,
                                    nb_error *err);

#endif
