/* Types by budget: the knapsack against trying everything, and what a conversion makes of it. */
#include "tests/support/conversion.h"

#include <math.h>
#include "convert/budget.h"
#include "tests/support/demo_model.h"

enum { ITEMS = 7 };
static const nb_type offered[] = {NB_TYPE_Q4, NB_TYPE_Q8};

static void random_items(nb_budget_item *items, uint64_t *seed) {
    memset(items, 0, ITEMS * sizeof *items);
    for (size_t i = 0; i < ITEMS; i++) {
        uint64_t weights = 1000 + unit_random(seed) % 100000;
        double divergence = unit_random_between(seed, 0, 1);
        for (size_t t = 0; t < COUNT_OF(offered); t++) {
            items[i].bytes[offered[t]] = weights * (t + 1);
            items[i].divergence[offered[t]] = divergence / pow(16, (double)t);
        }
    }
}

typedef struct total {
    uint64_t bytes;
    double divergence;
} total;

static total total_of(const nb_budget_item *items, unsigned choice) { /* bit i: item i has the larger type */
    total sum = {0};
    for (size_t i = 0; i < ITEMS; i++) {
        sum.bytes += items[i].bytes[offered[choice >> i & 1]];
        sum.divergence += items[i].divergence[offered[choice >> i & 1]];
    }
    return sum;
}

static total chosen_by(const nb_budget *b, nb_budget_item *items) {
    nb_error err;
    total sum = {0};
    if (nb_budget_spend(b, items, ITEMS, &err)) fail_msg("%s", err.text);
    for (size_t i = 0; i < ITEMS; i++) {
        sum.bytes += items[i].bytes[items[i].type];
        sum.divergence += items[i].divergence[items[i].type];
    }
    return sum;
}

/* Costs are rounded up by less than 1/8192 of the budget for each item, so less than all of it may have to do. */
static void the_best_choice_that_fits_is_found(void **state) {
    (void)state;
    nb_budget_item items[ITEMS];
    uint64_t seed = unit_seed();
    for (int round = 0; round < 100; round++) {
        random_items(items, &seed);
        uint64_t least = total_of(items, 0).bytes, most = total_of(items, ~0u).bytes;
        nb_budget b = {.bytes = least + unit_random(&seed) % (most - least + 1), .divergence = -1};
        uint64_t certain = b.bytes - (b.bytes - least) * ITEMS / 8192 - ITEMS;
        total found = chosen_by(&b, items);
        assert_true(found.bytes <= b.bytes);
        for (unsigned choice = 0; choice < 1u << ITEMS; choice++) {
            total t = total_of(items, choice);
            if (t.bytes <= certain && t.divergence < found.divergence * (1 - 1e-12))
                fail_msg("%g with %llu bytes, but %g is possible", found.divergence, (unsigned long long)b.bytes,
                         t.divergence);
        }
    }
}

static void no_more_is_spent_than_is_enough(void **state) {
    (void)state;
    nb_budget_item items[ITEMS];
    uint64_t seed = unit_seed();
    for (int round = 0; round < 100; round++) {
        random_items(items, &seed);
        total all = total_of(items, ~0u), none = total_of(items, 0);
        nb_budget b = {.bytes = UINT64_MAX, .divergence = unit_random_between(&seed, all.divergence, none.divergence)};
        total found = chosen_by(&b, items);
        assert_true(found.divergence <= b.divergence);
        for (unsigned choice = 0; choice < 1u << ITEMS; choice++) {
            total t = total_of(items, choice);
            uint64_t step = (all.bytes - none.bytes) * ITEMS / 8192 + ITEMS;
            if (t.divergence <= b.divergence && t.bytes + step < found.bytes)
                fail_msg("%llu bytes, but %llu are enough", (unsigned long long)found.bytes,
                         (unsigned long long)t.bytes);
        }
    }
}

/* ---- conversions ---- */

static double bits_of_matrices(fixture *f) {
    nb_reader *r = open_target(f);
    double bits = 0, weights = 0;
    for (size_t i = 0; i < nb_reader_count(r); i++) {
        const nb_tensor *t = nb_reader_at(r, i);
        if (t->layout != NB_LAYOUT_PANELS) continue;
        bits += 8 * (double)t->raw_bytes;
        weights += (double)(t->dims[0] * t->dims[1]);
    }
    nb_reader_close(r);
    return bits / weights;
}

static void a_budget_is_met_and_not_exceeded(void **state) {
    fixture *f = *state;
    char path[DEMO_PATH], text[DEMO_PATH];
    nb_convert_options o = options_for(f, NB_TYPE_Q4);
    snprintf(f->source, sizeof f->source, "%s", demo_dir(&demo_models[2], path));
    snprintf(text, sizeof text, "%.900s/heldout.txt", path);
    o.calibrate = text;
    o.bits = 6;
    convert_ok(f, &o, NULL);
    double bits = bits_of_matrices(f);
    if (bits > 6 || bits < 5.9) fail_msg("%g bits per weight of 6", bits);
    assert_non_null(strstr(nb_buf_str(&f->sentences), "chosen: "));
    o.bits = 0;
    o.automatic = true;
    convert_ok(f, &o, NULL);
    assert_true(bits_of_matrices(f) < 8.6);
    o.bits = 3;
    nb_error err = {0};
    assert_int_equal(nb_convert(f->source, f->target, &o, NULL, &err), NB_ARGUMENT);
    assert_non_null(strstr(err.text, "3 bits per weight are too few: the smallest types take 4."));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_best_choice_that_fits_is_found),
        cmocka_unit_test(no_more_is_spent_than_is_enough),
        CONVERSION_TEST(a_budget_is_met_and_not_exceeded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
