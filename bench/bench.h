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

/* What one tier can do here, per second; [0] with one thread, [1] with all of the team. */
typedef struct bench_limits {
    double read[2], int8[2], fma[2];
} bench_limits;

typedef struct bench_tier {
    nb_kernels k;
    bench_limits limits; /* zero while benchmarks are only listed */
} bench_tier;

/* A matrix with weights of ordinary size, kept from one case to the next, which often takes the same. Zeroed: none. */
typedef struct bench_matrix {
    nb_region region; /* owned */
    nb_type type;
    size_t rows, cols, panel_bytes;
} bench_matrix;

/* Register the cases of a tier: names are TIER/KERNEL/SHAPE, and /all where the whole team works. What is registered
 * lives until the
 * process ends. `matrix` is shared by all. */
void bench_add_kernels(const bench_tier *tier);
void bench_add_products(const bench_tier *tier, nb_team *team, bench_matrix *matrix);

/* Names of kernels; NULL past the end. */
const char *bench_kernel_name(size_t i);

/* Monotonic seconds. */
double bench_now(void);

/* Counters of work that was done shim_iterations times in `seconds`: GB/s and GOPS, where there are any, and the
 * percentage of `limit` (per second; 0: unknown) that `work` is. */
void bench_count(shim_state *s, double seconds, double bytes, double operations);
void bench_percent(shim_state *s, const char *name, double seconds, double work, double limit);

#endif
