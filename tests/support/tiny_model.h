/* Small random models made in the test, and what they compute, plainly and in double precision. */
#ifndef NB_TESTS_SUPPORT_TINY_MODEL_H
#define NB_TESTS_SUPPORT_TINY_MODEL_H

#include <stddef.h>
#include <stdint.h>

#include "core/hparams.h"
#include "core/model.h"
#include "core/tensors.h"
#include "quant/types.h"

typedef struct tiny_model {
    nb_hparams h;
    uint32_t slide;  /* for tiny_logits: n_ctx of NB_OVERFLOW_SLIDE (core/session.h); 0: nothing is dropped */
    float **tensors; /* [NB_SPEC_COUNT][n_layer]: row-major values, NULL when absent */
} tiny_model;

/* A small default with the settings of hparams.def in "key=value key=value ..." over it. */
nb_hparams tiny_hparams(const char *settings);

/* Random weights for hyperparameters that pass nb_hparams_check; the same for the same seed everywhere. */
tiny_model tiny_new(const nb_hparams *h, uint64_t seed);
void tiny_free(tiny_model *m);
const float *tiny_tensor(const tiny_model *m, size_t spec, uint32_t layer);

/* Write it as a .nbl file with matrices of `type`, without a tokenizer. `tokenizer_json` may be NULL. */
void tiny_write(const tiny_model *m, const char *path, nb_type type, int raw);

/* One for these settings and this seed, written to dir/tiny.nbl and opened; the caller frees it. `k` may be NULL. */
nb_model *tiny_open(const char *dir, const char *settings, uint64_t seed, nb_type type, const nb_kernels *k);

/* Logits [n][vocab_size] of every position, by the formulas, in doubles, one token at a time without a cache. */
void tiny_logits(const tiny_model *m, const int32_t *ids, size_t n, double *logits);

#endif
