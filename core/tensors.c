#include "core/tensors.h"

#include <stdio.h>

static bool has_value_embed(const nb_hparams *h, uint32_t layer) {
    return h->value_every && (h->n_layer - 1 - layer) % h->value_every == 0;
}

/* Channels of heads that are normalised as one. */
static uint64_t norm_cols(const nb_hparams *h, uint32_t heads) {
    return (uint64_t)h->head_dim * (h->qk_norm == NB_QKNORM_TOGETHER ? heads : 1);
}

bool nb_tensor_present(const nb_hparams *h, int spec, uint32_t layer) {
    const bool has[NB_SPEC_COUNT] = {
#define TENSOR(field, SCOPE, name, KIND, rows, cols, present) present,
#include "core/tensors.def"
#undef TENSOR
    };
    return has[spec];
}

void nb_tensor_specs(const nb_hparams *h, nb_tensor_spec specs[NB_SPEC_COUNT]) {
    size_t i = 0;
    const uint32_t layer = h->n_layer - 1;
#define TENSOR(field_, SCOPE_, name_, KIND_, rows_, cols_, present_)                                     \
    specs[i++] = (nb_tensor_spec){.field = #field_, .name = name_, .scope = NB_SCOPE_##SCOPE_,           \
                                  .kind = NB_KIND_##KIND_, .rows = rows_, .cols = cols_, .present = present_};
#include "core/tensors.def"
#undef TENSOR
}

void nb_tensor_name(const nb_tensor_spec *spec, uint32_t layer, char buf[NB_TENSOR_NAME]) {
    if (spec->scope == NB_SCOPE_MODEL) snprintf(buf, NB_TENSOR_NAME, "%s", spec->name);
    else snprintf(buf, NB_TENSOR_NAME, "blocks.%u.%s", layer, spec->name);
}
