/* ARMv8.2 with sdot: Cortex-A55 and A76 (Raspberry Pi 5), Apple since A13 and M1. */
#include "simd/mac_dotprod.h"
#include "simd/float_tmpl.h"
#include "simd/matmul_tmpl.h"
#include "simd/search_tmpl.h"
#include "simd/fill_tmpl.h"

void nb_fill_dotprod(nb_kernels *k) { fill(k); }
