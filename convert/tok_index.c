#include "convert/tok_index.h"

#include <string.h>
#include "base/mem.h"

static size_t hash_of(const char *text, size_t n) {
    uint64_t hash = n;
    for (size_t i = 0; i < n; i++) hash = (hash ^ (uint8_t)text[i]) * UINT64_C(0x9E3779B97F4A7C15) >> 7 ^ hash << 13;
    return (size_t)(hash ^ hash >> 32);
}

static int32_t *slot_of(const nb_tok_index *x, const char *text, size_t n) {
    for (size_t i = hash_of(text, n) & x->mask;; i = (i + 1) & x->mask) {
        int32_t id = x->slots[i];
        if (id < 0) return &x->slots[i];
        const nb_piece *p = &x->pieces->v[id];
        if (p->n == n && !memcmp(p->text, text, n)) return &x->slots[i];
    }
}

nb_status nb_tok_index_build(nb_tok_index *x, const nb_pieces *pieces, nb_error *err) {
    *x = (nb_tok_index){.pieces = pieces, .mask = 1};
    while (x->mask < 2 * pieces->n) x->mask = 2 * x->mask + 1;
    size_t bytes = (x->mask + 1) * sizeof *x->slots;
    x->slots = nb_alloc(bytes);
    if (!x->slots) return nb_oom(err, "tokens of a vocabulary", bytes);
    memset(x->slots, 0xff, bytes);
    for (size_t i = 0; i < pieces->n; i++)
        if (pieces->v[i].text) *slot_of(x, pieces->v[i].text, pieces->v[i].n) = (int32_t)i;
    return NB_OK;
}

void nb_tok_index_free(nb_tok_index *x) {
    nb_free(x->slots);
    *x = (nb_tok_index){0};
}

int32_t nb_tok_index_find(const nb_tok_index *x, const char *text, size_t n) {
    int32_t id = *slot_of(x, text, n);
    return id < 0 ? NB_NO_TOKEN : id;
}
