/* What the files behind include/nibble.h share. Nothing else includes it. */
#ifndef NB_API_API_H
#define NB_API_API_H

#include <string.h>
#include "base/checked.h"
#include "core/generate.h"
#include "core/model.h"
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

/* What the caller knows of its options, over the defaults in *to. NB_ARGUMENT for a struct that does not say its size. */
static inline nb_status read_options(void *to, size_t size, const void *from, nb_error *err) {
    size_t known = 0;
    if (!from) return NB_OK;
    memcpy(&known, from, sizeof known);
    if (known < sizeof known) return nb_fail(err, NB_ARGUMENT, "options whose size is %zu: begin with their _INIT", known);
    memcpy(to, from, nb_min_size(known, size));
    return NB_OK;
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

#endif
