#include "quant/quantize.h"

#include <math.h>
#include <string.h>

#include "quant/half.h"

/* 16 levels that minimise the squared error of Gaussian weights in blocks of 32 with the best scale of either sign:
 * Lloyd's algorithm (1982), alternating scales and levels over 40,000 random blocks, then rounding to integers. The
 * signal-to-noise ratio of the fit is 22.73 dB. */
const int8_t nb_q4_codebook[NB_CODEBOOK_SIZE] = {-64, -51, -40, -32, -24, -17, -11, -5, 1, 7, 13, 19, 25, 33, 42, 55};

enum { LEVEL_CELLS = 256, Q8_MAX = 127, SCALE_MAX = 127 };

/* A row's smallest useful scale: below it the products of scales would leave the normal range. Such rows become zero. */
static const float TINIEST_SCALE = 0x1p-120f;

/* ---- where a code lies ---- */

static uint8_t *block_at(const nb_type_info *info, uint8_t *panel, size_t block) {
    size_t strip = block / NB_STRIP_BLOCKS;
    return panel + NB_ROW_SCALE_BYTES + (strip + 1) * NB_SCALE_LINE_BYTES + block * info->block_bytes;
}

static int8_t *scale_at(const nb_type_info *info, uint8_t *panel, size_t block, size_t row) {
    size_t strip = block / NB_STRIP_BLOCKS, in_strip = block % NB_STRIP_BLOCKS;
    size_t line = NB_ROW_SCALE_BYTES + strip * (NB_SCALE_LINE_BYTES + NB_STRIP_BLOCKS * (size_t)info->block_bytes);
    return (int8_t *)panel + line + in_strip * NB_PANEL_ROWS + row;
}

static void put_code(nb_type type, uint8_t *block, size_t row, size_t col, int code) {
    size_t group = col / 4, lane = row * 4 + col % 4;
    if (type == NB_TYPE_Q8) {
        block[group * 64 + lane] = (uint8_t)code;
    } else {
        uint8_t *byte = &block[group / 2 * 64 + lane];
        *byte = group % 2 ? (uint8_t)((*byte & 0x0f) | code << 4) : (uint8_t)((*byte & 0xf0) | code);
    }
}

static int get_code(nb_type type, const int8_t *codebook, const uint8_t *block, size_t row, size_t col) {
    size_t group = col / 4, lane = row * 4 + col % 4;
    if (type == NB_TYPE_Q8) return (int8_t)block[group * 64 + lane];
    uint8_t byte = block[group / 2 * 64 + lane];
    return codebook[group % 2 ? byte >> 4 : byte & 15];
}

/* Ternaries rather than fminf and fmaxf: those handle NaN, which never gets here, and cost a branch for it. */
static inline float clamp(float t, float low, float high) {
    t = t > low ? t : low;
    return t < high ? t : high;
}

/* ---- a block: up to 32 weights of one row ---- */

/* Searches run on weights divided by the block's largest, so that no square over- or underflows; scales are relative to
 * it as well. */
typedef struct block {
    float x[NB_BLOCK_COLS]; /* in [-1, 1] */
    size_t n;
    float unit; /* the largest |weight|; 0 when the block counts as zero */
} block;

static float absmax(const float *w, size_t n) {
    float largest = 0.0f;
    for (size_t i = 0; i < n; i++) largest = fabsf(w[i]) > largest ? fabsf(w[i]) : largest;
    return largest;
}

static block block_of_row(const float *w, size_t cols, size_t index) {
    block b = {.n = cols - index * NB_BLOCK_COLS};
    if (b.n > NB_BLOCK_COLS) b.n = NB_BLOCK_COLS;
    w += index * NB_BLOCK_COLS;
    b.unit = absmax(w, b.n);
    if (b.unit < TINIEST_SCALE) b.unit = 0.0f;
    for (size_t i = 0; i < b.n && b.unit > 0.0f; i++) b.x[i] = w[i] / b.unit;
    return b;
}

/* ---- q8: a linear grid ---- */

/* To the nearest integer, ties to even, within [-127, 127]. The sum with 1.5 * 2^23 has its last bit worth 1. */
static int nearest_code(float t) {
    return (int)((clamp(t, -(float)Q8_MAX, (float)Q8_MAX) + 12582912.0f) - 12582912.0f);
}

static float q8_error(const block *b, float scale) {
    float inverse = 1.0f / scale, error = 0.0f;
    for (size_t i = 0; i < b->n; i++) {
        float d = b->x[i] - scale * (float)nearest_code(b->x[i] * inverse);
        error += d * d;
    }
    return error;
}

/* The block scale that loses least: rounding the ideal one down clips the largest value a little, rounding it up makes
 * every step a little coarser. */
static int q8_block_scale(const block *b, float row_scale) {
    if (b->unit == 0.0f) return 0;
    float unit_scale = row_scale / b->unit, ideal = 1.0f / (float)Q8_MAX / unit_scale;
    int below = (int)clamp(ideal, 0.0f, (float)SCALE_MAX), above = below < SCALE_MAX ? below + 1 : SCALE_MAX;
    if (below == 0) return above;
    return q8_error(b, unit_scale * (float)below) <= q8_error(b, unit_scale * (float)above) ? below : above;
}

/* ---- q4: a codebook ---- */

typedef struct levels {
    const int8_t *codebook;
    uint8_t nearest[LEVEL_CELLS]; /* code of the level nearest to t, at floor(2 t) + 128 */
} levels;

/* Levels are integers, so the borders between them are multiples of 1/2 and a table of half-integer cells is exact. */
static void levels_init(levels *l, const int8_t *codebook) {
    l->codebook = codebook;
    for (int cell = 0; cell < LEVEL_CELLS; cell++) {
        int best = 0, best_distance = 1 << 20;
        for (int code = 0; code < NB_CODEBOOK_SIZE; code++) {
            int distance = 2 * (cell - 128) + 1 - 4 * codebook[code]; /* from the cell's middle, in quarters */
            distance = distance < 0 ? -distance : distance;
            if (distance < best_distance) {
                best = code;
                best_distance = distance;
            }
        }
        l->nearest[cell] = (uint8_t)best;
    }
}

static unsigned nearest_level(const levels *l, float t) {
    return l->nearest[(int)clamp(t + t + 128.0f, 0.0f, (float)(LEVEL_CELLS - 1))];
}

/* With codes nearest to x / scale: the scale that fits those codes best by least squares, and what it explains of the
 * block's energy, (sum x q)^2 / sum q^2. */
static float q4_refit(const levels *l, const block *b, float scale, float *explained) {
    float inverse = 1.0f / scale, xq = 0.0f, qq = 0.0f;
    for (size_t i = 0; i < b->n; i++) {
        float q = (float)l->codebook[nearest_level(l, b->x[i] * inverse)];
        xq += b->x[i] * q;
        qq += q * q;
    }
    *explained = qq > 0.0f ? xq * xq / qq : 0.0f;
    return qq > 0.0f ? xq / qq : 0.0f;
}

static float largest_signed(const block *b) {
    for (size_t i = 0; i < b->n; i++)
        if (fabsf(b->x[i]) == 1.0f) return b->x[i];
    return 1.0f;
}

/* Candidate scales, of both signs, put the block's largest value near either end of the codebook. */
static float q4_best_scale(const levels *l, const block *b) {
    static const float fractions[] = {0.74f, 0.80f, 0.85f, 0.90f, 0.95f, 1.0f, 1.05f, 1.11f};
    if (b->unit == 0.0f) return 0.0f;
    float largest = largest_signed(b), best = 0.0f, best_explained = 0.0f, explained;
    for (size_t end = 0; end < NB_CODEBOOK_SIZE; end += NB_CODEBOOK_SIZE - 1)
        for (size_t f = 0; f < sizeof fractions / sizeof *fractions; f++) {
            float scale = q4_refit(l, b, largest / (float)l->codebook[end] * fractions[f], &explained);
            if (explained > best_explained) {
                best = scale;
                best_explained = explained;
            }
        }
    if (best == 0.0f) return 0.0f;
    float again = q4_refit(l, b, best, &explained); /* codes of the refitted scale, refitted once more */
    return explained > best_explained ? again : best;
}

static float q4_error(const levels *l, const block *b, float scale) {
    float inverse = scale != 0.0f ? 1.0f / scale : 0.0f, error = 0.0f;
    for (size_t i = 0; i < b->n; i++) {
        float d = b->x[i] - scale * (float)l->codebook[nearest_level(l, b->x[i] * inverse)];
        error += d * d;
    }
    return error;
}

/* The 8-bit scale code around the ideal scale (absolute) that loses least with codes chosen for it. */
static int q4_block_scale(const levels *l, const block *b, float ideal, float row_scale) {
    if (b->unit == 0.0f) return 0;
    int middle = nearest_code(ideal / row_scale), best = 0;
    float best_error = INFINITY;
    for (int code = middle - 1; code <= middle + 1; code++) {
        if (code < -SCALE_MAX || code > SCALE_MAX) continue;
        float error = q4_error(l, b, row_scale / b->unit * (float)code);
        if (error < best_error) {
            best = code;
            best_error = error;
        }
    }
    return best;
}

/* ---- rows and panels ---- */

/* What a relative weight is multiplied with to count in codes. */
static float codes_per_unit(const block *b, float row_scale, int scale) {
    return scale ? 1.0f / (row_scale / b->unit * (float)scale) : 0.0f;
}

static void quantize_row_q8(const nb_type_info *info, const float *w, size_t cols, size_t row, uint8_t *panel) {
    float row_scale = absmax(w, cols) / (float)(Q8_MAX * SCALE_MAX);
    if (row_scale < TINIEST_SCALE) return; /* the panel is zero already */
    memcpy(panel + row * sizeof row_scale, &row_scale, sizeof row_scale);
    for (size_t i = 0; i * NB_BLOCK_COLS < cols; i++) {
        block b = block_of_row(w, cols, i);
        int scale = q8_block_scale(&b, row_scale);
        float factor = codes_per_unit(&b, row_scale, scale);
        *scale_at(info, panel, i, row) = (int8_t)scale;
        for (size_t c = 0; scale && c < b.n; c++)
            put_code(NB_TYPE_Q8, block_at(info, panel, i), row, c, nearest_code(b.x[c] * factor));
    }
}

/* Pass 1 finds every block's ideal scale, of which the largest fixes the row's scale; until pass 2 writes the row's codes
 * they wait in the first four code bytes of row and block. */
static void quantize_row_q4(const nb_type_info *info, const levels *l, const float *w, size_t cols, size_t row,
                            uint8_t *panel) {
    float largest = 0.0f;
    for (size_t i = 0; i * NB_BLOCK_COLS < cols; i++) {
        block b = block_of_row(w, cols, i);
        float ideal = q4_best_scale(l, &b) * b.unit;
        largest = fabsf(ideal) > largest ? fabsf(ideal) : largest;
        memcpy(block_at(info, panel, i) + row * sizeof ideal, &ideal, sizeof ideal);
    }
    float row_scale = largest / (float)SCALE_MAX;
    bool zero = row_scale < TINIEST_SCALE;
    if (!zero) memcpy(panel + row * sizeof row_scale, &row_scale, sizeof row_scale);
    for (size_t i = 0; i * NB_BLOCK_COLS < cols; i++) {
        block b = block_of_row(w, cols, i);
        uint8_t *codes = block_at(info, panel, i);
        float ideal;
        memcpy(&ideal, codes + row * sizeof ideal, sizeof ideal);
        memset(codes + row * sizeof ideal, 0, sizeof ideal);
        int scale = zero ? 0 : q4_block_scale(l, &b, ideal, row_scale);
        float factor = codes_per_unit(&b, row_scale, scale);
        *scale_at(info, panel, i, row) = (int8_t)scale;
        for (size_t c = 0; scale && c < b.n; c++)
            put_code(NB_TYPE_Q4, codes, row, c, (int)nearest_level(l, b.x[c] * factor));
    }
}

static void put_float(nb_type type, uint8_t *p, float v) {
    if (type == NB_TYPE_F32) {
        memcpy(p, &v, sizeof v);
    } else {
        uint16_t h = type == NB_TYPE_F16 ? nb_f32_to_f16(v) : nb_f32_to_bf16(v);
        memcpy(p, &h, sizeof h);
    }
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

void nb_quantize_panel(nb_type type, const int8_t codebook[NB_CODEBOOK_SIZE], const float *src, size_t n_rows,
                       size_t cols, size_t stride, uint8_t *panel) {
    const nb_type_info *info = &nb_types[type];
    uint64_t bytes;
    if (!nb_panel_bytes(type, cols, &bytes)) return; /* a type without panels: the caller has checked */
    memset(panel, 0, (size_t)bytes);
    levels l = {0};
    if (type == NB_TYPE_Q4) levels_init(&l, codebook);
    for (size_t r = 0; r < n_rows; r++) {
        const float *w = src + r * stride;
        if (type == NB_TYPE_Q8) quantize_row_q8(info, w, cols, r, panel);
        else if (type == NB_TYPE_Q4) quantize_row_q4(info, &l, w, cols, r, panel);
        else
            for (size_t c = 0; c < cols; c++) put_float(type, panel + (c * NB_PANEL_ROWS + r) * info->plain_bytes, w[c]);
    }
}

/* One row of one panel. */
static void dequantize(nb_type type, const int8_t *codebook, const uint8_t *panel, size_t r, size_t cols, float *dst) {
    const nb_type_info *info = &nb_types[type];
    if (!info->scaled) {
        for (size_t c = 0; c < cols; c++) dst[c] = get_float(type, panel + (c * NB_PANEL_ROWS + r) * info->plain_bytes);
        return;
    }
    uint8_t *p = (uint8_t *)(uintptr_t)panel; /* the offset functions serve both directions; nothing is written here */
    float row_scale;
    memcpy(&row_scale, panel + r * sizeof row_scale, sizeof row_scale);
    for (size_t b = 0; b * NB_BLOCK_COLS < cols; b++) {
        int scale = *scale_at(info, p, b, r);
        const uint8_t *codes = block_at(info, p, b);
        size_t n = cols - b * NB_BLOCK_COLS < NB_BLOCK_COLS ? cols - b * NB_BLOCK_COLS : NB_BLOCK_COLS;
        for (size_t i = 0; i < n; i++)
            dst[b * NB_BLOCK_COLS + i] = (float)(scale * get_code(type, codebook, codes, r, i)) * row_scale;
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

size_t nb_first_nonfinite(const float *x, size_t n) {
    for (size_t i = 0; i < n; i++)
        if ((nb_f32_bits(x[i]) & 0x7f800000u) == 0x7f800000u) return i;
    return n;
}

void nb_quant_error_add(nb_quant_error *e, const float *exact, const float *approx, size_t n) {
    for (size_t i = 0; i < n; i++) {
        double d = (double)exact[i] - (double)approx[i];
        e->signal += (double)exact[i] * (double)exact[i];
        e->noise += d * d;
        e->largest = fmax(e->largest, fabs(d));
    }
    e->count += n;
}

double nb_quant_error_snr(const nb_quant_error *e) {
    return e->noise > 0.0 ? 10.0 * log10(e->signal / e->noise) : (double)INFINITY;
}
