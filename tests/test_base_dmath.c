/* Accuracy against the long double functions of the C library where long double is wider than double; elsewhere against
 * the double ones, whose own error is added to the bound. And identity: hashes of the results over fixed sequences. */
#include "tests/support/unit.h"

#include <float.h>
#include <math.h>
#include "base/dmath.h"

/* What the reference may be wrong by, in ulps of a double. */
static const double reference_error = LDBL_MANT_DIG > DBL_MANT_DIG ? 0.01 : 1;

enum { SAMPLES = 100000 };

static double sine(double x) {
    double s, c;
    nb_sincos(x, &s, &c);
    return s;
}

static double cosine(double x) {
    double s, c;
    nb_sincos(x, &s, &c);
    return c;
}

/* Distance from the true value in units of the last place of a double of that size. */
static double ulps(double found, long double truth) {
    if (isinf(found) && fabsl(truth) > (long double)DBL_MAX) return 0;
    int e = ilogbl(truth == 0 ? 1 : truth);
    if (e < -1022) e = -1022;
    return (double)fabsl(ldexpl((long double)found - truth, 52 - e));
}

static const struct {
    const char *name;
    double (*ours)(double);
    long double (*reference)(long double);
    double low, high;
    bool of_exponent; /* arguments are 2 to a power between low and high */
    double bound;     /* ulps */
} ranges[] = {
    {"exp near 0", nb_exp, expl, -1, 1, false, 0.65},
    {"exp of anything", nb_exp, expl, -708, 709.7, false, 0.65},
    {"exp below the normal numbers", nb_exp, expl, -745.1, -708, false, 0.8},
    {"exp of tiny arguments", nb_exp, expl, -60, 0, true, 0.65},
    {"log near 1", nb_log, logl, 0.5, 2, false, 0.501},
    {"log very near 1", nb_log, logl, 1 - 1e-9, 1 + 1e-9, false, 0.501},
    {"log of anything", nb_log, logl, -1074, 1023.9, true, 0.501},
    {"sin to pi/4", sine, sinl, -0.79, 0.79, false, 0.8},
    {"sin to 1000", sine, sinl, -1000, 1000, false, 0.8},
    {"sin of anything", sine, sinl, -0x1p31, 0x1p31, false, 0.8},
    {"sin of any size", sine, sinl, -60, 31, true, 0.8},
    {"cos to pi/4", cosine, cosl, -0.79, 0.79, false, 0.8},
    {"cos to 1000", cosine, cosl, -1000, 1000, false, 0.8},
    {"cos of anything", cosine, cosl, -0x1p31, 0x1p31, false, 0.8},
    {"cos of any size", cosine, cosl, -60, 31, true, 0.8},
};

static void errors_stay_below_their_bounds(void **state) {
    (void)state;
    for (size_t r = 0; r < COUNT_OF(ranges); r++) {
        uint64_t random = r;
        double worst = 0, worst_at = 0;
        for (int i = 0; i < SAMPLES; i++) {
            double x = unit_random_between(&random, ranges[r].low, ranges[r].high);
            if (ranges[r].of_exponent) x = exp2(x);
            double error = ulps(ranges[r].ours(x), ranges[r].reference((long double)x));
            if (!(error <= worst)) { /* also when it is not a number */
                worst = error;
                worst_at = x;
            }
        }
        if (!(worst <= ranges[r].bound + reference_error))
            fail_msg("%s: %.3f ulps at %a, allowed are %.3f", ranges[r].name, worst, worst_at, ranges[r].bound);
    }
}

/* x and a y that keeps x^y among the doubles. */
static void pow_error_stays_below_its_bound(void **state) {
    (void)state;
    uint64_t random = 42;
    double worst = 0;
    for (int i = 0; i < SAMPLES; i++) {
        double x = i % 2 ? exp2(unit_random_between(&random, -1020, 1020)) : 1 + unit_random_between(&random, -0.01, 0.01);
        double most = 700 / fabs(log(x));
        double y = unit_random_between(&random, -most, most);
        double error = ulps(nb_pow(x, y), powl((long double)x, (long double)y));
        if (!(error <= worst)) worst = error;
    }
    for (int i = 0; i < SAMPLES; i++) { /* what rotary frequencies are made of */
        static const double bases[] = {10000, 100000, 500000, 1000000};
        double x = bases[i % 4], y = -unit_random_between(&random, 0, 1);
        double error = ulps(nb_pow(x, y), powl((long double)x, (long double)y));
        if (!(error <= worst)) worst = error;
    }
    /* powl of glibc is good to about 1 ulp of a long double; of the exponent's size it loses nothing. */
    if (!(worst <= 0.65 + reference_error)) fail_msg("pow: %.3f ulps", worst);
}

/* Doubles that lie within 2^-30 to 2^-60 of a multiple of pi/2, from the continued fraction of pi: what the reduction
 * leaves must still be right to the last bit. The values are from 60-digit arithmetic. */
static void reduction_survives_cancellation(void **state) {
    (void)state;
    static const struct {
        double x, sine, cosine;
    } cases[] = {
        {0x1.6c6cbc45dc8dep+5, 0x1p+0, -0x1.6d61b58c99c43p-61},
        {0x1.6c6cbc45dc8dep+6, -0x1.6d61b58c99c43p-60, -0x1p+0},
        {0x1.b951f1572eba5p+23, -0x1p+0, -0x1.f54f5227a4e84p-60},
        {0x1.6c6cbc45dc8dep+7, 0x1.6d61b58c99c43p-59, 0x1p+0},
        {0x1.b951f1572eba5p+24, 0x1.f54f5227a4e84p-59, -0x1p+0},
        {0x1.6c6cbc45dc8dep+8, 0x1.6d61b58c99c43p-58, 0x1p+0},
        {0x1.b951f1572eba5p+25, -0x1.f54f5227a4e84p-58, 0x1p+0},
        {0x1.6c6cbc45dc8dep+9, 0x1.6d61b58c99c43p-57, 0x1p+0},
        {0x1.b951f1572eba5p+29, -0x1.f54f5227a4e84p-54, 0x1p+0},
        {0x1.55202aefde314p+29, -0x1p+0, 0x1.10c745b9374bcp-53},
        {0x1.55202aefde314p+30, -0x1.10c745b9374bcp-52, -0x1p+0},
        {0x1.d9781280de900p+30, 0x1p+0, -0x1.13e2c87589c4fp-47},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        double s, c;
        nb_sincos(cases[i].x, &s, &c);
        assert_true(s == cases[i].sine && c == cases[i].cosine);
        nb_sincos(-cases[i].x, &s, &c);
        assert_true(s == -cases[i].sine && c == cases[i].cosine);
    }
}

static bool same(double a, double b) {
    return (isnan(a) && isnan(b)) || (a == b && signbit(a) == signbit(b));
}

static void special_values(void **state) {
    (void)state;
    static const double inf = HUGE_VAL, nan = (double)NAN, tiny = 0x1p-1074;
    static const struct {
        double (*f)(double);
        double x, y;
    } unary[] = {
        {nb_exp, 0.0, 1},        {nb_exp, -0.0, 1},        {nb_exp, inf, inf},    {nb_exp, -inf, 0},
        {nb_exp, nan, nan},      {nb_exp, 709.79, inf},    {nb_exp, 1e300, inf},  {nb_exp, -745.2, 0},
        {nb_exp, -745.13, tiny}, {nb_exp, -1e300, 0},      {nb_exp, tiny, 1},     {nb_exp, 1, 0x1.5bf0a8b145769p+1},
        {nb_log, 1, 0},          {nb_log, 0.0, -inf},      {nb_log, -0.0, -inf},  {nb_log, -1, nan},
        {nb_log, inf, inf},      {nb_log, -inf, nan},      {nb_log, nan, nan},    {nb_log, 2, 0x1.62e42fefa39efp-1},
        {sine, 0.0, 0.0},        {sine, -0.0, -0.0},       {sine, tiny, tiny},    {sine, inf, nan},
        {sine, nan, nan},        {sine, 0x1.00000001p31, nan}, {cosine, 0.0, 1},  {cosine, -0.0, 1},
        {cosine, -inf, nan},     {cosine, nan, nan},       {cosine, -0x1.00000001p31, nan},
    };
    for (size_t i = 0; i < COUNT_OF(unary); i++)
        if (!same(unary[i].f(unary[i].x), unary[i].y))
            fail_msg("row %zu: %a gives %a", i, unary[i].x, unary[i].f(unary[i].x));
    static const struct {
        double x, y, power;
    } powers[] = {
        {2, 10, 1024},  {2, -1074, tiny}, {2, -1076, 0},   {2, 1023, 0x1p1023}, {2, 1024, inf},    {10, 2, 100},
        {0.5, 1, 0.5},  {1, inf, 1},      {1, nan, 1},     {nan, 0, 1},         {3, -0.0, 1},      {nan, 1, nan},
        {2, nan, nan},  {-2, 2, nan},     {-1, inf, nan},  {0.0, 2, 0},         {0.0, -2, inf},    {inf, 2, inf},
        {inf, -2, 0},   {2, inf, inf},    {2, -inf, 0},    {0.5, inf, 0},       {0.5, -inf, inf},  {2, 1e300, inf},
        {0.5, 1e300, 0}, {2, 1e-300, 1},  {tiny, 1, tiny}, {tiny, 0.5, 0x1p-537}, {4, 0.5, 2},     {1e4, -1, 1e-4},
    };
    for (size_t i = 0; i < COUNT_OF(powers); i++) {
        double found = nb_pow(powers[i].x, powers[i].y);
        if (!same(found, powers[i].power)) fail_msg("%a to the power %a gives %a", powers[i].x, powers[i].y, found);
    }
}

static uint64_t hash(uint64_t h, double d) {
    uint64_t bits;
    memcpy(&bits, &d, sizeof bits);
    return unit_random(&(uint64_t){h ^ bits});
}

/* The same bits on every machine, compiler and C library: these numbers never change. */
static void results_are_the_same_everywhere(void **state) {
    (void)state;
    uint64_t random = 2024, exps = 0, logs = 0, pows = 0, turns = 0;
    for (int i = 0; i < SAMPLES; i++) {
        exps = hash(exps, nb_exp(unit_random_between(&random, -750, 711)));
        logs = hash(logs, nb_log(nb_exp(unit_random_between(&random, -745, 709))));
        double x = nb_exp(unit_random_between(&random, -50, 50));
        pows = hash(pows, nb_pow(x, unit_random_between(&random, -20, 20)));
        double turn = unit_random_between(&random, -0x1p31, 0x1p31) * (i % 2 ? 1 : 0x1p-20);
        turns = hash(hash(turns, sine(turn)), cosine(turn));
    }
    const uint64_t found[] = {exps, logs, pows, turns};
    static const uint64_t golden[] = {
        UINT64_C(0x4a32b97ded3ade01), /* exp */
        UINT64_C(0xfa825585c09b8d36), /* log */
        UINT64_C(0x6b10cd817d5df04e), /* pow */
        UINT64_C(0x7f26cdc51235f130), /* sin and cos */
    };
    bool all_equal = true;
    for (size_t i = 0; i < COUNT_OF(golden); i++) {
        if (found[i] == golden[i]) continue;
        print_error("hash %zu is %016llx\n", i, (unsigned long long)found[i]);
        all_equal = false;
    }
    assert_true(all_equal);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_stay_below_their_bounds),
        cmocka_unit_test(pow_error_stays_below_its_bound),
        cmocka_unit_test(reduction_survives_cancellation),
        cmocka_unit_test(special_values),
        cmocka_unit_test(results_are_the_same_everywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
