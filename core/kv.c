#include "core/kv.h"

#include <string.h>

#include "base/checked.h"
#include "core/kv_form.h"

/* Leaves and table entries are numbered in 32 bits, 0 being none. */
enum { MOST_LEAVES = UINT32_MAX / 2 };

/* Tables of the texts, their firsts, and the lists of leaves: one region, zero where it was never touched. */
static nb_status take_tables(nb_kv *kv, nb_error *err) {
    size_t entries = (size_t)kv->n_layer * kv->n_pages, per_text = 0, words = 0;
    if (!nb_add_size(entries, kv->n_layer, &per_text) || !nb_mul_size(per_text, kv->n_texts, &words) ||
        !nb_add_size(words, 2 * (size_t)kv->n_leaves, &words) || !nb_mul_size(words, sizeof(uint32_t), &words))
        return nb_fail(err, NB_LIMIT, "tables for %u texts of %u pages do not fit this machine's address space", kv->n_texts,
                       kv->n_pages);
    nb_status st = nb_region_reserve(&kv->tables, words, "the KV cache's tables", err);
    if (st) return st;
    kv->texts = nb_calloc(kv->n_texts, sizeof *kv->texts);
    if (!kv->texts) return nb_oom(err, "the KV cache's texts", kv->n_texts * sizeof *kv->texts);
    kv->refs = kv->tables.data;
    kv->free = kv->refs + kv->n_leaves;
    uint32_t *at = kv->free + kv->n_leaves;
    for (nb_kv_text *t = kv->texts; t < kv->texts + kv->n_texts; t++, at += per_text)
        *t = (nb_kv_text){.table = at, .first = at + entries};
    return NB_OK;
}

static const struct {
    const char *name;
    const nb_kv_key_form *keys;
    const nb_kv_value_form *values;
} forms[] = {
#define KV_TYPE(NAME, name) [NB_KV_##NAME] = {#name, &nb_kv_keys_##name, &nb_kv_values_##name},
#include "core/kv_types.def"
#undef KV_TYPE
};

const char *nb_kv_type_name(size_t type) { return type < sizeof forms / sizeof *forms ? forms[type].name : NULL; }

bool nb_kv_type_by_name(const char *name, nb_kv_type *type) {
    size_t i = 0;
    while (nb_kv_type_name(i) && strcmp(nb_kv_type_name(i), name) != 0) i++;
    if (nb_kv_type_name(i)) *type = (nb_kv_type)i;
    return nb_kv_type_name(i) != NULL;
}

void nb_kv_shape_init(nb_kv_shape *shape, const nb_hparams *h, nb_kv_types types) {
    *shape = (nb_kv_shape){.keys = forms[types.keys].keys, .values = forms[types.values].values, .n_kv_head = h->n_kv_head,
                           .head_dim = h->head_dim};
    shape->key_cols = (uint32_t)nb_round_up(h->head_dim, NB_BLOCK_COLS);
    shape->value_rows = (uint32_t)nb_round_up(h->head_dim, NB_PANEL_ROWS);
    shape->key_bytes = nb_round_up(shape->keys->bytes(shape), NB_ALIGN);
    shape->page_bytes = shape->key_bytes + nb_round_up(shape->values->bytes(shape), NB_ALIGN);
}

nb_status nb_kv_create(nb_kv *kv, const nb_hparams *h, const nb_kv_plan *plan, nb_error *err) {
    *kv = (nb_kv){.types = plan->types, .n_layer = h->n_layer, .n_texts = plan->n_texts, .n_sink = plan->n_sink, .n_recent = plan->n_recent,
                  .n_pages = (uint32_t)nb_div_up(plan->n_positions, NB_KV_PAGE)};
    nb_kv_shape_init(&kv->shape, h, plan->types);
    size_t pages = plan->n_pages, leaves = 0, bytes = 0;
    if ((!pages && !nb_mul_size(kv->n_pages, plan->n_texts, &pages)) || !nb_mul_size(pages, h->n_layer, &leaves) ||
        leaves > MOST_LEAVES || !nb_mul_size(nb_kv_leaf_bytes(kv), leaves, &bytes))
        return nb_fail(err, NB_LIMIT, "a KV cache for %u positions of %u texts does not fit this machine's address space",
                       plan->n_positions, plan->n_texts);
    kv->n_leaves = (uint32_t)leaves;
    nb_status st = take_tables(kv, err);
    if (!st) st = nb_region_reserve(&kv->region, bytes, "the KV cache", err);
    if (st) nb_kv_free(kv);
    return st;
}

void nb_kv_free(nb_kv *kv) {
    nb_region_free(&kv->region);
    nb_region_free(&kv->tables);
    nb_free(kv->texts);
    *kv = (nb_kv){0};
}

/* ---- whose leaves ---- */

/* A leaf of zeros: what was another text's must not be found in a saved one. */
static uint32_t take(nb_kv *kv) {
    bool used = kv->n_free > 0;
    uint32_t leaf = used ? kv->free[--kv->n_free] : kv->n_fresh++;
    if (used) memset(nb_kv_leaf(kv, leaf), 0, nb_kv_leaf_bytes(kv));
    kv->refs[leaf] = 1;
    return leaf;
}

void nb_kv_hold(nb_kv *kv, uint32_t leaf) { kv->refs[leaf]++; }

void nb_kv_release(nb_kv *kv, uint32_t leaf) {
    if (--kv->refs[leaf] == 0) kv->free[kv->n_free++] = leaf;
}

static uint32_t *row_of(const nb_kv *kv, const nb_kv_text *t, uint32_t layer) { return t->table + (size_t)layer * kv->n_pages; }

/* Empty the entries of pages [from, to). */
static void clear(nb_kv *kv, uint32_t *row, size_t from, size_t to) {
    for (size_t p = from; p < to; p++) {
        if (row[p]) nb_kv_release(kv, row[p] - 1);
        row[p] = 0;
    }
}

size_t nb_kv_left(const nb_kv *kv) { return (size_t)kv->n_leaves - kv->n_fresh + kv->n_free; }

/* The page that the next position continues is there, and others have it too. */
static bool to_be_copied(const nb_kv *kv, const uint32_t *row, uint32_t length) {
    uint32_t entry = length % NB_KV_PAGE ? row[length / NB_KV_PAGE] : 0;
    return entry && kv->refs[entry - 1] > 1;
}

size_t nb_kv_need(const nb_kv *kv, const nb_kv_text *t, uint32_t n) {
    size_t pages = nb_div_up((size_t)t->length + n, NB_KV_PAGE) - nb_div_up(t->length, NB_KV_PAGE), copies = 0;
    for (uint32_t layer = 0; n && layer < kv->n_layer; layer++) copies += to_be_copied(kv, row_of(kv, t, layer), t->length);
    return pages * kv->n_layer + copies;
}

void nb_kv_extend(nb_kv *kv, nb_kv_text *t, uint32_t n) {
    if (!n) return;
    size_t held = nb_div_up(t->length, NB_KV_PAGE), pages = nb_div_up((size_t)t->length + n, NB_KV_PAGE);
    for (uint32_t layer = 0; layer < kv->n_layer; layer++) {
        uint32_t *row = row_of(kv, t, layer);
        if (to_be_copied(kv, row, t->length)) {
            uint32_t *entry = &row[t->length / NB_KV_PAGE], copy = take(kv);
            memcpy(nb_kv_leaf(kv, copy), nb_kv_leaf(kv, *entry - 1), nb_kv_leaf_bytes(kv));
            nb_kv_release(kv, *entry - 1);
            *entry = 1 + copy;
        }
        for (size_t p = held; p < pages; p++) row[p] = 1 + take(kv);
    }
    t->length += n;
}

void nb_kv_share(nb_kv *kv, nb_kv_text *to, const nb_kv_text *from, uint32_t length) {
    size_t pages = nb_div_up(length, NB_KV_PAGE);
    for (uint32_t layer = 0; layer < kv->n_layer; layer++) {
        const uint32_t *row = row_of(kv, from, layer);
        uint32_t *copy = row_of(kv, to, layer);
        for (size_t p = 0; p < pages; p++) {
            copy[p] = row[p];
            if (row[p]) nb_kv_hold(kv, row[p] - 1);
        }
        to->first[layer] = from->first[layer];
    }
    to->length = length;
}

void nb_kv_restore(nb_kv *kv, nb_kv_text *t, uint32_t length, const uint32_t *first) {
    size_t pages = nb_div_up(length, NB_KV_PAGE);
    for (uint32_t layer = 0; layer < kv->n_layer; layer++) {
        for (size_t p = 0; p < pages; p++)
            if (p < kv->n_sink || p >= first[layer]) row_of(kv, t, layer)[p] = 1 + take(kv);
        t->first[layer] = first[layer] > kv->n_sink ? first[layer] : 0;
    }
    t->length = length;
}

void nb_kv_push(nb_kv *kv, nb_kv_text *t, const uint32_t *leaves) {
    for (uint32_t layer = 0; layer < kv->n_layer; layer++) {
        nb_kv_hold(kv, leaves[layer]);
        row_of(kv, t, layer)[t->length / NB_KV_PAGE] = 1 + leaves[layer];
    }
    t->length += NB_KV_PAGE;
}

void nb_kv_rewind(nb_kv *kv, nb_kv_text *t, uint32_t length) {
    if (length >= t->length) return;
    for (uint32_t layer = 0; layer < kv->n_layer; layer++) {
        clear(kv, row_of(kv, t, layer), nb_div_up(length, NB_KV_PAGE), nb_div_up(t->length, NB_KV_PAGE));
        if (!length) t->first[layer] = 0;
    }
    t->length = length;
}

void nb_kv_drop(nb_kv *kv, nb_kv_text *t, uint32_t layer, uint32_t page) {
    uint32_t end = (uint32_t)nb_min_size(page, t->length / NB_KV_PAGE);
    uint32_t begin = t->first[layer] > kv->n_sink ? t->first[layer] : kv->n_sink;
    if (end <= begin) return;
    clear(kv, row_of(kv, t, layer), begin, end);
    t->first[layer] = end;
}

void nb_kv_store(const nb_kv *kv, const nb_kernels *k, const nb_kv_text *t, uint32_t layer, uint32_t position, const float *keys,
                 const float *values) {
    const nb_kv_shape *s = &kv->shape;
    for (uint32_t head = 0; head < s->n_kv_head; head++, keys += s->head_dim, values += s->head_dim) {
        uint8_t *page = nb_kv_page_at(kv, t, layer, head, position / NB_KV_PAGE);
        s->keys->store(s, k, page, position % NB_KV_PAGE, keys);
        s->values->store(s, k, page + s->key_bytes, position % NB_KV_PAGE, values);
    }
}
