/* Activations used from memory: an instruction repeats four bytes in all lanes as it loads them. */
#ifndef NB_SIMD_ACTS_MEMORY_H
#define NB_SIMD_ACTS_MEMORY_H

#include <stdint.h>

#include "simd/inline.h"

typedef const int8_t *acts;
static INLINE acts load_acts(const int8_t *x) { return x; }

#endif
