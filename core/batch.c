#include "core/batch.h"

#include <stdbool.h>
#include <string.h>

#include "base/checked.h"
#include "base/mem.h"
#include "core/forward.h"
#include "core/kv.h"
#include "core/prefix.h"

struct nb_batch {
    const nb_model *model;
    nb_kv kv;
    nb_forward forward;
    nb_prefix *prefixes; /* NULL: none are kept */
    nb_region ids;       /* [n_rows][n_positions] */
    nb_span *spans;      /* [n_rows] of the step */
    uint32_t *first;     /* [n_layer] of a text that is restored */
    uint32_t *tokens;    /* [n_logits] whose logits are computed */
    uint32_t n_positions, n_chunk, n_rows, n_logits;
};

enum { CHUNK_DEFAULT = 256 };

static const nb_session_options no_options;

static uint32_t context_of(const nb_hparams *h, const nb_session_options *o) { return o->n_ctx ? o->n_ctx : h->n_ctx; }

enum { SINK = 1, LEAST_SLIDE = 2 * NB_KV_PAGE }; /* pages; tokens */

nb_status nb_batch_context(const nb_model *model, const nb_session_options *o, uint32_t *room, nb_error *err) {
    const nb_hparams *h = nb_model_hparams(model);
    uint32_t n_ctx = context_of(h, o);
    bool learned = h->pos == NB_POS_LEARNED, slides = o->overflow == NB_OVERFLOW_SLIDE;
    *room = n_ctx;
    if (slides) *room = learned ? h->n_ctx : (uint32_t)nb_max_size(n_ctx, NB_SLIDE_POSITIONS);
    if (learned && n_ctx > h->n_ctx)
        return nb_fail(err, NB_ARGUMENT,
                       "a context of %u tokens was asked for, but the model has learned positions for %u", n_ctx,
                       h->n_ctx);
    if (slides && n_ctx < LEAST_SLIDE)
        return nb_fail(err, NB_ARGUMENT,
                       "a context of %u tokens was asked for, but a text that slides needs %d at least", n_ctx,
                       LEAST_SLIDE);
    return NB_OK;
}

static nb_status plan_chunks(nb_batch *b, const nb_session_options *o, nb_error *err) {
    b->n_chunk = o->n_chunk ? o->n_chunk : CHUNK_DEFAULT;
    if (b->n_chunk > NB_SESSION_CHUNK_MAX)
        return nb_fail(err, NB_ARGUMENT, "a chunk of %u tokens was asked for; at most %d are possible", b->n_chunk,
                       NB_SESSION_CHUNK_MAX);
    if ((uint64_t)b->n_positions * b->n_rows < b->n_chunk) b->n_chunk = b->n_positions * b->n_rows;
    b->n_chunk = (uint32_t)nb_max_size(b->n_chunk, b->n_rows); /* a token for every row */
    size_t n_logits = o->n_logits ? nb_min_size(o->n_logits, NB_SESSION_CHUNK_MAX) : NB_LOGIT_ROWS;
    b->n_logits = (uint32_t)nb_max_size(n_logits, b->n_rows);
    return NB_OK;
}

/* Every row can have all its pages for itself, and the index all of its own: none ever waits for another. */
static nb_status plan_pages(const nb_batch *b, const nb_session_options *o, nb_kv_plan *plan, nb_error *err) {
    *plan = (nb_kv_plan){.n_texts = b->n_rows, .n_positions = b->n_positions, .types = o->kv};
    size_t pages = 0, row_pages = nb_div_up(b->n_positions, NB_KV_PAGE);
    if (o->overflow == NB_OVERFLOW_SLIDE) {
        plan->n_sink = SINK;
        plan->n_recent = context_of(nb_model_hparams(b->model), o) / NB_KV_PAGE - SINK;
        row_pages = nb_min_size(row_pages, SINK + plan->n_recent + nb_div_up(b->n_chunk, NB_KV_PAGE) + 1);
    }
    if (!nb_mul_size(b->n_rows, row_pages, &pages) || pages > UINT32_MAX - o->n_prefix)
        return nb_fail(err, NB_LIMIT, "%u rows of %u tokens and %u pages of prefixes are too many", b->n_rows,
                       b->n_positions, o->n_prefix);
    plan->n_pages = (uint32_t)pages + o->n_prefix;
    return NB_OK;
}

static nb_status take_memory(nb_batch *b, const nb_session_options *o, nb_error *err) {
    nb_kv_plan plan;
    size_t ids = 0;
    nb_status st = nb_batch_context(b->model, o, &b->n_positions, err);
    if (!st) st = plan_chunks(b, o, err);
    if (!st) st = plan_pages(b, o, &plan, err);
    if (!st && !(nb_mul_size(b->n_positions, sizeof(int32_t), &ids) && nb_mul_size(b->n_rows, ids, &ids)))
        st = nb_fail(err, NB_LIMIT, "%u rows of %u tokens are too many", b->n_rows, b->n_positions);
    if (st) return st;
    st = nb_kv_create(&b->kv, nb_model_hparams(b->model), &plan, err);
    if (!st && o->n_prefix) st = nb_prefix_create(&b->prefixes, &b->kv, o->n_prefix, err);
    if (!st) st = nb_region_reserve(&b->ids, ids, "the tokens of a batch", err);
    if (st) return st;
    b->spans = nb_calloc(b->n_rows, sizeof *b->spans);
    b->tokens = nb_calloc(b->n_logits, sizeof *b->tokens);
    b->first = nb_calloc(nb_model_hparams(b->model)->n_layer, sizeof *b->first);
    if (!b->spans || !b->tokens || !b->first) return nb_oom(err, "a batch", b->n_rows * sizeof *b->spans);
    st = nb_forward_create(&b->forward, b->model, &b->kv, b->n_chunk, b->n_logits, o->team, err);
    b->forward.observer = o->observer;
    return st;
}

nb_status nb_batch_create(nb_batch **batch, const nb_model *model, uint32_t n_rows, const nb_session_options *options,
                          nb_error *err) {
    *batch = NULL;
    if (n_rows < 1 || n_rows > NB_BATCH_ROWS_MAX)
        return nb_fail(err, NB_ARGUMENT, "a batch of %u rows was asked for; possible are 1 to %d", n_rows,
                       NB_BATCH_ROWS_MAX);
    nb_batch *b = nb_calloc(1, sizeof *b);
    if (!b) return nb_oom(err, "a batch", sizeof *b);
    b->model = model;
    b->n_rows = n_rows;
    nb_status st = take_memory(b, options ? options : &no_options, err);
    if (st) nb_batch_free(b);
    else *batch = b;
    return st;
}

void nb_batch_free(nb_batch *b) {
    if (!b) return;
    nb_forward_free(&b->forward);
    nb_prefix_free(b->prefixes);
    nb_kv_free(&b->kv);
    nb_region_free(&b->ids);
    nb_free(b->spans);
    nb_free(b->tokens);
    nb_free(b->first);
    nb_free(b);
}

nb_status nb_batch_check_ids(const nb_batch *b, const int32_t *ids, size_t n, nb_error *err) {
    uint32_t vocab = nb_model_hparams(b->model)->vocab_size;
    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || (uint32_t)ids[i] >= vocab)
            return nb_fail(err, NB_ARGUMENT, "token %zu: expected an id from 0 to %u, found %d", i, vocab - 1, ids[i]);
    return NB_OK;
}

nb_status nb_batch_check(const nb_batch *b, uint32_t row, const int32_t *ids, size_t n, nb_error *err) {
    uint32_t length = nb_batch_length(b, row);
    nb_status st = nb_batch_check_ids(b, ids, n, err);
    if (!st && n > b->n_positions - length)
        st = nb_fail(err, NB_LIMIT, "%zu tokens do not fit: the context has room for %u, of which %u are taken", n,
                     b->n_positions, length);
    return st;
}

static nb_kv_text *text_of(const nb_batch *b, uint32_t row) { return &b->kv.texts[row]; }
static int32_t *ids_of(const nb_batch *b, uint32_t row) {
    return (int32_t *)b->ids.data + (size_t)row * b->n_positions;
}

uint32_t nb_batch_first_page(const nb_batch *b, uint32_t layer, uint32_t position) {
    uint32_t window = nb_model_window(b->model, layer), latest = nb_kv_latest(&b->kv, position);
    uint32_t first = window && position > window ? (position - window) / NB_KV_PAGE : 0;
    return first > latest ? first : latest;
}

static void drop_unseen(nb_batch *b, nb_kv_text *t) {
    for (uint32_t layer = 0; layer < b->kv.n_layer; layer++)
        nb_kv_drop(&b->kv, t, layer, nb_batch_first_page(b, layer, t->length));
}

/* A text that is cut to `length` can go on: nothing that its next token sees was dropped. */
static bool can_be_cut(const nb_batch *b, const nb_kv_text *t, uint32_t length) {
    for (uint32_t layer = 0; length && layer < b->kv.n_layer; layer++)
        if (t->first[layer] > nb_batch_first_page(b, layer, length)) return false;
    return true;
}

/* A page that the part has filled may be of use to others. */
static void keep_prefix(nb_batch *b, const nb_batch_part *part) {
    const nb_kv_text *t = text_of(b, part->row);
    if (b->prefixes && t->length / NB_KV_PAGE > (t->length - part->n) / NB_KV_PAGE)
        nb_prefix_add(b->prefixes, t, ids_of(b, part->row));
}

nb_status nb_batch_append(nb_batch *b, const nb_batch_part *parts, size_t n_parts, nb_error *err) {
    size_t total = 0;
    nb_status st = NB_OK;
    for (size_t i = 0; !st && i < n_parts; i++) {
        st = nb_batch_check(b, parts[i].row, parts[i].ids, parts[i].n, err);
        total += parts[i].n;
    }
    if (!st && total > b->n_chunk)
        st = nb_fail(err, NB_LIMIT, "%zu tokens were given at once; a chunk has room for %u", total, b->n_chunk);
    if (st) return st;
    for (size_t i = 0; i < n_parts; i++) {
        nb_kv_text *t = text_of(b, parts[i].row);
        int32_t *ids = ids_of(b, parts[i].row) + t->length;
        b->spans[i] = (nb_span){
            .text = t, .ids = parts[i].ids, .before = t->length ? ids[-1] : 0, .position = t->length, .n = parts[i].n};
        memcpy(ids, parts[i].ids, parts[i].n * sizeof *ids);
        drop_unseen(b, t);
        nb_kv_extend(&b->kv, t, parts[i].n);
    }
    nb_forward_chunk(&b->forward, b->spans, n_parts);
    for (size_t i = 0; i < n_parts; i++) keep_prefix(b, &parts[i]);
    return NB_OK;
}

void nb_batch_compute_at(nb_batch *b, const uint32_t *tokens, uint32_t n) { nb_forward_logits(&b->forward, tokens, n); }

void nb_batch_compute(nb_batch *b, uint32_t first, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) b->tokens[i] = first + i;
    nb_batch_compute_at(b, b->tokens, n);
}

const float *nb_batch_logits(const nb_batch *b, size_t i) { return b->forward.logits + i * b->forward.stride_vocab; }

uint32_t nb_batch_chunk(const nb_batch *b) { return b->n_chunk; }
uint32_t nb_batch_logit_rows(const nb_batch *b) { return b->n_logits; }
uint32_t nb_batch_room(const nb_batch *b) { return b->n_positions; }
uint32_t nb_batch_length(const nb_batch *b, uint32_t row) { return text_of(b, row)->length; }
const int32_t *nb_batch_ids(const nb_batch *b, uint32_t row) { return ids_of(b, row); }
const nb_model *nb_batch_model(const nb_batch *b) { return b->model; }
nb_team *nb_batch_team(const nb_batch *b) { return b->forward.team; }

/* ---- what rows have in common */

uint32_t nb_batch_rewind(nb_batch *b, uint32_t row, uint32_t length) {
    nb_kv_text *t = text_of(b, row);
    if (length < t->length) nb_kv_rewind(&b->kv, t, can_be_cut(b, t, length) ? length : 0);
    return t->length;
}

void nb_batch_share(nb_batch *b, uint32_t to, uint32_t from, uint32_t length) {
    if (to == from) {
        nb_batch_rewind(b, to, length);
        return;
    }
    nb_batch_rewind(b, to, 0);
    if (!can_be_cut(b, text_of(b, from), length)) return;
    nb_kv_share(&b->kv, text_of(b, to), text_of(b, from), length);
    memcpy(ids_of(b, to), ids_of(b, from), length * sizeof(int32_t));
}

nb_kv *nb_batch_kv(nb_batch *b) { return &b->kv; }

nb_status nb_batch_restore(nb_batch *b, uint32_t row, const int32_t *ids, uint32_t length, nb_error *err) {
    nb_batch_rewind(b, row, 0);
    nb_status st = nb_batch_check(b, row, ids, length, err);
    if (st) return st;
    for (uint32_t layer = 0; layer < b->kv.n_layer; layer++) b->first[layer] = nb_batch_first_page(b, layer, length);
    nb_kv_restore(&b->kv, text_of(b, row), length, b->first);
    if (length) memcpy(ids_of(b, row), ids, length * sizeof *ids);
    return NB_OK;
}

static size_t common(const int32_t *a, const int32_t *b, size_t n) {
    size_t i = 0;
    while (i < n && a[i] == b[i]) i++;
    return i;
}

/* How much of ids[n] a row has, at most, and which. */
static size_t known_to_rows(const nb_batch *b, const int32_t *ids, size_t n, uint32_t *row) {
    size_t longest = 0;
    for (uint32_t other = 0; other < b->n_rows; other++) {
        size_t alike = common(ids, ids_of(b, other), nb_min_size(n, nb_batch_length(b, other)));
        if (alike <= longest || !can_be_cut(b, text_of(b, other), (uint32_t)alike)) continue;
        longest = alike;
        *row = other;
    }
    return longest;
}

static size_t known_to_index(const nb_batch *b, const int32_t *ids, size_t n) {
    return b->prefixes ? nb_prefix_match(b->prefixes, ids, n) : 0;
}

uint32_t nb_batch_known(const nb_batch *b, const int32_t *ids, size_t n) {
    uint32_t row;
    return (uint32_t)nb_max_size(known_to_rows(b, ids, n, &row), known_to_index(b, ids, n));
}

uint32_t nb_batch_recall(nb_batch *b, uint32_t row, const int32_t *ids, size_t n) {
    uint32_t from = row;
    size_t by_row = known_to_rows(b, ids, n, &from), by_index = known_to_index(b, ids, n);
    if (by_index > by_row) {
        nb_batch_rewind(b, row, 0);
        nb_prefix_take(b->prefixes, text_of(b, row), ids, by_index);
        memcpy(ids_of(b, row), ids, by_index * sizeof *ids);
    } else {
        nb_batch_share(b, row, from, (uint32_t)by_row);
    }
    return nb_batch_length(b, row);
}

int nb_batch_compare(const nb_batch *b, uint32_t row, uint32_t other) {
    const nb_kv_text *x = text_of(b, row), *y = text_of(b, other);
    size_t pages = nb_div_up(nb_min_size(x->length, y->length), NB_KV_PAGE);
    for (size_t p = 0; p < pages; p++) /* of the first layer, whose pages are shared when the others' are */
        if (x->table[p] != y->table[p]) return x->table[p] < y->table[p] ? -1 : 1;
    return (x->length > y->length) - (x->length < y->length);
}

size_t nb_batch_kv_bytes(const nb_batch *b) { return (b->kv.n_leaves - nb_kv_left(&b->kv)) * nb_kv_leaf_bytes(&b->kv); }
