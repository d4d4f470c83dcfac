#include "format/chunk.h"

#include <string.h>
#include "base/bytes.h"
#include "base/mem.h"
#include "base/xxh3.h"
#include "format/layout.h"

nb_status nb_coders_create(nb_coder **coders, int n, nb_coder_use use, size_t scratch_bytes, nb_error *err) {
    nb_coder *all = nb_calloc((size_t)n, sizeof *all);
    if (!all) return nb_oom(err, "chunk coders", (size_t)n * sizeof *all);
    for (int i = 0; i < n; i++) {
        nb_coder *c = &all[i];
        if (use == NB_CODER_WRITES) c->compressor = ZSTD_createCCtx();
        else c->decompressor = ZSTD_createDCtx();
        nb_status st = c->compressor || c->decompressor ? nb_coder_reserve(c, scratch_bytes, err)
                                                        : nb_oom(err, "a thread's chunk coder", sizeof *c);
        if (st) {
            nb_coders_free(all, n);
            return st;
        }
    }
    *coders = all;
    return NB_OK;
}

nb_status nb_coder_reserve(nb_coder *c, size_t scratch_bytes, nb_error *err) {
    if (scratch_bytes <= c->scratch.size) return NB_OK;
    nb_region_free(&c->scratch);
    return nb_region_alloc(&c->scratch, scratch_bytes, "a chunk in its form", err);
}

void nb_coders_free(nb_coder *coders, int n) {
    if (!coders) return;
    for (int i = 0; i < n; i++) {
        ZSTD_freeCCtx(coders[i].compressor);
        ZSTD_freeDCtx(coders[i].decompressor);
        nb_region_free(&coders[i].scratch);
    }
    nb_free(coders);
}

size_t nb_chunk_bound(size_t raw_bytes) { return ZSTD_compressBound(raw_bytes); }

/* One frame in which every part of the form begins a block of zstd's, so that unlike parts do not share a table.
 * *n is raw_bytes when the frame would not be smaller. */
static nb_status compress(const nb_coder *coder, const nb_geometry *g, nb_chunk_form form, int level,
                          const uint8_t *formed, size_t raw_bytes, uint8_t *stored, size_t *n, nb_error *err) {
    ZSTD_CCtx *z = coder->compressor;
    size_t parts[NB_MAX_PARTS] = {0}, left = 1;
    ZSTD_outBuffer out = {stored, nb_chunk_bound(raw_bytes), 0};
    ZSTD_inBuffer in = {formed, 0, 0};
    nb_form_infos[form].parts(g, raw_bytes, parts);
    size_t bad = ZSTD_CCtx_reset(z, ZSTD_reset_session_and_parameters);
    if (!ZSTD_isError(bad)) bad = ZSTD_CCtx_setParameter(z, ZSTD_c_compressionLevel, level);
    if (!ZSTD_isError(bad)) bad = ZSTD_CCtx_setPledgedSrcSize(z, raw_bytes);
    for (int i = 0; !ZSTD_isError(bad) && i < NB_MAX_PARTS; i++) {
        if (!parts[i]) continue;
        in.size += parts[i];
        ZSTD_EndDirective then = in.size < raw_bytes ? ZSTD_e_flush : ZSTD_e_end;
        do bad = left = ZSTD_compressStream2(z, &out, &in, then);
        while (left && !ZSTD_isError(left) && out.pos < out.size);
    }
    if (ZSTD_isError(bad))
        return nb_fail(err, NB_MEMORY, "zstd could not compress %zu bytes: %s", raw_bytes, ZSTD_getErrorName(bad));
    *n = left ? raw_bytes : out.pos;
    return NB_OK;
}

nb_status nb_chunk_encode(nb_coder *coder, const nb_geometry *g, nb_chunk_form form, int level, const uint8_t *raw,
                          size_t raw_bytes, uint8_t *stored, nb_chunk *c, nb_error *err) {
    *c = (nb_chunk){.raw_bytes = (uint32_t)raw_bytes, .raw_hash = XXH3_64bits(raw, raw_bytes), .method = NB_METHOD_RAW};
    if (level != 0) {
        const uint8_t *formed = raw;
        size_t n;
        if (form != NB_FORM_MEMORY) {
            nb_form_infos[form].gather(g, raw, raw_bytes, coder->scratch.data);
            formed = coder->scratch.data;
        }
        nb_status st = compress(coder, g, form, level, formed, raw_bytes, stored, &n, err);
        if (st) return st;
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
    nb_chunk_form form = (nb_chunk_form)c->form;
    const uint8_t *formed = stored;
    nb_status st = NB_OK;
    if (c->method != NB_METHOD_RAW || form != NB_FORM_MEMORY) /* else the raw hash below is the same hash */
        st = check_hash("stored", stored, c->stored_bytes, c->stored_hash, err);
    if (st) return st;
    if (c->method == NB_METHOD_ZSTD) {
        uint8_t *to = form == NB_FORM_MEMORY ? dst : coder->scratch.data;
        st = check_frame(c, stored, err);
        if (st) return st;
        size_t n = ZSTD_decompressDCtx(coder->decompressor, to, c->raw_bytes, stored, c->stored_bytes);
        if (ZSTD_isError(n)) return nb_fail(err, NB_FORMAT, "its zstd frame is broken: %s", ZSTD_getErrorName(n));
        if (n != c->raw_bytes)
            return nb_fail(err, NB_FORMAT, "its zstd frame holds %zu bytes instead of %lu", n,
                           (unsigned long)c->raw_bytes);
        formed = to;
    }
    if (formed != dst) nb_form_infos[form].scatter(g, formed, c->raw_bytes, dst);
    return check_hash("raw", dst, c->raw_bytes, c->raw_hash, err);
}
