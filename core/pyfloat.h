/* Doubles as Python reads, divides and writes them. */
#ifndef NB_CORE_PYFLOAT_H
#define NB_CORE_PYFLOAT_H

#include "base/buf.h"

/* repr(): the shortest decimal that reads back as the same double, the nearest among the shortest; ".0" where there is
 * no fraction; an exponent from 1e16 on and below 1e-4; "inf", "-inf", "nan". Not through printf, whose decimal point
 * depends on the locale. */
void nb_float_repr(double v, nb_buf *out);

/* a // b for b != 0: rounded down, as floatobject.c does it (fmod first, so that the quotient is exact where it can
 * be). */
double nb_float_floor_divide(double a, double b);

#endif
