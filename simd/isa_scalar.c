/* The portable tier: the reference for all others, and the only one on CPUs that nothing is known of. */
#define NB_PLAIN_C
#include "simd/mac_scalar.h"
#include "simd/float_tmpl.h"
#include "simd/matmul_tmpl.h"
#include "simd/search_tmpl.h"
#include "simd/fill_tmpl.h"

void nb_fill_scalar(nb_kernels *k) { fill(k); }
