#include "tests/support/tiers.h"

#include "simd/cpu.h"
#include "tests/support/avxvnni.h"
#include "tests/support/unit.h"

static const char EMULATED[] = "avxvnni";

static bool is_emulated(const char *name) {
    return strcmp(name, EMULATED) == 0 && !(nb_cpu_features() & NB_CPU_AVXVNNI);
}

bool tier_runs(size_t i) {
    static bool said;
    const char *name = nb_isa_name(i);
    if (!name || nb_isa_supported(i) || !is_emulated(name)) return name && nb_isa_supported(i);
    const char *why = avxvnni_emulate();
    if (!said) print_message("avxvnni: %s%s\n", why ? "skipped, since " : "emulated", why ? why : "");
    said = true;
    return !why;
}

bool tier_open(size_t i, nb_kernels *k) {
    if (!tier_runs(i)) return false;
    bool own = nb_isa_supported(i); /* else the features of a CPU that has no more than the emulated tier needs */
    uint32_t features = own ? nb_cpu_features() : NB_CPU_AVX2 | NB_CPU_AVXVNNI;
    assert_int_equal(nb_kernels_choose_for(k, nb_isa_name(i), features, NULL), NB_OK);
    return true;
}

bool tier_emulated(const nb_kernels *k) { return is_emulated(k->isa); }

void tiers_each(void (*body)(const nb_kernels *scalar, const nb_kernels *tier)) {
    nb_kernels scalar, tier;
    assert_true(tier_open(0, &scalar));
    body(&scalar, &scalar);
    for (size_t i = 1; nb_isa_name(i); i++)
        if (tier_open(i, &tier)) body(&scalar, &tier);
}
