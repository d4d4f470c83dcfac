#include "tests/support/quantizer.h"

#include "simd/kernels.h"
#include "tests/support/tiers.h"
#include "tests/support/unit.h"

static nb_quantizer make(const nb_kernels *k, nb_type type, const int8_t codebook[NB_CODEBOOK_SIZE]) {
    nb_quantizer q;
    nb_search search = nb_kernels_search(k);
    nb_quantizer_init(&q, type, codebook, &search);
    return q;
}

nb_quantizer unit_quantizer_on(size_t tier, nb_type type, const int8_t codebook[NB_CODEBOOK_SIZE]) {
    nb_kernels k;
    assert_true(tier_open(tier, &k));
    return make(&k, type, codebook);
}

nb_quantizer unit_quantizer(nb_type type, const int8_t codebook[NB_CODEBOOK_SIZE]) {
    nb_kernels k;
    nb_error err;
    if (nb_kernels_choose(&k, NULL, &err)) fail_msg("%s", err.text);
    return make(&k, type, codebook);
}
