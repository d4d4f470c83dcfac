#include "tests/support/unit.h"

#include <math.h>
#include "base/mem.h"
#include "core/rng.h"
#include "core/sampler.h"

enum { VOCAB_MAX = 5000 };
static nb_kernels kernels;
static nb_sampler_room *room; /* of all samplers: none may leave anything there that another would find */

static int set_up(void **state) {
    (void)state;
    nb_status st = nb_sampler_room_create(&room, VOCAB_MAX, NULL);
    return st || nb_kernels_choose(&kernels, NULL, NULL) ? -1 : 0;
}

static int tear_down(void **state) {
    (void)state;
    nb_sampler_room_free(room);
    return 0;
}

static nb_sampler *make(nb_sampler_params p, uint64_t stream, uint32_t vocab_size) {
    nb_sampler *s;
    nb_error err = {0};
    if (nb_sampler_create(&s, &p, stream, vocab_size, &kernels, &err)) fail_msg("%s", err.text);
    return s;
}

/* The reference: everything sorted, everything in double, with the libm. */
typedef struct entry {
    double logit, weight, rank; /* the smaller rank is the better */
    int32_t id;
} entry;

static int by_rank(const void *a, const void *b) {
    const entry *x = a, *y = b;
    if (x->rank < y->rank || x->rank > y->rank) return x->rank < y->rank ? -1 : 1;
    return x->id < y->id ? -1 : 1;
}

static size_t rank_by_logit(entry *e, size_t n) {
    for (size_t i = 0; i < n; i++) e[i].rank = -e[i].logit;
    qsort(e, n, sizeof *e, by_rank);
    return n;
}

static double sum_of(const entry *e, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += e[i].weight;
    return sum;
}

static bool differ(double a, double b) { return a < b || a > b; }

/* The first `kept` of e[n] and those behind them rank so closely that a rounding could change their order. */
static bool near_tie(const entry *e, size_t kept, size_t n) {
    bool near = false;
    for (size_t i = kept; i < n && e[i].rank - e[kept - 1].rank < 1e-5; i++)
        for (size_t j = kept; j > 0 && e[i].rank - e[j - 1].rank < 1e-5; j--)
            near |= differ(e[i].logit, e[j - 1].logit);
    return near;
}

/* The first of e[n], as they are sorted, that reach a share; sets *close when a rounding could decide otherwise. */
static size_t reference_share(const entry *e, size_t n, double share, size_t min_keep, bool *close) {
    double target = share * sum_of(e, n), reached = 0;
    size_t kept = 0;
    while (kept < n && (reached < target || kept < min_keep)) {
        reached += e[kept++].weight;
        *close |= fabs(reached - target) < 1e-5 * target;
    }
    *close |= near_tie(e, kept, n);
    return kept;
}

static void change_one(entry *e, size_t n, int32_t id, const nb_sampler_params *p, double count) {
    for (size_t i = 0; i < n; i++) {
        if (e[i].id != id) continue;
        double penalty = (double)p->repeat_penalty,
               logit = e[i].logit > 0 ? e[i].logit / penalty : e[i].logit * penalty;
        e[i].logit = logit - count * (double)p->frequency_penalty - (double)p->presence_penalty;
    }
}

/* Bias, then penalties for text[n_text]. */
static void reference_change(const nb_sampler_params *p, const int32_t *text, size_t n_text, entry *e, size_t n) {
    for (size_t i = 0; i < p->n_bias; i++) e[p->bias[i].id].logit += (double)p->bias[i].bias;
    size_t first = n_text > p->repeat_last_n ? n_text - p->repeat_last_n : 0;
    for (int32_t id = 0; (size_t)id < n; id++) {
        double count = 0;
        for (size_t i = first; i < n_text; i++) count += text[i] == id;
        if (count > 0) change_one(e, n, id, p, count);
    }
}

static size_t reference_typical(const nb_sampler_params *p, entry *e, size_t n, bool *close) {
    double sum = sum_of(e, n), entropy = 0;
    for (size_t i = 0; i < n; i++)
        if (e[i].weight > 0) entropy -= e[i].weight / sum * log(e[i].weight / sum);
    for (size_t i = 0; i < n; i++) e[i].rank = fabs(-log(e[i].weight / sum) - entropy);
    qsort(e, n, sizeof *e, by_rank);
    size_t kept = reference_share(e, n, (double)p->typical_p, p->min_keep, close);
    return rank_by_logit(e, kept);
}

static size_t reference(const nb_sampler_params *p, const int32_t *text, size_t n_text, const float *logits, size_t n,
                        entry *e, bool *close) {
    for (size_t i = 0; i < n; i++)
        e[i] = (entry){.logit = isnan(logits[i]) ? -HUGE_VAL : (double)logits[i], .id = (int32_t)i};
    reference_change(p, text, n_text, e, n);
    rank_by_logit(e, n);
    if (p->top_k && p->top_k < n) {
        *close |= near_tie(e, p->top_k, n);
        n = p->top_k;
    }
    double best = e[0].logit;
    for (size_t i = 0; i < n; i++) {
        bool equal = e[i].logit >= best;
        e[i].weight = isinf(best) ? equal : exp((e[i].logit - best) / (double)p->temperature);
    }
    if (p->typical_p > 0 && p->typical_p < 1) n = reference_typical(p, e, n, close);
    if (p->top_p < 1) n = reference_share(e, n, (double)p->top_p, p->min_keep, close);
    size_t kept = 0;
    double least = (double)p->min_p * e[0].weight;
    while (kept < n && (e[kept].weight >= least || kept < p->min_keep)) {
        *close |= least > 0 && fabs(e[kept].weight - least) < 1e-5 * least && e[kept].weight < e[0].weight;
        kept++;
    }
    *close |= near_tie(e, kept, n);
    *close |= kept < n && least > 0 && fabs(e[kept].weight - least) < 1e-5 * least;
    return kept;
}

/* The same set with the same chances: a weight e^x in f32 is off by some ulps, and by x times those of its exponent,
 * which comes of logits that are off by `ulps`. False when roundings could decide which tokens are kept. */
static bool assert_equals_reference(const nb_sampler_params *p, const int32_t *text, size_t n_text, const float *logits,
                                    uint32_t n) {
    nb_sampler *s = make(*p, 0, n);
    entry *e = malloc(n * sizeof *e);
    assert_non_null(e);
    bool close = false;
    size_t expected = reference(p, text, n_text, logits, n, e, &close);
    for (size_t i = 0; i < n_text; i++) nb_sampler_accept(s, text[i]);
    double *weight = calloc(n + (size_t)1, sizeof *weight); /* by id; never an allocation of nothing */
    assert_non_null(weight);
    for (size_t i = 0; i < expected; i++) weight[e[i].id] = e[i].weight;
    for (int again = 0; again < 2 && !close; again++) { /* nothing is left of the first time */
        nb_candidates c = nb_sampler_candidates(s, room, logits);
        for (size_t id = 0, i = 0; id < n; id++) {
            bool there = i < c.n && c.id[i] == (int32_t)id;
            double w = there ? (double)c.weight[i] : 0, x = weight[id];
            double bound = 1e-6 * (4 - log(x + 1e-300)) / fmin(1, (double)p->temperature) * x + (x > 0 ? 1e-37 : 0);
            if (fabs(w - x) > bound)
                fail_msg("weight %g, expected %g (n %u k %u typical %g p %g min %g keep %u)", w, x, n, p->top_k,
                         (double)p->typical_p, (double)p->top_p, (double)p->min_p, p->min_keep);
            i += there;
        }
    }
    free(weight);
    free(e);
    nb_sampler_free(s);
    return !close;
}

static double pick(uint64_t *seed, const double *values, size_t n) { return values[unit_random(seed) % n]; }
#define PICK(...) pick(&seed, (const double[]){__VA_ARGS__}, sizeof((const double[]){__VA_ARGS__}) / sizeof(double))

/* Smooth, with many ties, one far above the rest, or with values that are no numbers. */
static void random_logits(uint64_t *seed, float *logits, size_t n) {
    uint64_t form = unit_random(seed) % 4;
    for (size_t i = 0; i < n; i++) {
        double v = unit_random_between(seed, -6, 6);
        uint64_t odd = unit_random(seed) % 16;
        logits[i] = (float)(form == 1 ? floor(v) * 0.37 : v);
        if (form == 2 && odd == 0) logits[i] += 30;
        if (form == 3 && odd < 3)
            logits[i] = odd == 0 ? NAN : odd == 1 ? -HUGE_VALF : unit_random(seed) % 64 ? -0.0F : HUGE_VALF;
    }
}

static void equals_the_plain_form(void **state) {
    (void)state;
    enum { MAX_N = 3000, MAX_TEXT = 40 };
    static float logits[MAX_N];
    uint64_t seed = 17;
    size_t cases = unit_quick() ? 1500 : 12000, compared = 0;
    for (size_t i = 0; i < cases; i++) {
        uint32_t n = (uint32_t)PICK(1, 2, 3, 5, 17, 64, 100, 100, 1000, i % 8 ? 33 : MAX_N);
        int32_t text[MAX_TEXT];
        nb_logit_bias bias[3];
        for (size_t j = 0; j < MAX_TEXT; j++) text[j] = (int32_t)(unit_random(&seed) % (n < 20 ? n : 20));
        for (size_t j = 0; j < COUNT_OF(bias); j++)
            bias[j] = (nb_logit_bias){(int32_t)(unit_random(&seed) % n), (float)PICK(-HUGE_VAL, -3, 0.5, 4)};
        random_logits(&seed, logits, n);
        nb_sampler_params p = {.temperature = (float)PICK(0.1, 0.7, 1, 3),
                               .top_k = (uint32_t)PICK(0, 0, 1, 2, 7, 50, 256, 257, 900, MAX_N, 5000),
                               .typical_p = (float)PICK(0, 1, 1, 0.95, 0.5, 0.01),
                               .top_p = (float)PICK(1, 1, 0.999, 0.9, 0.5, 0.01, 1e-30),
                               .min_p = (float)PICK(0, 0, 1e-3, 0.05, 0.5, 1),
                               .min_keep = (uint32_t)PICK(0, 0, 1, 2, 10, 2000),
                               .repeat_penalty = (float)PICK(1, 1, 1.3, 0.8),
                               .frequency_penalty = (float)PICK(0, 0, 0.4, -0.2),
                               .presence_penalty = (float)PICK(0, 0, 0.9, -0.3),
                               .repeat_last_n = (uint32_t)PICK(0, 1, 7, 64),
                               .bias = bias,
                               .n_bias = i % 3 ? 0 : 1 + i / 3 % COUNT_OF(bias)};
        compared += assert_equals_reference(&p, text, i % 2 ? MAX_TEXT : i % 5, logits, n);
    }
    if (compared < cases * 9 / 10) fail_msg("only %zu of %zu cases were compared", compared, cases);
}

/* Each draw is the inverse of the candidates' distribution function at the stream's next uniform number. */
static void draws_by_the_distribution_function(void **state) {
    (void)state;
    static float logits[VOCAB_MAX]; /* more than one block of weights */
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
            size_t i = 0;
            nb_candidates c = nb_sampler_candidates(twin, room, logits);
            double sum = 0, reached = 0;
            for (size_t j = 0; j < c.n; j++) sum += (double)c.weight[j];
            double u = nb_rng_uniform(&rng) * sum;
            while ((reached += (double)c.weight[i]) <= u) i++;
            int32_t expected = c.id[i];
            assert_int_equal(nb_sampler_next(s, room, logits), expected);
        }
        nb_sampler_free(s);
        nb_sampler_free(twin);
    }
}

static void greedy(void **state) {
    (void)state;
    nb_sampler *s = make((nb_sampler_params){.top_p = 1, .repeat_penalty = 1}, 0, 5);
    assert_int_equal(nb_sampler_next(s, room, (const float[]){1, 3, 2, 3, -1}), 1);
    assert_int_equal(nb_sampler_next(s, room, (const float[]){2, 2, 2, 2, 2}), 0);
    assert_int_equal(nb_sampler_next(s, room, (const float[]){NAN, -HUGE_VALF, -5, NAN, -6}), 2);
    assert_int_equal(nb_sampler_next(s, room, (const float[]){NAN, -HUGE_VALF, NAN, -HUGE_VALF, NAN}), 0);
    nb_sampler_free(s);
    s = make((nb_sampler_params){.temperature = 1, .top_k = 1, .top_p = 1, .repeat_penalty = 1}, 0, 5);
    for (int i = 0; i < 20; i++) assert_int_equal(nb_sampler_next(s, room, (const float[]){1, 3, 2, 3, -1}), 1);
    nb_sampler_free(s);
    s = make((nb_sampler_params){.temperature = 1e-7F, .top_p = 1, .repeat_penalty = 1}, 0, 5);
    assert_int_equal(nb_sampler_next(s, room, (const float[]){1, 3, 2, 3.0001F, -1}), 3);
    nb_sampler_free(s);
}

static void counts(nb_sampler *s, const float *logits, int n, int *count, size_t size) {
    memset(count, 0, size * sizeof *count);
    for (int i = 0; i < n; i++) {
        int32_t id = nb_sampler_next(s, room, logits);
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
    assert_int_equal(nb_sampler_next(s, room, logits), 0);
    nb_sampler_accept(s, 0);
    nb_sampler_accept(s, 0);
    nb_sampler_accept(s, -1);
    nb_sampler_accept(s, 4);
    assert_int_equal(nb_sampler_next(s, room, logits), 1); /* 2, 3: once, although it is there twice */
    nb_sampler_accept(s, 1);
    assert_int_equal(nb_sampler_next(s, room, logits), 0); /* 2, 1.5 */
    nb_sampler_accept(s, 2);
    assert_int_equal(nb_sampler_next(s, room, logits), 0); /* 0 has left the window: 4, 1.5, -2 */
    nb_sampler_free(s);
    /* Frequency and presence: 0 twice, 1 once; then 0 leaves the window of 3 token by token. */
    s = make((nb_sampler_params){.top_p = 1, .repeat_penalty = 1, .frequency_penalty = 0.4F, .presence_penalty = 0.3F,
                                 .repeat_last_n = 3}, 0, 4);
    static const int32_t text[] = {0, 0, 1, 1, 2, 2, 2}, expected[] = {0, 1, 0, 0, 0, 0, 0};
    for (size_t i = 0; i < COUNT_OF(text); i++) {
        nb_sampler_accept(s, text[i]);
        assert_int_equal(nb_sampler_next(s, room, logits), expected[i]);
    }
    nb_sampler_free(s);
}

static void biases(void **state) {
    (void)state;
    const float logits[] = {4, 3, NAN, HUGE_VALF};
    const nb_logit_bias ban[] = {{3, -HUGE_VALF}, {0, -0.6F}, {0, -0.6F}, {2, 100}};
    nb_sampler_params p = {.top_p = 1, .repeat_penalty = 1, .bias = ban, .n_bias = COUNT_OF(ban)};
    nb_sampler *s = make(p, 0, 4);
    assert_int_equal(nb_sampler_next(s, room, logits), 1);
    nb_sampler_free(s);
    p.temperature = 1;
    s = make(p, 0, 4);
    for (int i = 0; i < 200; i++) assert_in_range(nb_sampler_next(s, room, logits), 0, 1);
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
        int32_t id = nb_sampler_next(a, room, logits);
        assert_int_equal(nb_sampler_next(again, room, logits), id);
        same += nb_sampler_next(b, room, logits) == id;
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
    static const nb_logit_bias biased[] = {{10, 1}, {-1, 1}, {1, HUGE_VALF}, {1, NAN}};
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
        {{.top_p = 1, .repeat_penalty = 1, .typical_p = 1.01F}, "typical-p is 1.01"},
        {{.top_p = 1, .repeat_penalty = 1, .frequency_penalty = NAN}, "frequency penalty is nan"},
        {{.top_p = 1, .repeat_penalty = 1, .presence_penalty = 1001}, "presence penalty is 1001"},
        {{.top_p = 1, .repeat_penalty = 1, .bias = &biased[0], .n_bias = 1}, "bias of token 10"},
        {{.top_p = 1, .repeat_penalty = 1, .bias = &biased[1], .n_bias = 1}, "bias of token -1"},
        {{.top_p = 1, .repeat_penalty = 1, .bias = &biased[2], .n_bias = 1}, "is inf"},
        {{.top_p = 1, .repeat_penalty = 1, .bias = &biased[3], .n_bias = 1}, "is nan"},
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
    p.bias = &(nb_logit_bias){1, 1};
    p.n_bias = 1;
    for (long n = 0;; n++) {
        nb_mem_fail_at(n);
        nb_sampler_room *own = NULL;
        nb_status st = nb_sampler_create(&s, &p, 0, 10, &kernels, &err);
        if (!st) st = nb_sampler_room_create(&own, 10, &err);
        bool done = nb_mem_fail_at(-1) <= n;
        assert_int_equal(st, done ? NB_OK : NB_MEMORY);
        nb_sampler_room_free(own);
        nb_sampler_free(s);
        if (done) break;
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_the_plain_form), cmocka_unit_test(draws_by_the_distribution_function),
        cmocka_unit_test(greedy),                cmocka_unit_test(ties_and_infinities),
        cmocka_unit_test(penalties),             cmocka_unit_test(biases),
        cmocka_unit_test(streams),               cmocka_unit_test(what_is_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
