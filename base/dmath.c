/* The range reductions are Cody and Waite's; the products that must be exact are split as Dekker does (1971), so that
 * not even fma() of the C library, slow on machines without the instruction, is needed. The polynomials are Chebyshev
 * expansions of the remainders, printed by tests/reference/dmath_coefficients.py (mpmath, 60 digits).
 *
 * Largest errors measured against 60 digits (10^5 random arguments per function and range, and for the sine the doubles
 * closest to multiples of pi/2), in units of the last place: exp 0.61, below the normal numbers 0.76; log 0.50; pow
 * 0.61; sin and cos 0.78. tests/test_base_dmath.c checks bounds a little above these. */
#include "base/dmath.h"

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

_Static_assert(FLT_EVAL_METHOD == 0, "double arithmetic must round to double: not the x87 registers");
_Static_assert(DBL_MANT_DIG == 53, "double must be IEEE binary64");

/* A sum of two doubles, |lo| <= ulp(hi) / 2 or nearly so: about 106 bits. */
typedef struct dd {
    double hi, lo;
} dd;

static dd two_sum(double a, double b) {
    double s = a + b, bb = s - a;
    return (dd){s, (a - (s - bb)) + (b - bb)};
}

/* Exact when |a| >= |b| or a is 0. */
static dd fast_two_sum(double a, double b) {
    double s = a + b;
    return (dd){s, b - (s - a)};
}

/* hi holds the upper 26 bits. |a| < 2^996, or the factor 2^27 + 1 overflows. */
static dd split(double a) {
    double c = 134217729.0 * a;
    double hi = c - (c - a);
    return (dd){hi, a - hi};
}

/* a * b exactly, while no partial product underflows. */
static dd two_product(double a, double b) {
    double p = a * b;
    dd x = split(a), y = split(b);
    return (dd){p, ((x.hi * y.hi - p) + x.hi * y.lo + x.lo * y.hi) + x.lo * y.lo};
}

static dd dd_add(dd a, dd b) {
    dd s = two_sum(a.hi, b.hi);
    return fast_two_sum(s.hi, s.lo + (a.lo + b.lo));
}

static dd dd_mul(dd a, dd b) {
    dd p = two_product(a.hi, b.hi);
    return fast_two_sum(p.hi, p.lo + (a.hi * b.lo + a.lo * b.hi));
}

static double polynomial(const double *c, int n, double x) {
    double sum = c[n - 1];
    for (int i = n - 2; i >= 0; i--) sum = sum * x + c[i];
    return sum;
}

static double power_of_two(int k) { /* -1022 <= k <= 1023 */
    uint64_t bits = (uint64_t)(k + 1023) << 52;
    double d;
    memcpy(&d, &bits, sizeof d);
    return d;
}

static double nearest_integer(double x) { /* |x| < 2^51; halves go to even */
    const double shift = 0x1.8p52;
    return (x + shift) - shift;
}

/* e^r = 1 + r + r^2/2 + r^3 * exp_tail(r), |r| <= ln(2)/2; error below 2^-60.6 */
static const double exp_tail[] = {
    0x1.5555555555555p-3,  0x1.5555555555556p-5,  0x1.1111111111111p-7,  0x1.6c16c16c162d6p-10,
    0x1.a01a01a019b2bp-13, 0x1.a01a01a6d7831p-16, 0x1.71de3a5904949p-19, 0x1.27e4db67ac2b0p-22,
    0x1.ae64344d76c0cp-26, 0x1.1f72fc83bcbc7p-29, 0x1.61b2b02877046p-33,
};
/* atanh(s) = s * (1 + z/3 + z^2/5 + z^3 * log_tail(z)), z = s^2, |s| <= (sqrt(2)-1)/(sqrt(2)+1); error below 2^-72.1 */
static const double log_tail[] = {
    0x1.2492492492492p-3, 0x1.c71c71c71c71ap-4, 0x1.745d1745d1f50p-4, 0x1.3b13b13a64c3dp-4, 0x1.111111882120ep-4,
    0x1.e1e186f94ea9ep-5, 0x1.af3cc1d7b514bp-5, 0x1.8374ee0c77ff5p-5, 0x1.92ddafd44e4e3p-5,
};
/* sin(r) = r + r^3 * sin_tail(r^2), |r| <= pi/4; error below 2^-57.1 */
static const double sin_tail[] = {
    -0x1.5555555555555p-3,  0x1.1111111111110p-7,  -0x1.a01a01a019938p-13, 0x1.71de3a5460957p-19,
    -0x1.ae645412c4ecap-26, 0x1.61217f0b24037p-33, -0x1.ab17d3ce9d15bp-41,
};
/* cos(r) = 1 - r^2/2 + r^4 * cos_tail(r^2), |r| <= pi/4; error below 2^-59.5 */
static const double cos_tail[] = {
    0x1.5555555555555p-5,   -0x1.6c16c16c16967p-10, 0x1.a01a019f4eafdp-16,
    -0x1.27e4fa17d9c81p-22, 0x1.1eeb68e8f6cdfp-29,  -0x1.907da33638fbcp-37,
};
#define COUNT(table) ((int)(sizeof(table) / sizeof *(table)))

/* ln 2 in 40 + 53 bits: its first part times an exponent (11 bits) is exact. */
static const double ln2_hi = 0x1.62e42fefa2000p-1, ln2_lo = 0x1.9ef35793c7673p-41;

/* e^(x.hi + x.lo), |x.lo| <= ulp(x.hi); rounded about as one addition rounds. */
static double exp_dd(dd x) {
    if (x.hi > 710) return HUGE_VAL;
    if (x.hi < -746) return 0;
    double k = nearest_integer(x.hi * 0x1.71547652b82fep+0);
    /* x.hi - k * ln2_hi is exact: the two are within a factor of 2, or k is 0. */
    dd r = two_sum(x.hi - k * ln2_hi, x.lo - k * ln2_lo);
    double rest = r.lo + r.hi * r.lo + r.hi * r.hi * (0.5 + r.hi * polynomial(exp_tail, COUNT(exp_tail), r.hi));
    dd one_r = fast_two_sum(1, r.hi);
    double m = one_r.hi + (one_r.lo + rest);
    /* In two steps where 2^k alone is out of range; only the last one can round. */
    int e = (int)k;
    if (e > 1000) return m * power_of_two(1000) * power_of_two(e - 1000);
    if (e < -1000) return m * power_of_two(e + 200) * power_of_two(-200);
    return m * power_of_two(e);
}

/* ln x to about 2^-68 of itself, for finite x > 0. */
static dd log_dd(double x) {
    int e = 0;
    if (x < DBL_MIN) {
        x *= 0x1p54;
        e = -54;
    }
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    /* m in [sqrt(1/2), sqrt(2)): near 1 the exponent is 0 and nothing cancels. */
    const uint64_t root_half = UINT64_C(0x3FE6A09E667F3BCD);
    int shift = (int)((bits - root_half) >> 52);
    if (shift >= 2048) shift -= 4096; /* the difference was negative */
    e += shift;
    bits -= (uint64_t)(int64_t)shift << 52;
    double m;
    memcpy(&m, &bits, sizeof m);
    /* ln m = 2 atanh(s), s = (m - 1) / (m + 1); m - 1 is exact. */
    dd up = {m - 1, 0}, down = two_sum(m, 1);
    double quotient = up.hi / down.hi;
    dd back = two_product(quotient, down.hi);
    dd s = fast_two_sum(quotient, ((up.hi - back.hi) - back.lo - quotient * down.lo) / down.hi);
    dd z = dd_mul(s, s);
    const dd third = {0x1.5555555555555p-2, 0x1.5555555555555p-56},
             fifth = {0x1.999999999999ap-3, -0x1.999999999999ap-57};
    dd h = dd_add(fifth, (dd){z.hi * polynomial(log_tail, COUNT(log_tail), z.hi), 0});
    h = dd_add(third, dd_mul(z, h));
    dd sum = dd_add(s, dd_mul(dd_mul(s, z), h));
    dd whole = two_sum(e * ln2_hi, e * ln2_lo);
    return dd_add(whole, (dd){2 * sum.hi, 2 * sum.lo});
}

double nb_exp(double x) {
    return isnan(x) ? (double)NAN : exp_dd((dd){x, 0});
}

double nb_log(double x) {
    if (isnan(x) || x < 0) return (double)NAN;
    if (x == 0) return -HUGE_VAL;
    if (isinf(x)) return x;
    return log_dd(x).hi;
}

double nb_pow(double x, double y) {
    if (y == 0 || x == 1) return 1;
    if (isnan(x) || isnan(y) || x < 0) return (double)NAN;
    if (x == 0 || isinf(x)) return (x == 0) == (y > 0) ? 0 : HUGE_VAL;
    /* |ln x| >= 2^-53 for x != 1, so beyond 2^64 every power is 0 or infinite; this covers an infinite y too. */
    if (fabs(y) > 0x1p64) return (x > 1) == (y > 0) ? HUGE_VAL : 0;
    if (fabs(y) < 0x1p-64) return 1; /* |y ln x| < 2^-54; and the products below must not underflow */
    dd l = log_dd(x), p = two_product(y, l.hi);
    return exp_dd(fast_two_sum(p.hi, p.lo + y * l.lo));
}

/* pi/2 in 159 bits. The double below 2^31 that comes closest to a multiple of pi/2 leaves more than 2^-62, the error of
 * k * (pi/2) is below 2^-128 and that of the sums below 2^-125, so r keeps more than 60 bits. */
static const double half_pi[] = {0x1.921fb54442d18p+0, 0x1.1a62633145c07p-54, -0x1.f1976b7ed8fbcp-110};

static dd minus_half_pis(double x, double k) {
    dd p = two_product(k, half_pi[0]), q = two_product(k, half_pi[1]);
    dd r = two_sum(x - p.hi, -p.lo); /* the difference is exact: the two are within a factor of 2, or k is 0 */
    dd t = two_sum(r.hi, -q.hi);
    dd u = two_sum(r.lo, t.lo);
    dd v = fast_two_sum(t.hi, u.hi);
    return fast_two_sum(v.hi, v.lo + (u.lo - q.lo - k * half_pi[2]));
}

/* The low part of r enters through the derivatives: cos(r) = 1 - r^2/2 for the sine, -sin(r) = -r for the cosine. */
static double sin_reduced(dd r) {
    double z = r.hi * r.hi;
    double tail = z * r.hi * polynomial(sin_tail, COUNT(sin_tail), z);
    return r.hi + (tail + (r.lo - 0.5 * z * r.lo));
}

static double cos_reduced(dd r) {
    double z = r.hi * r.hi;
    dd head = fast_two_sum(1, -0.5 * z);
    return head.hi + (head.lo + (z * z * polynomial(cos_tail, COUNT(cos_tail), z) - r.hi * r.lo));
}

void nb_sincos(double x, double *sine, double *cosine) {
    if (!(fabs(x) <= 0x1p31)) {
        *sine = *cosine = (double)NAN;
        return;
    }
    if (fabs(x) < 0x1p-27) { /* exact to rounding; and the sign of a zero survives */
        *sine = x;
        *cosine = 1;
        return;
    }
    double k = nearest_integer(x * 0x1.45f306dc9c883p-1);
    dd r = minus_half_pis(x, k);
    double s = sin_reduced(r), c = cos_reduced(r);
    int64_t quadrant = (int64_t)k;
    *sine = quadrant & 1 ? c : s;
    *cosine = quadrant & 1 ? s : c;
    if (quadrant & 2) *sine = -*sine;
    if ((quadrant + 1) & 2) *cosine = -*cosine;
}
