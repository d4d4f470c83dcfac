/* A quantizer over the kernels of this CPU's tier (or $NIBBLE_ISA's), for tests that need panels. */
#ifndef NB_TESTS_QUANTIZER_H
#define NB_TESTS_QUANTIZER_H

#include "quant/quantize.h"

/* isa: a tier that this CPU has; NULL: its own. */
nb_quantizer unit_quantizer_on(const char *isa, nb_type type, const int8_t codebook[NB_CODEBOOK_SIZE]);
nb_quantizer unit_quantizer(nb_type type, const int8_t codebook[NB_CODEBOOK_SIZE]);

#endif
