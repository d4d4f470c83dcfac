#include "core/pyfloat.h"

#include <math.h>
#include "core/bignum.h"

/* A positive double v as r / s, and m_low / s, m_high / s half the distances to its neighbours: what lies between them
 * reads back as v (Burger and Dybvig, "Printing Floating-Point Numbers Quickly and Accurately", 1996). */
typedef struct digits {
    nb_big r, s, m_low, m_high;
    bool even; /* the bounds themselves read back as v too: ties go to even */
} digits;

enum { SMALLEST_EXPONENT = -1074 };

static void digits_start(digits *d, double v) {
    int exponent;
    double fraction = frexp(v, &exponent); /* v = fraction * 2^exponent, fraction in [1/2, 1) */
    exponent -= 53;
    if (exponent < SMALLEST_EXPONENT) {
        fraction = ldexp(fraction, exponent - SMALLEST_EXPONENT);
        exponent = SMALLEST_EXPONENT;
    }
    uint64_t mantissa = (uint64_t)ldexp(fraction, 53); /* v = mantissa * 2^exponent, exactly */
    /* The neighbour below a power of two is only half as far away. */
    size_t near = mantissa == UINT64_C(1) << 52 && exponent > SMALLEST_EXPONENT;
    size_t up = exponent > 0 ? (size_t)exponent : 0, down = exponent < 0 ? (size_t)-exponent : 0;
    d->r = nb_big_from(mantissa);
    d->s = d->m_low = d->m_high = nb_big_from(1);
    nb_big_shift_left(&d->r, up + 1 + near);
    nb_big_shift_left(&d->s, down + 1 + near);
    nb_big_shift_left(&d->m_low, up);
    nb_big_shift_left(&d->m_high, up + near);
    d->even = mantissa % 2 == 0;
}

/* r + m_high against s: whether the next digit may be rounded up. */
static bool reaches_top(const digits *d) {
    nb_big sum;
    nb_big_add(&sum, &d->r, &d->m_high);
    int order = nb_big_compare_magnitude(&sum, &d->s);
    return order > 0 || (order == 0 && d->even);
}

static bool reaches_bottom(const digits *d) {
    int order = nb_big_compare_magnitude(&d->r, &d->m_low);
    return order < 0 || (order == 0 && d->even);
}

static void digits_times_ten(digits *d) {
    nb_big_mul_small(&d->r, 10, 0);
    nb_big_mul_small(&d->m_low, 10, 0);
    nb_big_mul_small(&d->m_high, 10, 0);
}

/* Scale so that v = 0.d1d2... * 10^point with d1 != 0; returns point. */
static int digits_scale(digits *d) {
    int point = 0;
    while (reaches_top(d)) {
        nb_big_mul_small(&d->s, 10, 0);
        point++;
    }
    for (;; point--) {
        digits next = *d;
        digits_times_ten(&next);
        if (reaches_top(&next)) return point;
        *d = next;
    }
}

/* The digits d1, d2, ... into text; returns how many (at most 17). */
static size_t digits_generate(digits *d, char text[20]) {
    for (size_t n = 0;;) {
        unsigned digit = 0;
        digits_times_ten(d);
        for (; nb_big_compare_magnitude(&d->r, &d->s) >= 0; digit++) nb_big_sub(&d->r, &d->r, &d->s);
        bool low = reaches_bottom(d), high = reaches_top(d);
        if (low && high) {
            nb_big_mul_small(&d->r, 2, 0);
            int order = nb_big_compare_magnitude(&d->r, &d->s); /* whichever is nearer; of two as near, the even one */
            high = order > 0 || (order == 0 && digit % 2);
        }
        text[n++] = (char)('0' + digit + high);
        if (low || high) return n;
    }
}

static void repeat(nb_buf *out, char c, int n) {
    for (int i = 0; i < n; i++) nb_buf_byte(out, (uint8_t)c);
}

/* digits[n] stand for 0.d1d2... * 10^point. */
static void print_exponent(const char *text, size_t n, int point, nb_buf *out) {
    nb_buf_byte(out, (uint8_t)text[0]);
    if (n > 1) nb_buf_byte(out, '.');
    nb_buf_append(out, text + 1, n - 1);
    nb_buf_printf(out, "e%c%02d", point > 0 ? '+' : '-', point > 0 ? point - 1 : 1 - point);
}

static void print_fixed(const char *text, int n, int point, nb_buf *out) {
    int whole = point <= 0 ? 0 : n < point ? n : point; /* digits before the decimal point */
    if (whole == 0) nb_buf_byte(out, '0');
    nb_buf_append(out, text, (size_t)whole);
    repeat(out, '0', point - whole);
    nb_buf_byte(out, '.');
    repeat(out, '0', -point);
    if (n == whole) nb_buf_byte(out, '0');
    nb_buf_append(out, text + whole, (size_t)(n - whole));
}

void nb_float_repr(double v, nb_buf *out) {
    if (signbit(v) && !isnan(v)) nb_buf_byte(out, '-');
    if (!isfinite(v) || v == 0) {
        nb_buf_text(out, isnan(v) ? "nan" : isinf(v) ? "inf" : "0.0");
        return;
    }
    char text[20];
    digits d;
    digits_start(&d, fabs(v));
    int point = digits_scale(&d);
    size_t n = digits_generate(&d, text);
    if (point > 16 || point <= -4) print_exponent(text, n, point, out);
    else print_fixed(text, (int)n, point, out);
}

double nb_float_floor_divide(double a, double b) {
    double mod = fmod(a, b), quotient = (a - mod) / b;
    if (mod != 0 && (b < 0) != (mod < 0)) quotient -= 1;
    if (quotient == 0) return copysign(0.0, a / b);
    double rounded = floor(quotient);
    return quotient - rounded > 0.5 ? rounded + 1 : rounded;
}
