#include "simd/cpu.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static bool bit(uint64_t word, int n) { return word >> n & 1; }

/* Skylake-SP, Cascade Lake and Cooper Lake (all model 55h), and Cannon Lake (66h), run dense 512-bit multiplications at
 * the lowest of three clock licences (Intel 64 and IA-32 Architectures Optimization Reference Manual, section
 * 2.5.3). */
static bool is_slow512(const nb_cpu_x86 *cpu) {
    const uint32_t intel = 0x756e6547; /* "Genu" of "GenuineIntel" */
    uint32_t family = cpu->eax_1 >> 8 & 15, model = (cpu->eax_1 >> 4 & 15) | (cpu->eax_1 >> 12 & 0xf0);
    return cpu->ebx_0 == intel && family == 6 && (model == 0x55 || model == 0x66);
}

/* Feature bits: Intel SDM vol. 2, CPUID. */
uint32_t nb_cpu_features_x86(const nb_cpu_x86 *cpu) {
    uint32_t found = 0;
    bool ymm = (cpu->xcr0 & 0x06) == 0x06, zmm = (cpu->xcr0 & 0xe6) == 0xe6;
    bool avx2 = bit(cpu->ebx_7, 5), fma = bit(cpu->ecx_1, 12), f16c = bit(cpu->ecx_1, 29);
    if (ymm && avx2 && fma && f16c) found |= NB_CPU_AVX2;
    bool f = bit(cpu->ebx_7, 16), dq = bit(cpu->ebx_7, 17), bw = bit(cpu->ebx_7, 30), vl = bit(cpu->ebx_7, 31);
    if (found && zmm && f && dq && bw && vl) found |= NB_CPU_AVX512;
    if ((found & NB_CPU_AVX512) && bit(cpu->ecx_7, 11)) found |= NB_CPU_AVX512VNNI;
    if ((found & NB_CPU_AVX512VNNI) && bit(cpu->ecx_7, 1)) found |= NB_CPU_AVX512VBMI;
    if (found && bit(cpu->eax_7_1, 4)) found |= NB_CPU_AVXVNNI;
    return found | (is_slow512(cpu) ? NB_CPU_SLOW512 : 0);
}

/* Bits of the Linux kernel's arm64 elf_hwcaps interface (Documentation/arch/arm64/elf_hwcaps). */
enum { HWCAP_BIT_ASIMDDP = 20, HWCAP2_BIT_I8MM = 13 };

uint32_t nb_cpu_features_arm64(uint64_t hwcap, uint64_t hwcap2) {
    uint32_t found = NB_CPU_NEON; /* part of every ARMv8-A with an operating system */
    if (bit(hwcap, HWCAP_BIT_ASIMDDP)) found |= NB_CPU_DOTPROD;
    if (bit(hwcap2, HWCAP2_BIT_I8MM)) found |= NB_CPU_I8MM;
    return found;
}

#if defined(__x86_64__) || defined(__i386__)

#include <cpuid.h>

static uint64_t xcr0(void) {
    uint32_t lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return (uint64_t)hi << 32 | lo;
}

uint32_t nb_cpu_features(void) {
    uint32_t a, b, c, d;
    nb_cpu_x86 cpu = {0};
    if (__get_cpuid(0, &a, &b, &c, &d)) cpu.ebx_0 = b;
    if (__get_cpuid(1, &a, &b, &c, &d)) {
        cpu.eax_1 = a;
        cpu.ecx_1 = c;
    }
    if (bit(cpu.ecx_1, 27)) cpu.xcr0 = xcr0(); /* OSXSAVE */
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
        uint32_t last = a;
        cpu.ebx_7 = b;
        cpu.ecx_7 = c;
        if (last >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d)) cpu.eax_7_1 = a;
    }
    return nb_cpu_features_x86(&cpu);
}

void nb_cpu_name(char *buf, unsigned size) {
    uint32_t brand[13] = {0};
    unsigned a, b, c, d;
    if (!__get_cpuid(0x80000000u, &a, &b, &c, &d) || a < 0x80000004u) {
        snprintf(buf, size, "x86 CPU");
        return;
    }
    for (unsigned leaf = 0; leaf < 3; leaf++)
        __get_cpuid(0x80000002u + leaf, &brand[4 * leaf], &brand[4 * leaf + 1], &brand[4 * leaf + 2],
                    &brand[4 * leaf + 3]);
    char text[49];
    memcpy(text, brand, 48);
    text[48] = 0;
    const char *start = text + strspn(text, " ");
    snprintf(buf, size, "%s", start);
}

#elif defined(__aarch64__) && defined(__linux__)

#include <sys/auxv.h>

uint32_t nb_cpu_features(void) { return nb_cpu_features_arm64(getauxval(AT_HWCAP), getauxval(AT_HWCAP2)); }

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
