#include "format/tensor.h"

#include <string.h>
#include "base/bytes.h"
#include "base/checked.h"
#include "format/layout.h"

/* Names are shown in terminals and in sentences: printable ASCII only. */
nb_status nb_tensor_check_name(const char *name, nb_status bad, nb_error *err) {
    size_t n = strlen(name);
    if (n == 0 || n > NB_MAX_NAME)
        return nb_fail(err, bad, "a tensor's name has 1 to %d bytes, not %zu", NB_MAX_NAME, n);
    for (size_t i = 0; i < n; i++)
        if (name[i] < 0x20 || name[i] > 0x7e)
            return nb_fail(err, bad, "byte %zu of a tensor's name is 0x%02x; names are printable ASCII", i,
                           (unsigned)(unsigned char)name[i]);
    return NB_OK;
}

static nb_status check_dims(const nb_tensor *t, nb_status bad, uint64_t *count, nb_error *err) {
    if (t->n_dims < 1 || t->n_dims > NB_MAX_DIMS)
        return nb_fail(err, bad, "tensor '%s' has %u dimensions; 1 to %d are possible", t->name, (unsigned)t->n_dims,
                       NB_MAX_DIMS);
    *count = 1;
    for (uint32_t i = 0; i < t->n_dims; i++)
        if (t->dims[i] == 0 || !nb_mul_u64(*count, t->dims[i], count) || *count > NB_MAX_RAW_BYTES)
            return nb_fail(err, bad,
                           "tensor '%s': dimension %u is %llu; it must be at least 1, and all together at most 2^48",
                           t->name, (unsigned)i, (unsigned long long)t->dims[i]);
    for (uint32_t i = t->n_dims; i < NB_MAX_DIMS; i++)
        if (t->dims[i] != 0)
            return nb_fail(err, bad, "tensor '%s' has %u dimensions, but dimension %u is %llu and not 0", t->name,
                           (unsigned)t->n_dims, (unsigned)i, (unsigned long long)t->dims[i]);
    return NB_OK;
}

static nb_status check_codebook(const nb_tensor *t, nb_status bad, nb_error *err) {
    for (int i = 0; i < NB_CODEBOOK_SIZE; i++) {
        int v = t->codebook[i];
        if (t->type != NB_TYPE_Q4 && v != 0)
            return nb_fail(err, bad, "tensor '%s' of type %s has a codebook; only q4 has one", t->name,
                           nb_types[t->type].name);
        if (v < -64 || v > 63) /* seven bits keep the products of two neighbours within 16 */
            return nb_fail(err, bad, "tensor '%s': codebook entry %d is %d, outside [-64, 63]", t->name, i, v);
    }
    return NB_OK;
}

static nb_status panel_geometry(const nb_tensor *t, nb_status bad, nb_geometry *g, nb_error *err) {
    if (t->n_dims != 2)
        return nb_fail(err, bad, "tensor '%s' is stored in panels and has %u dimensions; panels take 2", t->name,
                       (unsigned)t->n_dims);
    if (t->dims[1] > NB_MAX_PANEL_COLS)
        return nb_fail(err, bad, "tensor '%s' has %llu columns; panels take at most %d", t->name,
                       (unsigned long long)t->dims[1], NB_MAX_PANEL_COLS);
    if (!nb_panel_bytes(t->type, t->dims[1], &g->panel_bytes) || g->panel_bytes == 0 ||
        !nb_panels_bytes(t->type, t->dims[0], t->dims[1], &g->raw_bytes))
        return nb_fail(err, bad, "tensor '%s': type %s has no panel layout", t->name, nb_types[t->type].name);
    g->n_blocks = (t->dims[1] + NB_BLOCK_COLS - 1) / NB_BLOCK_COLS;
    uint64_t per_chunk = NB_CHUNK_TARGET / g->panel_bytes;
    g->chunk_bytes = g->panel_bytes * (per_chunk ? per_chunk : 1);
    return NB_OK;
}

nb_status nb_tensor_check(const nb_tensor *t, nb_status bad, nb_geometry *g, nb_error *err) {
    uint64_t count = 0;
    *g = (nb_geometry){.type = t->type};
    nb_status st = nb_tensor_check_name(t->name, bad, err);
    if (st) return st;
    if ((unsigned)t->type >= NB_TYPE_COUNT)
        return nb_fail(err, bad, "tensor '%s': type %d is not known", t->name, (int)t->type);
    st = check_dims(t, bad, &count, err);
    if (!st) st = check_codebook(t, bad, err);
    if (st) return st;
    if (t->layout == NB_LAYOUT_PANELS) {
        st = panel_geometry(t, bad, g, err);
        if (st) return st;
    } else if (t->layout == NB_LAYOUT_PLAIN) {
        if (!nb_plain_bytes(t->type, count, &g->raw_bytes))
            return nb_fail(err, bad, "tensor '%s': type %s has no plain layout", t->name, nb_types[t->type].name);
        g->chunk_bytes = NB_CHUNK_TARGET;
    } else {
        return nb_fail(err, bad, "tensor '%s': layout %d is not known", t->name, (int)t->layout);
    }
    if (g->raw_bytes > NB_MAX_RAW_BYTES)
        return nb_fail(err, bad, "tensor '%s' takes %llu bytes; at most 2^48 are possible", t->name,
                       (unsigned long long)g->raw_bytes);
    /* At most 2^48 bytes in chunks of more than 2^19 (a panel above half the target is a chunk of its own): < 2^29. */
    g->n_chunks = (uint32_t)((g->raw_bytes + g->chunk_bytes - 1) / g->chunk_bytes);
    return NB_OK;
}

uint32_t nb_geometry_chunk(const nb_geometry *g, uint32_t i) {
    uint64_t left = g->raw_bytes - i * g->chunk_bytes;
    return (uint32_t)(left < g->chunk_bytes ? left : g->chunk_bytes); /* at most NB_MAX_CHUNK */
}

void nb_identity_begin(nb_buf *canon, uint64_t model_hash, uint32_t n_tensors) {
    nb_buf_append(canon, "NBL-ID-1", 8);
    nb_buf_u64(canon, model_hash);
    nb_buf_u32(canon, n_tensors);
}

void nb_identity_tensor(nb_buf *canon, const nb_tensor *t) {
    size_t n = strlen(t->name);
    nb_buf_byte(canon, (uint8_t)n);
    nb_buf_append(canon, t->name, n);
    nb_buf_byte(canon, nb_types[t->type].code);
    nb_buf_byte(canon, (uint8_t)t->layout);
    nb_buf_byte(canon, (uint8_t)t->n_dims);
    for (uint32_t i = 0; i < t->n_dims; i++) nb_buf_u64(canon, t->dims[i]);
    nb_buf_append(canon, t->codebook, NB_CODEBOOK_SIZE);
    nb_buf_u32(canon, t->n_chunks);
}
