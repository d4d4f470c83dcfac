/* Which tensors a model file gets, and which tensors of the checkpoint each is made of. */
#ifndef NB_CONVERT_PLAN_H
#define NB_CONVERT_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/status.h"
#include "convert/arch.h"
#include "convert/source.h"
#include "core/hparams.h"
#include "core/tensors.h"
#include "quant/types.h"

enum { NB_PLAN_PARTS = 3 };

/* Our rows [row, row + rows) are rows of one source tensor (its columns when transposed). A vector counts as one column
 * of `rows` values. */
typedef struct nb_plan_part {
    const nb_source_tensor *tensor;
    uint64_t row, rows;
    bool transpose;
    float offset, gain; /* our values are (its + offset) * gain; a gain of 0 stands for 1 */
    uint32_t pairs; /* rows of a head whose neighbours become halves (NB_MAP_PAIRS); 0: rows are in our order */
} nb_plan_part;

typedef struct nb_plan_tensor {
    nb_tensor_spec spec; /* rows, cols: our shape; a vector's are 1 and its length */
    char name[NB_TENSOR_NAME];
    nb_plan_part parts[NB_PLAN_PARTS]; /* [n_parts], by row */
    size_t n_parts;                    /* 0: generated */
    int id;                            /* NB_SPEC_<field> */
    uint32_t layer;                    /* 0 outside of the blocks */
    bool pinned;                       /* its type was asked for by its name */
    nb_type type;                      /* in the file: nb_choose_types */
} nb_plan_tensor;

typedef struct nb_plan {
    nb_plan_tensor *tensors; /* owned; tensors outside of the blocks, then block by block */
    size_t n;
    uint64_t source_elements; /* to be read; may count an element more than once */
} nb_plan;

/* Match every tensor of the source with the map of the family. One sentence lists all that the map does not know and
 * all that are missing; shapes are checked against tensors.def. */
nb_status nb_plan_make(nb_plan *plan, const nb_arch *arch, const nb_hparams *h, const nb_source *s, nb_error *err);
void nb_plan_free(nb_plan *plan); /* accepts a zeroed one */

/* Whether the converter makes tensor NB_SPEC_<field> itself, of the configuration: no checkpoint has it. */
bool nb_spec_made(int spec);

/* Rows [row, row + n) of a planned tensor as f32 into dst [n][cols]; a vector has one row. */
nb_status nb_plan_read(const nb_plan_tensor *t, nb_source *s, uint64_t row, uint64_t n, float *dst, nb_error *err);

/* Whether the rows of a planned matrix are rows of the checkpoint as they lie in its files, all of one type; then
 * nb_plan_fetch gets them undecoded: dst [n] rows of nb_source_row_bytes of any of its parts. */
bool nb_plan_fetches(const nb_plan_tensor *t, nb_source *s);
nb_status nb_plan_fetch(const nb_plan_tensor *t, nb_source *s, uint64_t row, uint64_t n, uint8_t *dst, nb_error *err);

#endif
