/* Memory that grows to what a part of a conversion needs at once, and is used again for the next: regions (base/mem.h),
 * since as much goes through them as the model has. */
#ifndef NB_CONVERT_SCRATCH_H
#define NB_CONVERT_SCRATCH_H

#include <stddef.h>
#include "base/status.h"

typedef struct nb_scratch { /* zeroed: none yet */
    void *data;  /* [size], aligned as nb_alloc does; owned */
    size_t size; /* bytes */
} nb_scratch;

/* At least n bytes; what they held is lost when that is more than there were. NB_MEMORY leaves none. */
nb_status nb_scratch_reserve(nb_scratch *s, size_t n, nb_error *err);
void nb_scratch_free(nb_scratch *s); /* accepts a zeroed one */

#endif
