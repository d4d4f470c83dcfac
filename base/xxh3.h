/* XXH3 (xxhash.h) with the widest vectors of this processor, where libxxhash was built to choose them when it runs;
 * else compiled here, with our options. What distributions build the function of whole inputs to is several times
 * slower than either. */
#ifndef NB_BASE_XXH3_H
#define NB_BASE_XXH3_H

#if defined(NB_XXH3_DISPATCH)
#include <xxh_x86dispatch.h>
#else
#define XXH_INLINE_ALL
#include <xxhash.h>
#endif

#endif
