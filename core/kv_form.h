/* How the pages of a KV cache hold keys, and how they hold values: a table of functions for each, per element type, so
 * that any form of K goes with any of V. Internal to core/kv.c and core/attend.c.
 *
 * Attention works on rows: a row is one query head of one reader. */
#ifndef NB_CORE_KV_FORM_H
#define NB_CORE_KV_FORM_H

#include "core/kv.h"

/* The state of online softmax for each row. */
typedef struct nb_attend_state {
    float *m, *l; /* [rows] */
    float *o;     /* [rows][value_rows] */
} nb_attend_state;

/* A page for rows [first, end), each of which sees some of it. */
typedef struct nb_attend_page {
    const uint8_t *data, *next; /* `next` will be read after it, or NULL */
    const float *offset;        /* [64] to be added to the positions' scores, or NULL */
    const float *next_offset;   /* that of `next`, or NULL */
    size_t first, end;
} nb_attend_page;

/* What a thread works with while it attends. */
typedef struct nb_attend_work {
    size_t n;           /* rows */
    float *q;           /* [n][key_cols], scaled, zero beyond head_dim */
    float *scores;      /* [n][64] */
    uint8_t *from, *to; /* [n] positions of the page that a row sees: [from, to) */
    nb_attend_state span, total;
    nb_attend_page waiting; /* whose values the form has still to add; no data: none */
    bool turn;              /* changes with every page that is added */
    uint8_t *key_room, *value_room; /* the forms' own; NB_ALIGN-aligned */
} nb_attend_work;

/* Widen [*from, *to) to what any of the rows sees. */
static inline void nb_attend_seen(const nb_attend_work *w, const nb_attend_page *page, size_t *from, size_t *to) {
    for (size_t r = page->first; r < page->end && (*from > 0 || *to < NB_KV_PAGE); r++) {
        *from = w->from[r] < *from ? w->from[r] : *from;
        *to = w->to[r] > *to ? w->to[r] : *to;
    }
}

struct nb_kv_key_form {
    nb_type type;                                      /* of its elements */
    size_t (*bytes)(const nb_kv_shape *s);             /* of a page's keys */
    size_t (*room)(const nb_kv_shape *s, size_t rows); /* bytes of nb_attend_work.key_room */
    void (*store)(const nb_kv_shape *s, const nb_kernels *k, uint8_t *keys, size_t at, const float *key);
    void (*enter)(const nb_kv_shape *s, const nb_kernels *k, nb_attend_work *w); /* new queries */
    /* Fill in the scores that the rows see; others may be anything. */
    void (*scores)(const nb_kv_shape *s, const nb_kernels *k, const nb_attend_page *page, nb_attend_work *w);
};

struct nb_kv_value_form {
    nb_type type;
    float unit; /* log2 e where exponentials are powers of 2, 1 where they are of e: queries are multiplied by it */
    size_t (*bytes)(const nb_kv_shape *s);
    size_t (*room)(const nb_kv_shape *s, size_t rows);
    void (*store)(const nb_kv_shape *s, const nb_kernels *k, uint8_t *values, size_t at, const float *value);
    /* What is added to a page's scores; NULL: they are taken as they are. */
    const float *(*offset)(const nb_kv_shape *s, const uint8_t *values);
    /* Add the page to the rows' span: the scores' exponentials, and V times them, which may wait. */
    void (*add)(const nb_kv_shape *s, const nb_kernels *k, const nb_attend_page *page, nb_attend_work *w);
    /* Add what is waiting; NULL: nothing ever is. */
    void (*finish)(const nb_kv_shape *s, const nb_kernels *k, nb_attend_work *w);
};

/* e^x for x <= 0: the bits of exp_sum. */
float nb_attend_exp(const nb_kernels *k, float x);

#define KV_TYPE(NAME, name)                      \
    extern const nb_kv_key_form nb_kv_keys_##name; \
    extern const nb_kv_value_form nb_kv_values_##name;
#include "core/kv_types.def"
#undef KV_TYPE

#endif
