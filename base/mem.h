/* Memory: aligned allocation, large lazily committed regions, and a switch that makes allocations fail for tests.
 *
 * nb_alloc and friends return NULL when memory is short; callers turn that into NB_MEMORY through nb_oom. Every
 * pointer is released with nb_free (regions: nb_region_free); both accept NULL. Thread-safe. */
#ifndef NB_BASE_MEM_H
#define NB_BASE_MEM_H

#include <stddef.h>
#include "base/status.h"

enum { NB_ALIGN = 64 }; /* one cache line, one AVX-512 register, the group of a panel */

void *nb_alloc(size_t bytes);                     /* NB_ALIGN-aligned, uninitialised; 0 bytes gives a valid pointer */
void *nb_calloc(size_t count, size_t size);       /* zeroed; NULL also when count * size overflows */
void *nb_realloc(void *p, size_t old_bytes, size_t new_bytes); /* keeps min(old, new) bytes; on failure p stays valid */
char *nb_strdup(const char *text);
char *nb_strndup(const char *text, size_t n);     /* n bytes and a final NUL */
void nb_free(void *p);

/* "out of memory: <what>, <bytes> bytes" */
nb_status nb_oom(nb_error *err, const char *what, size_t bytes);
#define nb_oom(...) nb_not_ok((nb_oom)(__VA_ARGS__))

/* A page-aligned region of zeros whose pages are committed when first touched; huge pages are asked for where the
 * system offers them. For weights, KV pages and what a conversion works in. */
typedef struct nb_region {
    void *data;
    size_t size;
} nb_region;
nb_status nb_region_alloc(nb_region *region, size_t bytes, const char *what, nb_error *err);
/* The same for a region of which only a part may ever be touched: the system is asked not to count all of it. */
nb_status nb_region_reserve(nb_region *region, size_t bytes, const char *what, nb_error *err);
void nb_region_free(nb_region *region);

/* Tests: let the n-th allocation from now (0 = the next one) fail, once; a negative n switches this off. Counts
 * nb_alloc, nb_calloc, nb_realloc, nb_strdup, nb_strndup and regions of all threads. Returns how many
 * allocations were counted since the last call. */
long nb_mem_fail_at(long n);

#endif
