/* AVX-512 F, BW, DQ and VL: Intel since Skylake-X (2017). */
#include "simd/mac_avx512.h"
#include "simd/float_tmpl.h"
#include "simd/matmul_tmpl.h"
#include "simd/search_tmpl.h"
#include "simd/fill_tmpl.h"

void nb_fill_avx512(nb_kernels *k) { fill(k); }
