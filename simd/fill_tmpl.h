/* The end of a tier file: put every kernel of the templates into the table. Include after the other templates,
 * whose functions have the kernels' names. The tier's probes come with it. */
#ifndef NB_SIMD_FILL_TMPL_H
#define NB_SIMD_FILL_TMPL_H

#include "simd/attend_tmpl.h"
#include "simd/isa.h"
#include "simd/probe_tmpl.h"

static inline void fill(nb_kernels *k) {
#define KERNEL(name, ret, args) k->name = name;
#include "simd/kernels.def"
#undef KERNEL
    k->probe[NB_PROBE_READ] = probe_read;
    k->probe[NB_PROBE_Q4] = probe_q4;
    k->probe[NB_PROBE_Q8] = probe_q8;
    k->probe[NB_PROBE_FMA] = probe_fma;
}

#endif
