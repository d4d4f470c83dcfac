/* XXH3 (xxhash.h) compiled here, with our options. What distributions build the function of whole inputs to is several
 * times slower (5 GB/s instead of 20 on Zen 4); and where they choose wider vectors at run time, the upper halves of
 * registers stay in use, which slows down the code for 128 bits that follows to a third. */
#ifndef NB_BASE_XXH3_H
#define NB_BASE_XXH3_H

#define XXH_INLINE_ALL
#include <xxhash.h>

#endif
