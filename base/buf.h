/* A growable byte buffer with a sticky out-of-memory flag: append freely, test `failed` once.
 *
 * A zeroed nb_buf is empty and valid. The bytes are always followed by a NUL that `size` does not count, so that text
 * can be read as a C string (an empty, never grown buffer has data == NULL: use nb_buf_str). Once an append has failed,
 * later ones add nothing, until nb_buf_clear. What is appended must not lie in the buffer itself. Not thread-safe. */
#ifndef NB_BASE_BUF_H
#define NB_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/status.h"

typedef struct nb_buf {
    uint8_t *data; /* owned; NB_ALIGN-aligned */
    size_t size, capacity;
    bool failed; /* an append ran out of memory; what it would have added is lost */
} nb_buf;

void nb_buf_append(nb_buf *b, const void *bytes, size_t n);
void nb_buf_text(nb_buf *b, const char *text);
void nb_buf_printf(nb_buf *b, const char *fmt, ...) NB_PRINTF(2, 3);
void nb_buf_byte(nb_buf *b, uint8_t byte);
void nb_buf_u32(nb_buf *b, uint32_t v); /* little-endian */
void nb_buf_u64(nb_buf *b, uint64_t v);
uint8_t *nb_buf_extend(nb_buf *b, size_t n); /* n uninitialised bytes at the end, or NULL (and `failed`) */
const char *nb_buf_str(const nb_buf *b);     /* NUL-terminated; "" when empty */
void nb_buf_clear(nb_buf *b);                /* size 0, capacity kept, `failed` reset */
void nb_buf_free(nb_buf *b);

#endif
