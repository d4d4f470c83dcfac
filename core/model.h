/* An opened model: hyperparameters, weights in their final layout, tokenizer. Immutable and shared by sessions and
 * threads; sessions must be freed before their model. */
#ifndef NB_CORE_MODEL_H
#define NB_CORE_MODEL_H

#include <stdint.h>
#include "base/progress.h"
#include "base/status.h"
#include "base/team.h"
#include "core/hparams.h"
#include "core/tensors.h"
#include "core/tokenizer.h"
#include "quant/types.h"
#include "simd/kernels.h"

/* A tensor in memory. Matrices: panels of `type`; vectors and rows: plain f32. Absent tensors have data == NULL. */
typedef struct nb_weight {
    const uint8_t *data; /* not owned: inside the model's region or the file mapping */
    uint64_t rows, cols; /* without padding */
    uint64_t panel_bytes;
    nb_type type;
    int8_t codebook[NB_CODEBOOK_SIZE];
} nb_weight;

typedef struct nb_model_weights {
#define NB_FIELD_MODEL(field) nb_weight field;
#define NB_FIELD_LAYER(field)
#define TENSOR(field, SCOPE, name, KIND, rows, cols, present) NB_FIELD_##SCOPE(field)
#include "core/tensors.def"
#undef TENSOR
#undef NB_FIELD_MODEL
#undef NB_FIELD_LAYER
} nb_model_weights;

typedef struct nb_layer_weights {
#define NB_FIELD_MODEL(field)
#define NB_FIELD_LAYER(field) nb_weight field;
#define TENSOR(field, SCOPE, name, KIND, rows, cols, present) NB_FIELD_##SCOPE(field)
#include "core/tensors.def"
#undef TENSOR
#undef NB_FIELD_MODEL
#undef NB_FIELD_LAYER
} nb_layer_weights;

typedef struct nb_model nb_model;

typedef struct nb_model_options {
    nb_team *team;               /* for decompression; may be NULL */
    const nb_progress *progress; /* may be NULL */
    const nb_kernels *kernels;   /* NULL: chosen for this CPU (nb_kernels_choose) */
    uint64_t max_raw_bytes;      /* refuse larger models; 0: no limit but the format's */
} nb_model_options;

nb_status nb_model_open(nb_model **model, const char *path, const nb_model_options *options, nb_error *err);
void nb_model_free(nb_model *m); /* accepts NULL */

const nb_hparams *nb_model_hparams(const nb_model *m);
const nb_model_weights *nb_model_shared(const nb_model *m);
const nb_layer_weights *nb_model_layer(const nb_model *m, uint32_t layer);
const nb_weight *nb_model_head(const nb_model *m); /* the head, or the embedding when tied */
/* How far back a query of a block sees: key j when 0 <= i - j <= window; 0: all before it. */
uint32_t nb_model_window(const nb_model *m, uint32_t layer);
/* Which of the h->rope_kinds tables of rotary frequencies a block is rotated by, and the factor on its scores that
 * comes with it. */
uint32_t nb_model_rope_kind(const nb_model *m, uint32_t layer);
float nb_model_rope_gain(const nb_model *m, uint32_t layer);
/* By its row NB_SPEC_<field> of tensors.def; `layer` is ignored for those outside of the blocks. */
const nb_weight *nb_model_weight(const nb_model *m, int spec, uint32_t layer);
/* The two changes that a model knows, for measuring what they do; none of its sessions may be at work. Let w, of the
 * same shape, whose data the caller owns, take a weight's place, and return the former; set the hyperparameter
 * qk_rotate. */
nb_weight nb_model_exchange(nb_model *m, int spec, uint32_t layer, const nb_weight *w);
void nb_model_rotate_qk(nb_model *m, bool rotate);
const nb_kernels *nb_model_kernels(const nb_model *m);
const nb_tokenizer *nb_model_tokenizer(const nb_model *m); /* NULL: the file has none */
const char *nb_model_architecture(const nb_model *m);
const char *nb_model_chat_style(const nb_model *m); /* name of a row of chat.def; "plain" when the file says nothing */
/* The system text of a conversation that gives none, as the checkpoint's own template has it; NULL: none, or another
 * style than the model's. */
const char *nb_model_chat_system(const nb_model *m, const char *style);
uint64_t nb_model_identity(const nb_model *m);
uint64_t nb_model_weight_bytes(const nb_model *m);

#endif
