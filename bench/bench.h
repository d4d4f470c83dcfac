/* nibble-bench: every kernel of simd/kernels.def on every tier that this CPU has. */
#ifndef NB_BENCH_BENCH_H
#define NB_BENCH_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/mem.h"
#include "base/team.h"
#include "bench/shim.h"
#include "simd/probe.h"

/* A matrix with weights of ordinary size, kept from one case to the next, which often takes the same. Zeroed: none. */
typedef struct bench_matrix {
    nb_region region; /* owned */
    nb_type type;
    size_t rows, cols, panel_bytes;
} bench_matrix;

/* What every case shares. */
typedef struct bench_machine {
    nb_team *team;
    nb_prober prober; /* without data while benchmarks are only listed */
    bench_matrix matrix;
} bench_machine;

/* Register the cases of a tier: names are TIER/KERNEL/SHAPE, and /all where the whole team works. What is registered,
 * and both arguments, live until the process ends. */
void bench_add_kernels(const nb_kernels *tier);
void bench_add_products(const nb_kernels *tier, bench_machine *machine);
void bench_add_attention(const nb_kernels *tier, bench_machine *machine);
void bench_add_sampler(const nb_kernels *tier);
void bench_add_quantizers(const nb_kernels *tier);

/* Print what every type loses of weights of several distributions. */
nb_status bench_error(nb_error *err);
void bench_gaussian(float *w, size_t n); /* weights of ordinary size */

/* Print what the matrices of .nbl files take on disk, by type and order of their bytes, beside their entropy. */
nb_status bench_entropy(char **paths, int n, nb_error *err);

/* What the machine does of `kind` with a tier's instructions just now, per second; `all`: on all threads. */
double bench_limit(bench_machine *m, const nb_kernels *tier, nb_probe kind, bool all, double seconds);

/* Names of kernels; NULL past the end. */
const char *bench_kernel_name(size_t i);

/* Monotonic seconds. */
double bench_now(void);

/* Counters of work that was done shim_iterations times in `seconds`: GB/s and GOPS, where there are any, and the
 * percentage of `limit` (per second; 0: unknown) that `work` is. */
void bench_count(shim_state *s, double seconds, double bytes, double operations);
void bench_percent(shim_state *s, const char *name, double seconds, double work, double limit);

#endif
