/* nibble-bench --entropy MODEL...: how many bits a weight takes on disk in every form that its type has, and in orders
 * that were tried and are not in the format, beside the entropy of what is stored.
 *
 * Of every matrix a few chunks are looked at, evenly spread. Entropies are of order 0 and chunk by chunk: what a coder
 * reaches that knows the frequencies within a chunk, and nothing of a symbol's neighbours. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/bytes.h"
#include "base/dmath.h"
#include "base/mem.h"
#include "bench/bench.h"
#include "format/chunk.h"
#include "quant/panel.h"

enum { CHUNKS_OF_A_MATRIX = 4, MAX_FIELDS = 6, MAX_ORDERS = 16, LOW_LEVEL = 1, HIGH_LEVEL = 9 };

/* ---- entropy ---- */

typedef struct histogram {
    uint32_t counts[1 << 16];
    double n;
} histogram;

static void count(histogram *h, unsigned symbol) {
    h->counts[symbol]++;
    h->n++;
}

/* Bits of all symbols together; the histogram is empty afterwards. */
static double take_entropy(histogram *h) {
    double bits = 0.0;
    for (size_t i = 0; i < sizeof h->counts / sizeof *h->counts; i++)
        if (h->counts[i]) bits -= h->counts[i] * nb_log(h->counts[i] / h->n);
    memset(h, 0, sizeof *h);
    return bits / nb_log(2.0);
}

static double bytes_entropy(histogram *h, const uint8_t *p, size_t n, size_t stride) {
    for (size_t i = 0; i < n; i += stride) count(h, p[i]);
    return take_entropy(h);
}

/* ---- what is measured of one type of one model ---- */

typedef struct field {
    const char *name;
    double raw, entropy; /* bits */
    bool in_bound;       /* the fields that make up a weight, each once */
} field;

typedef struct order_result {
    const char *name;
    double low, high, shared; /* bits at both levels; at the low one with one table for all parts (0: not measured) */
} order_result;

typedef struct tally {
    double weights; /* padding included */
    double raw;     /* bits */
    field fields[MAX_FIELDS];
    order_result orders[MAX_ORDERS];
    size_t n_fields, n_orders;
} tally;

static void add_field(tally *t, size_t i, const char *name, double raw, double entropy, bool in_bound) {
    field *f = &t->fields[i];
    *f = (field){name, f->raw + raw, f->entropy + entropy, in_bound};
    if (i >= t->n_fields) t->n_fields = i + 1;
}

static order_result *order_of(tally *t, const char *name) {
    for (size_t i = 0; i < t->n_orders; i++)
        if (!strcmp(t->orders[i].name, name)) return &t->orders[i];
    t->orders[t->n_orders] = (order_result){.name = name};
    return &t->orders[t->n_orders++];
}

/* ---- a chunk ---- */

/* Buffers of the largest chunk so far. */
typedef struct bench_disk {
    nb_coder *coder;
    histogram *histogram;
    uint8_t *formed, *codes, *packed, *stored;
    uint32_t *units; /* an order of rows of blocks */
    size_t capacity;
} bench_disk;

typedef struct piece {
    const nb_geometry *g;
    const uint8_t *raw;
    size_t n, n_units; /* bytes; rows of blocks, 32 codes each */
} piece;

static nb_status encoded(bench_disk *d, const piece *c, nb_chunk_form form, int level, const uint8_t *raw, size_t n,
                         double *bits, nb_error *err) {
    nb_chunk chunk;
    nb_status st = nb_chunk_encode(d->coder, c ? c->g : NULL, form, level, raw, n, d->stored, &chunk, err);
    if (!st) *bits += 8.0 * chunk.stored_bytes;
    return st;
}

static nb_status measure_forms(bench_disk *d, tally *t, const piece *c, nb_error *err) {
    nb_status st = NB_OK;
    for (int form = 0; !st && form < NB_FORM_COUNT; form++) {
        if (!nb_form_infos[form].fits(c->g)) continue;
        order_result *o = order_of(t, nb_form_infos[form].name);
        st = encoded(d, c, (nb_chunk_form)form, LOW_LEVEL, c->raw, c->n, &o->low, err);
        if (!st) st = encoded(d, c, (nb_chunk_form)form, HIGH_LEVEL, c->raw, c->n, &o->high, err);
        nb_form_infos[form].gather(c->g, c->raw, c->n, d->formed);
        if (!st) st = encoded(d, NULL, NB_FORM_MEMORY, LOW_LEVEL, d->formed, c->n, &o->shared, err);
    }
    return st;
}

/* ---- floats ---- */

static void measure_floats(bench_disk *d, tally *t, const piece *c) {
    static const char *const names[] = {"byte 0", "byte 1", "byte 2", "byte 3"};
    size_t width = nb_types[c->g->type].plain_bytes, count_of = c->n / width;
    for (size_t j = 0; j < width; j++)
        add_field(t, j, names[j], 8.0 * (double)count_of, bytes_entropy(d->histogram, c->raw + j, c->n - j, width),
                  j + 2 < width);
    for (size_t i = 0; i < c->n; i += width) count(d->histogram, nb_get_u16(c->raw + i + width - 2));
    add_field(t, width, "upper two bytes as one", 16.0 * (double)count_of, take_entropy(d->histogram), true);
    t->weights += (double)count_of;
}

/* ---- scaled types ---- */

static unsigned code_bits(nb_type type) { return nb_types[type].block_bytes * 8u / NB_BLOCK_CODES; }

/* Unit u is row u % 16 of block u / 16 of the chunk. */
static const uint8_t *panel_of(const piece *c, size_t unit, size_t *block) {
    *block = unit / NB_PANEL_ROWS % (size_t)c->g->n_blocks;
    return c->raw + unit / NB_PANEL_ROWS / (size_t)c->g->n_blocks * (size_t)c->g->panel_bytes;
}

static void take_codes(bench_disk *d, const piece *c) {
    for (size_t u = 0; u < c->n_units; u++) {
        size_t block;
        const uint8_t *codes = panel_of(c, u, &block);
        codes += nb_panel_codes_at(c->g->type, block);
        for (size_t col = 0; col < NB_BLOCK_COLS; col++)
            d->codes[u * NB_BLOCK_COLS + col] = nb_code_of(c->g->type, codes, u % NB_PANEL_ROWS, col);
    }
}

static void measure_scaled(bench_disk *d, tally *t, const piece *c) {
    size_t parts[NB_MAX_PARTS] = {0}, codes = c->n_units * NB_BLOCK_COLS;
    double rows = 0.0;
    const nb_form_info *form = &nb_form_infos[NB_FORM_SCALES];
    form->gather(c->g, c->raw, c->n, d->formed);
    form->parts(c->g, c->n, parts);
    for (size_t j = 0; j < 4; j++) rows += bytes_entropy(d->histogram, d->formed + j, parts[0] - j, 4);
    add_field(t, 0, "row scales", 8.0 * (double)parts[0], rows, true);
    add_field(t, 1, "block scales", 8.0 * (double)parts[1],
              bytes_entropy(d->histogram, d->formed + parts[0], parts[1], 1), true);
    add_field(t, 2, "codes", 8.0 * (double)parts[2], bytes_entropy(d->histogram, d->codes, codes, 1), true);
    t->weights += (double)codes;
}

/* Orders that were tried. Each makes codes of `width` bits into up to two parts of whole bytes; `units` is the order of
 * rows of blocks, `codes` are the chunk's. */

/* The bits `at` to `at + width - 1` of all codes, in the order of `units`, `side` of these alternating in each byte. */
static size_t pack(const bench_disk *d, size_t n_units, size_t side, unsigned at, unsigned width, uint8_t *out) {
    size_t n = 0;
    unsigned filled = 0;
    out[0] = 0;
    for (size_t u = 0; u < n_units; u += side)
        for (size_t i = 0; i < side * NB_BLOCK_COLS; i++) {
            size_t unit = d->units[u + i % side];
            unsigned code = d->codes[unit * NB_BLOCK_COLS + i / side];
            out[n] = (uint8_t)(out[n] | (code >> at & ((1u << width) - 1)) << filled);
            filled = (filled + width) % 8;
            if (filled == 0) out[++n] = 0;
        }
    return n;
}

static void rows_in_order(bench_disk *d, const piece *c) {
    for (size_t u = 0; u < c->n_units; u++) d->units[u] = (uint32_t)u;
}

/* By the magnitude of their block scale: the larger it is beside the row's, the more of its codes are small. */
static void rows_by_scale(bench_disk *d, const piece *c) {
    size_t from[130] = {0};
    for (int pass = 0; pass < 2; pass++) {
        for (size_t u = 0; u < c->n_units; u++) {
            size_t block;
            const uint8_t *panel = panel_of(c, u, &block);
            size_t size = (size_t)abs((int8_t)panel[nb_panel_scales_at(c->g->type, block) + u % NB_PANEL_ROWS]);
            if (pass == 0) from[size + 1]++;
            else d->units[from[size]++] = (uint32_t)u;
        }
        for (size_t i = 1; pass == 0 && i < 130; i++) from[i] += from[i - 1];
    }
}

static const struct trial {
    const char *name;
    unsigned widths; /* of codes that it is for: a bit for each */
    void (*order)(bench_disk *d, const piece *c);
    size_t side;
    unsigned upper; /* so many upper bits of the codes make a part of their own */
} trials[] = {
    {"row by row", 1u << 8 | 1u << 4, rows_in_order, 1, 0},
    {"two rows in a byte", 1u << 4, rows_in_order, 2, 0},
    {"rows by block scale", 1u << 8 | 1u << 4, rows_by_scale, 1, 0},
    {"upper 2 bits apart", 1u << 6 | 1u << 4, rows_in_order, 1, 2},
    {"upper 4 bits apart", 1u << 8 | 1u << 6, rows_in_order, 1, 4},
};

/* Scales as in the form scales, each part in a frame of its own. */
static nb_status measure_trials(bench_disk *d, tally *t, const piece *c, nb_error *err) {
    nb_status st = NB_OK;
    unsigned width = code_bits(c->g->type);
    size_t scales[NB_MAX_PARTS] = {0};
    nb_form_infos[NB_FORM_SCALES].gather(c->g, c->raw, c->n, d->formed);
    nb_form_infos[NB_FORM_SCALES].parts(c->g, c->n, scales);
    for (size_t i = 0; !st && i < sizeof trials / sizeof *trials; i++) {
        const struct trial *trial = &trials[i];
        if (!(trial->widths >> width & 1)) continue;
        order_result *o = order_of(t, trial->name);
        unsigned lower = width - trial->upper;
        trial->order(d, c);
        size_t low = pack(d, c->n_units, trial->side, 0, lower, d->packed);
        size_t high = trial->upper ? pack(d, c->n_units, trial->side, lower, trial->upper, d->packed + low) : 0;
        const struct part {
            const uint8_t *bytes;
            size_t n;
        } parts[] = {
            {d->formed, scales[0]}, {d->formed + scales[0], scales[1]}, {d->packed, low}, {d->packed + low, high}};
        for (size_t j = 0; !st && j < sizeof parts / sizeof *parts; j++) {
            if (!parts[j].n) continue;
            st = encoded(d, NULL, NB_FORM_MEMORY, LOW_LEVEL, parts[j].bytes, parts[j].n, &o->low, err);
            if (!st) st = encoded(d, NULL, NB_FORM_MEMORY, HIGH_LEVEL, parts[j].bytes, parts[j].n, &o->high, err);
        }
    }
    return st;
}

/* ---- a model ---- */

static void disk_free(bench_disk *d) {
    nb_coders_free(d->coder, 1);
    nb_free(d->histogram);
    nb_free(d->formed);
    nb_free(d->codes);
    nb_free(d->packed);
    nb_free(d->stored);
    nb_free(d->units);
    *d = (bench_disk){0};
}

/* A chunk of n bytes has at most 2 n codes: q4's take four bits. */
static nb_status disk_reserve(bench_disk *d, size_t n, nb_error *err) {
    if (n <= d->capacity) return NB_OK;
    disk_free(d);
    nb_status st = nb_coders_create(&d->coder, 1, NB_CODER_WRITES, n, err);
    if (st) return st;
    d->histogram = nb_calloc(1, sizeof *d->histogram);
    d->formed = nb_alloc(n);
    d->codes = nb_alloc(2 * n);
    d->packed = nb_alloc(n + 2);
    d->stored = nb_alloc(nb_chunk_bound(n));
    d->units = nb_alloc(2 * n / NB_BLOCK_COLS * sizeof *d->units);
    if (!d->histogram || !d->formed || !d->codes || !d->packed || !d->stored || !d->units)
        return nb_oom(err, "a chunk's orders", 8 * n);
    d->capacity = n;
    return NB_OK;
}

static nb_status measure_chunk(bench_disk *d, tally *t, const piece *c, nb_error *err) {
    t->raw += 8.0 * (double)c->n;
    if (nb_types[c->g->type].scaled) {
        take_codes(d, c);
        measure_scaled(d, t, c);
    } else {
        measure_floats(d, t, c);
    }
    nb_status st = measure_forms(d, t, c, err);
    return st || !nb_types[c->g->type].scaled ? st : measure_trials(d, t, c, err);
}

static nb_status measure_matrix(bench_disk *d, tally *t, const nb_reader *r, const nb_tensor *tensor, nb_error *err) {
    nb_geometry g;
    nb_status st = nb_tensor_check(tensor, NB_FORMAT, &g, err);
    if (st) return st;
    uint8_t *raw = nb_alloc((size_t)g.raw_bytes);
    if (!raw) return nb_oom(err, tensor->name, (size_t)g.raw_bytes);
    st = disk_reserve(d, nb_geometry_chunk(&g, 0), err);
    if (!st) st = nb_reader_load(r, &(nb_load){tensor, raw}, 1, NULL, NULL, err);
    uint32_t n = g.n_chunks < CHUNKS_OF_A_MATRIX ? g.n_chunks : CHUNKS_OF_A_MATRIX;
    for (uint32_t i = 0; !st && i < n; i++) {
        uint32_t chunk = (uint32_t)((uint64_t)i * g.n_chunks / n);
        piece c = {.g = &g, .raw = raw + chunk * g.chunk_bytes, .n = nb_geometry_chunk(&g, chunk)};
        c.n_units = c.n / (size_t)g.panel_bytes * (size_t)g.n_blocks * NB_PANEL_ROWS;
        st = measure_chunk(d, t, &c, err);
    }
    nb_free(raw);
    return st;
}

static void print_tally(const char *path, nb_type type, const tally *t) {
    double bound = 0.0;
    nb_geometry g = {.type = type};
    printf("%s: %s, %.1f million weights; bits per weight\n", path, nb_types[type].name, t->weights / 1e6);
    printf("  %-24s %9s %9s\n", "", "memory", "entropy");
    for (size_t i = 0; i < t->n_fields; i++) {
        const field *f = &t->fields[i];
        printf("  %-24s %9.4f %9.4f\n", f->name, f->raw / t->weights, f->entropy / t->weights);
        if (f->in_bound) bound += f->entropy;
    }
    printf("  %-24s %9.4f %9.4f\n", "a weight", t->raw / t->weights, bound / t->weights);
    printf("  %-24s %9s %9s %9s\n", "order", "one table", "zstd -1", "zstd -9");
    for (size_t i = 0; i < t->n_orders; i++) {
        const order_result *o = &t->orders[i];
        bool written = !strcmp(o->name, nb_form_infos[nb_form_of(&g)].name);
        char shared[32] = "-";
        if (o->shared > 0.0) snprintf(shared, sizeof shared, "%.4f", o->shared / t->weights);
        printf("  %-24s %9s %9.4f %9.4f%s\n", o->name, shared, o->low / t->weights, o->high / t->weights,
               written ? "  as written" : "");
    }
}

static nb_status measure_model(bench_disk *d, tally *tallies, const char *path, nb_error *err) {
    nb_reader *r = NULL;
    nb_status st = nb_reader_open(&r, path, NULL, err);
    memset(tallies, 0, NB_TYPE_COUNT * sizeof *tallies);
    for (size_t i = 0; !st && i < nb_reader_count(r); i++) {
        const nb_tensor *t = nb_reader_at(r, i);
        if (t->layout == NB_LAYOUT_PANELS) st = measure_matrix(d, &tallies[t->type], r, t, err);
    }
    for (int type = 0; !st && type < NB_TYPE_COUNT; type++)
        if (tallies[type].weights > 0.0) print_tally(path, (nb_type)type, &tallies[type]);
    nb_reader_close(r);
    return st;
}

nb_status bench_entropy(char **paths, int n, nb_error *err) {
    bench_disk d = {0};
    tally *tallies = nb_calloc(NB_TYPE_COUNT, sizeof *tallies);
    nb_status st = tallies ? NB_OK : nb_oom(err, "sums", NB_TYPE_COUNT * sizeof *tallies);
    for (int i = 0; !st && i < n; i++) st = measure_model(&d, tallies, paths[i], err);
    disk_free(&d);
    nb_free(tallies);
    return st;
}
