#include "core/bignum.h"

#include <math.h>
#include <string.h>

static void trim(nb_big *a) {
    while (a->n && a->limb[a->n - 1] == 0) a->n--;
    if (a->n == 0) a->negative = false;
}

nb_big nb_big_from(uint64_t v) {
    nb_big a = {.limb = {(uint32_t)v, (uint32_t)(v >> 32)}, .n = 2};
    trim(&a);
    return a;
}

void nb_big_mul_small(nb_big *a, uint32_t factor, uint32_t add) {
    uint64_t carry = add;
    for (uint32_t i = 0; i < a->n; i++) {
        carry += (uint64_t)a->limb[i] * factor; /* (2^32 - 1)^2 + 2^32 - 1 < 2^64 */
        a->limb[i] = (uint32_t)carry;
        carry >>= 32;
    }
    if (carry) a->limb[a->n++] = (uint32_t)carry;
    trim(a);
}

size_t nb_big_bits(const nb_big *a) {
    if (a->n == 0) return 0;
    size_t bits = 32 * (size_t)a->n;
    for (uint32_t top = a->limb[a->n - 1]; !(top >> 31); top <<= 1) bits--;
    return bits;
}

int nb_big_compare_magnitude(const nb_big *a, const nb_big *b) {
    if (a->n != b->n) return a->n < b->n ? -1 : 1;
    for (uint32_t i = a->n; i-- > 0;)
        if (a->limb[i] != b->limb[i]) return a->limb[i] < b->limb[i] ? -1 : 1;
    return 0;
}

void nb_big_shift_left(nb_big *a, size_t bits) {
    uint32_t words = (uint32_t)(bits / 32), rest = (uint32_t)(bits % 32);
    if (a->n == 0) return;
    memmove(a->limb + words, a->limb, a->n * sizeof *a->limb);
    memset(a->limb, 0, words * sizeof *a->limb);
    a->n += words;
    if (rest) nb_big_mul_small(a, UINT32_C(1) << rest, 0);
}

/* sum = |a| + |b|; the sign is the caller's. */
static void add_magnitudes(nb_big *sum, const nb_big *a, const nb_big *b) {
    const nb_big *longer = a->n < b->n ? b : a, *shorter = a->n < b->n ? a : b;
    uint32_t n = longer->n, m = shorter->n;
    uint64_t carry = 0;
    for (uint32_t i = 0; i < n; i++) {
        carry += (uint64_t)longer->limb[i] + (i < m ? shorter->limb[i] : 0);
        sum->limb[i] = (uint32_t)carry;
        carry >>= 32;
    }
    sum->n = n;
    if (carry) sum->limb[sum->n++] = (uint32_t)carry;
}

/* difference = |a| - |b|, |a| >= |b|. */
static void sub_magnitudes(nb_big *difference, const nb_big *a, const nb_big *b) {
    uint32_t n = a->n, m = b->n;
    uint64_t borrow = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t d = (uint64_t)a->limb[i] - (i < m ? b->limb[i] : 0) - borrow;
        difference->limb[i] = (uint32_t)d;
        borrow = d >> 63;
    }
    difference->n = n;
    trim(difference);
}

/* a + b, with b's sign taken as `b_negative`. */
static void add_signed(nb_big *sum, const nb_big *a, const nb_big *b, bool b_negative) {
    bool negative = a->negative;
    if (a->negative == b_negative) {
        add_magnitudes(sum, a, b);
    } else if (nb_big_compare_magnitude(a, b) >= 0) {
        sub_magnitudes(sum, a, b);
    } else {
        negative = b_negative;
        sub_magnitudes(sum, b, a);
    }
    sum->negative = negative && sum->n;
}

void nb_big_add(nb_big *sum, const nb_big *a, const nb_big *b) {
    add_signed(sum, a, b, b->negative);
}

void nb_big_sub(nb_big *difference, const nb_big *a, const nb_big *b) {
    add_signed(difference, a, b, b->n && !b->negative);
}

void nb_big_mul(nb_big *product, const nb_big *a, const nb_big *b) {
    nb_big r = {.n = 0};
    if (a->n && b->n) {
        memset(r.limb, 0, (a->n + b->n) * sizeof *r.limb);
        for (uint32_t i = 0; i < a->n; i++) {
            uint64_t carry = 0;
            for (uint32_t j = 0; j < b->n; j++) {
                carry += (uint64_t)a->limb[i] * b->limb[j] + r.limb[i + j]; /* at most 2^64 - 1 */
                r.limb[i + j] = (uint32_t)carry;
                carry >>= 32;
            }
            r.limb[i + b->n] = (uint32_t)carry;
        }
        r.n = a->n + b->n;
        r.negative = a->negative != b->negative;
    }
    trim(&r);
    *product = r;
}

void nb_big_negate(nb_big *a) {
    a->negative = a->n && !a->negative;
}

/* Bit by bit: numbers have at most 1792 bits and an expression a few hundred divisions. */
void nb_big_divide(nb_big *quotient, nb_big *remainder, const nb_big *a, const nb_big *b) {
    nb_big q = {.n = a->n}, r = {.n = 0}, divisor = *b;
    divisor.negative = false;
    memset(q.limb, 0, a->n * sizeof *q.limb);
    for (uint32_t i = a->n * 32; i-- > 0;) {
        nb_big_mul_small(&r, 2, a->limb[i / 32] >> i % 32 & 1);
        if (nb_big_compare_magnitude(&r, &divisor) < 0) continue;
        sub_magnitudes(&r, &r, &divisor);
        q.limb[i / 32] |= UINT32_C(1) << i % 32;
    }
    trim(&q);
    *quotient = q;
    *remainder = r;
}

void nb_big_floor_divide(nb_big *quotient, const nb_big *a, const nb_big *b) {
    nb_big q, r;
    bool negative = a->negative != b->negative;
    nb_big_divide(&q, &r, a, b);
    if (negative && r.n) nb_big_mul_small(&q, 1, 1);
    q.negative = negative && q.n;
    *quotient = q;
}

static uint64_t low_bits(const nb_big *a) {
    return (a->n > 0 ? a->limb[0] : 0) | (a->n > 1 ? (uint64_t)a->limb[1] << 32 : 0);
}

/* The quotient is computed to 55 or 56 bits, plus one bit that says whether anything follows; rounding that to 53 bits,
 * or to fewer below 2^-1022, is exact rounding of the true quotient. */
double nb_big_ratio(const nb_big *a, const nb_big *b) {
    if (a->n == 0) return b->negative ? -0.0 : 0.0;
    long scale = 55 + (long)nb_big_bits(b) - (long)nb_big_bits(a); /* a * 2^scale / b is in [2^54, 2^56) */
    bool negative = a->negative != b->negative;
    nb_big x = *a, y = *b, q, r;
    if (scale > 1200) return negative ? -0.0 : 0.0; /* below half of 2^-1074 */
    if (scale < -1000) return negative ? -HUGE_VAL : HUGE_VAL;
    if (scale > 0) nb_big_shift_left(&x, (size_t)scale);
    if (scale < 0) nb_big_shift_left(&y, (size_t)-scale);
    nb_big_divide(&q, &r, &x, &y);
    uint64_t bits = low_bits(&q);
    long exponent = -scale, length = 0; /* value = bits * 2^exponent */
    while (bits >> length) length++;
    long drop = length > 53 ? length - 53 : 1; /* length is 55 or 56 */
    if (exponent + drop < -1074) drop = -1074 - exponent;
    if (drop > length + 1) return negative ? -0.0 : 0.0;
    uint64_t half = UINT64_C(1) << (drop - 1), rest = bits & (2 * half - 1), kept = drop < 64 ? bits >> drop : 0;
    if (rest > half || (rest == half && (r.n || (kept & 1)))) kept++;
    double value = ldexp((double)kept, (int)(exponent + drop)); /* exact, or an overflow to infinity */
    return negative ? -value : value;
}

void nb_big_print(const nb_big *a, nb_buf *out) {
    enum { CHUNK = 1000000000, MAX_CHUNKS = NB_BIG_LIMBS * 32 / 29 + 1 }; /* 10^9 > 2^29 */
    uint32_t chunks[MAX_CHUNKS], n = 0;
    nb_big rest = *a;
    while (rest.n) {
        uint64_t r = 0;
        for (uint32_t i = rest.n; i-- > 0;) {
            r = r << 32 | rest.limb[i];
            rest.limb[i] = (uint32_t)(r / CHUNK);
            r %= CHUNK;
        }
        trim(&rest);
        chunks[n++] = (uint32_t)r;
    }
    if (a->negative) nb_buf_byte(out, '-');
    nb_buf_printf(out, "%u", n ? (unsigned)chunks[n - 1] : 0U);
    for (uint32_t i = n ? n - 1 : 0; i-- > 0;) nb_buf_printf(out, "%09u", (unsigned)chunks[i]);
}
