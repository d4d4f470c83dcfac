/* AVX-512 with VNNI and VBMI: Intel since Ice Lake (2019), AMD since Zen 4 (2022). Cascade Lake, which has no VBMI,
 * would not choose this tier by itself anyway. */
#include "simd/mac_avx512vnni.h"
#include "simd/float_tmpl.h"
#include "simd/matmul_tmpl.h"
#include "simd/search_tmpl.h"
#include "simd/fill_tmpl.h"

void nb_fill_avx512vnni(nb_kernels *k) { fill(k); }
