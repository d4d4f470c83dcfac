/* Which tier is chosen on which CPU: words of CPUID and of XCR0 as machines give them, and hwcaps of arm64. */
#include "simd/cpu.h"
#include "simd/kernels.h"
#include "tests/support/unit.h"

enum { INTEL = 0x756e6547, AMD = 0x68747541 };
enum { AVX2 = NB_CPU_AVX2, AVX512 = AVX2 | NB_CPU_AVX512, VNNI512 = AVX512 | NB_CPU_AVX512VNNI };
enum { VBMI512 = VNNI512 | NB_CPU_AVX512VBMI };

/* Leaf 1: SSE3 to F16C. Leaf 7: AVX2 with BMI and more; AVX-512 F, DQ, CD, BW and VL besides; VNNI; VBMI too. Leaf 7,
 * subleaf 1. */
#define ECX_1 0x7ffafbff
#define AVX2_CPU .ecx_1 = ECX_1, .ebx_7 = 0x000037ab
#define AVX512_CPU .ecx_1 = ECX_1, .ebx_7 = 0xd01f37ab
#define AVX512VNNI_CPU AVX512_CPU, .ecx_7 = 0x00000818
#define AVX512VBMI_CPU AVX512_CPU, .ecx_7 = 0x0000081a
#define AVXVNNI .eax_7_1 = 0x00001810
#define IS_INTEL(eax) .ebx_0 = INTEL, .eax_1 = eax
#define IS_AMD(eax) .ebx_0 = AMD, .eax_1 = eax

static const struct {
    const char *name;
    nb_cpu_x86 cpu;
    uint32_t features;
    const char *tier; /* chosen, where this build has all of them */
} cpus[] = {
    {"none", {0}, 0, "scalar"},
    {"AVX and F16C only", {IS_INTEL(0x306a9), .ecx_1 = 0x7fbae3ff, .ebx_7 = 0x281, .xcr0 = 7}, 0, "scalar"}, /* Ivy Bridge */
    {"Haswell", {IS_INTEL(0x306c3), AVX2_CPU, .xcr0 = 7}, AVX2, "avx2"},
    {"AVX2 without F16C", {IS_INTEL(0x306c3), .ecx_1 = 0x5ffafbff, .ebx_7 = 0x37ab, .xcr0 = 7}, 0, "scalar"},
    {"AVX2 without FMA", {IS_INTEL(0x306c3), .ecx_1 = 0x7ffaebff, .ebx_7 = 0x37ab, .xcr0 = 7}, 0, "scalar"},
    {"Haswell, YMM not enabled", {IS_INTEL(0x306c3), AVX2_CPU, .xcr0 = 3}, 0, "scalar"},
    {"Haswell, no OSXSAVE", {IS_INTEL(0x306c3), AVX2_CPU}, 0, "scalar"},
    {"Skylake-SP", {IS_INTEL(0x50654), AVX512_CPU, .xcr0 = 0xe7}, AVX512 | NB_CPU_SLOW512, "avx2"},
    {"Cascade Lake", {IS_INTEL(0x50657), AVX512VNNI_CPU, .xcr0 = 0xe7}, VNNI512 | NB_CPU_SLOW512, "avx256vnni"},
    {"Cannon Lake", {IS_INTEL(0x60663), AVX512_CPU, .xcr0 = 0xe7}, AVX512 | NB_CPU_SLOW512, "avx2"},
    {"Ice Lake-SP", {IS_INTEL(0x606a6), AVX512VBMI_CPU, .xcr0 = 0xe7}, VBMI512, "avx512vnni"},
    {"Ice Lake-SP, ZMM not enabled", {IS_INTEL(0x606a6), AVX512VBMI_CPU, .xcr0 = 7}, AVX2, "avx2"},
    {"Ice Lake-SP, registers 16 to 31 not enabled", {IS_INTEL(0x606a6), AVX512VBMI_CPU, .xcr0 = 0x67}, AVX2, "avx2"},
    {"Ice Lake-SP, masks not enabled", {IS_INTEL(0x606a6), AVX512VBMI_CPU, .xcr0 = 0xc7}, AVX2, "avx2"},
    {"Knights Mill: AVX-512 without BW, DQ, VL",
     {IS_INTEL(0x80650), .ecx_1 = ECX_1, .ebx_7 = 0x1c0d37ab, .ecx_7 = 0x818, .xcr0 = 0xe7}, AVX2, "avx2"},
    {"Alder Lake", {IS_INTEL(0x90672), AVX2_CPU, AVXVNNI, .xcr0 = 7}, AVX2 | NB_CPU_AVXVNNI, "avxvnni"},
    {"Alder Lake, YMM not enabled", {IS_INTEL(0x90672), AVX2_CPU, AVXVNNI, .xcr0 = 3}, 0, "scalar"},
    {"Sapphire Rapids", {IS_INTEL(0x806f8), AVX512VBMI_CPU, AVXVNNI, .xcr0 = 0xe7}, VBMI512 | NB_CPU_AVXVNNI,
     "avx512vnni"},
    {"Sapphire Rapids, ZMM not enabled", {IS_INTEL(0x806f8), AVX512VBMI_CPU, AVXVNNI, .xcr0 = 7}, AVX2 | NB_CPU_AVXVNNI,
     "avxvnni"},
    {"Zen 2", {IS_AMD(0x830f10), .ecx_1 = 0x7ed8320b, .ebx_7 = 0x219c91a9, .xcr0 = 7}, AVX2, "avx2"},
    {"the model number of Skylake-SP, by AMD", {IS_AMD(0x50654), AVX512_CPU, .xcr0 = 0xe7}, AVX512, "avx512"},
    {"Zen 4",
     {IS_AMD(0xa10f11), .ecx_1 = 0x7efa320b, .ebx_7 = 0xf1bf97a9, .ecx_7 = 0x405fce, .eax_7_1 = 0x20, .xcr0 = 0x2e7},
     VBMI512, "avx512vnni"},
};

static bool built(const char *tier) {
    for (size_t i = 0; nb_isa_name(i); i++)
        if (strcmp(nb_isa_name(i), tier) == 0) return true;
    return false;
}

static void x86(void **state) {
    (void)state;
    static const char *const tiers[] = {"avx2", "avx512", "avxvnni", "avx256vnni", "avx512vnni"};
    bool all = true;
    for (size_t i = 0; i < COUNT_OF(tiers); i++) all = all && built(tiers[i]);
    for (size_t i = 0; i < COUNT_OF(cpus); i++) {
        uint32_t found = nb_cpu_features_x86(&cpus[i].cpu);
        nb_kernels k;
        nb_error err;
        if (found != cpus[i].features) fail_msg("%s: expected %#x, found %#x", cpus[i].name, cpus[i].features, found);
        if (!all) continue;
        assert_int_equal(nb_kernels_choose_for(&k, "", found, &err), NB_OK);
        if (strcmp(k.isa, cpus[i].tier) != 0) fail_msg("%s: expected %s, found %s", cpus[i].name, cpus[i].tier, k.isa);
    }
}

static void arm64(void **state) {
    (void)state;
    static const struct {
        uint64_t hwcap, hwcap2;
        uint32_t features;
    } rows[] = {
        {0xff, 0, NB_CPU_NEON}, /* Cortex-A72 */
        {~(UINT64_C(1) << 20), ~(UINT64_C(1) << 13), NB_CPU_NEON},
        {0x101fff, 0, NB_CPU_NEON | NB_CPU_DOTPROD}, /* Cortex-A76 */
        {0x101fff, 1u << 13, NB_CPU_NEON | NB_CPU_DOTPROD | NB_CPU_I8MM}, /* Neoverse-V1 */
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        assert_int_equal(nb_cpu_features_arm64(rows[i].hwcap, rows[i].hwcap2), rows[i].features);
}

/* A tier by name is refused where the CPU lacks it, with the names of those that it has. */
static void refusals(void **state) {
    (void)state;
    nb_kernels k;
    nb_error err;
    for (size_t i = 1; nb_isa_name(i); i++) {
        assert_int_equal(nb_kernels_choose_for(&k, nb_isa_name(i), 0, &err), NB_ARGUMENT);
        assert_non_null(strstr(err.text, "this CPU cannot run"));
        assert_non_null(strstr(err.text, nb_isa_name(i)));
        assert_non_null(strstr(err.text, "it can run: scalar"));
        assert_int_equal(nb_kernels_choose_for(&k, nb_isa_name(i), UINT32_MAX, &err), NB_OK); /* slow ones too */
        assert_string_equal(k.isa, nb_isa_name(i));
    }
    assert_int_equal(nb_kernels_choose_for(&k, "no-such-isa", 0, &err), NB_ARGUMENT);
    assert_non_null(strstr(err.text, "unknown ISA 'no-such-isa'"));
    assert_non_null(strstr(err.text, "scalar"));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(x86), cmocka_unit_test(arm64), cmocka_unit_test(refusals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
