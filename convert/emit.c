#include "convert/emit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include "base/bytes.h"
#include "base/checked.h"
#include "base/mem.h"
#include "convert/learn.h"
#include "convert/scratch.h"
#include "convert/values.h"

enum {
    AHEAD = 48,            /* tensors whose codebooks are learned together, and which follow without a pause */
    MEMORY_CHUNK = 1 << 20 /* of panels that one member makes at a time when they stay in memory */
};

static bool tell(nb_emit *e, uint64_t elements) {
    e->done += elements;
    double share = (double)e->done / (double)e->total;
    uint64_t bytes = e->done >= e->total ? e->total_bytes : (uint64_t)(share * (double)e->total_bytes);
    return nb_progress_step(e->progress, "converting", NULL, bytes, e->total_bytes);
}

/* What one member of the team works with: a chunk, from rows of the checkpoint to bytes of the file. Room grows and
 * stays: new memory for every tensor would cost a tenth of the time in page faults. */
typedef struct nb_emit_worker {
    nb_scratch stored;  /* rows of a panel as the checkpoint has them, where they can be fetched like that */
    nb_scratch rows;    /* then of the panel, else of the chunk: [][cols] */
    nb_scratch made;    /* the chunk */
    nb_scratch scratch; /* for calibration's feedback */
    nb_quant_error lost; /* of the chunk */
    nb_status status;
    nb_error err;
} worker;

/* A tensor on the line. */
typedef struct item {
    const nb_plan_tensor *t;
    nb_tensor record; /* as the file's directory has it */
    nb_geometry geometry;
    nb_quantizer quantizer;
    const nb_feedback *feedback; /* NULL: without calibration */
    uint8_t *into;               /* where all panels stay, instead of in the file; else NULL */
    uint8_t *keep;               /* where they stay beside the file; else NULL */
    /* Of rows that are fetched panel by panel, so that they stay in a cache until they are quantized; NULL: they are
     * read by chunks. */
    const nb_dtype_info *stored;
    size_t cols, chunk_bytes, panel_bytes, n_chunks; /* panel_bytes 0: a plain tensor */
} item;

typedef struct chunk {
    const item *of;
    size_t i;      /* of the tensor's chunks */
    size_t number; /* of the line's */
    size_t ahead;  /* small tensors before this one that are written with it, lest somebody waits for the turn of one */
} chunk;

/* Tensors on their way through the team. Members take chunks in order, quantize and compress them side by side, and
 * write them in their order, each its own, those of one tensor behind those of another. Rows that are not fetched as
 * they are stored are read by one at a time. Whoever waits for its turn to write waits for chunks that were taken
 * before its own, so the first of them never waits. */
typedef struct line {
    nb_emit *e;
    item *items; /* [n] */
    size_t n, n_workers;
    worker *workers;
    pthread_mutex_t reading; /* guards the source and `next` */
    chunk next;
    pthread_mutex_t writing; /* guards what follows, the writer, and the emitter's sums */
    pthread_cond_t turn;
    size_t written;
    nb_status status; /* of the first chunk that failed */
    nb_error *err;
    atomic_bool failed;
} line;

/* ---- reading ---- */

/* Rows [row, row + n) of a tensor, which hold [begin, end) of its panels' rows, or of its elements. */
typedef struct range {
    uint64_t begin, end, row, n;
} range;

static range range_of(const item *t, size_t i) {
    uint64_t width = t->panel_bytes ? 1 : t->cols, all = t->t->spec.rows * width;
    uint64_t unit = t->panel_bytes ? (uint64_t)t->chunk_bytes / t->panel_bytes * NB_PANEL_ROWS
                                   : t->chunk_bytes / sizeof(float);
    range r = {.begin = i * unit, .end = all - i * unit < unit ? all : (i + 1) * unit};
    r.row = r.begin / width;
    r.n = (r.end + width - 1) / width - r.row;
    return r;
}

static nb_status read_rows(const line *l, worker *w, const item *t, uint64_t row, uint64_t n) {
    if (t->t->n_parts) return nb_rotation_read(l->e->rotation, t->t, l->e->source, row, n, w->rows.data, &w->err);
    memcpy(w->rows.data, l->e->made[t->t->id], t->cols * sizeof(float));
    return NB_OK;
}

static bool is_small(const item *t) { return !t->panel_bytes && t->n_chunks == 1; }

/* The next chunk, with its rows unless they are fetched; false: there is none. */
static bool read_chunk(line *l, worker *w, chunk *c) {
    pthread_mutex_lock(&l->reading);
    *c = l->next;
    const item *end = l->items + l->n;
    bool any = c->of < end && !atomic_load(&l->failed);
    if (any) {
        for (; is_small(c->of) && c->of + 1 < end; c->of++) c->ahead++;
        range r = range_of(c->of, c->i);
        w->status = c->of->stored ? NB_OK : read_rows(l, w, c->of, r.row, r.n);
        bool last = c->i + 1 == c->of->n_chunks;
        l->next = (chunk){.of = c->of + last, .i = last ? 0 : c->i + 1, .number = c->number + 1};
    }
    pthread_mutex_unlock(&l->reading);
    return any;
}

/* ---- making ---- */

/* A panel's n rows, of which the first is row `row` of the chunk, widened. */
static const float *widened(const item *t, const worker *w, size_t row, size_t n) {
    float *rows = w->rows.data;
    if (!t->stored) return rows + row * t->cols;
    t->stored->widen(w->stored.data, t->stored->bytes, n * (t->cols / t->stored->values), rows);
    return rows;
}

/* The same as a quantizer takes them: bf16 as it is stored. */
static nb_rows rows_of(const item *t, const worker *w, size_t row, size_t n) {
    bool bf16 = t->stored == &nb_dtypes[NB_DTYPE_BF16];
    const void *src = bf16 ? w->stored.data : (const void *)widened(t, w, row, n);
    return (nb_rows){src, n, t->cols, t->cols, bf16 ? NB_TYPE_BF16 : NB_TYPE_F32};
}

/* These rows as a panel; the chunk begins at the tensor's row `first`. */
static nb_status make_panel(const item *t, worker *w, uint64_t first, size_t row, size_t n, uint8_t *panel) {
    nb_quant_error *lost = t->t->type == NB_TYPE_F32 ? NULL : &w->lost; /* f32 loses nothing */
    if (!t->feedback && nb_types[t->t->type].scaled) { /* the quantizer looks at every value anyway, and checks it */
        nb_rows rows = rows_of(t, w, row, n);
        if (nb_quantize_rows(&t->quantizer, &rows, panel, lost)) return NB_OK;
    }
    const float *src = widened(t, w, row, n);
    nb_status st = nb_check_values(t->t, t->t->type, src, n * t->cols, (first + row) * t->cols, &w->err);
    if (st) return st;
    if (t->feedback)
        nb_gptq_panel(&t->quantizer, t->feedback, NB_GPTQ_PASSES, src, n, t->cols, t->cols, w->scratch.data, panel,
                      lost);
    else nb_quantize_panel(&t->quantizer, src, n, t->cols, t->cols, panel, lost);
    return NB_OK;
}

static nb_status make_panels(const line *l, const item *t, worker *w, range r, uint8_t *made) {
    nb_status st = NB_OK;
    for (size_t row = 0; !st && row < r.n; row += NB_PANEL_ROWS) {
        size_t n = nb_min_size((size_t)r.n - row, NB_PANEL_ROWS);
        if (t->stored) st = nb_plan_fetch(t->t, l->e->source, r.row + row, n, w->stored.data, &w->err);
        if (!st) st = make_panel(t, w, r.row, row, n, made + row / NB_PANEL_ROWS * t->panel_bytes);
    }
    return st;
}

static nb_status make_floats(const item *t, worker *w, range r, uint8_t *made) {
    const float *x = w->rows.data;
    nb_status st = nb_check_values(t->t, NB_TYPE_F32, x, (size_t)r.n * t->cols, r.row * t->cols, &w->err);
    if (st) return st;
    x += r.begin - r.row * t->cols;
    for (size_t i = 0; i < r.end - r.begin; i++) nb_put_f32(made + 4 * i, x[i]);
    return NB_OK;
}

static nb_status make_chunk(line *l, worker *w, const chunk *c, int member) {
    const item *t = c->of;
    range r = range_of(t, c->i);
    uint64_t at = (uint64_t)c->i * t->chunk_bytes;
    uint8_t *made = t->into ? t->into + at : w->made.data;
    size_t n = t->panel_bytes ? nb_div_up((size_t)r.n, NB_PANEL_ROWS) * t->panel_bytes
                              : (size_t)(r.end - r.begin) * sizeof(float);
    w->lost = (nb_quant_error){0};
    nb_status st = t->panel_bytes ? make_panels(l, t, w, r, made) : make_floats(t, w, r, made);
    if (st || t->into) return st;
    if (t->keep) memcpy(t->keep + at, made, n);
    nb_writer_chunk_encode(l->e->writer, member, &t->geometry, made, n);
    return NB_OK;
}

/* ---- writing ---- */

/* A chunk that was encoded, or a small tensor that was made. */
static nb_status put(line *l, worker *w, const chunk *c, int member, bool small) {
    nb_emit *e = l->e;
    const item *t = c->of;
    bool last = c->i + 1 == t->n_chunks;
    nb_status st = NB_OK;
    if (c->i == 0) e->error = (nb_quant_error){0};
    if (!small) nb_quant_error_join(&e->error, &w->lost); /* sums depend on their order, which is that of the chunks */
    if (t->into) return NB_OK;
    if (c->i == 0) st = nb_writer_tensor_begin(e->writer, &t->record, &w->err);
    if (!st)
        st = small ? nb_writer_chunk_append(e->writer, member, w->made.data, (size_t)t->geometry.raw_bytes, &w->err)
                   : nb_writer_chunk_put(e->writer, member, &w->err);
    if (!st && last) st = nb_writer_tensor_end(e->writer, &w->err);
    e->raw_bytes += last ? t->geometry.raw_bytes : 0;
    if (!st && last) st = e->wrote(e->user, t->t, t->geometry.raw_bytes, &e->error, &w->err);
    range r = range_of(t, c->i);
    uint64_t elements = t->panel_bytes ? r.n * t->cols : r.end - r.begin;
    if (!st && t->t->n_parts && !tell(e, elements))
        st = nb_fail(&w->err, NB_CANCELLED, "the conversion was cancelled");
    return st;
}

/* A small tensor, from reading to writing. */
static nb_status put_small(line *l, worker *w, const item *t, int member) {
    range r = range_of(t, 0);
    pthread_mutex_lock(&l->reading);
    nb_status st = read_rows(l, w, t, r.row, r.n);
    pthread_mutex_unlock(&l->reading);
    if (!st) st = make_floats(t, w, r, w->made.data);
    return st ? st : put(l, w, &(chunk){.of = t}, member, true);
}

/* A chunk, which failed already if w->status says so, and what goes before it. */
static nb_status put_all(line *l, worker *w, const chunk *c, int member) {
    nb_error own = w->err;
    for (size_t i = c->ahead; i > 0; i--) {
        nb_status st = put_small(l, w, c->of - i, member);
        if (st) return st;
    }
    w->err = own;
    return w->status ? w->status : put(l, w, c, member, false);
}

/* In its turn. */
static void write_chunk(line *l, worker *w, const chunk *c, int member) {
    pthread_mutex_lock(&l->writing);
    while (l->written != c->number) pthread_cond_wait(&l->turn, &l->writing);
    if (!l->status && (l->status = put_all(l, w, c, member))) {
        *l->err = w->err;
        atomic_store(&l->failed, true);
    }
    l->written++;
    pthread_cond_broadcast(&l->turn);
    pthread_mutex_unlock(&l->writing);
}

static void work(void *arg, int member) {
    line *l = arg;
    chunk c;
    if ((size_t)member >= l->n_workers) return;
    worker *w = &l->workers[member];
    while (read_chunk(l, w, &c)) {
        if (!w->status) w->status = make_chunk(l, w, &c, member);
        write_chunk(l, w, &c, member);
    }
}

/* ---- the line ---- */

/* Room for a chunk of this tensor. */
static nb_status equip(worker *w, const item *t, nb_error *err) {
    size_t n = nb_min_size((size_t)range_of(t, 0).n + 1, (size_t)t->t->spec.rows); /* elements may begin within a row */
    if (t->stored) n = nb_min_size(n, NB_PANEL_ROWS);
    nb_status st = nb_scratch_reserve(&w->rows, n * t->cols * sizeof(float), err);
    if (!st && t->stored) st = nb_scratch_reserve(&w->stored, n * nb_source_row_bytes(t->t->parts[0].tensor), err);
    if (!st && !t->into) st = nb_scratch_reserve(&w->made, t->chunk_bytes, err);
    if (!st && t->feedback) st = nb_scratch_reserve(&w->scratch, nb_gptq_scratch(t->cols) * sizeof(float), err);
    return st;
}

static nb_status hire(line *l, nb_error *err) {
    nb_emit *e = l->e;
    size_t n_chunks = 0;
    if (!e->workers) {
        e->n_workers = (size_t)nb_team_size(e->team);
        e->workers = nb_calloc(e->n_workers, sizeof *e->workers);
        if (!e->workers) return nb_oom(err, "workers", e->n_workers * sizeof *e->workers);
    }
    for (size_t k = 0; k < l->n; k++) n_chunks += l->items[k].n_chunks;
    l->workers = e->workers;
    l->n_workers = nb_min_size(e->n_workers, n_chunks);
    nb_status st = NB_OK;
    for (size_t i = 0; !st && i < l->n_workers; i++)
        for (size_t k = 0; !st && k < l->n; k++) st = equip(&l->workers[i], &l->items[k], err);
    return st;
}

void nb_emit_free(nb_emit *e) {
    for (size_t i = 0; e->workers && i < e->n_workers; i++) {
        nb_scratch_free(&e->workers[i].stored);
        nb_scratch_free(&e->workers[i].rows);
        nb_scratch_free(&e->workers[i].made);
        nb_scratch_free(&e->workers[i].scratch);
    }
    nb_free(e->workers);
    e->workers = NULL;
}

static nb_status run_line(nb_emit *e, item *items, size_t n, nb_error *err) {
    line l = {.e = e, .items = items, .n = n, .next = {.of = items}, .err = err};
    nb_status st = hire(&l, err);
    if (st) return st;
    pthread_mutex_init(&l.reading, NULL);
    pthread_mutex_init(&l.writing, NULL);
    pthread_cond_init(&l.turn, NULL);
    nb_team_run(e->team, work, &l);
    pthread_cond_destroy(&l.turn);
    pthread_mutex_destroy(&l.writing);
    pthread_mutex_destroy(&l.reading);
    return l.status;
}

/* ---- tensors onto the line ---- */

static nb_status set_panels(const nb_emit *e, item *t, nb_error *err) {
    t->panel_bytes = (size_t)t->geometry.panel_bytes;
    if (t->into) t->chunk_bytes = nb_max_size(MEMORY_CHUNK / t->panel_bytes, 1) * t->panel_bytes;
    if (!e->rotation->set && nb_plan_fetches(t->t, e->source)) t->stored = &nb_dtypes[t->t->parts[0].tensor->dtype];
    nb_quantizer_init(&t->quantizer, t->t->type, t->record.codebook, &e->search);
    if (!e->calibration) return NB_OK;
    nb_status st = nb_calibration_feedback(e->calibration, t->t, t->into ? NB_INPUTS_EXACT : NB_INPUTS_IN_SEQUENCE,
                                           &t->feedback, err);
    if (!st && !t->into) st = nb_calibration_keep(e->calibration, t->t, t->record.codebook, &t->keep, err);
    return st;
}

/* `into`: see the item. */
static nb_status set_item(const nb_emit *e, item *to, const nb_plan_tensor *t, const int8_t codebook[NB_CODEBOOK_SIZE],
                          uint8_t *into, nb_error *err) {
    bool panels = t->spec.kind == NB_KIND_MATRIX || t->spec.kind == NB_KIND_EMBED,
         vector = t->spec.kind == NB_KIND_VECTOR;
    *to = (item){.t = t, .into = into, .cols = (size_t)t->spec.cols};
    to->record = (nb_tensor){.name = t->name, .type = t->type, .layout = panels ? NB_LAYOUT_PANELS : NB_LAYOUT_PLAIN,
                             .n_dims = vector ? 1 : 2};
    to->record.dims[0] = vector ? t->spec.cols : t->spec.rows;
    to->record.dims[1] = vector ? 0 : t->spec.cols;
    memcpy(to->record.codebook, codebook, NB_CODEBOOK_SIZE);
    nb_status st = nb_tensor_check(&to->record, NB_ARGUMENT, &to->geometry, err);
    if (st) return st;
    to->chunk_bytes = nb_geometry_chunk(&to->geometry, 0);
    if (panels) st = set_panels(e, to, err);
    to->n_chunks = (size_t)((to->geometry.raw_bytes + to->chunk_bytes - 1) / to->chunk_bytes);
    return st;
}

static nb_learning learning(const nb_emit *e) { return (nb_learning){e->source, e->rotation, e->team, &e->search}; }

nb_status nb_emit_quantize(nb_emit *e, const nb_plan_tensor *t, uint8_t *panels, int8_t codebook[NB_CODEBOOK_SIZE],
                           nb_error *err) {
    nb_learning l = learning(e);
    item one;
    nb_status st = nb_learn_codebooks(&l, t, 1, (int8_t(*)[NB_CODEBOOK_SIZE])codebook, err);
    if (!st) st = set_item(e, &one, t, codebook, panels, err);
    return st ? st : run_line(e, &one, 1, err);
}

/* Tensors whose codebooks are known. What one is made of may depend on how the one before it was quantized, when the
 * model is calibrated: then they go one by one. */
static nb_status emit_some(nb_emit *e, const nb_plan_tensor *t, size_t n, item *items,
                           int8_t (*codebooks)[NB_CODEBOOK_SIZE], nb_error *err) {
    size_t together = e->calibration ? 1 : n;
    nb_status st = NB_OK;
    for (size_t i = 0; !st && i < n; i += together) {
        for (size_t k = 0; !st && k < together; k++)
            st = set_item(e, &items[k], &t[i + k], codebooks[i + k], NULL, err);
        if (!st) st = run_line(e, items, together, err);
    }
    return st;
}

nb_status nb_emit_tensors(nb_emit *e, const nb_plan_tensor *tensors, size_t n, nb_error *err) {
    nb_learning l = learning(e);
    int8_t codebooks[AHEAD][NB_CODEBOOK_SIZE];
    item *items = nb_alloc(AHEAD * sizeof *items);
    nb_status st = items ? NB_OK : nb_oom(err, "tensors on their way", AHEAD * sizeof *items);
    for (size_t i = 0; !st && i < n; i += AHEAD) {
        size_t some = nb_min_size(n - i, AHEAD);
        st = nb_learn_codebooks(&l, tensors + i, some, codebooks, err);
        if (!st) st = emit_some(e, tensors + i, some, items, codebooks, err);
    }
    nb_free(items);
    return st;
}

nb_status nb_emit_plain(nb_emit *e, const char *name, nb_type type, uint64_t count, const void *bytes, nb_error *err) {
    nb_tensor record = {.name = name, .type = type, .layout = NB_LAYOUT_PLAIN, .n_dims = 1, .dims = {count}};
    size_t n = (size_t)count * nb_types[type].plain_bytes;
    nb_status st = nb_writer_tensor_begin(e->writer, &record, err);
    if (!st) st = nb_writer_tensor_append(e->writer, bytes, n, err);
    if (!st) st = nb_writer_tensor_end(e->writer, err);
    e->raw_bytes += n;
    return st;
}
