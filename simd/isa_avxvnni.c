/* AVX-VNNI: Intel since Alder Lake (2021), AMD since Zen 5 (2024). */
#include "simd/mac_avxvnni.h"
#include "simd/float_tmpl.h"
#include "simd/matmul_tmpl.h"
#include "simd/search_tmpl.h"
#include "simd/fill_tmpl.h"

void nb_fill_avxvnni(nb_kernels *k) { fill(k); }
