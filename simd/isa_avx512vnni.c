/* AVX-512 with VNNI: Intel since Cascade Lake (2019), AMD since Zen 4 (2022). */
#include "simd/mac_avx512vnni.h"
#include "simd/float_tmpl.h"
#include "simd/matmul_tmpl.h"
#include "simd/search_tmpl.h"
#include "simd/fill_tmpl.h"

void nb_fill_avx512vnni(nb_kernels *k) { fill(k); }
