#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/mem.h"
#include "bench/bench.h"
#include "simd/cpu.h"

static const double LIMIT_SECONDS = 0.2;

double bench_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void bench_count(shim_state *s, double seconds, double bytes, double operations) {
    double n = shim_iterations(s) / seconds;
    if (bytes > 0) shim_counter(s, "GB/s", bytes * n / 1e9);
    if (operations > 0) shim_counter(s, "GOPS", operations * n / 1e9);
}

void bench_percent(shim_state *s, const char *name, double seconds, double work, double limit) {
    if (limit > 0) shim_counter(s, name, 100 * work * shim_iterations(s) / seconds / limit);
}

/* The limits first, before anything else has warmed or tired the machine; they head the report. */
static nb_status measure(bench_tier *tier, nb_team *team, nb_error *err) {
    nb_prober p;
    char key[64], text[160];
    nb_status st = nb_prober_open(&p, &tier->k, team, err);
    for (int all = 0; !st && all < 2; all++) {
        nb_team *by = all ? team : NULL;
        tier->limits.read[all] = nb_probe_rate(&p, NB_PROBE_READ, by, LIMIT_SECONDS);
        tier->limits.int8[all] = nb_probe_rate(&p, NB_PROBE_INT8, by, LIMIT_SECONDS);
        tier->limits.fma[all] = nb_probe_rate(&p, NB_PROBE_FMA, by, LIMIT_SECONDS);
        snprintf(key, sizeof key, "limits of %s, %d thread%s", tier->k.isa, nb_team_size(by),
                 nb_team_size(by) == 1 ? "" : "s");
        snprintf(text, sizeof text, "reads %.1f GB/s, int8 %.0f GOPS, f32 %.0f GFLOPS", tier->limits.read[all] / 1e9,
                 tier->limits.int8[all] / 1e9, tier->limits.fma[all] / 1e9);
        shim_context(key, text);
    }
    nb_prober_close(&p);
    return st;
}

static bool only_lists(int argc, char **argv) {
    for (int i = 1; i < argc; i++)
        if (!strncmp(argv[i], "--benchmark_list_tests", strlen("--benchmark_list_tests")) || !strcmp(argv[i], "--help"))
            return true;
    return false;
}

static nb_status add_tiers(bench_tier *tiers, nb_team *team, bench_matrix *matrix, bool limits, nb_error *err) {
    nb_status st = NB_OK;
    for (size_t i = 0; !st && nb_isa_name(i); i++) {
        if (!nb_isa_supported(i)) continue;
        st = nb_kernels_choose(&tiers[i].k, nb_isa_name(i), err);
        if (!st && limits) st = measure(&tiers[i], team, err);
        if (!st) bench_add_kernels(&tiers[i]);
        if (!st) bench_add_products(&tiers[i], team, matrix);
    }
    return st;
}

int main(int argc, char **argv) {
    nb_error err = {0};
    nb_team *team = NULL;
    bench_matrix matrix = {0};
    char cpu[64];
    size_t n = 0;
    int code = EXIT_FAILURE;
    while (nb_isa_name(n)) n++;
    bench_tier *tiers = nb_calloc(n, sizeof *tiers);
    const char *threads = getenv("NIBBLE_THREADS");
    nb_status st = tiers ? NB_OK : nb_oom(&err, "tiers", n * sizeof *tiers);
    if (!st) st = nb_team_create(&team, threads ? (int)strtol(threads, NULL, 10) : 0, &err);
    nb_cpu_name(cpu, sizeof cpu);
    shim_context("cpu", cpu);
    if (!st) st = add_tiers(tiers, team, &matrix, !only_lists(argc, argv), &err);
    if (st) fprintf(stderr, "nibble-bench: %s\n", err.text);
    else code = shim_main(argc, argv);
    nb_region_free(&matrix.region);
    nb_team_free(team);
    nb_free(tiers);
    return code;
}
