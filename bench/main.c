#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "bench/bench.h"
#include "simd/cpu.h"

static const double LIMIT_SECONDS = 0.05;

/* The limits head the report, as a first look; every case measures its own again. */
static void show_limits(bench_machine *m, const nb_kernels *tier) {
    char key[64], text[160];
    for (int all = 0; all < 2; all++) {
        int threads = all ? nb_team_size(m->team) : 1;
        snprintf(key, sizeof key, "limits of %s, %d thread%s", tier->isa, threads, threads == 1 ? "" : "s");
        snprintf(text, sizeof text, "reads %.1f GB/s, q4 %.0f GOPS, q8 %.0f GOPS, f32 %.0f GFLOPS",
                 bench_limit(m, tier, NB_PROBE_READ, all, LIMIT_SECONDS) / 1e9,
                 bench_limit(m, tier, NB_PROBE_Q4, all, LIMIT_SECONDS) / 1e9,
                 bench_limit(m, tier, NB_PROBE_Q8, all, LIMIT_SECONDS) / 1e9,
                 bench_limit(m, tier, NB_PROBE_FMA, all, LIMIT_SECONDS) / 1e9);
        shim_context(key, text);
    }
}

static bool only_lists(int argc, char **argv) {
    for (int i = 1; i < argc; i++)
        if (!strncmp(argv[i], "--benchmark_list_tests", strlen("--benchmark_list_tests")) || !strcmp(argv[i], "--help"))
            return true;
    return false;
}

static nb_status add_tiers(nb_kernels *tiers, bench_machine *m, bool limits, nb_error *err) {
    nb_status st = NB_OK;
    for (size_t i = 0; !st && nb_isa_name(i); i++) {
        if (!nb_isa_supported(i)) continue;
        st = nb_kernels_choose(&tiers[i], nb_isa_name(i), err);
        if (!st && limits && !m->prober.k) st = nb_prober_open(&m->prober, &tiers[i], m->team, err);
        if (!st && limits) show_limits(m, &tiers[i]);
        if (!st) bench_add_kernels(&tiers[i]);
        if (!st) bench_add_products(&tiers[i], m);
        if (!st) bench_add_attention(&tiers[i], m);
        if (!st) bench_add_sampler(&tiers[i]);
        if (!st) bench_add_quantizers(&tiers[i]);
    }
    return st;
}

static int report(nb_status st, const nb_error *err) {
    if (st) fprintf(stderr, "nibble-bench: %s\n", err->text);
    return st ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv) {
    nb_error err = {0};
    if (argc == 2 && !strcmp(argv[1], "--error")) return report(bench_error(&err), &err);
    if (argc > 2 && !strcmp(argv[1], "--entropy")) return report(bench_entropy(argv + 2, argc - 2, &err), &err);
    bench_machine machine = {0};
    char cpu[64];
    size_t n = 0;
    int code = EXIT_FAILURE;
    while (nb_isa_name(n)) n++;
    nb_kernels *tiers = nb_calloc(n, sizeof *tiers);
    const char *threads = getenv("NIBBLE_THREADS");
    nb_status st = tiers ? NB_OK : nb_oom(&err, "tiers", n * sizeof *tiers);
    if (!st) st = nb_team_create(&machine.team, threads ? (int)strtol(threads, NULL, 10) : 0, &err);
    nb_cpu_name(cpu, sizeof cpu);
    shim_context("cpu", cpu);
    if (!st) st = add_tiers(tiers, &machine, !only_lists(argc, argv), &err);
    if (st) fprintf(stderr, "nibble-bench: %s\n", err.text);
    else code = shim_main(argc, argv);
    nb_region_free(&machine.matrix.region);
    nb_prober_close(&machine.prober);
    nb_team_free(machine.team);
    nb_free(tiers);
    return code;
}
