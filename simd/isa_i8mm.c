/* ARMv8.6 with smmla: Neoverse V1 and N2, Cortex-A710 and X2, Apple since A15 and M2. */
#include "simd/mac_i8mm.h"
#include "simd/float_tmpl.h"
#include "simd/matmul_tmpl.h"
#include "simd/search_tmpl.h"
#include "simd/fill_tmpl.h"

void nb_fill_i8mm(nb_kernels *k) { fill(k); }
