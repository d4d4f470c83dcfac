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

/* What an x86 says of itself: registers of CPUID by leaf (7_1: subleaf 1), 0 where it lacks the leaf; and XCR0, the
 * register files that the operating system saves on a context switch, 0 without OSXSAVE (Intel SDM vol. 1, 13.3). */
typedef struct nb_cpu_x86 {
    uint32_t ebx_0, eax_1, ecx_1, ebx_7, ecx_7, eax_7_1;
    uint64_t xcr0;
} nb_cpu_x86;

/* The NB_CPU_* bits that follow from what a system says: the same on every machine, so that tests can ask for CPUs that
 * they do not have. hwcap, hwcap2: AT_HWCAP and AT_HWCAP2 of Linux on arm64. */
uint32_t nb_cpu_features_x86(const nb_cpu_x86 *cpu);
uint32_t nb_cpu_features_arm64(uint64_t hwcap, uint64_t hwcap2);

/* The CPU's own name, for reports: "AMD EPYC ..." where the system tells, else the architecture. buf takes size
 * bytes. */
void nb_cpu_name(char *buf, unsigned size);

#endif
