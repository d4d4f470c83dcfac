/* The forward pass: token ids in, residual stream and logits out, for one chunk of tokens at a time. The tokens of a
 * chunk may belong to several texts: they go through each weight matrix together, and attend each to its own text.
 *
 * One decoder serves every model; hyperparameters and the presence of tensors decide (docs in core/hparams.def). All
 * buffers are planned and taken at creation. Every token's values are computed in the same order of operations,
 * whatever else is in its chunk. Internal to core; sessions are the interface. */
#ifndef NB_CORE_FORWARD_H
#define NB_CORE_FORWARD_H

#include <stddef.h>
#include <stdint.h>
#include "base/mem.h"
#include "base/status.h"
#include "base/team.h"
#include "core/attend.h"
#include "core/kv.h"
#include "core/model.h"

/* Most rows of logits computed at once: bounds the memory of `logits --all`. */
enum { NB_LOGIT_ROWS = 8 };

/* Tokens of a chunk that follow one another in one text. */
typedef struct nb_span {
    nb_kv_text *text;   /* which has leaves for them */
    const int32_t *ids; /* [n] below vocab_size */
    int32_t before;     /* the token before them; any value when position is 0 */
    uint32_t position;  /* of the first */
    uint32_t n;         /* >= 1 */
} nb_span;

typedef struct nb_forward {
    const nb_model *model;
    const nb_hparams *h;
    const nb_kernels *k;
    nb_team *team;
    const nb_observer *observer; /* NULL: none */
    float scale;            /* of the queries */
    size_t n_tokens;        /* in the chunk */
    const nb_kv *kv;
    const nb_kv_text **text; /* [n_tokens] which text a token continues */
    int32_t *ids, *before;  /* [n_tokens]; the token before each in its text, where position > 0 */
    uint32_t *position;     /* [n_tokens] in its text */
    nb_reader *readers;     /* [n_tokens] what attends, in the chunk's order: neighbours attend together */
    const nb_layer_weights *w; /* the block being computed */
    uint32_t layer;

    /* Buffers [n_chunk][stride]; strides leave room for whole blocks of 32 columns, padding is zero. */
    nb_region memory;
    float *x, *xn, *y;      /* residual stream, its norm, a projection's output: stride_embd */
    float *qkv;             /* stride_qkv */
    float *att;             /* heads' outputs: stride_att */
    float *ff;              /* hidden layer of the MLP: stride_ff */
    float *x0, *mid;        /* the input of block 0, the output of block n_layer / 2, where the model needs them: stride_embd */
    float *cos, *sin;       /* rotary tables of the chunk: [n_chunk][rope_kinds][head_dim / 2] */
    float *logits;          /* [n_logits][stride_vocab] */
    float *kv_scratch;      /* [team size][scratch_stride] */
    float *parts;           /* [n_parts][part_stride]: attention's, where spans are shared out over the team */
    size_t n_parts, part_stride;
    uint32_t first_span, n_spans; /* of the texts just now */
    int8_t *q;              /* quantized activations of the next product */
    float *q_scale;
    int32_t *q_start;
    size_t stride_embd, stride_qkv, stride_att, stride_ff, stride_vocab, scratch_stride;
    size_t stride_q, stride_scale, stride_start; /* of the widest input */
} nb_forward;

/* For chunks of up to n_chunk tokens and n_logits rows of logits, over a cache that outlives it. */
nb_status nb_forward_create(nb_forward *f, const nb_model *model, const nb_kv *kv, uint32_t n_chunk, uint32_t n_logits,
                            nb_team *team, nb_error *err);
void nb_forward_free(nb_forward *f); /* accepts a zeroed one */

/* Run all blocks over the tokens of the spans, n_chunk at most. */
void nb_forward_chunk(nb_forward *f, const nb_span *spans, size_t n_spans);

/* Logits of tokens[n] of the last chunk, n <= n_logits: f->logits, [n][stride_vocab]. */
void nb_forward_logits(nb_forward *f, const uint32_t *tokens, size_t n);

#endif
