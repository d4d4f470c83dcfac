#include "core/row_state.h"

#include <string.h>

#include "base/bytes.h"
#include "base/mem.h"

bool nb_row_state_kept(const nb_row_state *s) { return (s->rng.s[0] | s->rng.s[1] | s->rng.s[2] | s->rng.s[3]) != 0; }

void nb_row_state_free(nb_row_state *s) {
    nb_buf_free(&s->tool);
    nb_buf_free(&s->call);
    nb_ids_free(&s->forced);
    *s = (nb_row_state){0};
}

static void write_bytes(const nb_buf *bytes, nb_buf *out) {
    nb_buf_u32(out, (uint32_t)bytes->size);
    nb_buf_append(out, bytes->data, bytes->size);
}

void nb_row_state_write(const nb_row_state *s, nb_buf *out) {
    uint8_t held[sizeof s->utf8.held] = {0};
    for (size_t i = 0; i < 4; i++) nb_buf_u64(out, s->rng.s[i]);
    memcpy(held, s->utf8.held, s->utf8.n_held);
    nb_buf_append(out, held, sizeof held);
    nb_buf_u32(out, (uint32_t)s->utf8.n_held);
    write_bytes(&s->tool, out);
    write_bytes(&s->call, out);
    nb_buf_u32(out, (uint32_t)s->forced.size);
    for (size_t i = 0; i < s->forced.size; i++) nb_buf_u32(out, (uint32_t)s->forced.data[i]);
    nb_buf_u32(out, s->call_tokens);
    out->failed |= s->tool.failed || s->call.failed;
}

static void read_bytes(nb_cursor *c, nb_buf *bytes) {
    size_t n = nb_take_u32(c);
    const uint8_t *at = nb_take(c, n);
    if (at) nb_buf_append(bytes, at, n);
}

/* Held bytes are what a decoder that is fed with them would hold. */
static bool read_utf8(nb_cursor *c, nb_utf8 *utf8) {
    nb_buf text = {0};
    const uint8_t *held = nb_take(c, sizeof utf8->held);
    uint32_t n = nb_take_u32(c);
    if (c->bad || !held || n > sizeof utf8->held) return false;
    nb_utf8_feed(utf8, held, n, &text);
    bool all = utf8->n_held == n && !text.size;
    nb_buf_free(&text);
    return all;
}

static nb_status read_forced(nb_cursor *c, nb_ids *forced, uint32_t vocab_size, nb_error *err) {
    nb_status st = NB_OK;
    for (uint32_t n = nb_take_u32(c); !st && n > 0 && !c->bad; n--) {
        uint32_t id = nb_take_u32(c);
        if (id >= vocab_size)
            return nb_fail(err, NB_FORMAT, "a forced token is %u, expected one below %u", id, vocab_size);
        st = nb_ids_push(forced, (int32_t)id, err);
    }
    return st;
}

nb_status nb_row_state_read(nb_row_state *s, const uint8_t *bytes, size_t n, uint32_t vocab_size, nb_error *err) {
    nb_cursor c = nb_cursor_over(bytes, n);
    for (size_t i = 0; i < 4; i++) s->rng.s[i] = nb_take_u64(&c);
    bool utf8 = read_utf8(&c, &s->utf8);
    read_bytes(&c, &s->tool);
    read_bytes(&c, &s->call);
    nb_status st = read_forced(&c, &s->forced, vocab_size, err);
    s->call_tokens = nb_take_u32(&c);
    if (!st && (s->tool.failed || s->call.failed)) st = nb_oom(err, "a saved row", s->tool.size + s->call.size);
    if (!st && (!utf8 || c.bad || c.pos != n))
        st = nb_fail(err, NB_FORMAT,
                     "the state of its row makes no sense, or has not the %zu bytes that it should have", n);
    if (st) nb_row_state_free(s);
    return st;
}
