#include "format/form.h"

#include <string.h>
#include "base/checked.h"

/* What a form is for. */

static bool fits_all(const nb_geometry *g) {
    (void)g;
    return true;
}
static bool fits_scaled(const nb_geometry *g) { return g && nb_types[g->type].scaled; }
static bool fits_two(const nb_geometry *g) { return g && nb_types[g->type].plain_bytes == 2; }
static bool fits_four(const nb_geometry *g) { return g && nb_types[g->type].plain_bytes == 4; }
static bool fits_bf16(const nb_geometry *g) { return g && g->type == NB_TYPE_BF16; }
static bool fits_f32(const nb_geometry *g) { return g && g->type == NB_TYPE_F32; }

/* Parts of equal size. */

static void one_part(const nb_geometry *g, size_t n, size_t bytes[NB_MAX_PARTS]) {
    (void)g;
    bytes[0] = n;
}
static void halves(const nb_geometry *g, size_t n, size_t bytes[NB_MAX_PARTS]) {
    (void)g;
    for (int i = 0; i < 2; i++) bytes[i] = n / 2;
}
static void quarters(const nb_geometry *g, size_t n, size_t bytes[NB_MAX_PARTS]) {
    (void)g;
    for (int i = 0; i < 4; i++) bytes[i] = n / 4;
}

/* Planes of the bytes of elements. Constant strides, so that the compiler turns these into shuffles. */

static void copy(const nb_geometry *g, const uint8_t *from, size_t n, uint8_t *to) {
    (void)g;
    memcpy(to, from, n);
}

static void gather_planes2(const nb_geometry *g, const uint8_t *restrict raw, size_t n, uint8_t *restrict p) {
    (void)g;
    n /= 2;
    for (size_t i = 0; i < n; i++) {
        p[i] = raw[2 * i];
        p[n + i] = raw[2 * i + 1];
    }
}
static void scatter_planes2(const nb_geometry *g, const uint8_t *restrict p, size_t n, uint8_t *restrict raw) {
    (void)g;
    n /= 2;
    for (size_t i = 0; i < n; i++) {
        raw[2 * i] = p[i];
        raw[2 * i + 1] = p[n + i];
    }
}
static void gather_planes4(const nb_geometry *g, const uint8_t *restrict raw, size_t n, uint8_t *restrict p) {
    (void)g;
    n /= 4;
    for (size_t i = 0; i < n; i++) {
        p[i] = raw[4 * i];
        p[n + i] = raw[4 * i + 1];
        p[2 * n + i] = raw[4 * i + 2];
        p[3 * n + i] = raw[4 * i + 3];
    }
}
static void scatter_planes4(const nb_geometry *g, const uint8_t *restrict p, size_t n, uint8_t *restrict raw) {
    (void)g;
    n /= 4;
    for (size_t i = 0; i < n; i++) {
        raw[4 * i] = p[i];
        raw[4 * i + 1] = p[n + i];
        raw[4 * i + 2] = p[2 * n + i];
        raw[4 * i + 3] = p[3 * n + i];
    }
}

/* The upper 16 bits of a binary32, sign, exponent (8 bits), mantissa (7), turned left by three: the upper byte has the
 * exponent's lower six bits, in which weights of ordinary size differ, and two of the mantissa. The mantissa's bits are
 * random, but with them a symbol carries 4.5 bits rather than 2.5: Huffman's whole bits per symbol lose less, and zstd
 * finds no short matches that cost more than their symbols. The lower byte has the sign and the two bits of the
 * exponent that hardly ever change. */
static uint8_t turned_high(uint8_t low, uint8_t high) { return (uint8_t)(high << 3 | low >> 5); }
static uint8_t turned_low(uint8_t low, uint8_t high) { return (uint8_t)(low << 3 | high >> 5); }
static uint8_t back_high(uint8_t low, uint8_t high) { return (uint8_t)(low << 5 | high >> 3); }
static uint8_t back_low(uint8_t low, uint8_t high) { return (uint8_t)(high << 5 | low >> 3); }

static void gather_exponent2(const nb_geometry *g, const uint8_t *restrict raw, size_t n, uint8_t *restrict p) {
    (void)g;
    n /= 2;
    for (size_t i = 0; i < n; i++) {
        uint8_t low = raw[2 * i], high = raw[2 * i + 1];
        p[i] = turned_low(low, high);
        p[n + i] = turned_high(low, high);
    }
}
static void scatter_exponent2(const nb_geometry *g, const uint8_t *restrict p, size_t n, uint8_t *restrict raw) {
    (void)g;
    n /= 2;
    for (size_t i = 0; i < n; i++) {
        uint8_t low = p[i], high = p[n + i];
        raw[2 * i] = back_low(low, high);
        raw[2 * i + 1] = back_high(low, high);
    }
}
static void gather_exponent4(const nb_geometry *g, const uint8_t *restrict raw, size_t n, uint8_t *restrict p) {
    (void)g;
    n /= 4;
    for (size_t i = 0; i < n; i++) {
        uint8_t low = raw[4 * i + 2], high = raw[4 * i + 3];
        p[i] = raw[4 * i];
        p[n + i] = raw[4 * i + 1];
        p[2 * n + i] = turned_low(low, high);
        p[3 * n + i] = turned_high(low, high);
    }
}
static void scatter_exponent4(const nb_geometry *g, const uint8_t *restrict p, size_t n, uint8_t *restrict raw) {
    (void)g;
    n /= 4;
    for (size_t i = 0; i < n; i++) {
        uint8_t low = p[2 * n + i], high = p[3 * n + i];
        raw[4 * i] = p[i];
        raw[4 * i + 1] = p[n + i];
        raw[4 * i + 2] = back_low(low, high);
        raw[4 * i + 3] = back_high(low, high);
    }
}

/* Codes as sign and magnitude. A code whose top bit is set has its other bits inverted (a bijection, its own inverse):
 * then these tell how far the code is from the middle, alike for both signs. The magnitude's upper bits, the coarse
 * ones, have nearly all of what the codes lack in entropy; the sign and the lower bits, the fine ones, are noise, and
 * are stored as they are. Whole bytes of each are made from two halves of a block. */

/* q4: 256 bytes of two codes, s m2 m1 m0 each: 128 coarse bytes of four m2 m1, 128 fine ones of four s m0. */
static uint8_t fold4(uint8_t b) {
    uint8_t sign = b & 0x88;
    return (uint8_t)(b ^ (sign - (sign >> 3)));
}
static void split_q4(const uint8_t *restrict block, uint8_t *restrict coarse, uint8_t *restrict fine) {
    for (int i = 0; i < 128; i++) {
        uint8_t a = fold4(block[i]), b = fold4(block[128 + i]);
        coarse[i] = (uint8_t)((a >> 1 & 0x33) | (b << 1 & 0xcc));
        fine[i] = (uint8_t)((a & 0x11) | (a >> 2 & 0x22) | (b << 2 & 0x44) | (b & 0x88));
    }
}
static void join_q4(const uint8_t *restrict coarse, const uint8_t *restrict fine, uint8_t *restrict block) {
    for (int i = 0; i < 128; i++) {
        uint8_t c = coarse[i], f = fine[i];
        block[i] = fold4((uint8_t)((c << 1 & 0x66) | (f & 0x11) | (f << 2 & 0x88)));
        block[128 + i] = fold4((uint8_t)((c >> 1 & 0x66) | (f >> 2 & 0x11) | (f & 0x88)));
    }
}

/* q6: two halves of 128 bytes of nibbles and 64 of two-bit fields, a code being field and nibble, s m4 and m3 m2 m1 m0.
 * s and m3 change places: 64 coarse bytes of four m4 m3 and 128 fine ones of two s m2 m1 m0. */
static uint8_t nibble_mask(uint8_t sign) { return (uint8_t)((sign << 1) - (sign >> 3)); } /* 0x80: 0xf0, 0x08: 0x0f */

static void split_q6_half(const uint8_t *restrict half, uint8_t *restrict coarse, uint8_t *restrict fine) {
    for (int i = 0; i < 64; i++) {
        uint8_t t = half[128 + i];
        uint8_t sign0 = (uint8_t)((t << 2 & 0x08) | (t << 4 & 0x80)), sign1 = (uint8_t)((t >> 2 & 0x08) | (t & 0x80));
        uint8_t a = half[i] ^ nibble_mask(sign0), b = half[64 + i] ^ nibble_mask(sign1);
        uint8_t m4 = (uint8_t)((t ^ t >> 1) & 0x55);
        coarse[i] = (uint8_t)(m4 << 1 | (a >> 3 & 0x01) | (a >> 5 & 0x04) | (b << 1 & 0x10) | (b >> 1 & 0x40));
        fine[i] = (uint8_t)((a & 0x77) | sign0);
        fine[64 + i] = (uint8_t)((b & 0x77) | sign1);
    }
}
static void join_q6_half(const uint8_t *restrict coarse, const uint8_t *restrict fine, uint8_t *restrict half) {
    for (int i = 0; i < 64; i++) {
        uint8_t c = coarse[i], a = fine[i], b = fine[64 + i];
        uint8_t sign0 = a & 0x88, sign1 = b & 0x88;
        uint8_t low0 = (uint8_t)((a & 0x77) | (c << 3 & 0x08) | (c << 5 & 0x80));
        uint8_t low1 = (uint8_t)((b & 0x77) | (c >> 1 & 0x08) | (c << 1 & 0x80));
        uint8_t sign = (uint8_t)((sign0 >> 2 & 0x02) | (sign0 >> 4 & 0x08) | (sign1 << 2 & 0x20) | (sign1 & 0x80));
        half[i] = low0 ^ nibble_mask(sign0);
        half[64 + i] = low1 ^ nibble_mask(sign1);
        half[128 + i] = (uint8_t)(sign | ((c >> 1 & 0x55) ^ sign >> 1));
    }
}
static void split_q6(const uint8_t *restrict block, uint8_t *restrict coarse, uint8_t *restrict fine) {
    for (size_t h = 0; h < 2; h++) split_q6_half(block + 192 * h, coarse + 64 * h, fine + 128 * h);
}
static void join_q6(const uint8_t *restrict coarse, const uint8_t *restrict fine, uint8_t *restrict block) {
    for (size_t h = 0; h < 2; h++) join_q6_half(coarse + 64 * h, fine + 128 * h, block + 192 * h);
}

/* q8: 512 codes, s m6 ... m0: 256 coarse bytes of two m6 m5 m4 m3, 256 fine ones of two s m2 m1 m0. */
static uint8_t fold8(uint8_t b) {
    uint8_t sign = b & 0x80;
    return (uint8_t)(b ^ (sign - (sign >> 7)));
}
static void split_q8(const uint8_t *restrict block, uint8_t *restrict coarse, uint8_t *restrict fine) {
    for (int i = 0; i < 256; i++) {
        uint8_t a = fold8(block[i]), b = fold8(block[256 + i]);
        coarse[i] = (uint8_t)((a >> 3 & 0x0f) | (b << 1 & 0xf0));
        fine[i] = (uint8_t)((a & 0x07) | (a >> 4 & 0x08) | (b << 4 & 0x70) | (b & 0x80));
    }
}
static void join_q8(const uint8_t *restrict coarse, const uint8_t *restrict fine, uint8_t *restrict block) {
    for (int i = 0; i < 256; i++) {
        uint8_t c = coarse[i], f = fine[i];
        block[i] = fold8((uint8_t)((c << 3 & 0x78) | (f & 0x07) | (f << 4 & 0x80)));
        block[256 + i] = fold8((uint8_t)((c >> 1 & 0x78) | (f >> 4 & 0x07) | (f & 0x80)));
    }
}

/* How a type's codes split; the rest of a block's bytes are fine. */
static const struct code_split {
    size_t coarse_bytes; /* of a block */
    void (*split)(const uint8_t *restrict block, uint8_t *restrict coarse, uint8_t *restrict fine);
    void (*join)(const uint8_t *restrict coarse, const uint8_t *restrict fine, uint8_t *restrict block);
} splits[NB_TYPE_COUNT] = {
    [NB_TYPE_Q8] = {256, split_q8, join_q8},
    [NB_TYPE_Q6] = {128, split_q6, join_q6},
    [NB_TYPE_Q4] = {128, split_q4, join_q4},
};

static bool fits_magnitudes(const nb_geometry *g) { return g && splits[g->type].split; }

/* A chunk of scaled panels. In memory: for each panel its row scales, then strips of one line and up to four blocks. In
 * a form: all row scales, all lines, all codes, these in one piece or in two. */
typedef struct scaled {
    size_t n_panels, n_blocks;          /* blocks of one panel */
    size_t block_bytes, coarse_bytes;   /* coarse_bytes: all of them when the codes stay in one piece */
    size_t line_at, coarse_at, fine_at; /* where they begin in the form */
} scaled;

static scaled scaled_of(const nb_geometry *g, size_t raw_bytes, bool in_two) {
    size_t block = nb_types[g->type].block_bytes;
    scaled s = {.n_panels = raw_bytes / (size_t)g->panel_bytes, .n_blocks = (size_t)g->n_blocks, .block_bytes = block};
    s.coarse_bytes = in_two ? splits[g->type].coarse_bytes : block;
    s.line_at = s.n_panels * NB_ROW_SCALE_BYTES;
    s.coarse_at = s.line_at + s.n_panels * nb_div_up(s.n_blocks, NB_STRIP_BLOCKS) * NB_SCALE_LINE_BYTES;
    s.fine_at = s.coarse_at + s.n_panels * s.n_blocks * s.coarse_bytes;
    return s;
}

static void scaled_parts(const nb_geometry *g, size_t n, bool in_two, size_t bytes[NB_MAX_PARTS]) {
    scaled s = scaled_of(g, n, in_two);
    bytes[0] = s.line_at;
    bytes[1] = s.coarse_at - s.line_at;
    bytes[2] = s.fine_at - s.coarse_at;
    bytes[3] = n - s.fine_at;
}
static void scales_parts(const nb_geometry *g, size_t n, size_t bytes[NB_MAX_PARTS]) {
    scaled_parts(g, n, false, bytes);
}
static void magnitudes_parts(const nb_geometry *g, size_t n, size_t bytes[NB_MAX_PARTS]) {
    scaled_parts(g, n, true, bytes);
}

/* Row scales in two pieces: byte j of that of row r in panel i at j * 16 n_panels + 16 i + r; in one: as in memory. */
static size_t scale_byte(const scaled *s, bool in_two, size_t panel, size_t row, size_t j) {
    return in_two ? (j * s->n_panels + panel) * NB_PANEL_ROWS + row : panel * NB_ROW_SCALE_BYTES + 4 * row + j;
}

static void gather_scaled(const nb_geometry *g, const uint8_t *raw, size_t raw_bytes, bool in_two, uint8_t *formed) {
    scaled s = scaled_of(g, raw_bytes, in_two);
    uint8_t *line = formed + s.line_at, *coarse = formed + s.coarse_at, *fine = formed + s.fine_at;
    for (size_t i = 0; i < s.n_panels; i++) {
        for (size_t row = 0; row < NB_PANEL_ROWS; row++)
            for (size_t j = 0; j < 4; j++) formed[scale_byte(&s, in_two, i, row, j)] = raw[4 * row + j];
        raw += NB_ROW_SCALE_BYTES;
        for (size_t block = 0; block < s.n_blocks; block++) {
            if (block % NB_STRIP_BLOCKS == 0) {
                memcpy(line, raw, NB_SCALE_LINE_BYTES);
                line += NB_SCALE_LINE_BYTES;
                raw += NB_SCALE_LINE_BYTES;
            }
            if (in_two) splits[g->type].split(raw, coarse, fine);
            else memcpy(coarse, raw, s.block_bytes);
            coarse += s.coarse_bytes;
            fine += s.block_bytes - s.coarse_bytes;
            raw += s.block_bytes;
        }
    }
}

static void scatter_scaled(const nb_geometry *g, const uint8_t *formed, size_t raw_bytes, bool in_two, uint8_t *raw) {
    scaled s = scaled_of(g, raw_bytes, in_two);
    const uint8_t *line = formed + s.line_at, *coarse = formed + s.coarse_at, *fine = formed + s.fine_at;
    for (size_t i = 0; i < s.n_panels; i++) {
        for (size_t row = 0; row < NB_PANEL_ROWS; row++)
            for (size_t j = 0; j < 4; j++) raw[4 * row + j] = formed[scale_byte(&s, in_two, i, row, j)];
        raw += NB_ROW_SCALE_BYTES;
        for (size_t block = 0; block < s.n_blocks; block++) {
            if (block % NB_STRIP_BLOCKS == 0) {
                memcpy(raw, line, NB_SCALE_LINE_BYTES);
                line += NB_SCALE_LINE_BYTES;
                raw += NB_SCALE_LINE_BYTES;
            }
            if (in_two) splits[g->type].join(coarse, fine, raw);
            else memcpy(raw, coarse, s.block_bytes);
            coarse += s.coarse_bytes;
            fine += s.block_bytes - s.coarse_bytes;
            raw += s.block_bytes;
        }
    }
}

static void gather_scales(const nb_geometry *g, const uint8_t *raw, size_t n, uint8_t *formed) {
    gather_scaled(g, raw, n, false, formed);
}
static void scatter_scales(const nb_geometry *g, const uint8_t *formed, size_t n, uint8_t *raw) {
    scatter_scaled(g, formed, n, false, raw);
}
static void gather_magnitudes(const nb_geometry *g, const uint8_t *raw, size_t n, uint8_t *formed) {
    gather_scaled(g, raw, n, true, formed);
}
static void scatter_magnitudes(const nb_geometry *g, const uint8_t *formed, size_t n, uint8_t *raw) {
    scatter_scaled(g, formed, n, true, raw);
}

const nb_form_info nb_form_infos[NB_FORM_COUNT] = {
#define FORM(NAME, name, fits, gather, scatter, parts) [NB_FORM_##NAME] = {name, fits, gather, scatter, parts},
#include "format/forms.def"
#undef FORM
};

nb_chunk_form nb_form_of(const nb_geometry *g) {
    int form = NB_FORM_COUNT - 1;
    while (!nb_form_infos[form].fits(g)) form--; /* memory fits all */
    return (nb_chunk_form)form;
}
