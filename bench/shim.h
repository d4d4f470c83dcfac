/* Google Benchmark for C. */
#ifndef NB_BENCH_SHIM_H
#define NB_BENCH_SHIM_H

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct shim_state shim_state;

/* Run as `fn(state, arg)`, which does its preparations, then its work while shim_next says so, then sets counters.
 * It may be called several times. */
void shim_register(const char *name, void (*fn)(shim_state *state, void *arg), void *arg);

bool shim_next(shim_state *state);                                        /* one more iteration */
double shim_iterations(const shim_state *state);                          /* done, after the last */
void shim_counter(shim_state *state, const char *name, double value);
void shim_skip(shim_state *state, const char *why); /* instead of the work */
void shim_context(const char *key, const char *value); /* a line of the report's head */

/* Take the benchmark's own options from the command line and run what they choose; returns an exit code. */
int shim_main(int argc, char **argv);

#ifdef __cplusplus
}
#endif

#endif
