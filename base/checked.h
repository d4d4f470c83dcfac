/* Arithmetic on sizes that come from files: every function returns false instead of wrapping around. */
#ifndef NB_BASE_CHECKED_H
#define NB_BASE_CHECKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool nb_add_size(size_t a, size_t b, size_t *sum) { return !__builtin_add_overflow(a, b, sum); }
static inline bool nb_mul_size(size_t a, size_t b, size_t *product) { return !__builtin_mul_overflow(a, b, product); }
static inline bool nb_add_u64(uint64_t a, uint64_t b, uint64_t *sum) { return !__builtin_add_overflow(a, b, sum); }
static inline bool nb_mul_u64(uint64_t a, uint64_t b, uint64_t *product) {
    return !__builtin_mul_overflow(a, b, product);
}

/* True when the range [offset, offset + length) lies inside [0, size). */
static inline bool nb_range_ok(uint64_t offset, uint64_t length, uint64_t size) {
    return offset <= size && length <= size - offset;
}

/* n rounded up to a multiple of `to` (> 0); the caller has checked that n + to - 1 does not wrap. */
static inline size_t nb_round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }
static inline size_t nb_div_up(size_t n, size_t by) { return n / by + (n % by != 0); }
static inline size_t nb_min_size(size_t a, size_t b) { return a < b ? a : b; }
static inline size_t nb_max_size(size_t a, size_t b) { return a > b ? a : b; }

#endif
