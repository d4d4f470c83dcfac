/* The probes of the machine's limits: every tier has them, they count what they do, and rates are numbers. How fast the
 * machine is, no test asks. */
#include <math.h>

#include "base/mem.h"
#include "simd/probe.h"
#include "tests/support/tiers.h"
#include "tests/support/unit.h"

static void every_tier_counts_its_work(void **state) {
    (void)state;
    static _Alignas(NB_ALIGN) float data[1024];
    for (size_t i = 0; i < COUNT_OF(data); i++) data[i] = 0.75f + 0.001f * (float)(i % 101);
    for (size_t i = 0; nb_isa_name(i); i++) {
        nb_kernels k;
        float sink[NB_PANEL_ROWS] = {0};
        if (!tier_open(i, &k)) continue;
        for (int kind = 0; kind < NB_PROBE_COUNT; kind++) {
            assert_non_null(k.probe[kind]);
            assert_int_equal(k.probe[kind]((const uint8_t *)data, 0, sink), 0);
            uint64_t once = k.probe[kind]((const uint8_t *)data, 512, sink);
            assert_int_equal(k.probe[kind]((const uint8_t *)data, 1024, sink), 2 * once);
            assert_true(kind == NB_PROBE_READ ? once == 512 : once > 512);
        }
        for (size_t lane = 0; lane < NB_PANEL_ROWS; lane++) assert_true(isfinite(sink[lane]));
    }
}

static void rates_are_numbers(void **state) {
    (void)state;
    nb_kernels k;
    nb_error err = {0};
    nb_team *team;
    nb_prober p;
    assert_int_equal(nb_kernels_choose(&k, NULL, &err), NB_OK);
    assert_int_equal(nb_team_create(&team, 3, &err), NB_OK);
    assert_int_equal(nb_prober_open(&p, &k, team, &err), NB_OK);
    for (int kind = 0; kind < NB_PROBE_COUNT; kind++)
        for (int turn = 0; turn < 2; turn++) {
            double rate = nb_probe_rate(&p, (nb_probe)kind, turn ? team : NULL, 0);
            assert_true(isfinite(rate) && rate > 0);
        }
    nb_prober_close(&p);
    nb_prober_close(&p);
    nb_mem_fail_at(0);
    assert_int_equal(nb_prober_open(&p, &k, NULL, &err), NB_MEMORY);
    nb_mem_fail_at(-1);
    nb_prober_close(&p);
    nb_team_free(team);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_tier_counts_its_work),
        cmocka_unit_test(rates_are_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
