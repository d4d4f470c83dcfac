/* The end of a tier file: put every kernel of the templates into the table. Include after float_tmpl.h and matmul_tmpl.h,
 * whose functions have the kernels' names. */
#ifndef NB_SIMD_FILL_TMPL_H
#define NB_SIMD_FILL_TMPL_H

#include "simd/isa.h"

static inline void fill(nb_kernels *k) {
#define KERNEL(name, ret, args) k->name = name;
#include "simd/kernels.def"
#undef KERNEL
}

#endif
