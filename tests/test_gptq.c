/* Columns that make up for one another (quant/gptq.h) against GPTQ as its paper writes it, in plain doubles. */
#include "tests/support/unit.h"

#include <math.h>
#include "base/mem.h"
#include "quant/drift.h"
#include "quant/gptq.h"
#include "quant/panel.h"
#include "simd/kernels.h"
#include "tests/support/quantizer.h"

enum { ROWS = NB_PANEL_ROWS, MOST = 300 };

static const double DAMP = 0.01;

typedef struct problem {
    size_t n;
    float w[ROWS][MOST], moments[MOST * MOST];
    nb_feedback f;
} problem;

/* Weights and second moments of inputs that depend on one another: x[i] = sum of a few common causes and noise. */
static void make_moments(float *moments, size_t n, uint64_t *seed) {
    enum { CAUSES = 8, TOKENS = 400 };
    double *mix = nb_calloc(n * CAUSES, sizeof *mix), *x = nb_calloc(n, sizeof *x);
    for (size_t i = 0; i < n * CAUSES; i++) mix[i] = unit_random_between(seed, -1, 1);
    memset(moments, 0, n * n * sizeof *moments);
    for (int t = 0; t < TOKENS; t++) {
        double cause[CAUSES];
        for (int c = 0; c < CAUSES; c++) cause[c] = unit_random_between(seed, -1, 1);
        for (size_t i = 0; i < n; i++) {
            x[i] = 0.3 * unit_random_between(seed, -1, 1);
            for (int c = 0; c < CAUSES; c++) x[i] += mix[i * CAUSES + (size_t)c] * cause[c];
        }
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j <= i; j++) moments[i * n + j] += (float)(x[i] * x[j]);
    }
    nb_free(mix);
    nb_free(x);
}

static problem *make_problem(size_t n, uint64_t seed, nb_team *team) {
    problem *p = nb_calloc(1, sizeof *p);
    nb_error err;
    p->n = n;
    for (size_t r = 0; r < ROWS; r++)
        for (size_t c = 0; c < n; c++) /* between uniform and normal */
            p->w[r][c] = (float)(unit_random_between(&seed, -1, 1) + unit_random_between(&seed, -1, 1));
    make_moments(p->moments, n, &seed);
    float *sum = nb_alloc(n * n * sizeof *sum);
    memcpy(sum, p->moments, n * n * sizeof *sum);
    if (nb_feedback_make(&p->f, sum, n, DAMP, team, &err)) fail_msg("%s", err.text);
    return p;
}

static void free_problem(problem *p) {
    nb_feedback_free(&p->f);
    nb_free(p);
}

typedef struct panel {
    uint8_t bytes[1 << 16];
    float values[ROWS][MOST];
} panel;

enum { PLAIN = -1 }; /* without feedback, in place of passes of descent */

static panel *quantize(const problem *p, nb_type type, int passes) {
    panel *out = nb_calloc(1, sizeof *out);
    nb_quantizer q = unit_quantizer(type, nb_q4_codebook);
    float *scratch = nb_alloc(nb_gptq_scratch(p->n) * sizeof *scratch);
    if (passes != PLAIN) nb_gptq_panel(&q, &p->f, passes, p->w[0], ROWS, p->n, MOST, scratch, out->bytes, NULL);
    else nb_quantize_panel(&q, p->w[0], ROWS, p->n, MOST, out->bytes, NULL);
    nb_dequantize_panel(type, nb_q4_codebook, out->bytes, ROWS, p->n, MOST, out->values[0]);
    nb_free(scratch);
    return out;
}

/* ---- the paper ---- */

/* The upper Cholesky factor U of the inverse of the damped moments, inverse(H) = U' U. [n][n] */
static double *inverse_factor(const problem *p) {
    size_t n = p->n;
    double *h = nb_calloc(n * n, sizeof *h), *inverse = nb_calloc(n * n, sizeof *inverse), mean = 0;
    for (size_t i = 0; i < n; i++) mean += (double)p->moments[i * n + i] / (double)n;
    for (size_t i = 0; i < n; i++) {
        inverse[i * n + i] = 1;
        for (size_t j = 0; j < n; j++) h[i * n + j] = (double)p->moments[i > j ? i * n + j : j * n + i];
        h[i * n + i] += DAMP * mean;
    }
    for (size_t i = 0; i < n; i++) { /* Gauss-Jordan; no pivots: the matrix is positive definite */
        double d = h[i * n + i];
        for (size_t j = 0; j < n; j++) h[i * n + j] /= d, inverse[i * n + j] /= d;
        for (size_t r = 0; r < n; r++) {
            double x = r == i ? 0 : h[r * n + i];
            for (size_t j = 0; j < n; j++)
                h[r * n + j] -= x * h[i * n + j], inverse[r * n + j] -= x * inverse[i * n + j];
        }
    }
    memset(h, 0, n * n * sizeof *h);
    for (size_t i = 0; i < n; i++) /* U' U = inverse, row by row of U */
        for (size_t j = i; j < n; j++) {
            double s = inverse[i * n + j];
            for (size_t k = 0; k < i; k++) s -= h[k * n + i] * h[k * n + j];
            h[i * n + j] = i == j ? sqrt(s) : s / h[i * n + i];
        }
    nb_free(inverse);
    return h;
}

static double nearest_value(nb_type type, double w, double scale) {
    double best = 0, distance = INFINITY;
    int levels = type == NB_TYPE_Q4 ? NB_CODEBOOK_SIZE : 255;
    for (int i = 0; i < levels; i++) {
        double v = scale * (type == NB_TYPE_Q4 ? nb_q4_codebook[i] : i - 127), d = fabs(w - v);
        if (d < distance) best = v, distance = d;
    }
    return best;
}

/* Columns as the paper quantizes them, with the block scales that `found` has. How many values are not the same. */
static size_t differing(const problem *p, nb_type type, const panel *found) {
    size_t n = p->n, count = 0;
    double *u = inverse_factor(p), *w = nb_calloc(n, sizeof *w);
    for (size_t r = 0; r < ROWS; r++) {
        float row_scale;
        memcpy(&row_scale, found->bytes + r * sizeof row_scale, sizeof row_scale);
        for (size_t c = 0; c < n; c++) w[c] = (double)p->w[r][c];
        for (size_t c = 0; c < n; c++) {
            int8_t code = (int8_t)found->bytes[nb_panel_scales_at(type, c / NB_BLOCK_COLS) + r];
            double v = nearest_value(type, w[c], (double)row_scale * code), error = (w[c] - v) / u[c * n + c];
            for (size_t k = c; k < n; k++) w[k] -= error * u[c * n + k];
            count += fabs(v - (double)found->values[r][c]) > 1e-5;
        }
    }
    nb_free(u);
    nb_free(w);
    return count;
}

static const nb_type types[] = {NB_TYPE_Q4, NB_TYPE_Q8};
static const size_t widths[] = {32, 128, 129, 300}; /* a block, a strip, one column more, a strip that is cut short */

static void columns_are_quantized_as_the_paper_says(void **state) {
    (void)state;
    for (size_t t = 0; t < COUNT_OF(types); t++)
        for (size_t i = 0; i < COUNT_OF(widths); i++) {
            problem *p = make_problem(widths[i], 7 + i, NULL);
            panel *found = quantize(p, types[t], 0);
            /* A value that f32 rounds to another side of a border changes those behind it. */
            size_t wrong = differing(p, types[t], found);
            if (wrong > p->n * ROWS / 20)
                fail_msg("%s, %zu columns: %zu of %zu values differ", nb_types[types[t]].name, p->n, wrong,
                         p->n * ROWS);
            nb_free(found);
            free_problem(p);
        }
}

static void making_up_for_errors_costs_less(void **state) {
    (void)state;
    for (size_t t = 0; t < COUNT_OF(types); t++) {
        problem *p = make_problem(256, 3, NULL);
        panel *plain = quantize(p, types[t], PLAIN), *made_up = quantize(p, types[t], 0);
        double before = nb_feedback_cost(&p->f, p->w[0], plain->values[0], ROWS, MOST);
        double after = nb_feedback_cost(&p->f, p->w[0], made_up->values[0], ROWS, MOST);
        if (!(after < 0.5 * before))
            fail_msg("%s: cost %g, without feedback %g", nb_types[types[t]].name, after, before);
        nb_free(plain);
        nb_free(made_up);
        free_problem(p);
    }
}

/* (w - v) H (w - v)' by its definition is what the factors say, but for the unit. */
static void the_cost_is_that_of_the_moments(void **state) {
    (void)state;
    problem *p = make_problem(70, 5, NULL), *other = make_problem(70, 6, NULL);
    size_t n = p->n;
    double unit = 0, mean = 0;
    for (size_t i = 0; i < n; i++) mean += (double)p->moments[i * n + i] / (double)n;
    for (size_t r = 0; r < ROWS; r++) {
        double direct = 0, cost = nb_feedback_cost(&p->f, p->w[r], other->w[r], 1, MOST);
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < n; j++) {
                double h = (double)p->moments[i > j ? i * n + j : j * n + i] + (i == j ? DAMP * mean : 0);
                direct += h * (double)(p->w[r][i] - other->w[r][i]) * (double)(p->w[r][j] - other->w[r][j]);
            }
        if (r == 0) unit = direct / cost;
        assert_true(fabs(direct / cost / unit - 1) < 1e-4);
    }
    free_problem(p);
    free_problem(other);
}

/* ---- descent ---- */

static double damped(const problem *p, size_t i, size_t j) {
    double mean = 0;
    for (size_t k = 0; i == j && k < p->n; k++) mean += (double)p->moments[k * p->n + k] / (double)p->n;
    return (double)p->moments[i > j ? i * p->n + j : j * p->n + i] + DAMP * mean;
}

static void moments_are_kept_beside_the_factors(void **state) {
    (void)state;
    problem *p = make_problem(70, 9, NULL);
    double unit = damped(p, 0, 0) / (double)nb_feedback_moment(&p->f, 0, 0);
    for (size_t i = 0; i < p->n; i++)
        for (size_t j = 0; j < p->n; j++) {
            assert_true(fabs((double)nb_feedback_moment(&p->f, i, j) * unit - damped(p, i, j)) <
                        1e-4 * damped(p, i, i));
            assert_true(nb_feedback_moment(&p->f, i, j) == nb_feedback_moment(&p->f, j, i));
        }
    free_problem(p);
}

static void passes_of_descent_never_cost(void **state) {
    (void)state;
    for (size_t t = 0; t < COUNT_OF(types); t++)
        for (size_t i = 0; i < COUNT_OF(widths); i++) {
            problem *p = make_problem(widths[i], 20 + i, NULL);
            double before[ROWS], first = 0, last = 0;
            for (int passes = 0; passes <= 5; passes++) {
                panel *found = quantize(p, types[t], passes);
                last = 0;
                for (size_t r = 0; r < ROWS; r++) {
                    double cost = nb_feedback_cost(&p->f, p->w[r], found->values[r], 1, MOST);
                    if (passes && !(cost <= before[r] * (1 + 1e-5)))
                        fail_msg("%s, %zu columns, row %zu: pass %d raises the cost from %.9g to %.9g",
                                 nb_types[types[t]].name, p->n, r, passes, before[r], cost);
                    before[r] = cost;
                    last += cost;
                }
                if (!passes) first = last;
                nb_free(found);
            }
            if (!(last < 0.97 * first))
                fail_msg("%s, %zu columns: cost %g, before descent %g", nb_types[types[t]].name, p->n, last, first);
            free_problem(p);
        }
}

/* Where passes end, no other code and no neighbouring block scale (codes as they are) costs less: in doubles, from the
 * definition. */
static void descent_ends_where_no_code_is_better(void **state) {
    (void)state;
    problem *p = make_problem(129, 31, NULL);
    panel *found = quantize(p, NB_TYPE_Q4, 50);
    size_t better = 0;
    for (size_t r = 0; r < ROWS; r++) {
        float row_scale;
        memcpy(&row_scale, found->bytes + r * sizeof row_scale, sizeof row_scale);
        for (size_t c = 0; c < p->n; c++) {
            double gradient = 0, least = 0, h = damped(p, c, c);
            double scale = (double)row_scale * (int8_t)found->bytes[nb_panel_scales_at(NB_TYPE_Q4, c / NB_BLOCK_COLS) + r];
            for (size_t j = 0; j < p->n; j++) gradient += damped(p, c, j) * (double)(p->w[r][j] - found->values[r][j]);
            for (size_t i = 0; i < NB_CODEBOOK_SIZE; i++) {
                double d = scale * nb_q4_codebook[i] - (double)found->values[r][c];
                least = fmin(least, d * (d * h - 2 * gradient));
            }
            better += least < -1e-4 * scale * scale * h;
        }
    }
    if (better) fail_msg("%zu of %zu codes could be better", better, p->n * ROWS);
    nb_free(found);
    free_problem(p);
}

/* ---- drift ---- */

/* u = w + b inverse(H), b = w C: (u - w) H is b, in doubles from the definition. Half of the drift is believed. */
static void weights_make_up_for_drifted_inputs(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT_OF(widths); i++) {
        problem *p = make_problem(widths[i], 51 + i, NULL);
        size_t n = p->n;
        uint64_t seed = 3;
        float *drift = nb_calloc(n * n, sizeof *drift), *given = nb_alloc(n * n * sizeof *given);
        float *u = nb_calloc(3 * n * ROWS, sizeof *u);
        for (size_t k = 0; k < n * n; k++) drift[k] = given[k] = (float)unit_random_between(&seed, -1, 1);
        for (size_t r = 0; r < ROWS; r++)
            for (size_t c = 0; c < n; c++) u[c * ROWS + r] = p->w[r][c];
        nb_quantizer q = unit_quantizer(NB_TYPE_Q4, nb_q4_codebook);
        nb_drift_correct(&q.search, &p->f, u, u + n * ROWS);
        for (size_t r = 0; r < ROWS; r++)
            for (size_t c = 0; c < n; c++) assert_true(u[c * ROWS + r] == p->w[r][c]); /* none was set */
        nb_feedback_set_drift(&p->f, drift, 0.5);
        nb_drift_correct(&q.search, &p->f, u, u + n * ROWS);
        double wrong = 0, size = 0;
        for (size_t r = 0; r < ROWS; r++)
            for (size_t k = 0; k < n; k++) {
                double b = 0, found = 0;
                for (size_t j = 0; j < n; j++) {
                    b += 0.5 * (double)p->w[r][j] * (double)given[k * n + j];
                    found += ((double)u[j * ROWS + r] - (double)p->w[r][j]) * damped(p, j, k);
                }
                wrong += (found - b) * (found - b);
                size += b * b;
            }
        if (!(wrong < 1e-6 * size)) fail_msg("%zu columns: %g of %g is wrong", n, wrong, size);
        nb_free(given);
        nb_free(u);
        free_problem(p);
    }
}

/* What is told of outputs is the sum over rows of w H w' and of (w - v) H (w - v)'. */
static void errors_of_outputs_are_told(void **state) {
    (void)state;
    problem *p = make_problem(129, 61, NULL);
    panel *found = quantize(p, NB_TYPE_Q4, NB_GPTQ_PASSES);
    float *scratch = nb_alloc(nb_gptq_scratch(p->n) * sizeof *scratch), *none = nb_calloc((size_t)ROWS * MOST, sizeof *none);
    nb_quantizer q = unit_quantizer(NB_TYPE_Q4, nb_q4_codebook);
    nb_quant_error e = {0};
    nb_gptq_panel(&q, &p->f, NB_GPTQ_PASSES, p->w[0], ROWS, p->n, MOST, scratch, found->bytes, &e);
    double output = p->f.unit * nb_feedback_cost(&p->f, p->w[0], none, ROWS, MOST);
    double noise = p->f.unit * nb_feedback_cost(&p->f, p->w[0], found->values[0], ROWS, MOST);
    assert_true(fabs(e.output / output - 1) < 1e-4 && fabs(e.output_noise / noise - 1) < 1e-3);
    nb_free(scratch);
    nb_free(none);
    nb_free(found);
    free_problem(p);
}

static void a_team_changes_no_bit(void **state) {
    (void)state;
    nb_team *team = NULL;
    nb_error err;
    if (nb_team_create(&team, 4, &err)) fail_msg("%s", err.text);
    problem *one = make_problem(MOST, 11, NULL), *four = make_problem(MOST, 11, team);
    assert_memory_equal(one->f.weight, four->f.weight, MOST * sizeof(float));
    assert_memory_equal(one->f.carry, four->f.carry, (size_t)MOST * MOST * sizeof(float));
    free_problem(one);
    free_problem(four);
    nb_team_free(team);
}

static void every_tier_writes_the_same_bytes(void **state) {
    (void)state;
    problem *p = make_problem(129, 41, NULL);
    float *scratch = nb_alloc(nb_gptq_scratch(p->n) * sizeof *scratch);
    uint8_t expected[1 << 13], found[1 << 13];
    uint64_t bytes;
    for (size_t t = 0; t < COUNT_OF(types); t++)
        for (size_t tier = 0; nb_isa_name(tier); tier++) {
            if (!nb_isa_supported(tier)) continue;
            nb_quantizer q = unit_quantizer_on(tier, types[t], nb_q4_codebook);
            assert_true(nb_panel_bytes(types[t], p->n, &bytes) && bytes <= sizeof found);
            nb_gptq_panel(&q, &p->f, NB_GPTQ_PASSES, p->w[0], ROWS - 3, p->n, MOST, scratch, tier ? found : expected,
                          NULL);
            if (tier && memcmp(found, expected, (size_t)bytes) != 0)
                fail_msg("%s on %s differs from scalar", nb_types[types[t]].name, nb_isa_name(tier));
        }
    nb_free(scratch);
    free_problem(p);
}

static void moments_without_sense_are_refused(void **state) {
    (void)state;
    const float bad[] = {0.0f, NAN, INFINITY};
    enum { N = 40 };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        nb_feedback f;
        nb_error err;
        float *moments = nb_calloc((size_t)N * N, sizeof *moments);
        for (size_t j = 0; j < N; j++) moments[j * N + j] = i ? 1.0f : 0.0f;
        moments[7 * N + 7] = bad[i];
        assert_int_equal(nb_feedback_make(&f, moments, N, DAMP, NULL, &err), NB_FORMAT);
        assert_non_null(strstr(err.text, "second moments of 40 inputs"));
        nb_feedback_free(&f);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_are_quantized_as_the_paper_says),
        cmocka_unit_test(making_up_for_errors_costs_less),
        cmocka_unit_test(the_cost_is_that_of_the_moments),
        cmocka_unit_test(moments_are_kept_beside_the_factors),
        cmocka_unit_test(passes_of_descent_never_cost),
        cmocka_unit_test(descent_ends_where_no_code_is_better),
        cmocka_unit_test(weights_make_up_for_drifted_inputs),
        cmocka_unit_test(errors_of_outputs_are_told),
        cmocka_unit_test(a_team_changes_no_bit),
        cmocka_unit_test(every_tier_writes_the_same_bytes),
        cmocka_unit_test(moments_without_sense_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
