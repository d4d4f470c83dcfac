/* Random numbers that are the same on every machine: xoshiro256** (Blackman and Vigna, "Scrambled Linear Pseudorandom
 * Number Generators", 2021), its state filled by splitmix64 (Steele, Lea and Flood 2014) from a seed and a stream
 * number. Equal seeds with different streams never start in the same state: splitmix64's mixing is a bijection. */
#ifndef NB_CORE_RNG_H
#define NB_CORE_RNG_H

#include <stdint.h>

typedef struct nb_rng {
    uint64_t s[4];
} nb_rng;

static inline uint64_t nb_splitmix64(uint64_t *state) {
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static inline uint64_t nb_rotate_left(uint64_t x, unsigned k) {
    return x << k | x >> (64 - k);
}

static inline nb_rng nb_rng_start(uint64_t seed, uint64_t stream) {
    nb_rng r;
    uint64_t state = nb_splitmix64(&seed) ^ nb_rotate_left(nb_splitmix64(&stream), 32);
    for (int i = 0; i < 4; i++) r.s[i] = nb_splitmix64(&state);
    return r;
}

static inline uint64_t nb_rng_next(nb_rng *r) {
    uint64_t *s = r->s, result = nb_rotate_left(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = nb_rotate_left(s[3], 45);
    return result;
}

/* A multiple of 2^-53 in [0, 1). */
static inline double nb_rng_uniform(nb_rng *r) {
    return (double)(nb_rng_next(r) >> 11) * 0x1p-53;
}

#endif
