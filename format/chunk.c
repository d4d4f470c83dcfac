#include "format/chunk.h"

#include <string.h>
#include <xxhash.h>
#include "base/bytes.h"
#include "base/checked.h"
#include "base/mem.h"
#include "format/layout.h"

nb_status nb_coders_create(nb_coder **coders, int n, nb_coder_use use, size_t scratch_bytes, nb_error *err) {
    nb_coder *all = nb_calloc((size_t)n, sizeof *all);
    if (!all) return nb_oom(err, "chunk coders", (size_t)n * sizeof *all);
    for (int i = 0; i < n; i++) {
        nb_coder *c = &all[i];
        if (use == NB_CODER_WRITES) c->compressor = ZSTD_createCCtx();
        else c->decompressor = ZSTD_createDCtx();
        c->scratch = nb_alloc(scratch_bytes);
        c->scratch_bytes = scratch_bytes;
        if ((!c->compressor && !c->decompressor) || !c->scratch) {
            nb_coders_free(all, n);
            return nb_oom(err, "a thread's chunk coder", scratch_bytes);
        }
    }
    *coders = all;
    return NB_OK;
}

void nb_coders_free(nb_coder *coders, int n) {
    if (!coders) return;
    for (int i = 0; i < n; i++) {
        ZSTD_freeCCtx(coders[i].compressor);
        ZSTD_freeDCtx(coders[i].decompressor);
        nb_free(coders[i].scratch);
    }
    nb_free(coders);
}

/* Forms. */

static unsigned element_bytes(nb_type type) { return nb_types[type].plain_bytes; }

bool nb_form_fits(nb_form form, const nb_geometry *g) {
    switch (form) {
    case NB_FORM_MEMORY: return true;
    case NB_FORM_SCALES: return g && g->panel_bytes && nb_types[g->type].scaled;
    case NB_FORM_PLANES2: return g && element_bytes(g->type) == 2;
    case NB_FORM_PLANES4: return g && element_bytes(g->type) == 4;
    case NB_FORM_COUNT: break;
    }
    return false;
}

nb_form nb_form_of(const nb_geometry *g) {
    static const nb_form order[] = {NB_FORM_SCALES, NB_FORM_PLANES2, NB_FORM_PLANES4};
    for (size_t i = 0; i < sizeof order / sizeof *order; i++)
        if (nb_form_fits(order[i], g)) return order[i];
    return NB_FORM_MEMORY;
}

/* The parts of a chunk of scaled panels. In memory: for each panel its row scales, then strips of one line and up to
 * four blocks. In the form: all row scales, all lines, all codes. */
typedef struct scaled_parts {
    size_t n_panels, n_strips;
    size_t line_at, codes_at;        /* where lines and codes begin in the form */
    size_t strip_codes, last_codes; /* bytes of codes in a strip, and in a panel's last strip */
} scaled_parts;

static scaled_parts parts_of(const nb_geometry *g, size_t raw_bytes) {
    size_t block = nb_types[g->type].block_bytes, n_blocks = (size_t)g->n_blocks;
    scaled_parts p = {.n_panels = raw_bytes / (size_t)g->panel_bytes, .n_strips = nb_div_up(n_blocks, NB_STRIP_BLOCKS)};
    p.line_at = p.n_panels * NB_ROW_SCALE_BYTES;
    p.codes_at = p.line_at + p.n_panels * p.n_strips * NB_SCALE_LINE_BYTES;
    p.strip_codes = NB_STRIP_BLOCKS * block;
    p.last_codes = (n_blocks - (p.n_strips - 1) * NB_STRIP_BLOCKS) * block;
    return p;
}

static void gather_scales(const nb_geometry *g, const uint8_t *raw, size_t raw_bytes, uint8_t *formed) {
    scaled_parts p = parts_of(g, raw_bytes);
    uint8_t *row = formed, *line = formed + p.line_at, *codes = formed + p.codes_at;
    for (size_t i = 0; i < p.n_panels; i++) {
        memcpy(row, raw, NB_ROW_SCALE_BYTES);
        row += NB_ROW_SCALE_BYTES;
        raw += NB_ROW_SCALE_BYTES;
        for (size_t s = 0; s < p.n_strips; s++) {
            size_t n = s + 1 < p.n_strips ? p.strip_codes : p.last_codes;
            memcpy(line, raw, NB_SCALE_LINE_BYTES);
            memcpy(codes, raw + NB_SCALE_LINE_BYTES, n);
            line += NB_SCALE_LINE_BYTES;
            codes += n;
            raw += NB_SCALE_LINE_BYTES + n;
        }
    }
}

static void scatter_scales(const nb_geometry *g, const uint8_t *formed, size_t raw_bytes, uint8_t *raw) {
    scaled_parts p = parts_of(g, raw_bytes);
    const uint8_t *row = formed, *line = formed + p.line_at, *codes = formed + p.codes_at;
    for (size_t i = 0; i < p.n_panels; i++) {
        memcpy(raw, row, NB_ROW_SCALE_BYTES);
        row += NB_ROW_SCALE_BYTES;
        raw += NB_ROW_SCALE_BYTES;
        for (size_t s = 0; s < p.n_strips; s++) {
            size_t n = s + 1 < p.n_strips ? p.strip_codes : p.last_codes;
            memcpy(raw, line, NB_SCALE_LINE_BYTES);
            memcpy(raw + NB_SCALE_LINE_BYTES, codes, n);
            line += NB_SCALE_LINE_BYTES;
            codes += n;
            raw += NB_SCALE_LINE_BYTES + n;
        }
    }
}

/* Constant strides, so that the compiler turns these into shuffles. */
static void gather2(const uint8_t *restrict raw, size_t n, uint8_t *restrict p) {
    for (size_t i = 0; i < n; i++) {
        p[i] = raw[2 * i];
        p[n + i] = raw[2 * i + 1];
    }
}
static void scatter2(const uint8_t *restrict p, size_t n, uint8_t *restrict raw) {
    for (size_t i = 0; i < n; i++) {
        raw[2 * i] = p[i];
        raw[2 * i + 1] = p[n + i];
    }
}
static void gather4(const uint8_t *restrict raw, size_t n, uint8_t *restrict p) {
    for (size_t i = 0; i < n; i++) {
        p[i] = raw[4 * i];
        p[n + i] = raw[4 * i + 1];
        p[2 * n + i] = raw[4 * i + 2];
        p[3 * n + i] = raw[4 * i + 3];
    }
}
static void scatter4(const uint8_t *restrict p, size_t n, uint8_t *restrict raw) {
    for (size_t i = 0; i < n; i++) {
        raw[4 * i] = p[i];
        raw[4 * i + 1] = p[n + i];
        raw[4 * i + 2] = p[2 * n + i];
        raw[4 * i + 3] = p[3 * n + i];
    }
}

static void gather(nb_form form, const nb_geometry *g, const uint8_t *raw, size_t n, uint8_t *formed) {
    switch (form) {
    case NB_FORM_SCALES: gather_scales(g, raw, n, formed); break;
    case NB_FORM_PLANES2: gather2(raw, n / 2, formed); break;
    case NB_FORM_PLANES4: gather4(raw, n / 4, formed); break;
    case NB_FORM_MEMORY:
    case NB_FORM_COUNT: memcpy(formed, raw, n); break;
    }
}

static void scatter(nb_form form, const nb_geometry *g, const uint8_t *formed, size_t n, uint8_t *raw) {
    switch (form) {
    case NB_FORM_SCALES: scatter_scales(g, formed, n, raw); break;
    case NB_FORM_PLANES2: scatter2(formed, n / 2, raw); break;
    case NB_FORM_PLANES4: scatter4(formed, n / 4, raw); break;
    case NB_FORM_MEMORY:
    case NB_FORM_COUNT: memcpy(raw, formed, n); break;
    }
}

/* Chunks. */

size_t nb_chunk_bound(size_t raw_bytes) { return ZSTD_compressBound(raw_bytes); }

nb_status nb_chunk_encode(nb_coder *coder, const nb_geometry *g, nb_form form, int level, const uint8_t *raw,
                          size_t raw_bytes, uint8_t *stored, nb_chunk *c, nb_error *err) {
    *c = (nb_chunk){.raw_bytes = (uint32_t)raw_bytes, .raw_hash = XXH3_64bits(raw, raw_bytes), .method = NB_METHOD_RAW};
    if (level != 0) {
        const uint8_t *formed = raw;
        if (form != NB_FORM_MEMORY) {
            gather(form, g, raw, raw_bytes, coder->scratch);
            formed = coder->scratch;
        }
        size_t n = ZSTD_compressCCtx(coder->compressor, stored, nb_chunk_bound(raw_bytes), formed, raw_bytes, level);
        if (ZSTD_isError(n))
            return nb_fail(err, NB_MEMORY, "zstd could not compress %zu bytes: %s", raw_bytes, ZSTD_getErrorName(n));
        if (n < raw_bytes) {
            c->form = (uint8_t)form;
            c->method = NB_METHOD_ZSTD;
            c->stored_bytes = (uint32_t)n;
            c->stored_hash = XXH3_64bits(stored, n);
            return NB_OK;
        }
    }
    memcpy(stored, raw, raw_bytes);
    c->stored_bytes = c->raw_bytes;
    c->stored_hash = c->raw_hash;
    return NB_OK;
}

/* What a frame's header promises, before the decoder sees it (RFC 8878, 3.1.1.1): no dictionary, no reserved or unused
 * bits, the chunk's size, a bounded window, and not a byte after the frame. */
static nb_status check_frame(const nb_chunk *c, const uint8_t *p, nb_error *err) {
    enum { DESCRIPTOR = 4, WINDOW = 5, SINGLE_SEGMENT = 0x20, REFUSED = 0x1b };
    if (c->stored_bytes < 6 || nb_get_u32(p) != ZSTD_MAGICNUMBER)
        return nb_fail(err, NB_FORMAT, "its stored bytes are not a zstd frame");
    if (p[DESCRIPTOR] & REFUSED)
        return nb_fail(err, NB_FORMAT,
                       "its zstd frame's descriptor is 0x%02x; a dictionary or reserved bits are not allowed",
                       (unsigned)p[DESCRIPTOR]);
    if (!(p[DESCRIPTOR] & SINGLE_SEGMENT) && 10 + (p[WINDOW] >> 3) > NB_MAX_WINDOW_LOG)
        return nb_fail(err, NB_LIMIT, "its zstd frame asks for a window of 2^%d bytes; at most 2^%d are allowed",
                       10 + (p[WINDOW] >> 3), NB_MAX_WINDOW_LOG);
    unsigned long long content = ZSTD_getFrameContentSize(p, c->stored_bytes);
    if (content != c->raw_bytes)
        return nb_fail(err, NB_FORMAT, "its zstd frame does not announce the chunk's %lu raw bytes",
                       (unsigned long)c->raw_bytes);
    size_t frame = ZSTD_findFrameCompressedSize(p, c->stored_bytes);
    if (ZSTD_isError(frame)) return nb_fail(err, NB_FORMAT, "its zstd frame is broken: %s", ZSTD_getErrorName(frame));
    if (frame != c->stored_bytes)
        return nb_fail(err, NB_FORMAT, "its zstd frame ends after %zu of its %lu stored bytes", frame,
                       (unsigned long)c->stored_bytes);
    return NB_OK;
}

static nb_status check_hash(const char *which, const uint8_t *p, size_t n, uint64_t expected, nb_error *err) {
    uint64_t found = XXH3_64bits(p, n);
    if (found == expected) return NB_OK;
    return nb_fail(err, NB_CHECKSUM, "its %s bytes are damaged (XXH3-64 %016llx, expected %016llx)", which,
                   (unsigned long long)found, (unsigned long long)expected);
}

nb_status nb_chunk_decode(nb_coder *coder, const nb_geometry *g, const nb_chunk *c, const uint8_t *stored, uint8_t *dst,
                          nb_error *err) {
    nb_form form = (nb_form)c->form;
    const uint8_t *formed = stored;
    nb_status st = NB_OK;
    if (c->method != NB_METHOD_RAW || form != NB_FORM_MEMORY) /* else the raw hash below is the same hash */
        st = check_hash("stored", stored, c->stored_bytes, c->stored_hash, err);
    if (st) return st;
    if (c->method == NB_METHOD_ZSTD) {
        uint8_t *to = form == NB_FORM_MEMORY ? dst : coder->scratch;
        st = check_frame(c, stored, err);
        if (st) return st;
        size_t n = ZSTD_decompressDCtx(coder->decompressor, to, c->raw_bytes, stored, c->stored_bytes);
        if (ZSTD_isError(n)) return nb_fail(err, NB_FORMAT, "its zstd frame is broken: %s", ZSTD_getErrorName(n));
        if (n != c->raw_bytes)
            return nb_fail(err, NB_FORMAT, "its zstd frame holds %zu bytes instead of %lu", n,
                           (unsigned long)c->raw_bytes);
        formed = to;
    }
    if (formed != dst) scatter(form, g, formed, c->raw_bytes, dst);
    return check_hash("raw", dst, c->raw_bytes, c->raw_hash, err);
}
