#include "simd/cpu.h"

#include <stdio.h>
#include <string.h>

#if defined(__x86_64__) || defined(__i386__)

#include <cpuid.h>

/* XCR0: which register files the operating system saves on a context switch (Intel SDM vol. 1, section 13.3). */
static uint64_t xcr0(void) {
    uint32_t lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return (uint64_t)hi << 32 | lo;
}

static int bit(uint32_t word, int n) { return (int)(word >> n & 1u); }

/* Skylake-SP, Cascade Lake and Cooper Lake (all model 55h), and Cannon Lake (66h), run dense 512-bit multiplications at the
 * lowest of three clock licences (Intel 64 and IA-32 Architectures Optimization Reference Manual, section 2.5.3). */
static uint32_t slow512(void) {
    uint32_t a, b, c, d;
    if (!__get_cpuid(0, &a, &b, &c, &d) || b != signature_INTEL_ebx || !__get_cpuid(1, &a, &b, &c, &d)) return 0;
    uint32_t family = a >> 8 & 15, model = (a >> 4 & 15) | (a >> 12 & 0xf0);
    return family == 6 && (model == 0x55 || model == 0x66) ? NB_CPU_SLOW512 : 0;
}

/* Feature bits: Intel SDM vol. 2, CPUID. */
uint32_t nb_cpu_features(void) {
    uint32_t a, b, c, d, found = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !bit(c, 27)) return 0; /* no OSXSAVE: XCR0 cannot be read */
    int fma = bit(c, 12), f16c = bit(c, 29);
    uint64_t saved = xcr0();
    int ymm = (saved & 0x06) == 0x06, zmm = (saved & 0xe6) == 0xe6;
    if (!ymm || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 0;
    uint32_t max_subleaf = a;
    if (bit(b, 5) && fma && f16c) found |= NB_CPU_AVX2;
    if (zmm && (found & NB_CPU_AVX2) && bit(b, 16) && bit(b, 17) && bit(b, 30) && bit(b, 31)) found |= NB_CPU_AVX512;
    if ((found & NB_CPU_AVX512) && bit(c, 11)) found |= NB_CPU_AVX512VNNI;
    if (max_subleaf >= 1 && (found & NB_CPU_AVX2) && __get_cpuid_count(7, 1, &a, &b, &c, &d) && bit(a, 4))
        found |= NB_CPU_AVXVNNI;
    return found | slow512();
}

void nb_cpu_name(char *buf, unsigned size) {
    uint32_t brand[13] = {0};
    unsigned a, b, c, d;
    if (!__get_cpuid(0x80000000u, &a, &b, &c, &d) || a < 0x80000004u) {
        snprintf(buf, size, "x86 CPU");
        return;
    }
    for (unsigned leaf = 0; leaf < 3; leaf++)
        __get_cpuid(0x80000002u + leaf, &brand[4 * leaf], &brand[4 * leaf + 1], &brand[4 * leaf + 2], &brand[4 * leaf + 3]);
    char text[49];
    memcpy(text, brand, 48);
    text[48] = 0;
    const char *start = text + strspn(text, " ");
    snprintf(buf, size, "%s", start);
}

#elif defined(__aarch64__) && defined(__linux__)

#include <sys/auxv.h>

/* Bits of the Linux kernel's arm64 elf_hwcaps interface (Documentation/arch/arm64/elf_hwcaps). */
enum { HWCAP_BIT_ASIMDDP = 20, HWCAP2_BIT_I8MM = 13 };

uint32_t nb_cpu_features(void) {
    uint32_t found = NB_CPU_NEON; /* part of every ARMv8-A with an operating system */
    if (getauxval(AT_HWCAP) >> HWCAP_BIT_ASIMDDP & 1) found |= NB_CPU_DOTPROD;
    if (getauxval(AT_HWCAP2) >> HWCAP2_BIT_I8MM & 1) found |= NB_CPU_I8MM;
    return found;
}

void nb_cpu_name(char *buf, unsigned size) { snprintf(buf, size, "arm64 CPU"); }

#elif defined(__aarch64__) && defined(__APPLE__)

#include <sys/sysctl.h>

static int has(const char *name) {
    int value = 0;
    size_t size = sizeof value;
    return sysctlbyname(name, &value, &size, NULL, 0) == 0 && value;
}

uint32_t nb_cpu_features(void) {
    uint32_t found = NB_CPU_NEON;
    if (has("hw.optional.arm.FEAT_DotProd")) found |= NB_CPU_DOTPROD;
    if (has("hw.optional.arm.FEAT_I8MM")) found |= NB_CPU_I8MM;
    return found;
}

void nb_cpu_name(char *buf, unsigned size) {
    size_t n = size;
    if (sysctlbyname("machdep.cpu.brand_string", buf, &n, NULL, 0) != 0) snprintf(buf, size, "arm64 CPU");
}

#else

uint32_t nb_cpu_features(void) { return 0; }
void nb_cpu_name(char *buf, unsigned size) { snprintf(buf, size, "unknown CPU"); }

#endif
