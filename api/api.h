/* What the files behind include/nibble.h share. Nothing else includes it. */
#ifndef NB_API_API_H
#define NB_API_API_H

#include <string.h>
#include "base/checked.h"
#include "core/generate.h"
#include "core/model.h"
#include "core/tools.h"
#include "include/nibble.h"

struct nibble_error {
    nb_error e;
};
static inline nb_error *err_of(nibble_error *e) { return e ? &e->e : NULL; }

/* Statuses have the same numbers inside and outside: api/model.c asserts it. */
static inline nibble_status status_of(nb_status st) { return (nibble_status)st; }

struct nibble_model {
    nb_model *m;
    nb_kernels k;
    uint32_t threads;        /* 0: one per core */
    char *json, *provenance; /* owned */
};

struct nibble_session {
    const nibble_model *model;
    nb_team *team;
    nb_session *s;
    bool has_logits;
    nb_row_state state; /* how the last generation would go on; zeroed when the text has changed since */
};

/* What the caller knows of its options, over the defaults in *to. NB_ARGUMENT for a struct that does not say its size
 * (no version ends within a pointer, half of which would be followed), NB_UNSUPPORTED for one of a newer version of
 * which more is used than is known here. */
static inline nb_status read_options(void *to, size_t size, const void *from, nb_error *err) {
    size_t given = 0;
    if (!from) return NB_OK;
    memcpy(&given, from, sizeof given);
    if (given < sizeof given || given % _Alignof(size_t))
        return nb_fail(err, NB_ARGUMENT, "options whose size is %zu: begin with their _INIT", given);
    for (size_t i = size; i < given; i++)
        if (((const char *)from)[i])
            return nb_fail(err, NB_UNSUPPORTED,
                           "options of %zu bytes, of which byte %zu is set; this version knows %zu", given, i, size);
    memcpy(to, from, nb_min_size(given, size));
    return NB_OK;
}

/* Something of the caller's that must be there when there are n > 0 of it. */
static inline nb_status need(const void *given, size_t n, const char *what, nb_error *err) {
    return given || !n ? NB_OK : nb_fail(err, NB_ARGUMENT, "%s: NULL was given", what);
}

/* Give n items out to a caller who has room for `capacity`. */
static inline nb_status give(void *to, size_t capacity, const void *items, size_t n, size_t item_size, size_t *n_items,
                             nb_error *err) {
    *n_items = n;
    if (n > capacity)
        return nb_fail(err, NB_LIMIT, "there are %zu, and the caller has room for %zu", n, capacity);
    if (n) memcpy(to, items, n * item_size);
    return NB_OK;
}

/* The model's tokenizer, or NULL and NB_MISSING. */
const nb_tokenizer *api_tokenizer(const nibble_model *model, nb_error *err);

/* A team and the core's options for what is made from a model. */
nb_status api_session_options(const nibble_model *model, const nibble_session_options *given, nb_session_options *how,
                              nb_error *err);

/* The core's parameters; *bias is a copy that they point to, for nb_free. */
nb_status api_sampling(const nibble_sampling *given, nb_sampler_params *p, nb_logit_bias **bias, nb_error *err);

/* The core's rows of the caller's tools, for nb_free; they point to `given`, which must outlive them. */
nb_status api_tools(const nibble_model *model, const nibble_tool *given, size_t n, nb_tool **tools, nb_error *err);

#endif
