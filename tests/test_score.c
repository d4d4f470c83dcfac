/* Scores against the plain formulas in long double, bounds that hold exactly, and statistics of values known by
 * hand. */
#include <math.h>
#include "core/score.h"
#include "tests/support/unit.h"

enum { VOCAB = 1000, CASES = 40 };

/* Logits whose distributions are flat, or have one or few likely tokens. */
static void fill(float *x, uint64_t seed, float spread) {
    for (size_t i = 0; i < VOCAB; i++) {
        seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        x[i] = spread * ((float)(seed >> 40) / (float)(1 << 24) - 0.5F);
    }
}

static long double plain_lse(const float *x) {
    long double sum = 0;
    for (size_t i = 0; i < VOCAB; i++) sum += expl((long double)x[i]);
    return logl(sum);
}

static long double plain_divergence(const float *p, const float *q) {
    long double p_lse = plain_lse(p), q_lse = plain_lse(q), sum = 0;
    for (size_t i = 0; i < VOCAB; i++) {
        long double lp = (long double)p[i] - p_lse, lq = (long double)q[i] - q_lse;
        sum += expl(lp) * (lp - lq);
    }
    return sum;
}

static void near(double found, long double expected, double tolerance) {
    if (!(fabsl((long double)found - expected) <= (long double)tolerance))
        fail_msg("found %.17g, expected %.17Lg", found, expected);
}

static int by_logit(const void *a, const void *b) {
    const float *x = *(const float *const *)a, *y = *(const float *const *)b;
    return *x < *y ? 1 : *x > *y ? -1 : (x > y) - (x < y);
}

/* The k likeliest of x by ascending id, and the rest. */
static nb_top top_of(const float *x, double lse, size_t k, float *logits, int32_t *ids) {
    const float *best[VOCAB];
    for (size_t i = 0; i < VOCAB; i++) best[i] = x + i;
    qsort(best, VOCAB, sizeof *best, by_logit);
    size_t n = 0;
    for (size_t i = 0; i < VOCAB; i++)
        for (size_t j = 0; j < k; j++)
            if (best[j] == x + i) {
                logits[n] = x[i];
                ids[n++] = (int32_t)i;
            }
    return (nb_top){.lse = lse, .rest = nb_rest(x, lse, VOCAB, ids, n), .logits = logits, .ids = ids, .n = n};
}

static void divergence_is_its_formula(void **state) {
    (void)state;
    float p[VOCAB], q[VOCAB];
    for (uint64_t c = 0; c < CASES; c++) {
        fill(p, c, (float)(c + 1));
        fill(q, c % 3 ? c + 100 : c, (float)(c + 1) * 1.001F);
        double p_lse = nb_log_sum_exp(p, VOCAB), q_lse = nb_log_sum_exp(q, VOCAB);
        near(p_lse, plain_lse(p), 1e-12);
        near(nb_divergence(p, p_lse, q, q_lse, VOCAB), plain_divergence(p, q), 1e-11);
        assert_true(nb_divergence(p, p_lse, p, p_lse, VOCAB) == 0);
    }
}

/* The more tokens are kept, the nearer; never above; what is missing is what the header says. */
static void top_is_a_lower_bound(void **state) {
    (void)state;
    static const size_t counts[] = {1, 2, 10, 100, 500, VOCAB - 1, VOCAB};
    float p[VOCAB], q[VOCAB], logits[VOCAB];
    int32_t ids[VOCAB];
    for (uint64_t c = 0; c < CASES; c++) {
        fill(p, c, (float)(c + 1));
        fill(q, c + 100, (float)(c + 1));
        double p_lse = nb_log_sum_exp(p, VOCAB), q_lse = nb_log_sum_exp(q, VOCAB), before = 0;
        double exact = nb_divergence(p, p_lse, q, q_lse, VOCAB);
        for (size_t i = 0; i < COUNT_OF(counts); i++) {
            nb_top top = top_of(p, p_lse, counts[i], logits, ids);
            assert_int_equal(top.n, counts[i]);
            double kl = nb_divergence_top(&top, q, q_lse, VOCAB), q_rest = nb_rest(q, q_lse, VOCAB, ids, top.n),
                   gap = 0;
            assert_true(kl >= before - 1e-13 && kl <= exact + 1e-13);
            before = kl;
            for (size_t t = 0, next = 0; t < VOCAB; t++) { /* rest * KL(P given the rest || Q given the rest) */
                if (next < top.n && (size_t)ids[next] == t) next++;
                else gap += exp((double)p[t] - p_lse) * ((double)p[t] - p_lse - log(top.rest) - (double)q[t] + q_lse + log(q_rest));
            }
            near(kl + gap, exact, 1e-11);
        }
        assert_memory_equal(&before, &exact, sizeof exact);
    }
}

static void statistics(void **state) {
    (void)state;
    double x[] = {5, 1, 4, 2, 3}, even[] = {1, 2, 4, 8};
    nb_mean m = nb_mean_of(x, 5);
    assert_true(m.mean == 3);
    near(m.error, sqrtl(10.0L / 4 / 5), 1e-15);
    assert_true(nb_mean_of(x, 1).error == 0);
    nb_sort_values(x, 5);
    for (int i = 0; i < 5; i++) assert_true(x[i] == i + 1);
    assert_true(nb_median(x, 5) == 3 && nb_median(even, 4) == 3 && nb_median(even, 1) == 1);
    static const struct {
        double share, value;
    } cases[] = {{0.2, 1}, {0.21, 2}, {0.5, 3}, {0.6, 3}, {0.8, 4}, {0.99, 5}, {1, 5}, {1e-9, 1}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) assert_true(nb_quantile(x, 5, cases[i].share) == cases[i].value);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(divergence_is_its_formula),
        cmocka_unit_test(top_is_a_lower_bound),
        cmocka_unit_test(statistics),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
