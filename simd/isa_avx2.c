/* AVX2, FMA and F16C: Intel since Haswell (2013), AMD since Zen (2017). */
#include "simd/mac_avx2.h"
#include "simd/float_tmpl.h"
#include "simd/matmul_tmpl.h"
#include "simd/search_tmpl.h"
#include "simd/fill_tmpl.h"

void nb_fill_avx2(nb_kernels *k) { fill(k); }
