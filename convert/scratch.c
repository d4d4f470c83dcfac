#include "convert/scratch.h"

#include "base/mem.h"

nb_status nb_scratch_reserve(nb_scratch *s, size_t n, nb_error *err) {
    if (n <= s->size) return NB_OK;
    nb_free(s->data);
    *s = (nb_scratch){.data = nb_alloc(n)};
    if (!s->data) return nb_oom(err, "a block of a tensor", n);
    s->size = n;
    return NB_OK;
}
