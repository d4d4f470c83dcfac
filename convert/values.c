#include "convert/values.h"

#include <inttypes.h>
#include <math.h>
#include "quant/quantize.h"

/* The least magnitude that rounds to infinity in a type. */
static float overflow_of(nb_type type) {
    return type == NB_TYPE_F16 ? 65520.0f : type == NB_TYPE_BF16 ? 0x1.ffp127f : INFINITY;
}

nb_status nb_check_values(const nb_plan_tensor *t, nb_type type, const float *x, size_t n, uint64_t first,
                          nb_error *err) {
    size_t at = nb_first_nonfinite(x, n);
    uint64_t cols = t->spec.cols;
    float limit = overflow_of(type);
    if (at < n)
        return nb_fail(err, NB_FORMAT, "tensor '%s' (from '%s') holds %s at row %" PRIu64 ", column %" PRIu64, t->name,
                       t->n_parts ? t->parts[0].tensor->name : "the converter",
                       isnan(x[at]) ? "not a number" : "an infinity (or a number beyond f32)", (first + at) / cols,
                       (first + at) % cols);
    for (at = 0; limit < INFINITY && at < n; at++)
        if (fabsf(x[at]) >= limit)
            return nb_fail(err, NB_UNSUPPORTED,
                           "tensor '%s' holds %g at row %" PRIu64 ", column %" PRIu64
                           ", too large for %s; choose another --type",
                           t->name, (double)x[at], (first + at) / cols, (first + at) % cols, nb_types[type].name);
    return NB_OK;
}
