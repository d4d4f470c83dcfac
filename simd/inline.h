/* How the templates are put together.
 *
 * Where a vector is a register, everything below a kernel's entry point is inlined into it, since the template
 * arguments (functions, tile sizes) are constants only then, and loops over the registers of a tile are unrolled, or
 * the compiler keeps the tile in memory. In plain C a vector is no register: forcing everything into one function would
 * gain nothing and take the compiler minutes, so a tier that defines NB_PLAIN_C leaves the choice to it. */
#ifndef NB_SIMD_INLINE_H
#define NB_SIMD_INLINE_H

#if defined(NB_PLAIN_C)
#define INLINE inline
#define UNROLL
#elif defined(__clang__)
#define INLINE inline __attribute__((always_inline))
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define INLINE inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")
#endif

#endif
