/* Beginnings of texts whose pages stay in the KV cache when no text needs them any more: a text that begins alike takes
 * them instead of computing them anew. Keys and values of a position depend on the tokens up to it alone, so what it
 * takes has the bits that it would have computed.
 *
 * Known are whole pages of 64 tokens, each under the hash of its tokens and of the page before it (as in vLLM's
 * automatic prefix caching), and verified by comparing the tokens. The index serves one cache, thus one model, one type
 * of keys and values and one set of windows: nothing else decides their bits. It holds a bounded number of pages; the
 * one that was of no use for longest, and that no other page follows, makes room for a new one. All memory is taken at
 * creation. One thread at a time, between steps, as for the cache. */
#ifndef NB_CORE_PREFIX_H
#define NB_CORE_PREFIX_H

#include "core/kv.h"

typedef struct nb_prefix nb_prefix;

/* For n_pages pages (of all layers), 1 or more, of a cache that outlives it. */
nb_status nb_prefix_create(nb_prefix **index, nb_kv *kv, uint32_t n_pages, nb_error *err);
void nb_prefix_free(nb_prefix *p); /* gives its leaves back; accepts NULL */

/* How many of ids[n] are known as a beginning: a multiple of 64. */
size_t nb_prefix_match(const nb_prefix *p, const int32_t *ids, size_t n);

/* The empty text becomes the first n tokens of `ids`, as many as nb_prefix_match said or fewer, in whole pages. */
void nb_prefix_take(nb_prefix *p, nb_kv_text *t, const int32_t *ids, size_t n);

/* Know the whole pages of a text of ids[t->length], up to the first that has a gap. */
void nb_prefix_add(nb_prefix *p, const nb_kv_text *t, const int32_t *ids);

#endif
