/* The tensors a model consists of, made from tensors.def. qkv rows are the query heads, then the key heads, then the
 * value heads; in a gated MLP, `up` rows are the gate's, then the up projection's. */
#ifndef NB_CORE_TENSORS_H
#define NB_CORE_TENSORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "core/hparams.h"

typedef enum nb_tensor_scope { NB_SCOPE_MODEL, NB_SCOPE_LAYER } nb_tensor_scope;
typedef enum nb_tensor_kind { NB_KIND_MATRIX, NB_KIND_EMBED, NB_KIND_VECTOR, NB_KIND_ROWS } nb_tensor_kind;

/* One row of tensors.def for given hyperparameters. */
typedef struct nb_tensor_spec {
    const char *field;
    const char *name; /* for LAYER the part behind "blocks.<layer>." */
    nb_tensor_scope scope;
    nb_tensor_kind kind;
    uint64_t rows, cols;
    bool present; /* this model has it; with scope LAYER: in its last block, which has all that any block has */
} nb_tensor_spec;

enum {
#define TENSOR(field, SCOPE, name, KIND, rows, cols, present) NB_SPEC_##field,
#include "core/tensors.def"
#undef TENSOR
    NB_SPEC_COUNT
};

/* Fill specs[NB_SPEC_COUNT] in the order of tensors.def (index: NB_SPEC_<field>). `h` has passed nb_hparams_check. */
void nb_tensor_specs(const nb_hparams *h, nb_tensor_spec specs[NB_SPEC_COUNT]);

/* Whether block `layer` has tensor NB_SPEC_<field>; `layer` is ignored for MODEL scope. */
bool nb_tensor_present(const nb_hparams *h, int spec, uint32_t layer);

/* The tensor's name in the file: buf takes NB_TENSOR_NAME bytes. `layer` is ignored for MODEL scope. */
enum { NB_TENSOR_NAME = 64 };
void nb_tensor_name(const nb_tensor_spec *spec, uint32_t layer, char buf[NB_TENSOR_NAME]);

#endif
