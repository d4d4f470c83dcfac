/* 256-bit registers with the AVX-512 encodings of VNNI: for CPUs that lower their clock for 512-bit ones. */
#include "simd/mac_avxvnni.h"
#include "simd/float_tmpl.h"
#include "simd/matmul_tmpl.h"
#include "simd/search_tmpl.h"
#include "simd/fill_tmpl.h"

void nb_fill_avx256vnni(nb_kernels *k) { fill(k); }
