/* ARMv8.0 with Advanced SIMD: every arm64 CPU, such as those of Raspberry Pi 3 and 4. */
#include "simd/mac_neon.h"
#include "simd/float_tmpl.h"
#include "simd/matmul_tmpl.h"
#include "simd/search_tmpl.h"
#include "simd/fill_tmpl.h"

void nb_fill_neon(nb_kernels *k) { fill(k); }
