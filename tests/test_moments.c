/* Second moments of inputs and of what they lack (convert/moments.h) against sums in doubles. */
#include "tests/support/unit.h"

#include <math.h>
#include "base/mem.h"
#include "base/team.h"
#include "convert/moments.h"

enum { CHUNK = 64, MOST = 150, TOKENS = 2 * CHUNK - 5 };

typedef struct inputs {
    float exact[TOKENS][MOST], at_hand[TOKENS][MOST];
} inputs;

static inputs *make_inputs(void) {
    inputs *x = nb_calloc(1, sizeof *x);
    uint64_t seed = 5;
    for (size_t t = 0; t < TOKENS; t++)
        for (size_t c = 0; c < MOST; c++) {
            x->exact[t][c] = (float)unit_random_between(&seed, -1, 1);
            x->at_hand[t][c] = x->exact[t][c] + 0.1f * (float)unit_random_between(&seed, -1, 1);
        }
    return x;
}

/* A full chunk, then one that is cut short. w stands for any matrix of n columns. */
static void read(nb_moments *m, const inputs *x, const nb_weight *w, bool drift, nb_team *team) {
    static nb_kernels k;
    nb_error err;
    if (nb_kernels_choose(&k, NULL, &err)) fail_msg("%s", err.text);
    if (nb_moments_create(m, &k, team, CHUNK, MOST, &err)) fail_msg("%s", err.text);
    if (nb_moments_watch(m, w, drift, &err)) fail_msg("%s", err.text);
    const nb_weight other = *w;
    nb_moments_observe(m, &other, x->exact[0], MOST, 1); /* is not watched */
    for (size_t at = 0; at < TOKENS; at += CHUNK) {
        size_t n = TOKENS - at < CHUNK ? TOKENS - at : CHUNK;
        nb_moments_note(m, w, x->exact[at], MOST, n);
        nb_moments_observe(m, w, x->at_hand[at], MOST, n);
    }
    assert_int_equal(nb_moments_find(m, w)->tokens, TOKENS);
}

static void sums_are_those_of_the_definition(void **state) {
    (void)state;
    static const size_t widths[] = {1, 32, 65, MOST};
    inputs *x = make_inputs();
    for (size_t i = 0; i < COUNT_OF(widths); i++) {
        size_t n = widths[i];
        const nb_weight w = {.rows = 1, .cols = n};
        nb_moments m;
        read(&m, x, &w, true, NULL);
        const nb_moment *found = nb_moments_find(&m, &w);
        for (size_t k = 0; k < n; k++)
            for (size_t j = 0; j < n; j++) {
                double moment = 0, drift = 0;
                for (size_t t = 0; t < TOKENS; t++) {
                    moment += (double)x->at_hand[t][k] * (double)x->at_hand[t][j];
                    drift += (double)x->at_hand[t][k] * (double)(x->exact[t][j] - x->at_hand[t][j]);
                }
                if (j <= k) assert_true(fabs((double)found->sum[k * n + j] - moment) < 1e-4);
                assert_true(fabs((double)found->drift[k * n + j] - drift) < 1e-5);
            }
        nb_moments_free(&m);
    }
    nb_free(x);
}

static void a_team_changes_no_bit(void **state) {
    (void)state;
    const nb_weight w = {.rows = 1, .cols = MOST};
    inputs *x = make_inputs();
    nb_moments one, four;
    nb_team *team = NULL;
    nb_error err;
    if (nb_team_create(&team, 4, &err)) fail_msg("%s", err.text);
    read(&one, x, &w, true, NULL);
    read(&four, x, &w, true, team);
    const nb_moment *a = nb_moments_find(&one, &w), *b = nb_moments_find(&four, &w);
    assert_memory_equal(a->sum, b->sum, (size_t)MOST * MOST * sizeof(float));
    assert_memory_equal(a->drift, b->drift, (size_t)MOST * MOST * sizeof(float));
    nb_moments_free(&one);
    read(&one, x, &w, false, NULL); /* moments do not depend on whether a drift is measured */
    a = nb_moments_find(&one, &w);
    assert_null(a->drift);
    assert_memory_equal(a->sum, b->sum, (size_t)MOST * MOST * sizeof(float));
    nb_moments_free(&one);
    nb_moments_free(&four);
    nb_team_free(team);
    nb_free(x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_are_those_of_the_definition),
        cmocka_unit_test(a_team_changes_no_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
