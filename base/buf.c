#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "base/bytes.h"
#include "base/checked.h"
#include "base/mem.h"

enum { FIRST_CAPACITY = 256 };

/* Room for n more bytes and the NUL behind them. Once an append has failed, none succeeds: no holes. */
static bool reserve(nb_buf *b, size_t n) {
    if (b->failed) return false;
    size_t need = 0;
    if (nb_add_size(b->size, n, &need) && nb_add_size(need, 1, &need)) {
        if (need <= b->capacity) return true;
        size_t grown = b->capacity < SIZE_MAX / 2 ? b->capacity * 2 : need;
        size_t capacity = nb_max_size(nb_max_size(need, grown), FIRST_CAPACITY);
        uint8_t *data = nb_realloc(b->data, b->size, capacity);
        if (data) {
            b->data = data;
            b->capacity = capacity;
            return true;
        }
    }
    b->failed = true;
    return false;
}

uint8_t *nb_buf_extend(nb_buf *b, size_t n) {
    if (!reserve(b, n)) return NULL;
    uint8_t *p = b->data + b->size;
    b->size += n;
    b->data[b->size] = 0;
    return p;
}

void nb_buf_append(nb_buf *b, const void *bytes, size_t n) {
    uint8_t *p = nb_buf_extend(b, n);
    if (p && n) memcpy(p, bytes, n);
}

void nb_buf_text(nb_buf *b, const char *text) {
    nb_buf_append(b, text, strlen(text));
}

void nb_buf_printf(nb_buf *b, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (n < 0 || !reserve(b, (size_t)n)) {
        b->failed = true;
        return;
    }
    va_start(args, fmt);
    (void)vsnprintf((char *)b->data + b->size, (size_t)n + 1, fmt, args);
    va_end(args);
    b->size += (size_t)n;
}

void nb_buf_byte(nb_buf *b, uint8_t byte) {
    nb_buf_append(b, &byte, 1);
}

void nb_buf_u32(nb_buf *b, uint32_t v) {
    uint8_t *p = nb_buf_extend(b, 4);
    if (p) nb_put_u32(p, v);
}

void nb_buf_u64(nb_buf *b, uint64_t v) {
    uint8_t *p = nb_buf_extend(b, 8);
    if (p) nb_put_u64(p, v);
}

const char *nb_buf_str(const nb_buf *b) {
    return b->data ? (const char *)b->data : "";
}

void nb_buf_clear(nb_buf *b) {
    b->size = 0;
    b->failed = false;
    if (b->data) b->data[0] = 0;
}

void nb_buf_free(nb_buf *b) {
    if (!b) return;
    nb_free(b->data);
    *b = (nb_buf){0};
}
