/* Quantizers for tests that need panels. */
#ifndef NB_TESTS_QUANTIZER_H
#define NB_TESTS_QUANTIZER_H

#include "quant/quantize.h"

/* Over the kernels of a tier that runs here (tests/support/tiers.h). */
nb_quantizer unit_quantizer_on(size_t tier, nb_type type, const int8_t codebook[NB_CODEBOOK_SIZE]);
/* Over those of this CPU's tier, or $NIBBLE_ISA's. */
nb_quantizer unit_quantizer(nb_type type, const int8_t codebook[NB_CODEBOOK_SIZE]);

#endif
