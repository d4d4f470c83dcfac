#include "convert/scratch.h"

#include "base/mem.h"

nb_status nb_scratch_reserve(nb_scratch *s, size_t n, nb_error *err) {
    nb_region region;
    if (n <= s->size) return NB_OK;
    nb_scratch_free(s);
    nb_status st = nb_region_alloc(&region, n, "a block of a tensor", err);
    if (!st) *s = (nb_scratch){region.data, region.size};
    return st;
}

void nb_scratch_free(nb_scratch *s) {
    nb_region region = {s->data, s->size};
    nb_region_free(&region);
    *s = (nb_scratch){0};
}
