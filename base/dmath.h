/* Elementary functions in double precision that give the same bits on every machine.
 *
 * The C library's exp, log, pow, sin and cos differ between systems in the last bit, and what is computed from them
 * (rotary angles, decay tables) must not. These use only +, -, *, / and fma(), each correctly rounded by IEEE 754, in a
 * fixed order. Pure functions, thread-safe, no errno; rounding mode must be round-to-nearest (the default).
 * How accurate they are is stated in base/dmath.c and tested in tests/test_base_dmath.c. */
#ifndef NB_BASE_DMATH_H
#define NB_BASE_DMATH_H

double nb_exp(double x);           /* overflows to infinity, underflows gradually to 0; NaN gives NaN */
double nb_log(double x);           /* log(0) = -infinity; negative or NaN gives NaN */
double nb_pow(double x, double y); /* x > 0 (also +0 and infinity, as C says); a negative x gives NaN */

/* Sine and cosine of x radians, |x| <= 2^31; beyond that, and for NaN and infinities, both are NaN. */
void nb_sincos(double x, double *sine, double *cosine);

#endif
