/* The best of many, without sorting or moving them.
 *
 * Items rank by key, the smaller first, and those with equal keys by position. nb_select finds where the shortest
 * beginning of that ranking ends whose masses together reach a target: with a mass of 1 each, these are the k smallest;
 * with probabilities, a nucleus. Radix selection from the highest bits down: one pass over all items, then over those
 * that agree with the cut in the bits so far. Linear in n, whatever the keys. */
#ifndef NB_CORE_SELECT_H
#define NB_CORE_SELECT_H

#include <stddef.h>
#include <stdint.h>

/* The items with a smaller key, and of those that have this one, the ones at positions below `before`. */
typedef struct nb_cut {
    uint32_t key, before;
} nb_cut;

enum { NB_SELECT_BINS = 1 << 14 };
typedef struct nb_select_room {
    double *bins;    /* [NB_SELECT_BINS] */
    uint32_t *place; /* [n] */
} nb_select_room;

/* `mass` [n] is not negative; NULL: 1 each. When all masses together do not reach the target, all items are before the
 * cut. Masses are added in double in an order that depends on keys and positions only: the same on every machine. */
nb_cut nb_select(const uint32_t *key, const float *mass, size_t n, double target, nb_select_room room);

/* Of two cuts through the same items, the one with more before it. */
nb_cut nb_cut_wider(nb_cut a, nb_cut b);

#endif
