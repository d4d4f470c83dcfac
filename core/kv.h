/* The KV cache: keys and values of all positions, in panels, so that attention (core/attend.h) is two more matrix products.
 *
 * A page holds 64 positions of one KV head of one layer: K as a panel matrix (rows = positions), then V as a panel matrix of
 * its transpose (rows = channels). What they look like in detail is the business of their forms (core/kv_form.h). The pages
 * of all KV heads of a layer lie together: a leaf, the unit of allocation.
 *
 * Leaves come from one arena, whose address space is taken at creation and whose memory is committed when a leaf is first
 * written. A text has a table of leaves per layer. Texts share leaves, which are counted: a prefix is shared without a copy,
 * and a shared leaf that is to be continued is copied then. A table may have gaps, where no position to come looks.
 *
 * Whose leaves they are changes between steps only, on one thread; stores and reads of a step go on in many. */
#ifndef NB_CORE_KV_H
#define NB_CORE_KV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/mem.h"
#include "base/status.h"
#include "core/hparams.h"
#include "core/session.h"
#include "simd/kernels.h"

enum { NB_KV_PAGE = 64 }; /* positions */

typedef struct nb_kv_key_form nb_kv_key_form; /* core/kv_form.h */
typedef struct nb_kv_value_form nb_kv_value_form;

/* What every page of a cache looks like. */
typedef struct nb_kv_shape {
    const nb_kv_key_form *keys;
    const nb_kv_value_form *values;
    uint32_t n_kv_head, head_dim;
    uint32_t key_cols, value_rows; /* head_dim padded to whole blocks, and to whole panels */
    size_t key_bytes, page_bytes;  /* of one page: K, and all of it; multiples of NB_ALIGN */
} nb_kv_shape;

void nb_kv_shape_init(nb_kv_shape *shape, const nb_hparams *h, nb_kv_types types);

/* One text's part of the cache. Belongs to its nb_kv. */
typedef struct nb_kv_text {
    uint32_t length; /* positions held, gaps included */
    uint32_t *table; /* [n_layer][n_pages]: 1 + the leaf, or 0 where there is none */
    uint32_t *first; /* [n_layer]: pages from kv->n_sink up to this one were dropped */
} nb_kv_text;

typedef struct nb_kv {
    nb_region region;
    nb_kv_shape shape;
    nb_kv_types types;
    uint32_t n_layer;
    uint32_t n_texts, n_pages; /* texts, and pages of a text */
    uint32_t n_sink, n_recent; /* as planned */
    nb_kv_text *texts;         /* [n_texts] */
    nb_region tables;          /* of all texts, and the two lists below */
    uint32_t n_leaves;         /* that there is room for */
    uint32_t n_fresh;          /* leaves from here on were never used */
    uint32_t n_free;
    uint32_t *refs;            /* [n_leaves] how many tables (and other holders) have a leaf */
    uint32_t *free;            /* [n_free] leaves to be used again, the latest first */
} nb_kv;

typedef struct nb_kv_plan {
    uint32_t n_texts;
    uint32_t n_positions; /* of a text, at most */
    uint32_t n_pages;     /* of all texts together, in every layer; 0: every text has its own for all positions */
    uint32_t n_recent;    /* a position sees so many pages, its own being the last, and the first n_sink; 0: all */
    uint32_t n_sink;      /* these are never dropped (attention sinks: Xiao et al. 2023) */
    nb_kv_types types;
} nb_kv_plan;

nb_status nb_kv_create(nb_kv *kv, const nb_hparams *h, const nb_kv_plan *plan, nb_error *err);
void nb_kv_free(nb_kv *kv); /* accepts a zeroed one */

/* ---- whose leaves: between steps, one thread at a time per cache */

/* Leaves that nb_kv_extend would take for n more positions of a text, in all layers. */
size_t nb_kv_need(const nb_kv *kv, const nb_kv_text *t, uint32_t n);
size_t nb_kv_left(const nb_kv *kv); /* leaves that can still be taken */

/* n more positions, which are now to be stored in every layer; a shared leaf that they continue is copied. The caller has
 * seen to it that a text has room for them, and the arena what nb_kv_need says. */
void nb_kv_extend(nb_kv *kv, nb_kv_text *t, uint32_t n);

/* An empty `to` becomes the first `length` positions of `from`, gaps included. */
void nb_kv_share(nb_kv *kv, nb_kv_text *to, const nb_kv_text *from, uint32_t length);

/* An empty text gets `length` positions, to be filled by the caller, but in each layer for the pages from n_sink up to
 * first[layer]. There is room as for nb_kv_extend. */
void nb_kv_restore(nb_kv *kv, nb_kv_text *t, uint32_t length, const uint32_t *first);

void nb_kv_rewind(nb_kv *kv, nb_kv_text *t, uint32_t length); /* forget the positions from `length` on; 0 empties it */

/* No position to come looks, in this layer, at pages before `page`, but at the first n_sink: those between go. */
void nb_kv_drop(nb_kv *kv, nb_kv_text *t, uint32_t layer, uint32_t page);

/* A text of whole pages grows by one that others have: leaves[n_layer]. */
void nb_kv_push(nb_kv *kv, nb_kv_text *t, const uint32_t *leaves);

/* Another holder of a leaf than a table, and its end. */
void nb_kv_hold(nb_kv *kv, uint32_t leaf);
void nb_kv_release(nb_kv *kv, uint32_t leaf);

/* ---- stores and reads: many threads at once */

static inline size_t nb_kv_leaf_bytes(const nb_kv *kv) { return kv->shape.page_bytes * kv->shape.n_kv_head; }
static inline uint8_t *nb_kv_leaf(const nb_kv *kv, uint32_t leaf) {
    return (uint8_t *)kv->region.data + leaf * nb_kv_leaf_bytes(kv);
}

/* The leaf of a text's positions 64 * page and on; false where there is none. */
static inline bool nb_kv_leaf_at(const nb_kv *kv, const nb_kv_text *t, uint32_t layer, uint32_t page, uint32_t *leaf) {
    uint32_t entry = t->table[(size_t)layer * kv->n_pages + page];
    *leaf = entry - 1;
    return entry > 0;
}

/* The page of a text's positions 64 * page and on, or NULL where there is none: these positions are seen by nobody. Texts
 * that share it have the same pointer. */
static inline uint8_t *nb_kv_page_at(const nb_kv *kv, const nb_kv_text *t, uint32_t layer, uint32_t head, uint32_t page) {
    uint32_t leaf;
    return nb_kv_leaf_at(kv, t, layer, page, &leaf) ? nb_kv_leaf(kv, leaf) + head * kv->shape.page_bytes : NULL;
}

/* The first page behind the sinks that a position sees. What it sees is a matter of its number alone, not of what has been
 * dropped when it is computed. */
static inline uint32_t nb_kv_latest(const nb_kv *kv, uint32_t position) {
    uint32_t end = position / NB_KV_PAGE + 1;
    return kv->n_recent && end > kv->n_sink + kv->n_recent ? end - kv->n_recent : kv->n_sink;
}

/* nb_kv_page_at where a position sees that page; else NULL. */
static inline const uint8_t *nb_kv_page_seen(const nb_kv *kv, const nb_kv_text *t, uint32_t layer, uint32_t head, uint32_t page,
                                             uint32_t position) {
    bool hidden = page >= kv->n_sink && page < nb_kv_latest(kv, position);
    return hidden ? NULL : nb_kv_page_at(kv, t, layer, head, page);
}

/* Store the keys and values [n_kv_head][head_dim] of one of a text's positions in a layer. Different positions may be stored by
 * different threads at once; before a position is read, all before it have been stored. */
void nb_kv_store(const nb_kv *kv, const nb_kernels *k, const nb_kv_text *t, uint32_t layer, uint32_t position, const float *keys,
                 const float *values);

#endif
