/* Integers of a limited size, as sign and magnitude, for the calculator: Python's ints are exact, so these are too.
 *
 * The caller keeps values below 2^(32 * NB_BIG_LIMBS); nothing is checked here. No allocation, no state. */
#ifndef NB_CORE_BIGNUM_H
#define NB_CORE_BIGNUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"

enum { NB_BIG_LIMBS = 56 };

typedef struct nb_big {
    uint32_t limb[NB_BIG_LIMBS]; /* least significant first; [n..] are not read */
    uint32_t n;                  /* limb[n - 1] != 0; zero has n == 0 */
    bool negative;               /* never for zero */
} nb_big;

nb_big nb_big_from(uint64_t v);
void nb_big_mul_small(nb_big *a, uint32_t factor, uint32_t add); /* |a| = |a| * factor + add */
size_t nb_big_bits(const nb_big *a);                             /* of the magnitude; 0 for zero */
int nb_big_compare_magnitude(const nb_big *a, const nb_big *b);  /* -1, 0, 1 */
void nb_big_shift_left(nb_big *a, size_t bits);

void nb_big_add(nb_big *sum, const nb_big *a, const nb_big *b); /* results may be the operands */
void nb_big_sub(nb_big *difference, const nb_big *a, const nb_big *b);
void nb_big_mul(nb_big *product, const nb_big *a, const nb_big *b);
void nb_big_negate(nb_big *a);

/* |a| = |b| * quotient + remainder, of the magnitudes; b is not zero. Both results are >= 0. */
void nb_big_divide(nb_big *quotient, nb_big *remainder, const nb_big *a, const nb_big *b);
/* Python's a // b: rounded down. */
void nb_big_floor_divide(nb_big *quotient, const nb_big *a, const nb_big *b);

/* a / b rounded once to the nearest double, ties to even, as Python's true division of ints; infinite when it is too
 * large, gradual underflow. b is not zero. */
double nb_big_ratio(const nb_big *a, const nb_big *b);

void nb_big_print(const nb_big *a, nb_buf *out);

#endif
