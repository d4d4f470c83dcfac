/* The tiers that tests run: those of this CPU, and avxvnni where it lacks that, by emulation
 * (tests/support/avxvnni.h). */
#ifndef NB_TESTS_SUPPORT_TIERS_H
#define NB_TESTS_SUPPORT_TIERS_H

#include <stdbool.h>
#include <stddef.h>

#include "simd/kernels.h"

/* Whether tier i of nb_isa_name runs here; why avxvnni cannot be emulated is printed, once. */
bool tier_runs(size_t i);

/* Its kernels. False: it does not run here. */
bool tier_open(size_t i, nb_kernels *k);

/* Each multiplication takes microseconds: tests that have many cases take fewer. */
bool tier_emulated(const nb_kernels *k);

/* body(scalar, tier) for every tier, scalar the first: then both are the same. */
void tiers_each(void (*body)(const nb_kernels *scalar, const nb_kernels *tier));

#endif
