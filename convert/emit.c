#include "convert/emit.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>
#include "base/bytes.h"
#include "base/checked.h"
#include "base/mem.h"

enum { BATCH_BYTES = 8 << 20 }; /* of f32 rows that are read at once, as far as whole panels allow */

/* The least magnitude that rounds to infinity in a type. */
static float overflow_of(nb_type type) {
    return type == NB_TYPE_F16 ? 65520.0f : type == NB_TYPE_BF16 ? 0x1.ffp127f : INFINITY;
}

static bool tell(nb_emit *e, uint64_t elements) {
    e->done += elements;
    double share = (double)e->done / (double)e->total;
    uint64_t bytes = e->done >= e->total ? e->total_bytes : (uint64_t)(share * (double)e->total_bytes);
    return nb_progress_step(e->progress, "converting", bytes, e->total_bytes);
}

/* Weights must be finite, and stay so in the type they get. `first` is the index of x[0] in the tensor. */
static nb_status check_values(const nb_plan_tensor *t, nb_type type, const float *x, size_t n, uint64_t first,
                              nb_error *err) {
    size_t at = nb_first_nonfinite(x, n);
    uint64_t cols = t->spec.cols;
    float limit = overflow_of(type);
    if (at < n)
        return nb_fail(err, NB_FORMAT, "tensor '%s' (from '%s') holds %s at row %" PRIu64 ", column %" PRIu64, t->name,
                       t->n_parts ? t->parts[0].tensor->name : "the converter",
                       isnan(x[at]) ? "not a number" : "an infinity (or a number beyond f32)", (first + at) / cols,
                       (first + at) % cols);
    for (at = 0; limit < INFINITY && at < n; at++)
        if (fabsf(x[at]) >= limit)
            return nb_fail(err, NB_UNSUPPORTED,
                           "tensor '%s' holds %g at row %" PRIu64 ", column %" PRIu64
                           ", too large for %s; choose another --type",
                           t->name, (double)x[at], (first + at) / cols, (first + at) % cols, nb_types[type].name);
    return NB_OK;
}

/* ---- panels ---- */

typedef struct batch {
    nb_quantizer quantizer;
    const nb_feedback *feedback;    /* NULL: without calibration */
    float *scratch;                 /* for that: [team size][n_scratch] */
    size_t n_scratch;
    size_t rows, cols, panel_bytes; /* of this batch; of a panel */
    const float *src;               /* [rows][cols] */
    bool exact;                     /* nothing is lost */
    uint8_t *panels;
    nb_quant_error *errors; /* [panels] */
} batch;

static void quantize_share(void *arg, size_t begin, size_t end, int member) {
    batch *b = arg;
    float *scratch = b->scratch + (size_t)member * b->n_scratch;
    for (size_t p = begin; p < end; p++) {
        size_t row = p * NB_PANEL_ROWS, n = nb_min_size(b->rows - row, NB_PANEL_ROWS);
        b->errors[p] = (nb_quant_error){0};
        const float *src = b->src + row * b->cols;
        uint8_t *panel = b->panels + p * b->panel_bytes;
        nb_quant_error *error = b->exact ? NULL : &b->errors[p];
        if (b->feedback) nb_gptq_panel(&b->quantizer, b->feedback, src, n, b->cols, b->cols, scratch, panel, error);
        else nb_quantize_panel(&b->quantizer, src, n, b->cols, b->cols, panel, error);
    }
}

static nb_status emit_batch(nb_emit *e, const nb_plan_tensor *t, batch *b, float *src, uint64_t row, nb_error *err) {
    size_t n_panels = nb_div_up(b->rows, NB_PANEL_ROWS);
    nb_status st = nb_plan_read(t, e->source, row, b->rows, src, err);
    if (!st) st = check_values(t, b->quantizer.type, src, b->rows * b->cols, row * b->cols, err);
    if (st) return st;
    nb_team_for(e->team, n_panels, 1, quantize_share, b);
    for (size_t p = 0; p < n_panels; p++) nb_quant_error_join(&e->error, &b->errors[p]); /* always in this order */
    if (e->into) {
        memcpy(e->into, b->panels, n_panels * b->panel_bytes);
        e->into += n_panels * b->panel_bytes;
        return NB_OK;
    }
    st = nb_writer_tensor_append(e->writer, b->panels, n_panels * b->panel_bytes, err);
    if (!st && !tell(e, b->rows * b->cols)) st = nb_fail(err, NB_CANCELLED, "the conversion was cancelled");
    return st;
}

static nb_status emit_panels(nb_emit *e, const nb_plan_tensor *t, nb_type type, nb_error *err) {
    uint64_t panel_bytes, row_bytes = t->spec.cols * sizeof(float);
    if (!nb_panel_bytes(type, t->spec.cols, &panel_bytes))
        return nb_fail(err, NB_LIMIT, "tensor '%s' is too wide", t->name);
    size_t panels = nb_max_size(1, (size_t)(BATCH_BYTES / (row_bytes * NB_PANEL_ROWS)));
    panels = nb_min_size(panels, nb_div_up((size_t)t->spec.rows, NB_PANEL_ROWS));
    size_t rows = panels * NB_PANEL_ROWS, floats = rows * (size_t)t->spec.cols;
    float *src = nb_alloc(floats * sizeof *src);
    uint8_t *out = nb_alloc(panels * (size_t)panel_bytes);
    nb_quant_error *errors = nb_alloc(panels * sizeof *errors);
    nb_status st = NB_OK;
    if (!src || !out || !errors) st = nb_oom(err, "rows of a tensor", floats * sizeof *src);
    batch b = {.cols = (size_t)t->spec.cols,
               .panel_bytes = (size_t)panel_bytes,
               .src = src,
               .exact = type == NB_TYPE_F32,
               .panels = out,
               .errors = errors};
    nb_quantizer_init(&b.quantizer, type, nb_q4_codebook, &e->search);
    if (!st && e->calibration) st = nb_calibration_feedback(e->calibration, t, &b.feedback, err);
    if (!st && b.feedback) {
        b.n_scratch = nb_gptq_scratch(b.cols);
        size_t bytes = (size_t)nb_team_size(e->team) * b.n_scratch * sizeof *b.scratch;
        b.scratch = nb_alloc(bytes);
        if (!b.scratch) st = nb_oom(err, "columns of a tensor", bytes);
    }
    for (uint64_t row = 0; !st && row < t->spec.rows; row += rows) {
        b.rows = (size_t)(t->spec.rows - row < rows ? t->spec.rows - row : rows);
        st = emit_batch(e, t, &b, src, row, err);
    }
    nb_free(b.scratch);
    nb_free(src);
    nb_free(out);
    nb_free(errors);
    return st;
}

nb_status nb_emit_quantize(nb_emit *e, const nb_plan_tensor *t, uint8_t *panels, int8_t codebook[NB_CODEBOOK_SIZE],
                           nb_error *err) {
    memcpy(codebook, nb_q4_codebook, NB_CODEBOOK_SIZE);
    e->into = panels;
    nb_status st = emit_panels(e, t, t->type, err);
    e->into = NULL;
    return st;
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
        if (!t->n_parts) memcpy(x, t->id == NB_SPEC_windows ? e->windows : e->inv_freq, (size_t)cols * sizeof *x);
        else st = nb_plan_read(t, e->source, row, n, x, err);
        if (!st) st = check_values(t, NB_TYPE_F32, x, (size_t)(n * cols), row * cols, err);
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
    if (type == NB_TYPE_Q4) memcpy(record.codebook, nb_q4_codebook, sizeof record.codebook);
    nb_status st = begin(e, &record, err);
    if (!st) st = panels ? emit_panels(e, t, type, err) : emit_rows(e, t, err);
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
