/* Rotary frequencies of a checkpoint, with the scaling that its configuration asks for.
 *
 * Every scaling becomes a table of inverse frequencies, which is stored, and one factor on cosines and sines, which
 * meets q and k, so that its square meets the scores. Where blocks are rotated in two ways there are two tables; zeros
 * are a block that is not rotated. The formulas are those of transformers' modeling_rope_utils.py, in its f32 steps. */
#ifndef NB_CONVERT_ROPE_H
#define NB_CONVERT_ROPE_H

#include "base/status.h"
#include "convert/arch.h"
#include "core/hparams.h"

enum {
    NB_ROPE_MAX = 512, /* half of the largest head_dim */
    NB_ROPE_KINDS = 2  /* of blocks that one model has: most that a family needs */
};

/* The tensors rope.inv_freq [rope_kinds][head_dim / 2] without gaps, rope.kinds [n_layer] and rope.gains
 * [rope_kinds]. */
typedef struct nb_rope {
    float inv_freq[NB_ROPE_KINDS * NB_ROPE_MAX], kinds[NB_BLOCKS_MAX], gains[NB_ROPE_KINDS];
} nb_rope;

/* For the rope_theta, head_dim and n_ctx of h; h->rope_kinds, and n_ctx where frequencies are known for a shorter
 * context only, are set, and the factor of a single kind becomes h->attn_scale. NB_UNSUPPORTED for a scaling that is
 * not known. Models without rotary positions are left alone. */
nb_status nb_rope_make(nb_rope *rope, const nb_arch *arch, const nb_arch_input *in, nb_hparams *h, nb_error *err);

#endif
