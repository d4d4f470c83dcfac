/* What became of every tensor of a conversion, and of every class of tensors; and what was measured to choose how. */
#ifndef NB_CONVERT_REPORT_H
#define NB_CONVERT_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/status.h"
#include "core/score.h"
#include "core/tensors.h"
#include "quant/quantize.h"
#include "quant/types.h"

typedef struct nb_plan_tensor nb_plan_tensor; /* convert/plan.h */

typedef struct nb_convert_tensor {
    char name[NB_TENSOR_NAME];   /* in the file */
    char class[NB_TENSOR_NAME]; /* a matrix's name without block and ".weight": "attn.qkv"; "vectors" for all else */
    int32_t layer;               /* its block; -1: none */
    bool matrix;
    nb_type type;
    uint64_t rows, cols, raw_bytes; /* cols of a vector: its length */
    nb_quant_error error;           /* of a matrix that is not f32; else nothing is lost and nothing was counted */
} nb_convert_tensor;

typedef struct nb_convert_list {
    nb_convert_tensor *tensors; /* owned; in the order of the plan */
    size_t n, capacity;
} nb_convert_list;

nb_status nb_convert_list_add(nb_convert_list *list, const nb_plan_tensor *t, uint64_t raw_bytes,
                              const nb_quant_error *error, nb_error *err);
void nb_convert_list_free(nb_convert_list *list); /* accepts a zeroed one */
nb_quant_error nb_convert_total(const nb_convert_list *list);

typedef struct nb_convert_class {
    const char *name; /* the list's */
    bool matrix;
    size_t n; /* tensors */
    uint64_t parameters, raw_bytes;
    nb_quant_error error;
} nb_convert_class;

/* The classes in the order in which they first appear, "vectors" last: *classes [*n], released with nb_free. */
nb_status nb_convert_classes(const nb_convert_list *list, nb_convert_class **classes, size_t *n, nb_error *err);

/* The relative squared error of what was read's outputs where there was a calibration, else of the weights; 0 when
 * nothing was lost. */
double nb_convert_loss(const nb_quant_error *error);

/* A set of rotations that was tried (convert/rotate_auto.h). */
typedef struct nb_rotation_trial {
    const char *what;   /* was measured: the model as written, "weights", or the exact one with a "q8 cache" */
    unsigned set;       /* of NB_ROTATE_<NAME>; 0: none, what the others are compared with */
    nb_mean divergence; /* from the exact model, nats per token */
    nb_mean gain;       /* by how much less than without rotations, token by token */
    bool kept;          /* one of each `what` */
} nb_rotation_trial;

enum { NB_ROTATION_TRIALS = 8 }; /* at most */
typedef struct nb_rotation_trials {
    nb_rotation_trial list[NB_ROTATION_TRIALS];
    size_t n, tokens; /* tokens: on which they were measured */
} nb_rotation_trials;

#endif
