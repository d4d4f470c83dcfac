#include "tests/support/unit.h"

#include <math.h>
#include "base/mem.h"
#include "core/rng.h"
#include "core/sampler.h"

static nb_kernels kernels;

static int choose(void **state) {
    (void)state;
    return nb_kernels_choose(&kernels, NULL, NULL) == NB_OK ? 0 : -1;
}

static nb_sampler *make(nb_sampler_params p, uint64_t stream, uint32_t vocab_size) {
    nb_sampler *s;
    nb_error err = {0};
    if (nb_sampler_create(&s, &p, stream, vocab_size, &kernels, &err)) fail_msg("%s", err.text);
    return s;
}

/* The reference: everything sorted, everything in double, with the libm. */
typedef struct entry {
    double logit, weight;
    int32_t id;
} entry;

static int by_rank(const void *a, const void *b) {
    const entry *x = a, *y = b;
    if (x->logit > y->logit || x->logit < y->logit) return x->logit > y->logit ? -1 : 1;
    return x->id < y->id ? -1 : 1;
}

static size_t reference(const nb_sampler_params *p, const float *logits, size_t n, entry *e) {
    double sum = 0, reached = 0;
    for (size_t i = 0; i < n; i++) e[i] = (entry){.logit = (double)logits[i], .id = (int32_t)i};
    qsort(e, n, sizeof *e, by_rank);
    if (p->top_k && p->top_k < n) n = p->top_k;
    for (size_t i = 0; i < n; i++) sum += e[i].weight = exp((e[i].logit - e[0].logit) / (double)p->temperature);
    size_t kept = 0;
    while (kept < n && reached < (double)p->top_p * sum) reached += e[kept++].weight;
    if (p->top_p < 1) n = kept;
    for (kept = 0; kept < n && e[kept].weight >= (double)p->min_p; kept++) continue;
    return kept;
}

static int by_id(const void *a, const void *b) {
    const nb_candidate *x = a, *y = b;
    return x->id < y->id ? -1 : 1;
}
static int entry_by_id(const void *a, const void *b) {
    const entry *x = a, *y = b;
    return x->id < y->id ? -1 : 1;
}

/* The same set with the same chances: a weight e^x in f32 is off by some ulps, and by x times those of its exponent. */
static void assert_equals_reference(const nb_sampler_params *p, const float *logits, uint32_t n) {
    nb_sampler *s = make(*p, 0, n);
    entry *e = malloc(n * sizeof *e);
    nb_candidate *c = malloc(n * sizeof *c);
    assert_true(e && c);
    size_t kept, expected = reference(p, logits, n, e);
    memcpy(c, nb_sampler_candidates(s, logits, &kept), n * sizeof *c);
    if (kept != expected)
        fail_msg("%zu kept, expected %zu (k %u p %g min %g)", kept, expected, p->top_k, (double)p->top_p,
                 (double)p->min_p);
    bool sorted = (p->top_k && p->top_k < n) || p->top_p < 1;
    for (size_t i = 1; sorted && i < kept; i++)
        assert_true(c[i - 1].logit > c[i].logit || (c[i - 1].logit >= c[i].logit && c[i - 1].id < c[i].id));
    qsort(c, kept, sizeof *c, by_id);
    qsort(e, kept, sizeof *e, entry_by_id);
    for (size_t i = 0; i < kept; i++) {
        assert_int_equal(c[i].id, e[i].id);
        double bound = 3e-7 * (2 - log(e[i].weight)) * e[i].weight + 1e-37;
        if (fabs((double)c[i].weight - e[i].weight) > bound)
            fail_msg("weight %g, expected %g", (double)c[i].weight, e[i].weight);
    }
    free(c);
    free(e);
    nb_sampler_free(s);
}

static void equals_the_plain_form(void **state) {
    (void)state;
    static const uint32_t sizes[] = {1, 2, 3, 5, 17, 100, 1000}, ks[] = {0, 1, 2, 7, 50, 1000};
    static const float ps[] = {1, 0.9F, 0.5F, 0.01F}, mins[] = {0, 0.05F, 0.5F, 1}, temperatures[] = {0.1F, 1, 3};
    float logits[1000];
    uint64_t seed = 17;
    for (size_t n = 0; n < COUNT_OF(sizes); n++)
        for (size_t k = 0; k < COUNT_OF(ks); k++)
            for (size_t p = 0; p < COUNT_OF(ps); p++)
                for (size_t m = 0; m < COUNT_OF(mins); m++)
                    for (size_t t = 0; t < COUNT_OF(temperatures); t++) {
                        /* Every other round has many ties, at steps that keep sums off the limits. */
                        for (uint32_t i = 0; i < sizes[n]; i++) {
                            double v = unit_random_between(&seed, -6, 6);
                            logits[i] = (float)(t % 2 ? floor(v) * 0.37 : v);
                        }
                        nb_sampler_params params = {.temperature = temperatures[t], .top_k = ks[k], .top_p = ps[p],
                                                    .min_p = mins[m], .repeat_penalty = 1};
                        assert_equals_reference(&params, logits, sizes[n]);
                    }
}

/* Each draw is the inverse of the candidates' distribution function at the stream's next uniform number. */
static void draws_by_the_distribution_function(void **state) {
    (void)state;
    float logits[40];
    uint64_t seed = 4;
    for (size_t i = 0; i < COUNT_OF(logits); i++) logits[i] = (float)unit_random_between(&seed, -3, 3);
    for (uint64_t stream = 0; stream < 4; stream++) {
        nb_sampler_params p = {.temperature = 0.9F,
                               .top_k = stream % 2 ? 9 : 0,
                               .top_p = stream > 1 ? 0.8F : 1,
                               .repeat_penalty = 1,
                               .seed = 99};
        nb_sampler *s = make(p, stream, COUNT_OF(logits)), *twin = make(p, stream, COUNT_OF(logits));
        nb_rng rng = nb_rng_start(99, stream);
        for (int draw = 0; draw < 500; draw++) {
            size_t n, i = 0;
            const nb_candidate *c = nb_sampler_candidates(twin, logits, &n);
            double sum = 0, reached = 0;
            for (size_t j = 0; j < n; j++) sum += (double)c[j].weight;
            double u = nb_rng_uniform(&rng) * sum;
            while ((reached += (double)c[i].weight) <= u) i++;
            assert_int_equal(nb_sampler_next(s, logits), c[i].id);
        }
        nb_sampler_free(s);
        nb_sampler_free(twin);
    }
}

static void greedy(void **state) {
    (void)state;
    nb_sampler *s = make((nb_sampler_params){.top_p = 1, .repeat_penalty = 1}, 0, 5);
    assert_int_equal(nb_sampler_next(s, (const float[]){1, 3, 2, 3, -1}), 1);
    assert_int_equal(nb_sampler_next(s, (const float[]){2, 2, 2, 2, 2}), 0);
    assert_int_equal(nb_sampler_next(s, (const float[]){NAN, -HUGE_VALF, -5, NAN, -6}), 2);
    nb_sampler_free(s);
    s = make((nb_sampler_params){.temperature = 1, .top_k = 1, .top_p = 1, .repeat_penalty = 1}, 0, 5);
    for (int i = 0; i < 20; i++) assert_int_equal(nb_sampler_next(s, (const float[]){1, 3, 2, 3, -1}), 1);
    nb_sampler_free(s);
    s = make((nb_sampler_params){.temperature = 1e-7F, .top_p = 1, .repeat_penalty = 1}, 0, 5);
    assert_int_equal(nb_sampler_next(s, (const float[]){1, 3, 2, 3.0001F, -1}), 3);
    nb_sampler_free(s);
}

static void counts(nb_sampler *s, const float *logits, int n, int *count, size_t size) {
    memset(count, 0, size * sizeof *count);
    for (int i = 0; i < n; i++) {
        int32_t id = nb_sampler_next(s, logits);
        assert_in_range(id, 0, size - 1);
        count[id]++;
    }
}

static void ties_and_infinities(void **state) {
    (void)state;
    int count[4];
    nb_sampler *s = make((nb_sampler_params){.temperature = 0.7F, .top_p = 1, .repeat_penalty = 1}, 0, 4);
    counts(s, (const float[]){5, 5, 5, 5}, 4000, count, 4);
    for (int i = 0; i < 4; i++) assert_in_range(count[i], 850, 1150);
    counts(s, (const float[]){-HUGE_VALF, 0, NAN, 0}, 1000, count, 4);
    assert_int_equal(count[0] + count[2], 0);
    assert_in_range(count[1], 400, 600);
    counts(s, (const float[]){HUGE_VALF, 0, HUGE_VALF, 900}, 1000, count, 4);
    assert_int_equal(count[1] + count[3], 0);
    assert_in_range(count[0], 400, 600);
    counts(s, (const float[]){-HUGE_VALF, NAN, -HUGE_VALF, NAN}, 1000, count, 4); /* nothing to choose by: any token */
    assert_in_range(count[3], 150, 350);
    counts(s, (const float[]){-3e38F, 3e38F, 0, -HUGE_VALF}, 100, count, 4);
    assert_int_equal(count[1], 100);
    nb_sampler_free(s);
    s = make((nb_sampler_params){.temperature = 1, .top_k = 2, .top_p = 1, .repeat_penalty = 1}, 0, 4);
    counts(s, (const float[]){5, 5, 5, 5}, 1000, count, 4); /* the lower ids are better */
    assert_int_equal(count[2] + count[3], 0);
    assert_in_range(count[0], 400, 600);
    nb_sampler_free(s);
    s = make((nb_sampler_params){.temperature = 1, .top_p = 0.5F, .repeat_penalty = 1}, 0, 4);
    counts(s, (const float[]){5, 5, 5, 5}, 1000, count, 4);
    assert_int_equal(count[2] + count[3], 0);
    nb_sampler_free(s);
}

static void penalties(void **state) {
    (void)state;
    const float logits[] = {4, 3, -1, -1.5F};
    nb_sampler *s = make((nb_sampler_params){.top_p = 1, .repeat_penalty = 2, .repeat_last_n = 2}, 0, 4);
    assert_int_equal(nb_sampler_next(s, logits), 0);
    nb_sampler_accept(s, 0);
    nb_sampler_accept(s, 0);
    nb_sampler_accept(s, -1);
    nb_sampler_accept(s, 4);
    assert_int_equal(nb_sampler_next(s, logits), 1); /* 2, 3: once, although it is there twice */
    nb_sampler_accept(s, 1);
    assert_int_equal(nb_sampler_next(s, logits), 0); /* 2, 1.5 */
    nb_sampler_accept(s, 2);
    assert_int_equal(nb_sampler_next(s, logits), 0); /* 0 has left the window: 4, 1.5, -2 */
    nb_sampler_free(s);
    s = make((nb_sampler_params){.temperature = 1, .top_p = 1, .repeat_penalty = 2, .repeat_last_n = 9}, 0, 4);
    for (int32_t i = 0; i < 4; i++) nb_sampler_accept(s, i);
    size_t n;
    const nb_candidate *c = nb_sampler_candidates(s, logits, &n);
    static const double expected[] = {2, 1.5, -2, -3};
    for (size_t i = 0; i < 4; i++) assert_true(fabs((double)c[i].logit - expected[i]) < 1e-9);
    nb_sampler_free(s);
}

static void streams(void **state) {
    (void)state;
    /* xoshiro256** and splitmix64: the published first outputs for state 1, 2, 3, 4 and for seed 1234567. */
    nb_rng rng = {.s = {1, 2, 3, 4}};
    static const uint64_t first[] = {11520, 0, 1509978240, 1215971899390074240};
    for (size_t i = 0; i < COUNT_OF(first); i++) assert_true(nb_rng_next(&rng) == first[i]);
    uint64_t seed = 1234567;
    assert_true(nb_splitmix64(&seed) == UINT64_C(6457827717110365317));
    assert_true(nb_splitmix64(&seed) == UINT64_C(3203168211198807973));
    float logits[64] = {0};
    int same = 0;
    nb_sampler_params p = {.temperature = 1, .top_p = 1, .repeat_penalty = 1, .seed = 7};
    nb_sampler *a = make(p, 0, 64), *again = make(p, 0, 64), *b = make(p, 1, 64);
    for (int i = 0; i < 640; i++) {
        int32_t id = nb_sampler_next(a, logits);
        assert_int_equal(nb_sampler_next(again, logits), id);
        same += nb_sampler_next(b, logits) == id;
    }
    assert_in_range(same, 1, 30);
    nb_sampler_free(a);
    nb_sampler_free(again);
    nb_sampler_free(b);
    for (int i = 0; i < 1000; i++) {
        double u = nb_rng_uniform(&rng);
        assert_true(u >= 0 && u < 1);
    }
}

static void what_is_refused(void **state) {
    (void)state;
    static const struct {
        nb_sampler_params p;
        const char *sentence;
    } cases[] = {
        {{.temperature = -1, .top_p = 1, .repeat_penalty = 1}, "temperature is -1"},
        {{.temperature = NAN, .top_p = 1, .repeat_penalty = 1}, "temperature is nan"},
        {{.temperature = HUGE_VALF, .top_p = 1, .repeat_penalty = 1}, "temperature is inf"},
        {{.top_p = 0, .repeat_penalty = 1}, "top-p is 0"},
        {{.top_p = 1.5F, .repeat_penalty = 1}, "top-p is 1.5"},
        {{.top_p = 1, .min_p = -0.1F, .repeat_penalty = 1}, "min-p is -0.1"},
        {{.top_p = 1, .min_p = 2, .repeat_penalty = 1}, "min-p is 2"},
        {{.top_p = 1, .repeat_penalty = 0}, "repeat penalty is 0"},
        {{.top_p = 1, .repeat_penalty = 1, .repeat_last_n = UINT32_MAX}, "4294967295"},
    };
    nb_error err = {0};
    nb_sampler *s;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_int_equal(nb_sampler_create(&s, &cases[i].p, 0, 10, &kernels, &err), NB_ARGUMENT);
        if (!strstr(err.text, cases[i].sentence)) fail_msg("%s", err.text);
    }
    assert_int_equal(nb_sampler_create(&s, &nb_sampler_defaults, 0, 0, &kernels, &err), NB_ARGUMENT);
    nb_sampler_params p = nb_sampler_defaults;
    p.repeat_penalty = 1.1F;
    for (long n = 0;; n++) {
        nb_mem_fail_at(n);
        nb_status st = nb_sampler_create(&s, &p, 0, 10, &kernels, &err);
        bool done = nb_mem_fail_at(-1) <= n;
        assert_int_equal(st, done ? NB_OK : NB_MEMORY);
        nb_sampler_free(s);
        if (done) break;
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_the_plain_form), cmocka_unit_test(draws_by_the_distribution_function),
        cmocka_unit_test(greedy),                cmocka_unit_test(ties_and_infinities),
        cmocka_unit_test(penalties),             cmocka_unit_test(streams),
        cmocka_unit_test(what_is_refused),
    };
    return cmocka_run_group_tests(tests, choose, NULL);
}
