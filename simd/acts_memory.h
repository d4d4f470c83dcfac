/* Activations used from memory, where an instruction repeats four bytes in all lanes as it loads them, and dot products
 * that are plain 16-lane vectors. Include after a vec_*.h. Names and meanings: mac_scalar.h. */
#ifndef NB_SIMD_ACTS_MEMORY_H
#define NB_SIMD_ACTS_MEMORY_H

typedef const int8_t *acts;
typedef vi vd;

static INLINE acts load_acts(const int8_t *x) { return x; }
static INLINE vi dot_sum(vd dot) { return dot; }

#endif
