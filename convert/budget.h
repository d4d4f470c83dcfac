/* Types by budget: which matrices are worth more bits. */
#ifndef NB_CONVERT_BUDGET_H
#define NB_CONVERT_BUDGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "convert/emit.h"

/* What a matrix takes, and what divergence it alone causes, in each type. */
typedef struct nb_budget_item {
    uint64_t bytes[NB_TYPE_COUNT]; /* 0: not one of its types */
    double divergence[NB_TYPE_COUNT];
    nb_type type; /* chosen */
} nb_budget_item;

typedef struct nb_budget {
    uint64_t bytes;    /* of all items together, at most */
    double divergence; /* enough: when their sum is no more than that, bytes are saved. Negative: spend all */
} nb_budget;

/* Choose the items' types: of all choices that fit, the one with the least sum of divergences (a knapsack, by dynamic
 * programming over 16384 steps of the bytes beyond the smallest types), or with `divergence` >= 0 the smallest that has
 * enough. Divergences count as independent of one another. b->bytes is at least nb_budget_least. */
nb_status nb_budget_spend(const nb_budget *b, nb_budget_item *items, size_t n, nb_error *err);
uint64_t nb_budget_least(const nb_budget_item *items, size_t n); /* bytes of the smallest types */

/* At most `bits` per weight on average, over the matrices of the plan that are not pinned, embedding and head included
 * and with padding as in memory; 0: the fewest with which the divergence is predicted to be at most NB_BUDGET_ENOUGH
 * nats.
 *
 * Each matrix is quantized in its smallest type, alone takes its exact one's place in e->calibration's model, and the
 * divergence of that model from the exact one is measured on the calibration's first tokens; for the larger types it is
 * taken to shrink like the squared error of the matrix's outputs. `told`: what was chosen, as a sentence in
 * told[told_size]. NB_ARGUMENT for fewer bits than the smallest types take. */
#define NB_BUDGET_ENOUGH 0.002
nb_status nb_budget_choose(nb_plan *plan, nb_emit *e, double bits, char *told, size_t told_size, nb_error *err);

#endif
