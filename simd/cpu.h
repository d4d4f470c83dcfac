/* What this CPU, as the operating system lets us use it, can do. Thread-safe, no state. */
#ifndef NB_SIMD_CPU_H
#define NB_SIMD_CPU_H

#include <stdint.h>

enum {
#define FEATURE(NAME, name, doc) NB_CPU_BIT_##NAME,
#include "simd/cpu.def"
#undef FEATURE
    NB_CPU_BIT_COUNT
};

enum {
#define FEATURE(NAME, name, doc) NB_CPU_##NAME = 1 << NB_CPU_BIT_##NAME,
#include "simd/cpu.def"
#undef FEATURE
    NB_CPU_NONE = 0
};

/* The NB_CPU_* bits of this machine. */
uint32_t nb_cpu_features(void);

/* The CPU's own name, for reports: "AMD EPYC ..." where the system tells, else the architecture. buf takes size bytes. */
void nb_cpu_name(char *buf, unsigned size);

#endif
