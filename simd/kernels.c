#include "simd/kernels.h"

#include <stdlib.h>
#include <string.h>

#include "simd/cpu.h"
#include "simd/isa.h"

static const struct isa {
    const char *name;
    uint32_t needs, avoid;
    void (*fill)(nb_kernels *k);
} isas[] = {
#define ISA(name, needs, avoid, doc) {#name, needs, avoid, nb_fill_##name},
#include "simd/isa.def"
#undef ISA
};

enum { N_ISAS = sizeof isas / sizeof isas[0] };

const char *nb_isa_name(size_t i) { return i < N_ISAS ? isas[i].name : NULL; }

static int supported(size_t i, uint32_t features) { return (isas[i].needs & ~features) == 0; }

int nb_isa_supported(size_t i) { return i < N_ISAS && supported(i, nb_cpu_features()); }

static nb_status refuse(const char *isa, int known, uint32_t features, nb_error *err) {
    char list[256] = "";
    for (size_t i = 0; i < N_ISAS; i++)
        if (supported(i, features)) {
            if (*list) strncat(list, ", ", sizeof list - strlen(list) - 1);
            strncat(list, isas[i].name, sizeof list - strlen(list) - 1);
        }
    return nb_fail(err, NB_ARGUMENT,
                   known ? "this CPU cannot run the ISA '%s'; it can run: %s" : "unknown ISA '%s'; valid here: %s", isa,
                   list);
}

nb_status nb_kernels_choose(nb_kernels *k, const char *isa, nb_error *err) {
    return nb_kernels_choose_for(k, isa, nb_cpu_features(), err);
}

nb_status nb_kernels_choose_for(nb_kernels *k, const char *isa, uint32_t features, nb_error *err) {
    if (!isa) isa = getenv("NIBBLE_ISA");
    size_t chosen = N_ISAS;
    for (size_t i = 0; i < N_ISAS; i++) {
        if (isa && *isa && strcmp(isas[i].name, isa) == 0) {
            if (!supported(i, features)) return refuse(isa, 1, features, err);
            chosen = i;
        } else if ((!isa || !*isa) && supported(i, features) && (isas[i].avoid & features) == 0) {
            chosen = i;
        }
    }
    if (chosen == N_ISAS) return refuse(isa, 0, features, err);
    memset(k, 0, sizeof *k);
    for (size_t i = 0; i <= chosen; i++)
        if (supported(i, features)) isas[i].fill(k);
    k->isa = isas[chosen].name;
    return NB_OK;
}

nb_matmul_fn nb_kernels_matmul(const nb_kernels *k, nb_type type) {
    switch (type) {
    case NB_TYPE_F32: return k->matmul_f32;
    case NB_TYPE_F16: return k->matmul_f16;
    case NB_TYPE_BF16: return k->matmul_bf16;
    case NB_TYPE_Q8: return k->matmul_q8;
    case NB_TYPE_Q6: return k->matmul_q6;
    case NB_TYPE_Q4: return k->matmul_q4;
    case NB_TYPE_U8:
    case NB_TYPE_U32:
    case NB_TYPE_COUNT: break;
    }
    return NULL;
}

nb_search nb_kernels_search(const nb_kernels *k) {
    return (nb_search){.f32 = {k->search_largest, k->search_load},
                       .bf16 = {k->search_largest_bf16, k->search_load_bf16},
                       .scales = k->search_scales,
                       .rows = k->search_rows,
                       .blocks = k->search_blocks,
                       .codes = k->search_codes,
                       .values = k->search_values,
                       .sums = k->search_sums};
}
