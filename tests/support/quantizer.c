#include "tests/support/quantizer.h"

#include "simd/kernels.h"
#include "tests/support/unit.h"

nb_quantizer unit_quantizer_on(const char *isa, nb_type type, const int8_t codebook[NB_CODEBOOK_SIZE]) {
    nb_kernels k;
    nb_error err;
    nb_quantizer q;
    if (nb_kernels_choose(&k, isa, &err)) fail_msg("%s", err.text);
    nb_search search = nb_kernels_search(&k);
    nb_quantizer_init(&q, type, codebook, &search);
    return q;
}

nb_quantizer unit_quantizer(nb_type type, const int8_t codebook[NB_CODEBOOK_SIZE]) {
    return unit_quantizer_on(NULL, type, codebook);
}
