#include "core/prefix.h"

#include <stdbool.h>
#include <string.h>

#include "base/checked.h"
#include "base/mem.h"
#include "base/xxh3.h"

enum { NONE = UINT32_MAX / 2, PAGE_BYTES = NB_KV_PAGE * sizeof(int32_t) };

typedef struct entry {
    uint64_t hash, used;       /* used: the turn of the index in which it was last of use; 0: no entry */
    uint32_t before, n_behind; /* the page before it, or NONE; how many pages follow */
    uint32_t next;             /* in its bucket */
} entry;

struct nb_prefix {
    nb_kv *kv;
    uint64_t turn;
    uint32_t n, most; /* entries */
    entry *entries;   /* [most], of which n were ever used */
    uint32_t *leaves; /* [most][n_layer] */
    uint32_t *buckets; /* [mask + 1] */
    size_t mask;
    int32_t *ids; /* [most][64] */
};

nb_status nb_prefix_create(nb_prefix **index, nb_kv *kv, uint32_t n_pages, nb_error *err) {
    *index = NULL;
    nb_prefix *p = nb_calloc(1, sizeof *p);
    if (!p) return nb_oom(err, "an index of prefixes", sizeof *p);
    p->kv = kv;
    p->most = n_pages;
    for (p->mask = 1; p->mask + 1 < n_pages; p->mask = 2 * p->mask + 1) continue;
    p->entries = nb_calloc(n_pages, sizeof *p->entries);
    p->leaves = nb_calloc(n_pages, kv->n_layer * sizeof *p->leaves);
    p->ids = nb_calloc(n_pages, PAGE_BYTES);
    p->buckets = nb_calloc(p->mask + 1, sizeof *p->buckets);
    if (!p->entries || !p->leaves || !p->ids || !p->buckets) {
        nb_prefix_free(p);
        return nb_oom(err, "an index of prefixes", n_pages * (sizeof *p->entries + PAGE_BYTES));
    }
    for (size_t i = 0; i <= p->mask; i++) p->buckets[i] = NONE;
    *index = p;
    return NB_OK;
}

static uint32_t *leaves_of(const nb_prefix *p, uint32_t i) { return p->leaves + (size_t)i * p->kv->n_layer; }

static void release_leaves(nb_prefix *p, uint32_t i) {
    for (uint32_t layer = 0; layer < p->kv->n_layer; layer++) nb_kv_release(p->kv, leaves_of(p, i)[layer]);
}

void nb_prefix_free(nb_prefix *p) {
    if (!p) return;
    for (uint32_t i = 0; p->entries && i < p->n; i++)
        if (p->entries[i].used) release_leaves(p, i);
    nb_free(p->entries);
    nb_free(p->leaves);
    nb_free(p->ids);
    nb_free(p->buckets);
    nb_free(p);
}

/* The page with these tokens behind the page `before`, or NONE; *hash becomes the page's own. */
static uint32_t find(const nb_prefix *p, uint32_t before, uint64_t *hash, const int32_t *ids) {
    *hash = XXH3_64bits_withSeed(ids, PAGE_BYTES, *hash);
    uint32_t i = p->buckets[*hash & p->mask];
    while (i != NONE && (p->entries[i].hash != *hash || p->entries[i].before != before ||
                         memcmp(p->ids + (size_t)i * NB_KV_PAGE, ids, PAGE_BYTES) != 0))
        i = p->entries[i].next;
    return i;
}

size_t nb_prefix_match(const nb_prefix *p, const int32_t *ids, size_t n) {
    uint32_t before = NONE;
    uint64_t hash = 0;
    size_t known = 0;
    for (; n - known >= NB_KV_PAGE; known += NB_KV_PAGE) {
        before = find(p, before, &hash, ids + known);
        if (before == NONE) break;
    }
    return known;
}

void nb_prefix_take(nb_prefix *p, nb_kv_text *t, const int32_t *ids, size_t n) {
    uint32_t before = NONE;
    uint64_t hash = 0;
    p->turn++;
    for (size_t at = 0; n - at >= NB_KV_PAGE; at += NB_KV_PAGE) {
        before = find(p, before, &hash, ids + at);
        if (before == NONE) break;
        p->entries[before].used = p->turn;
        nb_kv_push(p->kv, t, leaves_of(p, before));
    }
}

/* The entry that goes: none of this turn, for these are the beginning of what is being added. */
static uint32_t oldest(const nb_prefix *p) {
    uint32_t found = NONE;
    uint64_t least = p->turn;
    for (uint32_t i = 0; i < p->n; i++)
        if (!p->entries[i].n_behind && p->entries[i].used < least) {
            found = i;
            least = p->entries[i].used;
        }
    return found;
}

static void forget(nb_prefix *p, uint32_t i) {
    entry *e = &p->entries[i];
    uint32_t *link = &p->buckets[e->hash & p->mask];
    while (*link != i) link = &p->entries[*link].next;
    *link = e->next;
    if (e->before != NONE) p->entries[e->before].n_behind--;
    release_leaves(p, i);
    *e = (entry){0};
}

/* The leaves of a text's page, held; false when one is missing. */
static bool hold_page(nb_kv *kv, const nb_kv_text *t, uint32_t page, uint32_t *leaves) {
    for (uint32_t layer = 0; layer < kv->n_layer; layer++)
        if (!nb_kv_leaf_at(kv, t, layer, page, &leaves[layer])) return false;
    for (uint32_t layer = 0; layer < kv->n_layer; layer++) nb_kv_hold(kv, leaves[layer]);
    return true;
}

static uint32_t make(nb_prefix *p, uint32_t before, uint64_t hash, const int32_t *ids, const nb_kv_text *t,
                     uint32_t page) {
    uint32_t i = p->n < p->most ? p->n : oldest(p);
    if (i == NONE) return NONE;
    if (i < p->n && p->entries[i].used) forget(p, i);
    if (!hold_page(p->kv, t, page, leaves_of(p, i))) return NONE;
    if (i == p->n) p->n++;
    memcpy(p->ids + (size_t)i * NB_KV_PAGE, ids, PAGE_BYTES);
    uint32_t *bucket = &p->buckets[hash & p->mask];
    p->entries[i] = (entry){.hash = hash, .before = before, .next = *bucket};
    *bucket = i;
    if (before != NONE) p->entries[before].n_behind++;
    return i;
}

void nb_prefix_add(nb_prefix *p, const nb_kv_text *t, const int32_t *ids) {
    uint32_t before = NONE;
    uint64_t hash = 0;
    p->turn++;
    for (uint32_t page = 0; page < t->length / NB_KV_PAGE; page++, ids += NB_KV_PAGE) {
        uint32_t i = find(p, before, &hash, ids);
        if (i == NONE) i = make(p, before, hash, ids, t, page);
        if (i == NONE) break;
        p->entries[i].used = p->turn;
        before = i;
    }
}
