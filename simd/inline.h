/* Everything below a kernel's entry point is inlined into it: the template arguments (functions, tile sizes) are constants
 * only then. */
#ifndef NB_SIMD_INLINE_H
#define NB_SIMD_INLINE_H

#define INLINE inline __attribute__((always_inline))

/* Loops over the registers of a tile must be unrolled, or the compiler keeps the tile in memory. */
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

#endif
