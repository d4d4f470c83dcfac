#include "convert/emit.h"

#include <inttypes.h>
#include <math.h>
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
    BATCH_BYTES = 8 << 20, /* of f32 rows of a plain tensor that are read at once */
    MEMORY_CHUNK = 1 << 20 /* of panels that one member makes at a time when they stay in memory */
};

static bool tell(nb_emit *e, uint64_t elements) {
    e->done += elements;
    double share = (double)e->done / (double)e->total;
    uint64_t bytes = e->done >= e->total ? e->total_bytes : (uint64_t)(share * (double)e->total_bytes);
    return nb_progress_step(e->progress, "converting", NULL, bytes, e->total_bytes);
}

/* ---- panels ---- */

/* What one member of the team works with: a chunk, from rows of the checkpoint to panels. Room grows and stays: new memory
 * for every tensor would cost a tenth of the time in page faults. */
typedef struct nb_emit_worker {
    nb_scratch stored;  /* rows of a chunk as the checkpoint has them, where they can be fetched like that */
    nb_scratch rows;    /* then of one panel, else of the chunk: [][cols] */
    nb_scratch made;    /* the chunk's panels */
    nb_scratch scratch; /* for calibration's feedback */
    nb_quant_error lost; /* of the chunk */
    nb_status status;
    nb_error err;
} worker;

/* A tensor on its way through the team. Members take chunks in order: one reads at a time, all quantize and compress side
 * by side, and chunks are written in their order, each by its member. Whoever waits for its turn to write waits for
 * chunks that were read before its own, so the first of them never waits. */
typedef struct line {
    nb_emit *e;
    const nb_plan_tensor *t;
    nb_quantizer quantizer;
    const nb_feedback *feedback; /* NULL: without calibration */
    uint8_t *into;               /* where all panels stay, instead of in the file; else NULL */
    uint8_t *keep;               /* where they stay beside the file; else NULL */
    const nb_dtype_info *stored; /* of rows that are fetched and widened panel by panel; NULL: they are read by chunks */
    size_t cols, chunk_panels, panel_bytes, n_chunks, n_workers;
    worker *workers;
    pthread_mutex_t reading; /* guards the source and `taken` */
    size_t taken;
    pthread_mutex_t writing; /* guards what follows, the writer, and the emitter's sums */
    pthread_cond_t turn;
    size_t written;
    nb_status status; /* of the first chunk that failed */
    nb_error *err;
    atomic_bool failed;
} line;

static size_t chunk_rows(const line *l, size_t chunk) {
    size_t row = chunk * l->chunk_panels * NB_PANEL_ROWS;
    return nb_min_size((size_t)l->t->spec.rows - row, l->chunk_panels * NB_PANEL_ROWS);
}

/* The next chunk's rows; false: there is none. */
static bool read_chunk(line *l, worker *w, size_t *chunk) {
    pthread_mutex_lock(&l->reading);
    bool any = l->taken < l->n_chunks && !atomic_load(&l->failed);
    *chunk = l->taken;
    if (any) {
        uint64_t row = (uint64_t)l->taken++ * l->chunk_panels * NB_PANEL_ROWS;
        size_t n = chunk_rows(l, *chunk);
        w->status = l->stored ? nb_plan_fetch(l->t, l->e->source, row, n, w->stored.data, &w->err)
                              : nb_rotation_read(l->e->rotation, l->t, l->e->source, row, n, w->rows.data, &w->err);
    }
    pthread_mutex_unlock(&l->reading);
    return any;
}

/* Rows [row, row + n) of a chunk, widened. */
static const float *widened(const line *l, const worker *w, size_t row, size_t n) {
    float *rows = w->rows.data;
    if (!l->stored) return rows + row * l->cols;
    size_t blocks = l->cols / l->stored->values, bytes = l->stored->bytes;
    l->stored->widen((const uint8_t *)w->stored.data + row * blocks * bytes, bytes, n * blocks, rows);
    return rows;
}

/* The same as a quantizer takes them: bf16 as it is stored. */
static nb_rows rows_of(const line *l, const worker *w, size_t row, size_t n) {
    bool bf16 = l->stored == &nb_dtypes[NB_DTYPE_BF16];
    const void *src = bf16 ? (const void *)((const uint8_t *)w->stored.data + row * l->cols * l->stored->bytes)
                           : (const void *)widened(l, w, row, n);
    return (nb_rows){src, n, l->cols, l->cols, bf16 ? NB_TYPE_BF16 : NB_TYPE_F32};
}

/* Rows [row, row + n) of the chunk that begins at the tensor's row `first`, as a panel. */
static nb_status make_panel(const line *l, worker *w, uint64_t first, size_t row, size_t n, uint8_t *panel) {
    nb_quant_error *lost = l->t->type == NB_TYPE_F32 ? NULL : &w->lost; /* f32 loses nothing */
    if (!l->feedback && nb_types[l->t->type].scaled) { /* the quantizer checks values, while it looks at every one anyway */
        nb_rows rows = rows_of(l, w, row, n);
        if (nb_quantize_rows(&l->quantizer, &rows, panel, lost)) return NB_OK;
    }
    const float *src = widened(l, w, row, n);
    nb_status st = nb_check_values(l->t, l->t->type, src, n * l->cols, (first + row) * l->cols, &w->err);
    if (st) return st;
    if (l->feedback)
        nb_gptq_panel(&l->quantizer, l->feedback, NB_GPTQ_PASSES, src, n, l->cols, l->cols, w->scratch.data, panel, lost);
    else nb_quantize_panel(&l->quantizer, src, n, l->cols, l->cols, panel, lost);
    return NB_OK;
}

static nb_status make_chunk(line *l, worker *w, size_t chunk, int member) {
    size_t n_rows = chunk_rows(l, chunk), panels = nb_div_up(n_rows, NB_PANEL_ROWS), before = chunk * l->chunk_panels;
    uint8_t *made = l->into ? l->into + before * l->panel_bytes : w->made.data;
    nb_status st = NB_OK;
    w->lost = (nb_quant_error){0};
    for (size_t p = 0; !st && p < panels; p++) {
        size_t row = p * NB_PANEL_ROWS, n = nb_min_size(n_rows - row, NB_PANEL_ROWS);
        st = make_panel(l, w, (uint64_t)before * NB_PANEL_ROWS, row, n, made + p * l->panel_bytes);
    }
    if (st || l->into) return st;
    if (l->keep) memcpy(l->keep + before * l->panel_bytes, made, panels * l->panel_bytes);
    return nb_writer_chunk_encode(l->e->writer, member, made, panels * l->panel_bytes, &w->err);
}

/* In its turn. Sums of doubles depend on their order, which is that of the chunks. */
static void write_chunk(line *l, worker *w, size_t chunk, int member) {
    pthread_mutex_lock(&l->writing);
    while (l->written != chunk) pthread_cond_wait(&l->turn, &l->writing);
    if (!l->status) {
        if (!w->status && !l->into) w->status = nb_writer_chunk_put(l->e->writer, member, &w->err);
        if (!w->status) nb_quant_error_join(&l->e->error, &w->lost);
        if (!w->status && !l->into && !tell(l->e, chunk_rows(l, chunk) * l->cols))
            w->status = nb_fail(&w->err, NB_CANCELLED, "the conversion was cancelled");
        if (w->status) {
            l->status = w->status;
            *l->err = w->err;
            atomic_store(&l->failed, true);
        }
    }
    l->written++;
    pthread_cond_broadcast(&l->turn);
    pthread_mutex_unlock(&l->writing);
}

static void work(void *arg, int member) {
    line *l = arg;
    size_t chunk;
    if ((size_t)member >= l->n_workers) return;
    worker *w = &l->workers[member];
    while (read_chunk(l, w, &chunk)) {
        if (!w->status) w->status = make_chunk(l, w, chunk, member);
        write_chunk(l, w, chunk, member);
    }
}

static nb_status hire(line *l, nb_error *err) {
    nb_emit *e = l->e;
    size_t chunk = l->chunk_panels * NB_PANEL_ROWS, rows = l->stored ? NB_PANEL_ROWS : chunk;
    size_t stored = l->stored ? chunk * nb_source_row_bytes(l->t->parts[0].tensor) : 0;
    size_t made = l->into ? 0 : l->chunk_panels * l->panel_bytes, scratch = l->feedback ? nb_gptq_scratch(l->cols) : 0;
    if (!e->workers) {
        e->n_workers = (size_t)nb_team_size(e->team);
        e->workers = nb_calloc(e->n_workers, sizeof *e->workers);
        if (!e->workers) return nb_oom(err, "workers", e->n_workers * sizeof *e->workers);
    }
    l->workers = e->workers;
    nb_status st = NB_OK;
    for (size_t i = 0; !st && i < l->n_workers; i++) {
        worker *w = &l->workers[i];
        st = nb_scratch_reserve(&w->rows, rows * l->cols * sizeof(float), err);
        if (!st) st = nb_scratch_reserve(&w->stored, stored, err);
        if (!st) st = nb_scratch_reserve(&w->made, made, err);
        if (!st) st = nb_scratch_reserve(&w->scratch, scratch * sizeof(float), err);
        w->status = NB_OK;
    }
    return st;
}

void nb_emit_free(nb_emit *e) {
    for (size_t i = 0; e->workers && i < e->n_workers; i++) {
        nb_free(e->workers[i].stored.data);
        nb_free(e->workers[i].rows.data);
        nb_free(e->workers[i].made.data);
        nb_free(e->workers[i].scratch.data);
    }
    nb_free(e->workers);
    e->workers = NULL;
}

static nb_status emit_panels(nb_emit *e, const nb_plan_tensor *t, const int8_t *codebook, uint8_t *into, nb_error *err) {
    uint64_t panel_bytes = 0;
    if (!nb_panel_bytes(t->type, t->spec.cols, &panel_bytes))
        return nb_fail(err, NB_LIMIT, "tensor '%s' is too wide", t->name);
    line l = {.e = e, .t = t, .into = into, .cols = (size_t)t->spec.cols, .panel_bytes = (size_t)panel_bytes, .err = err};
    size_t n_panels = nb_div_up((size_t)t->spec.rows, NB_PANEL_ROWS);
    size_t chunk_bytes = into ? MEMORY_CHUNK : nb_writer_chunk_bytes(e->writer);
    l.chunk_panels = nb_min_size(nb_max_size(chunk_bytes / l.panel_bytes, 1), n_panels);
    l.n_chunks = nb_div_up(n_panels, l.chunk_panels);
    if (!e->rotation->set && nb_plan_fetches(t, e->source)) l.stored = &nb_dtypes[t->parts[0].tensor->dtype];
    l.n_workers = nb_min_size((size_t)nb_team_size(e->team), l.n_chunks);
    nb_quantizer_init(&l.quantizer, t->type, codebook, &e->search);
    nb_status st = NB_OK;
    if (e->calibration)
        st = nb_calibration_feedback(e->calibration, t, into ? NB_INPUTS_EXACT : NB_INPUTS_IN_SEQUENCE, &l.feedback, err);
    if (!st && e->calibration && !into) st = nb_calibration_keep(e->calibration, t, codebook, &l.keep, err);
    if (!st) st = hire(&l, err);
    if (!st) {
        pthread_mutex_init(&l.reading, NULL);
        pthread_mutex_init(&l.writing, NULL);
        pthread_cond_init(&l.turn, NULL);
        nb_team_run(e->team, work, &l);
        st = l.status;
        pthread_cond_destroy(&l.turn);
        pthread_mutex_destroy(&l.writing);
        pthread_mutex_destroy(&l.reading);
    }
    return st;
}

static nb_learning learning(const nb_emit *e) { return (nb_learning){e->source, e->rotation, e->team, &e->search}; }

/* The codebook of a tensor of the plan. Those of the tensors that follow are learned with it: a member that waited for others to
 * finish a matrix would wait at every one. */
static nb_status find_codebook(nb_emit *e, const nb_plan_tensor *t, int8_t codebook[NB_CODEBOOK_SIZE], nb_error *err) {
    size_t i = (size_t)(t - e->plan->tensors);
    nb_status st = NB_OK;
    if (t->type != NB_TYPE_Q4) return NB_OK;
    if (i >= e->learned_end) {
        nb_learning l = learning(e);
        e->learned_begin = i;
        e->learned_end = nb_min_size(e->plan->n, i + NB_EMIT_AHEAD);
        st = nb_learn_codebooks(&l, t, e->learned_end - i, e->codebooks, err);
    }
    if (!st) memcpy(codebook, e->codebooks[i - e->learned_begin], NB_CODEBOOK_SIZE);
    return st;
}

nb_status nb_emit_quantize(nb_emit *e, const nb_plan_tensor *t, uint8_t *panels, int8_t codebook[NB_CODEBOOK_SIZE],
                           nb_error *err) {
    nb_learning l = learning(e);
    nb_status st = nb_learn_codebooks(&l, t, 1, (int8_t(*)[NB_CODEBOOK_SIZE])codebook, err);
    return st ? st : emit_panels(e, t, codebook, panels, err);
}

/* ---- plain tensors ---- */

static nb_status append_floats(nb_emit *e, const float *x, size_t n, nb_error *err) {
    uint8_t bytes[4096];
    nb_status st = NB_OK;
    for (size_t i = 0; !st && i < n;) {
        size_t k = nb_min_size(n - i, sizeof bytes / 4);
        for (size_t j = 0; j < k; j++) nb_put_f32(bytes + 4 * j, x[i + j]);
        st = nb_writer_tensor_append(e->writer, bytes, 4 * k, err);
        i += k;
    }
    return st;
}

static nb_status emit_rows(nb_emit *e, const nb_plan_tensor *t, nb_error *err) {
    uint64_t cols = t->spec.cols, batch_rows = BATCH_BYTES / (cols * sizeof(float));
    batch_rows = batch_rows ? batch_rows : 1;
    if (batch_rows > t->spec.rows) batch_rows = t->spec.rows;
    size_t bytes = (size_t)(batch_rows * cols) * sizeof(float);
    float *x = nb_alloc(bytes);
    nb_status st = x ? NB_OK : nb_oom(err, "rows of a tensor", bytes);
    for (uint64_t row = 0; !st && row < t->spec.rows; row += batch_rows) {
        uint64_t n = t->spec.rows - row < batch_rows ? t->spec.rows - row : batch_rows;
        if (!t->n_parts) memcpy(x, e->made[t->id], (size_t)cols * sizeof *x);
        else st = nb_rotation_read(e->rotation, t, e->source, row, n, x, err);
        if (!st) st = nb_check_values(t, NB_TYPE_F32, x, (size_t)(n * cols), row * cols, err);
        if (!st) st = append_floats(e, x, (size_t)(n * cols), err);
        if (!st && t->n_parts && !tell(e, n * cols)) st = nb_fail(err, NB_CANCELLED, "the conversion was cancelled");
    }
    nb_free(x);
    return st;
}

/* ---- the directory's side ---- */

static nb_status begin(nb_emit *e, const nb_tensor *t, nb_error *err) {
    uint64_t raw = 0, count = 1;
    for (uint32_t i = 0; i < t->n_dims; i++)
        if (!nb_mul_u64(count, t->dims[i], &count)) return nb_fail(err, NB_LIMIT, "tensor '%s' is too large", t->name);
    bool fits = t->layout == NB_LAYOUT_PANELS ? nb_panels_bytes(t->type, t->dims[0], t->dims[1], &raw)
                                              : nb_plain_bytes(t->type, count, &raw);
    if (!fits) return nb_fail(err, NB_LIMIT, "tensor '%s' is too large", t->name);
    e->raw_bytes += raw;
    return nb_writer_tensor_begin(e->writer, t, err);
}

nb_status nb_emit_tensor(nb_emit *e, const nb_plan_tensor *t, nb_error *err) {
    nb_type type = t->type;
    bool panels = t->spec.kind == NB_KIND_MATRIX || t->spec.kind == NB_KIND_EMBED,
         vector = t->spec.kind == NB_KIND_VECTOR;
    nb_tensor record = {
        .name = t->name, .type = type, .layout = panels ? NB_LAYOUT_PANELS : NB_LAYOUT_PLAIN, .n_dims = vector ? 1 : 2};
    record.dims[0] = vector ? t->spec.cols : t->spec.rows;
    record.dims[1] = vector ? 0 : t->spec.cols;
    nb_status st = find_codebook(e, t, record.codebook, err);
    if (!st) st = begin(e, &record, err);
    if (!st) st = panels ? emit_panels(e, t, record.codebook, NULL, err) : emit_rows(e, t, err);
    if (!st) st = nb_writer_tensor_end(e->writer, err);
    return st;
}

nb_status nb_emit_plain(nb_emit *e, const char *name, nb_type type, uint64_t count, const void *bytes, nb_error *err) {
    nb_tensor record = {.name = name, .type = type, .layout = NB_LAYOUT_PLAIN, .n_dims = 1, .dims = {count}};
    nb_status st = begin(e, &record, err);
    if (!st) st = nb_writer_tensor_append(e->writer, bytes, (size_t)count * nb_types[type].plain_bytes, err);
    if (!st) st = nb_writer_tensor_end(e->writer, err);
    return st;
}
