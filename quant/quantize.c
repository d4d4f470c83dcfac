#include "quant/quantize.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "quant/half.h"
#include "quant/panel.h"

/* A row's smallest useful scale: below it the products of scales would leave the normal range. Such rows become zero. */
static const float TINIEST_SCALE = 0x1p-120f;

void nb_quantizer_init(nb_quantizer *q, nb_type type, const int8_t codebook[NB_CODEBOOK_SIZE], const nb_search *search) {
    *q = (nb_quantizer){.type = type};
    if (!nb_types[type].scaled) return;
    nb_grid_init(&q->grid, type, codebook);
    q->search = *search;
}

/* ---- scaled types ---- */

static const uint8_t *row_of(const nb_rows *rows, size_t r) {
    return (const uint8_t *)rows->src + r * rows->stride * nb_types[rows->type].plain_bytes;
}

static const nb_search_reads *reads_of(const nb_search *search, const nb_rows *rows) {
    return rows->type == NB_TYPE_BF16 ? &search->bf16 : &search->f32;
}

bool nb_row_factors(const nb_search *search, const nb_rows *rows, float factor[NB_PANEL_ROWS]) {
    enum { EXPONENT_BITS = 0xff, ORDINARY = 30, BIAS = 127, LARGEST = 126 };
    bool finite = true;
    for (size_t r = 0; r < NB_PANEL_ROWS; r++) {
        float largest = r < rows->n_rows ? reads_of(search, rows)->largest(row_of(rows, r), rows->cols) : 0.0f;
        int exponent = (int)(nb_f32_bits(largest) >> 23 & EXPONENT_BITS) - BIAS; /* -127: zero or subnormal */
        int up = exponent < -ORDINARY || exponent > ORDINARY ? -exponent : 0;
        up = up > LARGEST ? LARGEST : up < -LARGEST ? -LARGEST : up;
        factor[r] = largest > 0.0f ? nb_f32_from_bits((uint32_t)(up + BIAS) << 23) : 0.0f;
        finite = finite && largest <= FLT_MAX;
    }
    return finite;
}

size_t nb_block_load(const nb_search *search, const nb_rows *rows, const float factor[NB_PANEL_ROWS], size_t block,
                     float x[NB_BLOCK_COLS * NB_PANEL_ROWS]) {
    size_t n = nb_block_cols(rows->cols, block), bytes = nb_types[rows->type].plain_bytes;
    reads_of(search, rows)->load((const uint8_t *)rows->src + block * NB_BLOCK_COLS * bytes, rows->n_rows, n,
                                 rows->stride * bytes, factor, x);
    return n;
}

void nb_row_scales(const nb_quantizer *q, const uint8_t *fits, size_t n_blocks, const float factor[NB_PANEL_ROWS],
                   uint8_t *panel, float row_scale[NB_PANEL_ROWS]) {
    q->search.rows(fits, n_blocks, row_scale);
    for (size_t r = 0; r < NB_PANEL_ROWS; r++) {
        float stored = factor[r] > 0.0f ? row_scale[r] / factor[r] : 0.0f;
        if (stored < TINIEST_SCALE) stored = row_scale[r] = 0.0f;
        memcpy(panel + r * sizeof stored, &stored, sizeof stored);
    }
}

void nb_block_put(const nb_quantizer *q, const float *x, size_t n, const float row_scale[NB_PANEL_ROWS],
                  const int8_t scale[NB_PANEL_ROWS], size_t block, uint8_t *panel, nb_block_error *error) {
    uint8_t codes[NB_BLOCK_CODES];
    float product[NB_PANEL_ROWS];
    uint8_t *scales = panel + nb_panel_scales_at(q->type, block);
    if (block % NB_STRIP_BLOCKS == 0) memset(scales, 0, NB_SCALE_LINE_BYTES); /* those of absent blocks too */
    memcpy(scales, scale, NB_PANEL_ROWS);
    for (size_t r = 0; r < NB_PANEL_ROWS; r++) product[r] = row_scale[r] * (float)scale[r];
    q->search.codes(&q->grid, x, n, product, codes, error);
    nb_codes_pack(q->type, codes, panel + nb_panel_codes_at(q->type, block));
}

/* What the rows of a panel lost, times their factors. */
typedef struct rows_error {
    double signal[NB_PANEL_ROWS], noise[NB_PANEL_ROWS];
    float largest[NB_PANEL_ROWS];
} rows_error;

static void add_block_error(rows_error *to, const nb_block_error *e) {
    for (size_t r = 0; r < NB_PANEL_ROWS; r++) {
        to->signal[r] += (double)e->signal[r];
        to->noise[r] += (double)e->noise[r];
        to->largest[r] = to->largest[r] > e->largest[r] ? to->largest[r] : e->largest[r];
    }
}

/* In units of the rows as they are. */
static void add_rows_error(nb_quant_error *to, const rows_error *e, const float *factor, size_t n_rows, size_t cols) {
    for (size_t r = 0; r < n_rows; r++) {
        double unit = factor[r] > 0.0f ? 1.0 / (double)factor[r] : 1.0;
        to->signal += e->signal[r] * unit * unit;
        to->noise += e->noise[r] * unit * unit;
        to->largest = fmax(to->largest, (double)e->largest[r] * unit);
    }
    to->count += (uint64_t)n_rows * cols;
}

/* Pass 1 fits every block, for the rows' scales; pass 2 chooses block scales and codes. Between them the fits wait at the
 * end of the panel: a block's 128 bytes are fewer than those of its codes, so what pass 2 writes never reaches the
 * fits of blocks to come. */
static void quantize_scaled(const nb_quantizer *q, const nb_rows *src, const float factor[NB_PANEL_ROWS], uint8_t *panel,
                            size_t panel_bytes, nb_quant_error *error) {
    float row_scale[NB_PANEL_ROWS], x[NB_BLOCK_COLS * NB_PANEL_ROWS];
    size_t n_blocks = nb_panel_blocks(src->cols);
    uint8_t *fits = panel + panel_bytes - n_blocks * sizeof(nb_block_fit);
    nb_block_fit fit;
    rows_error rows = {{0}, {0}, {0}};
    for (size_t b = 0; b < n_blocks; b++) {
        size_t n = nb_block_load(&q->search, src, factor, b, x);
        q->search.scales(&q->grid, x, n, q->importance ? q->importance + b * NB_BLOCK_COLS : NULL, &fit);
        memcpy(fits + b * sizeof fit, &fit, sizeof fit);
    }
    nb_row_scales(q, fits, n_blocks, factor, panel, row_scale);
    for (size_t b = 0; b < n_blocks; b++) {
        int8_t scale[NB_PANEL_ROWS];
        nb_block_error lost;
        size_t n = nb_block_load(&q->search, src, factor, b, x);
        memcpy(&fit, fits + b * sizeof fit, sizeof fit);
        q->search.blocks(&q->grid, x, n, q->importance ? q->importance + b * NB_BLOCK_COLS : NULL, row_scale, fit.scale, scale);
        nb_block_put(q, x, n, row_scale, scale, b, panel, &lost);
        add_block_error(&rows, &lost);
    }
    if (error) add_rows_error(error, &rows, factor, src->n_rows, src->cols);
}

/* ---- floats ---- */

static float put_float(nb_type type, uint8_t *p, float v) {
    if (type == NB_TYPE_F32) {
        memcpy(p, &v, sizeof v);
        return v;
    }
    uint16_t h = type == NB_TYPE_F16 ? nb_f32_to_f16(v) : nb_f32_to_bf16(v);
    memcpy(p, &h, sizeof h);
    return type == NB_TYPE_F16 ? nb_f16_to_f32(h) : nb_bf16_to_f32(h);
}

static float get_float(nb_type type, const uint8_t *p) {
    if (type == NB_TYPE_F32) {
        float v;
        memcpy(&v, p, sizeof v);
        return v;
    }
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return type == NB_TYPE_F16 ? nb_f16_to_f32(h) : nb_bf16_to_f32(h);
}

static void quantize_floats(nb_type type, const float *src, size_t n_rows, size_t cols, size_t stride, uint8_t *panel,
                            size_t panel_bytes, nb_quant_error *error) {
    size_t bytes = nb_types[type].plain_bytes;
    nb_quant_error none = {0};
    error = error ? error : &none;
    memset(panel, 0, panel_bytes);
    for (size_t r = 0; r < n_rows; r++)
        for (size_t c = 0; c < cols; c++) {
            float w = src[r * stride + c], stored = put_float(type, panel + (c * NB_PANEL_ROWS + r) * bytes, w);
            nb_quant_error_add(error, &w, &stored, 1);
        }
}

bool nb_quantize_rows(const nb_quantizer *q, const nb_rows *rows, uint8_t *panel, nb_quant_error *error) {
    uint64_t bytes;
    float factor[NB_PANEL_ROWS];
    if (!nb_panel_bytes(q->type, rows->cols, &bytes) || !nb_row_factors(&q->search, rows, factor)) return false;
    quantize_scaled(q, rows, factor, panel, (size_t)bytes, error);
    return true;
}

bool nb_quantize_panel(const nb_quantizer *q, const float *src, size_t n_rows, size_t cols, size_t stride,
                       uint8_t *panel, nb_quant_error *error) {
    uint64_t bytes;
    if (!nb_panel_bytes(q->type, cols, &bytes)) return false; /* a type without panels: the caller has checked */
    if (nb_types[q->type].scaled) return nb_quantize_rows(q, &(nb_rows){src, n_rows, cols, stride, NB_TYPE_F32}, panel, error);
    quantize_floats(q->type, src, n_rows, cols, stride, panel, (size_t)bytes, error);
    return true;
}

/* ---- back ---- */

/* One row of one panel. */
static void dequantize(nb_type type, const int8_t *codebook, const uint8_t *panel, size_t r, size_t cols, float *dst) {
    const nb_type_info *info = &nb_types[type];
    if (!info->scaled) {
        for (size_t c = 0; c < cols; c++) dst[c] = get_float(type, panel + (c * NB_PANEL_ROWS + r) * info->plain_bytes);
        return;
    }
    float row_scale;
    memcpy(&row_scale, panel + r * sizeof row_scale, sizeof row_scale);
    for (size_t b = 0; b < nb_panel_blocks(cols); b++) {
        int scale = (int8_t)panel[nb_panel_scales_at(type, b) + r];
        const uint8_t *codes = panel + nb_panel_codes_at(type, b);
        for (size_t i = 0; i < nb_block_cols(cols, b); i++) {
            uint8_t code = nb_code_of(type, codes, r, i);
            dst[b * NB_BLOCK_COLS + i] = (float)(scale * (info->high ? (int8_t)code : codebook[code])) * row_scale;
        }
    }
}

void nb_dequantize_panel(nb_type type, const int8_t codebook[NB_CODEBOOK_SIZE], const uint8_t *panel, size_t n_rows,
                         size_t cols, size_t stride, float *dst) {
    for (size_t r = 0; r < n_rows; r++) dequantize(type, codebook, panel, r, cols, dst + r * stride);
}

void nb_dequantize_row(nb_type type, const int8_t codebook[NB_CODEBOOK_SIZE], const uint8_t *panels, size_t row,
                       size_t cols, float *dst) {
    uint64_t bytes;
    if (!nb_panel_bytes(type, cols, &bytes)) return;
    dequantize(type, codebook, panels + row / NB_PANEL_ROWS * (size_t)bytes, row % NB_PANEL_ROWS, cols, dst);
}

/* Magnitudes are ordered as their bits are, and a maximum of integers is one that compilers vectorize. */
static float absmax(const float *w, size_t n) {
    uint32_t largest = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = nb_f32_bits(w[i]) & 0x7fffffffu;
        largest = bits > largest ? bits : largest;
    }
    return nb_f32_from_bits(largest);
}

size_t nb_first_nonfinite(const float *x, size_t n) {
    enum { PIECE = 1024 }; /* passed over as a whole where all is well */
    for (size_t at = 0; at < n; at += PIECE) {
        size_t end = n - at < PIECE ? n : at + PIECE;
        if (!(absmax(x + at, end - at) <= FLT_MAX))
            for (size_t i = at; i < end; i++)
                if (!(fabsf(x[i]) <= FLT_MAX)) return i;
    }
    return n;
}

/* ---- error ---- */

void nb_quant_error_add(nb_quant_error *e, const float *exact, const float *approx, size_t n) {
    for (size_t i = 0; i < n; i++) {
        double d = (double)exact[i] - (double)approx[i];
        e->signal += (double)exact[i] * (double)exact[i];
        e->noise += d * d;
        e->largest = fmax(e->largest, fabs(d));
    }
    e->count += n;
}

void nb_quant_error_join(nb_quant_error *e, const nb_quant_error *other) {
    e->signal += other->signal;
    e->noise += other->noise;
    e->largest = fmax(e->largest, other->largest);
    e->output += other->output;
    e->output_noise += other->output_noise;
    e->count += other->count;
}

double nb_quant_error_snr(const nb_quant_error *e) {
    return e->noise > 0.0 ? 10.0 * log10(e->signal / e->noise) : (double)INFINITY;
}
