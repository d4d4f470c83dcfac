/* Hyperparameters: what distinguishes one model's computation from another's. The list is hparams.def. */
#ifndef NB_CORE_HPARAMS_H
#define NB_CORE_HPARAMS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/status.h"

enum { NB_HEAD_DIM_MAX = 1024 };

typedef enum nb_norm_kind { NB_NORM_RMS, NB_NORM_LAYER } nb_norm_kind;
typedef enum nb_pos_kind { NB_POS_ROPE, NB_POS_LEARNED } nb_pos_kind;
typedef enum nb_qknorm_kind {
    NB_QKNORM_NONE, NB_QKNORM_BEFORE_ROPE, NB_QKNORM_AFTER_ROPE, NB_QKNORM_TOGETHER
} nb_qknorm_kind;
typedef enum nb_act_kind { NB_ACT_RELU2, NB_ACT_GELU_ERF, NB_ACT_GELU_TANH, NB_ACT_SILU } nb_act_kind;

typedef struct nb_hparams {
#define NB_HPARAM_TYPE_U32 uint32_t
#define NB_HPARAM_TYPE_F32 float
#define NB_HPARAM_TYPE_BOOL uint32_t
#define NB_HPARAM_TYPE_NORM uint32_t
#define NB_HPARAM_TYPE_POS uint32_t
#define NB_HPARAM_TYPE_QKNORM uint32_t
#define NB_HPARAM_TYPE_ACT uint32_t
#define HPARAM(name, KIND, required, def, min, max, doc) NB_HPARAM_TYPE_##KIND name;
#include "core/hparams.def"
#undef HPARAM
} nb_hparams;

/* One row of hparams.def. Every field is four bytes: a uint32_t, or a float for kind F32. */
typedef enum nb_hparam_kind {
    NB_HPARAM_U32, NB_HPARAM_F32, NB_HPARAM_BOOL, NB_HPARAM_NORM, NB_HPARAM_POS, NB_HPARAM_QKNORM, NB_HPARAM_ACT
} nb_hparam_kind;
typedef struct nb_hparam_info {
    const char *name;
    nb_hparam_kind kind;
    bool required;
    double default_value, min, max;
    size_t offset; /* in nb_hparams */
    const char *doc;
} nb_hparam_info;
extern const nb_hparam_info nb_hparam_list[];
extern const size_t nb_hparam_count;

/* All defaults; required ones are 0. */
void nb_hparams_default(nb_hparams *h);

/* Set one by name from text, as `convert --set` does: numbers, true/false/0/1, enumeration names. NB_ARGUMENT with a
 * sentence that lists the valid names or values. */
nb_status nb_hparams_set(nb_hparams *h, const char *name, const char *value, nb_error *err);

/* Ranges and relations (n_kv_head divides n_head, even head_dim with rope, ...); NB_MISSING names a required one that
 * is still 0. */
nb_status nb_hparams_check(const nb_hparams *h, nb_error *err);

/* To and from the model section's "hparams" object. Floats are written so that they read back to the same bits.
 * Unknown keys are refused by name: they would change what the model computes. */
json_t *nb_hparams_to_json(const nb_hparams *h); /* new reference; NULL: out of memory */
nb_status nb_hparams_from_json(nb_hparams *h, const json_t *object, nb_error *err);

#endif
