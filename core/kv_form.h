/* How the pages of a KV cache hold keys, and how they hold values: a table of functions for each, per element type, so that any
 * form of K goes with any of V. Internal to core/kv.c and core/attend.c.
 *
 * Attention works on rows: a row is one query head of one reader. A page is attended by rows [first, end) of a tile. */
#ifndef NB_CORE_KV_FORM_H
#define NB_CORE_KV_FORM_H

#include "core/kv.h"

/* The state of online softmax for each row. */
typedef struct nb_attend_state {
    float *m, *l; /* [rows] */
    float *o;     /* [rows][value_rows] */
} nb_attend_state;

/* What a thread works with while it attends. */
typedef struct nb_attend_work {
    size_t n;        /* rows */
    float *q;        /* [n][key_cols], scaled, zero beyond head_dim */
    float *scores;   /* [n][64], and then their exponentials */
    uint8_t *from, *to; /* [n] positions of the page that a row sees: [from, to) */
    float *carry;    /* [n] what the page leaves of the earlier sums */
    float *page_o;   /* [n][value_rows] */
    nb_attend_state span, total;
    uint8_t *key_room, *value_room; /* the forms' own */
} nb_attend_work;

struct nb_kv_key_form {
    nb_type type; /* of its elements */
    size_t (*bytes)(const nb_kv_shape *s);             /* of a page's keys */
    size_t (*room)(const nb_kv_shape *s, size_t rows); /* bytes of nb_attend_work.key_room */
    void (*store)(const nb_kv_shape *s, const nb_kernels *k, uint8_t *keys, size_t at, const float *key);
    void (*enter)(const nb_kv_shape *s, const nb_kernels *k, nb_attend_work *w); /* new queries */
    /* Fill in the scores that the rows see; others may be anything. */
    void (*scores)(const nb_kv_shape *s, const nb_kernels *k, const uint8_t *keys, nb_attend_work *w, size_t first, size_t end);
};

struct nb_kv_value_form {
    nb_type type;
    size_t (*bytes)(const nb_kv_shape *s);
    size_t (*room)(const nb_kv_shape *s, size_t rows);
    void (*store)(const nb_kv_shape *s, const nb_kernels *k, uint8_t *values, size_t at, const float *value);
    /* page_o = V times the exponentials, of the positions that are seen. */
    void (*mix)(const nb_kv_shape *s, const nb_kernels *k, const uint8_t *values, nb_attend_work *w, size_t first, size_t end);
};

#define KV_TYPE(NAME, name)                      \
    extern const nb_kv_key_form nb_kv_keys_##name; \
    extern const nb_kv_value_form nb_kv_values_##name;
#include "core/kv_types.def"
#undef KV_TYPE

#endif
