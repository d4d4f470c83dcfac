#include "tests/support/unit.h"

#include <stdatomic.h>
#include <time.h>
#include "base/mem.h"
#include "base/team.h"

enum { LARGEST = 8 };

static void refuses_impossible_sizes(void **state) {
    (void)state;
    static const int sizes[] = {-1, NB_TEAM_MAX + 1, 1 << 30};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        nb_team *team = (nb_team *)&team;
        nb_error err;
        assert_int_equal(nb_team_create(&team, sizes[i], &err), NB_ARGUMENT);
        assert_null(team);
    }
    nb_team *team = NULL;
    nb_mem_fail_at(0);
    assert_int_equal(nb_team_create(&team, 2, NULL), NB_MEMORY);
    nb_mem_fail_at(-1);
    nb_team_free(team);
}

static void default_size_is_the_machines(void **state) {
    (void)state;
    nb_team *team = NULL;
    assert_true(nb_physical_cores() >= 1);
    assert_int_equal(nb_team_create(&team, 0, NULL), NB_OK);
    assert_int_equal(nb_team_size(team), nb_physical_cores());
    nb_team_free(team);
    assert_int_equal(nb_team_size(NULL), 1);
}

/* Plain ints on purpose: the team must order the members' writes before the caller's reads (ThreadSanitizer looks). */
typedef struct visits {
    int by_member[LARGEST];
    atomic_int total;
} visits;

static void visit(void *arg, int member) {
    visits *v = arg;
    v->by_member[member]++;
    atomic_fetch_add(&v->total, 1);
}

static void run_visits_every_member_once(void **state) {
    (void)state;
    for (int size = 1; size <= LARGEST; size++) {
        nb_team *team = NULL;
        assert_int_equal(nb_team_create(&team, size, NULL), NB_OK);
        assert_int_equal(nb_team_size(team), size);
        visits v = {0};
        for (int job = 1; job <= 200; job++) {
            nb_team_run(team, visit, &v);
            for (int m = 0; m < size; m++) assert_int_equal(v.by_member[m], job);
            assert_int_equal(v.total, size * job);
        }
        nb_team_free(team);
    }
    visits v = {0};
    nb_team_run(NULL, visit, &v);
    assert_int_equal(v.by_member[0], 1);
    assert_int_equal(v.total, 1);
}

enum { MOST_ITEMS = 1000 };

typedef struct work {
    int size;
    size_t share, n_items;
    uint8_t done[MOST_ITEMS];
} work;

static void mark(void *arg, size_t begin, size_t end, int member) {
    work *w = arg;
    if (member < 0 || member >= w->size || end > w->n_items || begin >= end) return;
    if (begin % w->share != 0 || (end % w->share != 0 && end != w->n_items)) return;
    for (size_t i = begin; i < end; i++) w->done[i]++;
}

static void for_hands_out_every_item_once(void **state) {
    (void)state;
    static const size_t items[] = {0, 1, 2, 7, 8, 9, 64, 999, MOST_ITEMS}, shares[] = {1, 2, 3, 64, 1000, SIZE_MAX};
    for (int size = 0; size <= LARGEST; size++) { /* 0: no team at all */
        nb_team *team = NULL;
        if (size) assert_int_equal(nb_team_create(&team, size, NULL), NB_OK);
        for (size_t i = 0; i < COUNT_OF(items); i++)
            for (size_t s = 0; s < COUNT_OF(shares); s++) {
                work w = {.size = size ? size : 1, .share = shares[s], .n_items = items[i]};
                nb_team_for(team, items[i], shares[s], mark, &w);
                for (size_t k = 0; k < MOST_ITEMS; k++) assert_int_equal(w.done[k], k < items[i]);
            }
        nb_team_free(team);
    }
}

typedef struct order {
    atomic_size_t last[LARGEST];
    atomic_int descents[LARGEST];
} order;

static void look_at_order(void *arg, size_t begin, size_t end, int member) {
    order *o = arg;
    if (begin < atomic_load(&o->last[member])) atomic_fetch_add(&o->descents[member], 1);
    atomic_store(&o->last[member], end);
}

/* A member goes from its own part through those behind it and, once, on from the first. */
static void shares_ascend_for_every_member(void **state) {
    (void)state;
    nb_team *team = NULL;
    assert_int_equal(nb_team_create(&team, 4, NULL), NB_OK);
    for (int job = 0; job < 100; job++) {
        order o = {0};
        nb_team_for(team, 5000, 3, look_at_order, &o);
        for (int m = 0; m < 4; m++) assert_true(o.descents[m] <= 1);
    }
    nb_team_free(team);
}

/* What is expected decides nothing, whether there is much of it, less than there are members, or nothing. */
static void expects_data_of_any_size(void **state) {
    (void)state;
    static uint8_t data[1 << 20];
    static const size_t items[] = {0, 1, 2, 7, MOST_ITEMS};
    for (int size = 1; size <= LARGEST; size += 3) {
        nb_team *team = NULL;
        assert_int_equal(nb_team_create(&team, size, NULL), NB_OK);
        for (size_t i = 0; i < COUNT_OF(items); i++)
            for (size_t share = 1; share <= 64; share *= 64) {
                work w = {.size = size, .share = share, .n_items = items[i]};
                nb_team_expect(team, i % 2 ? data : NULL, sizeof data / MOST_ITEMS, items[i], share);
                nb_team_for(team, items[i], share, mark, &w);
                for (size_t k = 0; k < MOST_ITEMS; k++) assert_int_equal(w.done[k], k < items[i]);
            }
        nb_team_free(team);
    }
    nb_team_expect(NULL, data, 1, 1, 1);
}

static void rest(long nanoseconds) {
    const struct timespec t = {.tv_nsec = nanoseconds};
    nanosleep(&t, NULL);
}

static void visit_slowly(void *arg, int member) {
    if (member) rest(300000); /* the caller falls asleep */
    visit(arg, member);
}

/* Pauses of every length around the spinning time: members and caller asleep, awake, and just falling asleep. */
static void sleeps_and_wakes(void **state) {
    (void)state;
    for (int size = 2; size <= 3; size++) {
        nb_team *team = NULL;
        assert_int_equal(nb_team_create(&team, size, NULL), NB_OK);
        visits v = {0};
        int jobs = 0;
        for (long pause = 0; pause < 80000; pause += 2000) {
            rest(pause);
            nb_team_run(team, visit, &v);
            nb_team_run(team, visit_slowly, &v);
            jobs += 2;
            assert_int_equal(v.total, size * jobs);
        }
        nb_team_free(team);
    }
}

static void comes_and_goes(void **state) {
    (void)state;
    for (int i = 0; i < 100; i++) {
        nb_team *team = NULL;
        assert_int_equal(nb_team_create(&team, 1 + i % LARGEST, NULL), NB_OK);
        visits v = {0};
        if (i % 3) nb_team_run(team, visit, &v);
        nb_team_free(team);
    }
    nb_team_free(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_impossible_sizes),
        cmocka_unit_test(default_size_is_the_machines),
        cmocka_unit_test(run_visits_every_member_once),
        cmocka_unit_test(for_hands_out_every_item_once),
        cmocka_unit_test(shares_ascend_for_every_member),
        cmocka_unit_test(expects_data_of_any_size),
        cmocka_unit_test(sleeps_and_wakes),
        cmocka_unit_test(comes_and_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
