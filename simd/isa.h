/* The tiers' entry points, made from isa.def: each overlays the kernels that it does better. */
#ifndef NB_SIMD_ISA_H
#define NB_SIMD_ISA_H

#include "simd/kernels.h"

#define ISA(name, needs, avoid, doc) void nb_fill_##name(nb_kernels *k);
#include "simd/isa.def"
#undef ISA

#endif
