/* Buffers that lie flush against unmapped pages: an access one byte outside ends the test at once. */
#ifndef NB_TESTS_SUPPORT_GUARD_H
#define NB_TESTS_SUPPORT_GUARD_H

#include <stddef.h>

typedef enum guard_side { GUARD_AFTER, GUARD_BEFORE } guard_side;

typedef struct guard {
    void *map;
    size_t map_size;
    void *data; /* `size` bytes; ends at (GUARD_AFTER) or starts at (GUARD_BEFORE) an unmapped page */
} guard;

/* Zeroed memory; failure fails the test. */
guard guard_new(size_t size, guard_side side);
void guard_free(guard *g);

#endif
