#include "convert/plan.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/buf.h"
#include "base/checked.h"
#include "base/mem.h"

enum { LISTED = 20 }; /* names in a sentence */

/* While the plan is made there is a slot for every tensor of tensors.def in every scope: first those outside of the
 * blocks, then those of block 0, block 1, ... */
typedef struct slot {
    nb_plan_part parts[NB_PLAN_PARTS];
    uint8_t filled; /* bits of NB_PART_*; 0x80: the whole */
    uint8_t n_parts;
} slot;

enum { FILLED_WHOLE = 0x80 };

typedef struct maker {
    const nb_arch *arch;
    const nb_hparams *h;
    const nb_source *s;
    nb_tensor_spec specs[NB_SPEC_COUNT];
    slot *slots; /* [(1 + n_layer) * NB_SPEC_COUNT] */
    nb_error *err;
} maker;

static slot *slot_of(const maker *m, int spec, uint32_t layer) {
    size_t scope = m->specs[spec].scope == NB_SCOPE_LAYER ? 1 + (size_t)layer : 0;
    return &m->slots[scope * NB_SPEC_COUNT + (size_t)spec];
}

/* The length that parts add up to: rows of a matrix, elements of a vector. */
static uint64_t length_of(const nb_tensor_spec *spec) { return spec->kind == NB_KIND_VECTOR ? spec->cols : spec->rows; }

/* The sizes of the parts of a joined tensor, by bit. */
static void part_sizes(const nb_hparams *h, int spec, uint64_t sizes[NB_PLAN_PARTS]) {
    bool qkv = spec == NB_SPEC_qkv_w || spec == NB_SPEC_qkv_b;
    uint64_t kv = (uint64_t)h->n_kv_head * h->head_dim;
    sizes[0] = qkv ? (uint64_t)h->n_head * h->head_dim : h->n_ff;
    sizes[1] = qkv ? kv : h->n_ff;
    sizes[2] = qkv ? kv : 0;
}

static void part_range(const maker *m, const nb_map_row *row, uint64_t *start, uint64_t *length) {
    uint64_t sizes[NB_PLAN_PARTS];
    *start = 0;
    *length = length_of(&m->specs[row->spec]);
    if (row->part == NB_PART_WHOLE) return;
    part_sizes(m->h, row->spec, sizes);
    *length = 0;
    for (int i = 0; i < NB_PLAN_PARTS; i++) {
        if (row->part >> i & 1) *length += sizes[i];
        else if (!*length) *start += sizes[i];
    }
}

static nb_status check_shape(const maker *m, const nb_map_row *row, const nb_source_tensor *t, uint64_t length) {
    const nb_tensor_spec *spec = &m->specs[row->spec];
    char shape[NB_SHAPE_TEXT];
    bool vector = spec->kind == NB_KIND_VECTOR, fits;
    uint64_t rows = vector ? 1 : length, cols = vector ? length : spec->cols;
    uint64_t have_rows = nb_source_rows(t), have_cols = nb_source_cols(t);
    if (row->how == NB_MAP_TRANSPOSE) fits = have_rows == cols && have_cols == rows;
    else if (row->how == NB_MAP_CROP || row->how == NB_MAP_TIED) fits = have_rows >= rows && have_cols == cols;
    else fits = have_rows == rows && have_cols == cols;
    if (t->n_dims != (vector ? 1 : 2)) fits = false;
    if (!fits && vector)
        return nb_fail(m->err, NB_FORMAT, "tensor '%s' has the shape %s, expected [%" PRIu64 "]", t->name,
                       nb_source_shape(t, shape), cols);
    if (!fits) {
        bool turned = row->how == NB_MAP_TRANSPOSE;
        return nb_fail(m->err, NB_FORMAT, "tensor '%s' has the shape %s, expected [%" PRIu64 ", %" PRIu64 "]", t->name,
                       nb_source_shape(t, shape), turned ? cols : rows, turned ? rows : cols);
    }
    if (!nb_dtypes[t->dtype].widen)
        return nb_fail(m->err, NB_UNSUPPORTED,
                       "tensor '%s' holds %s numbers, expected weights as f32, f16, bf16 or f64", t->name,
                       nb_dtypes[t->dtype].name);
    return NB_OK;
}

/* What is done to the values of a family whose norms are stored without an offset, or whose embeddings are scaled. */
static void set_adjustment(const maker *m, int spec, nb_plan_part *p) {
    float gain = m->arch->embed_gain ? sqrtf((float)m->h->n_embd) : 1.0f;
    bool norm = spec == NB_SPEC_norm_w || spec == NB_SPEC_attn_norm_w || spec == NB_SPEC_mlp_norm_w ||
                spec == NB_SPEC_q_norm_w || spec == NB_SPEC_k_norm_w;
    p->offset = norm ? m->arch->norm_offset : 0.0f;
    if (spec == NB_SPEC_embed) p->gain = gain;
    if (spec == NB_SPEC_norm_w && m->h->tied) p->gain = 1.0f / gain;
}

/* Give a source tensor to its slot. */
static nb_status place(maker *m, const nb_map_row *row, uint32_t layer, const nb_source_tensor *t) {
    slot *s = slot_of(m, row->spec, layer);
    uint64_t start, length;
    uint8_t bits = row->part == NB_PART_WHOLE ? FILLED_WHOLE : (uint8_t)row->part;
    if ((s->filled & FILLED_WHOLE) || (s->filled && bits == FILLED_WHOLE) || (s->filled & bits))
        return nb_fail(m->err, NB_FORMAT, "tensor '%s': the checkpoint has the same weights under another name too",
                       t->name);
    part_range(m, row, &start, &length);
    nb_status st = check_shape(m, row, t, length);
    if (st) return st;
    size_t at = s->n_parts++;
    for (; at > 0 && s->parts[at - 1].row > start; at--) s->parts[at] = s->parts[at - 1];
    s->parts[at] = (nb_plan_part){.tensor = t,
                                  .row = start,
                                  .rows = length,
                                  .transpose = row->how == NB_MAP_TRANSPOSE,
                                  .pairs = row->how == NB_MAP_PAIRS ? m->h->head_dim : 0};
    set_adjustment(m, row->spec, &s->parts[at]);
    s->filled |= bits;
    return NB_OK;
}

/* Names of a list in a sentence: the first LISTED, then how many more. */
static void list_name(nb_buf *b, size_t n, const char *name) {
    if (n < LISTED) nb_buf_printf(b, "%s%s", n ? ", " : "", name);
}
static void list_end(nb_buf *b, size_t n) {
    if (n > LISTED) nb_buf_printf(b, " and %zu more", n - LISTED);
}

/* The map's row for a name; NULL: unknown, or not part of a model with these hyperparameters. */
static const nb_map_row *find_row(const maker *m, const char *name, uint32_t *layer) {
    for (size_t i = 0; i < m->arch->n_map; i++) {
        const nb_map_row *row = &m->arch->map[i];
        if (!nb_arch_match(row->pattern, name, layer)) continue;
        if (row->how == NB_MAP_IGNORE) return row;
        if (m->specs[row->spec].scope == NB_SCOPE_LAYER && *layer >= m->h->n_layer) continue;
        if (nb_tensor_present(m->h, row->spec, *layer) || row->how == NB_MAP_TIED) return row;
    }
    return NULL;
}

static nb_status place_all(maker *m, nb_buf *unknown, size_t *n_unknown) {
    for (size_t i = 0; i < m->s->n_tensors; i++) {
        const nb_source_tensor *t = &m->s->tensors[i];
        uint32_t layer;
        const nb_map_row *row = find_row(m, t->name, &layer);
        if (!row) list_name(unknown, (*n_unknown)++, t->name);
        if (!row || row->how == NB_MAP_IGNORE || !m->specs[row->spec].present) continue;
        nb_status st = place(m, row, layer, t);
        if (st) return st;
    }
    return NB_OK;
}

bool nb_spec_made(int spec) {
    static const int made[] = {NB_SPEC_inv_freq, NB_SPEC_rope_kinds, NB_SPEC_rope_gains, NB_SPEC_windows};
    for (size_t i = 0; i < sizeof made / sizeof *made; i++)
        if (made[i] == spec) return true;
    return false;
}

/* The rows of the map that could fill what is missing of a slot; ours when the map has none. */
static void list_missing_parts(const maker *m, int spec, uint32_t layer, uint8_t filled, nb_buf *missing, size_t *n) {
    char name[600];
    bool named = false;
    for (size_t i = 0; i < m->arch->n_map; i++) {
        const nb_map_row *row = &m->arch->map[i];
        if (row->how == NB_MAP_IGNORE || row->spec != spec || (row->part & filled)) continue;
        if (row->part == NB_PART_WHOLE && (filled || named)) continue; /* one of several spellings is enough */
        nb_arch_source_name(row->pattern, layer, name, sizeof name);
        list_name(missing, (*n)++, name);
        named = true;
    }
    if (named) return;
    nb_tensor_name(&m->specs[spec], layer, name);
    list_name(missing, (*n)++, name);
}

static void find_missing(const maker *m, nb_buf *missing, size_t *n) {
    for (uint32_t scope = 0; scope <= m->h->n_layer; scope++)
        for (int spec = 0; spec < NB_SPEC_COUNT; spec++) {
            uint32_t layer = scope ? scope - 1 : 0;
            if (nb_spec_made(spec) || (m->specs[spec].scope == NB_SCOPE_LAYER) != (scope > 0) ||
                !nb_tensor_present(m->h, spec, layer))
                continue;
            const slot *s = slot_of(m, spec, layer);
            uint64_t have = 0;
            for (size_t i = 0; i < s->n_parts; i++) have += s->parts[i].rows;
            if (have != length_of(&m->specs[spec])) list_missing_parts(m, spec, layer, s->filled, missing, n);
        }
}

static nb_status match_all(maker *m) {
    nb_buf unknown = {0}, missing = {0};
    size_t n_unknown = 0, n_missing = 0;
    nb_status st = place_all(m, &unknown, &n_unknown);
    if (st) goto out;
    find_missing(m, &missing, &n_missing);
    list_end(&unknown, n_unknown);
    list_end(&missing, n_missing);
    if (unknown.failed || missing.failed) st = nb_oom(m->err, "a list of tensors", unknown.size + missing.size);
    else if (n_unknown && n_missing)
        st = nb_fail(m->err, NB_UNSUPPORTED, "the map of %s does not know %zu tensor%s: %s; and %zu %s missing: %s",
                     m->arch->name, n_unknown, n_unknown == 1 ? "" : "s", nb_buf_str(&unknown), n_missing,
                     n_missing == 1 ? "is" : "are", nb_buf_str(&missing));
    else if (n_unknown)
        st = nb_fail(m->err, NB_UNSUPPORTED, "the map of %s does not know %zu tensor%s: %s", m->arch->name, n_unknown,
                     n_unknown == 1 ? "" : "s", nb_buf_str(&unknown));
    else if (n_missing)
        st = nb_fail(m->err, NB_MISSING, "the checkpoint lacks %zu tensor%s of a %s model: %s", n_missing,
                     n_missing == 1 ? "" : "s", m->arch->name, nb_buf_str(&missing));
out:
    nb_buf_free(&unknown);
    nb_buf_free(&missing);
    return st;
}

/* The filled slots in order. */
static nb_status collect(const maker *m, nb_plan *plan) {
    size_t n_slots = (1 + (size_t)m->h->n_layer) * NB_SPEC_COUNT;
    plan->tensors = nb_calloc(n_slots, sizeof *plan->tensors);
    if (!plan->tensors) return nb_oom(m->err, "the list of tensors", n_slots * sizeof *plan->tensors);
    for (size_t i = 0; i < n_slots; i++) {
        int id = (int)(i % NB_SPEC_COUNT);
        const nb_tensor_spec *spec = &m->specs[id];
        uint32_t layer = (uint32_t)(i / NB_SPEC_COUNT) - (i >= NB_SPEC_COUNT);
        if ((spec->scope == NB_SCOPE_LAYER) != (i >= NB_SPEC_COUNT) || !nb_tensor_present(m->h, id, layer)) continue;
        nb_plan_tensor *t = &plan->tensors[plan->n++];
        t->spec = *spec;
        t->id = id;
        t->n_parts = m->slots[i].n_parts;
        memcpy(t->parts, m->slots[i].parts, sizeof t->parts);
        t->layer = layer;
        nb_tensor_name(spec, layer, t->name);
        for (size_t p = 0; p < t->n_parts; p++) /* in range: openers count elements, and there are few parts */
            plan->source_elements += nb_source_rows(t->parts[p].tensor) * nb_source_cols(t->parts[p].tensor);
    }
    return NB_OK;
}

nb_status nb_plan_make(nb_plan *plan, const nb_arch *arch, const nb_hparams *h, const nb_source *s, nb_error *err) {
    maker m = {.arch = arch, .h = h, .s = s, .err = err};
    *plan = (nb_plan){0};
    nb_tensor_specs(h, m.specs);
    m.slots = nb_calloc((1 + (size_t)h->n_layer) * NB_SPEC_COUNT, sizeof *m.slots);
    if (!m.slots) return nb_oom(err, "the list of tensors", h->n_layer * sizeof *m.slots);
    nb_status st = match_all(&m);
    if (!st) st = collect(&m, plan);
    nb_free(m.slots);
    if (st) nb_plan_free(plan);
    return st;
}

void nb_plan_free(nb_plan *plan) {
    nb_free(plan->tensors);
    *plan = (nb_plan){0};
}

/* ---- reading ---- */

/* dst[c][r] of an [n_rows][n_cols] block in `block`. */
static void turn(const float *block, uint64_t n_rows, uint64_t n_cols, float *dst) {
    for (uint64_t r = 0; r < n_rows; r++)
        for (uint64_t c = 0; c < n_cols; c++) dst[c * n_rows + r] = block[r * n_cols + c];
}

static nb_status read_turned(const nb_plan_tensor *t, const nb_plan_part *p, nb_source *s, uint64_t row, uint64_t n,
                             float *dst, nb_error *err) {
    size_t bytes = (size_t)(n * t->spec.cols) * sizeof(float);
    float *block = nb_alloc(bytes);
    if (!block) return nb_oom(err, "columns of a tensor", bytes);
    nb_status st = nb_source_read(s, p->tensor, 0, t->spec.cols, row, n, block, err);
    if (!st) turn(block, t->spec.cols, n, dst);
    nb_free(block);
    return st;
}

static void adjust(const nb_plan_part *p, float *x, uint64_t n) {
    float gain = p->gain != 0.0f ? p->gain : 1.0f;
    if (p->offset == 0.0f && gain == 1.0f) return;
    for (uint64_t i = 0; i < n; i++) x[i] = (x[i] + p->offset) * gain;
}

/* Where our row `row` of a part lies in the checkpoint: in a head of D rows, row i < D/2 is the first of pair i, row i
 * + D/2 its second. */
static uint64_t row_in_pairs(uint64_t row, uint32_t d) {
    uint64_t i = row % d, half = d / 2;
    return row - i + (i < half ? 2 * i : 2 * (i - half) + 1);
}

/* Head by head: the rows of one are neighbours in the checkpoint too. */
static nb_status read_pairs(const nb_plan_part *p, nb_source *s, uint64_t cols, uint64_t row, uint64_t n, float *dst,
                            nb_error *err) {
    uint32_t d = p->pairs;
    size_t bytes = (size_t)(d * cols) * sizeof(float);
    float *head = nb_alloc(bytes);
    nb_status st = head ? NB_OK : nb_oom(err, "rows of a head", bytes);
    for (uint64_t end = row + n; !st && row < end;) {
        uint64_t first = row - row % d, of_head = p->rows - first < d ? p->rows - first : d;
        st = nb_source_read(s, p->tensor, first, of_head, 0, cols, head, err);
        for (; !st && row < end && row < first + of_head; row++, dst += cols)
            memcpy(dst, head + (row_in_pairs(row, d) - first) * cols, (size_t)cols * sizeof *dst);
    }
    nb_free(head);
    return st;
}

static nb_status read_vector(const nb_plan_tensor *t, nb_source *s, float *dst, nb_error *err) {
    nb_status st = NB_OK;
    for (size_t i = 0; !st && i < t->n_parts; i++) {
        const nb_plan_part *p = &t->parts[i];
        float *to = dst + p->row, *head = to;
        if (p->pairs && !(head = nb_alloc((size_t)p->rows * sizeof *head)))
            return nb_oom(err, "a vector", (size_t)p->rows * sizeof *head);
        st = nb_source_read(s, p->tensor, 0, 1, 0, p->rows, head, err);
        for (uint64_t r = 0; p->pairs && !st && r < p->rows; r++) to[r] = head[row_in_pairs(r, p->pairs)];
        if (p->pairs) nb_free(head);
        if (!st) adjust(p, to, p->rows);
    }
    return st;
}

/* Of our rows [row, end) those that lie in a part. */
typedef struct overlap {
    uint64_t first, end;
} overlap;
static overlap overlap_of(const nb_plan_part *p, uint64_t row, uint64_t n) {
    return (overlap){row > p->row ? row : p->row, row + n < p->row + p->rows ? row + n : p->row + p->rows};
}

bool nb_plan_fetches(const nb_plan_tensor *t, nb_source *s) {
    bool plain = t->n_parts && t->spec.kind != NB_KIND_VECTOR;
    for (size_t i = 0; plain && i < t->n_parts; i++) {
        const nb_plan_part *p = &t->parts[i];
        bool changed = p->transpose || p->pairs || p->offset != 0.0f || (p->gain != 0.0f && p->gain != 1.0f);
        plain = !changed && p->tensor->dtype == t->parts[0].tensor->dtype &&
                nb_source_cols(p->tensor) == t->spec.cols && nb_source_fetches(s, p->tensor);
    }
    return plain;
}

nb_status nb_plan_fetch(const nb_plan_tensor *t, nb_source *s, uint64_t row, uint64_t n, uint8_t *dst, nb_error *err) {
    nb_status st = NB_OK;
    for (size_t i = 0; !st && i < t->n_parts; i++) {
        const nb_plan_part *p = &t->parts[i];
        overlap o = overlap_of(p, row, n);
        if (o.first < o.end)
            st = nb_source_fetch(s, p->tensor, o.first - p->row, o.end - o.first,
                                 dst + (size_t)(o.first - row) * nb_source_row_bytes(p->tensor), err);
    }
    return st;
}

nb_status nb_plan_read(const nb_plan_tensor *t, nb_source *s, uint64_t row, uint64_t n, float *dst, nb_error *err) {
    nb_status st = NB_OK;
    if (t->spec.kind == NB_KIND_VECTOR) return read_vector(t, s, dst, err);
    for (size_t i = 0; !st && i < t->n_parts; i++) {
        const nb_plan_part *p = &t->parts[i];
        overlap o = overlap_of(p, row, n);
        if (o.first >= o.end) continue;
        uint64_t first = o.first - p->row, count = o.end - o.first;
        float *to = dst + (o.first - row) * t->spec.cols;
        if (p->transpose) st = read_turned(t, p, s, first, count, to, err);
        else if (p->pairs) st = read_pairs(p, s, t->spec.cols, first, count, to, err);
        else st = nb_source_read(s, p->tensor, first, count, 0, t->spec.cols, to, err);
        if (!st) adjust(p, to, count * t->spec.cols);
    }
    return st;
}
