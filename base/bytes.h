/* Little-endian fields at byte offsets, and a cursor over bytes that nobody vouches for.
 *
 * File bytes are never cast to structs. A cursor's error is sticky: read all fields, then test `bad` once; reads past
 * the end give zeros and leave the position where it was. */
#ifndef NB_BASE_BYTES_H
#define NB_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint16_t nb_get_u16(const uint8_t *p) { return (uint16_t)(p[0] | (unsigned)p[1] << 8); }
static inline uint32_t nb_get_u32(const uint8_t *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}
static inline uint64_t nb_get_u64(const uint8_t *p) { return nb_get_u32(p) | (uint64_t)nb_get_u32(p + 4) << 32; }
static inline float nb_get_f32(const uint8_t *p) {
    uint32_t u = nb_get_u32(p);
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}
static inline double nb_get_f64(const uint8_t *p) {
    uint64_t u = nb_get_u64(p);
    double f;
    memcpy(&f, &u, sizeof f);
    return f;
}
static inline void nb_put_u16(uint8_t *p, uint16_t v) {
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}
static inline void nb_put_u32(uint8_t *p, uint32_t v) {
    for (int i = 0; i < 4; i++) p[i] = (uint8_t)(v >> 8 * i);
}
static inline void nb_put_u64(uint8_t *p, uint64_t v) {
    for (int i = 0; i < 8; i++) p[i] = (uint8_t)(v >> 8 * i);
}
static inline void nb_put_f32(uint8_t *p, float v) {
    uint32_t u;
    memcpy(&u, &v, sizeof u);
    nb_put_u32(p, u);
}
static inline void nb_put_f64(uint8_t *p, double v) {
    uint64_t u;
    memcpy(&u, &v, sizeof u);
    nb_put_u64(p, u);
}

typedef struct nb_cursor {
    const uint8_t *data; /* not owned */
    size_t size;
    size_t pos;
    bool bad; /* a read went past the end */
} nb_cursor;

static inline nb_cursor nb_cursor_over(const void *data, size_t size) {
    return (nb_cursor){.data = (const uint8_t *)data, .size = size};
}
/* The next n bytes, or NULL (and `bad`) when fewer are left. */
static inline const uint8_t *nb_take(nb_cursor *c, size_t n) {
    if (c->bad || n > c->size - c->pos) {
        c->bad = true;
        return NULL;
    }
    const uint8_t *p = c->data + c->pos;
    c->pos += n;
    return p;
}
static inline uint8_t nb_take_u8(nb_cursor *c) {
    const uint8_t *p = nb_take(c, 1);
    return p ? *p : 0;
}
static inline uint16_t nb_take_u16(nb_cursor *c) {
    const uint8_t *p = nb_take(c, 2);
    return p ? nb_get_u16(p) : 0;
}
static inline uint32_t nb_take_u32(nb_cursor *c) {
    const uint8_t *p = nb_take(c, 4);
    return p ? nb_get_u32(p) : 0;
}
static inline uint64_t nb_take_u64(nb_cursor *c) {
    const uint8_t *p = nb_take(c, 8);
    return p ? nb_get_u64(p) : 0;
}

#endif
