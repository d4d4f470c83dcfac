/* Integer multiply-accumulate and code unpacking in plain C: the form every other mac_*.h must equal.
 *
 * Every mac_*.h has these names. A group is 16 rows x 4 columns of codes, 64 bytes; a block is 8 groups. Unpacked codes
 * may be offset to unsigned by 32, 64 or 128: a dot product then starts at -OFFSET * (sum of x), which costs nothing
 * and stays exact. A strip's sums are integers: those of its blocks, each times its row's block scale.
 *   vc, load_codes, store_codes   the unpacked codes of a group
 *   flip_codes                    codes +- 128
 *   book, make_book               the codebook as decode_q4 wants it
 *   decode_q8, _q6, decode_q4     two groups, `pair` 0 or 1, from half a block: 256 packed bytes (q8), 192 (q6) or 128 (q4)
 *   floor_codes                   four columns rounded down and clamped to [-128, 127]; magnitudes below 2^30
 *   code_floats                   column j of a group of bytes from 0 to 127, as floats, less an integer from 0 to 127
 *   split_codes                   u >> 3 and u & 7 of bytes u
 *   stairs, treads, make_, climb, step_values   a function of bytes that rises by steps, as nb_grid has it: from u >> 3 and u & 7
 *                                 to heights, 8 times the step and something below 8, and from these to the steps' values
 *   mac_bytes                     add the products of two groups of bytes from 0 to 127, four to a row
 *   acts, load_acts               sixteen activations of one token, which serve four groups
 *   load_scales                   the block scales of 16 rows, in the form that the next functions take
 *   vd, dot_open, dot_close       a block's dot product of one token: before its first group, given the strip's sums so far,
 *                                 and the strip's sums with it. Where scales are multiplied, here or by what adds groups, is the
 *                                 tier's choice; scale_last.h does it in dot_close, and makes these from mac_start and dot_sum
 *   pair_q8, pair_q4              add two groups times the eight activations `pair` (0 or 1) of acts
 *   pair_weights                  pair_q8, but with codes that are signed everywhere, and activations of 0 to 127
 *   mac_q8, mac_q4, mac_weights   where by_group.h makes the above: add a group times the four activations g (0 to 3)
 * The register tile of the unpacked form counts in units of TILE_UNIT tokens (1, but for smmla) and walks TILE_GROUPS
 * groups per step; tile_of_one.h and tile_by_group.h make it from the names above.
 *   tile_codes, store_pair, load_tile_codes     how two groups, 128 bytes, lie unpacked; the codes of a step
 *   tile_acts, load_tile_acts                   sixteen activations of a unit, the second token `stride` after the first
 *   tile_scales, store_, load_tile_scales       a block's scales, 16 * TILE_UNIT integers, in the order of tile_sum
 *   tile_dot, tile_open, tile_q8, tile_q4       a unit's dot product, started for its first token; add a step
 *   tile_sum, tile_zero, tile_close, tile_token a unit's sums of a strip; the 16 rows of one of its tokens
 *   STREAM_PANELS, STREAM_TOKENS  register tile of packed panels that stream by; 1, 2 or 4 tokens
 *   TILE_PANELS, TILE_TOKENS      register tile of the unpacked form
 *   FLOAT_PANELS, FLOAT_TOKENS    register tile of f32, f16 and bf16 */
#ifndef NB_SIMD_MAC_SCALAR_H
#define NB_SIMD_MAC_SCALAR_H

#include "simd/vec_scalar.h"
#include "simd/acts_memory.h"

enum { OFFSET_Q8 = 0, OFFSET_Q6 = 0, OFFSET_Q4 = 0 };
enum { STREAM_PANELS = 1, STREAM_TOKENS = 4, TILE_PANELS = 1, TILE_TOKENS = 4, FLOAT_PANELS = 1, FLOAT_TOKENS = 4 };

typedef struct vc {
    int8_t v[64];
} vc;
typedef const int8_t *book;

static INLINE vc load_codes(const uint8_t *p) {
    vc c;
    memcpy(c.v, p, sizeof c.v);
    return c;
}
static INLINE vc flip_codes(vc c) {
    for (int i = 0; i < 64; i++) c.v[i] = (int8_t)(c.v[i] ^ -128);
    return c;
}
static INLINE void store_codes(uint8_t *p, vc c) { memcpy(p, c.v, sizeof c.v); }

static INLINE book make_book(const int8_t *codebook) { return codebook; }
static INLINE void decode_q8(const uint8_t *half, int pair, book b, vc *low, vc *high) {
    const uint8_t *codes = half + 128 * pair;
    (void)b;
    *low = load_codes(codes);
    *high = load_codes(codes + 64);
}
static INLINE void decode_q6(const uint8_t *half, int pair, book b, vc *low, vc *high) {
    (void)b;
    for (int i = 0; i < 64; i++) {
        int nibbles = half[64 * pair + i], bits = half[128 + i] >> 4 * pair;
        low->v[i] = (int8_t)((nibbles & 15) + (bits & 3) * 16 - 32);
        high->v[i] = (int8_t)((nibbles >> 4) + (bits >> 2 & 3) * 16 - 32);
    }
}
static INLINE void decode_q4(const uint8_t *half, int pair, book b, vc *low, vc *high) {
    for (int i = 0; i < 64; i++) {
        low->v[i] = b[half[64 * pair + i] & 15];
        high->v[i] = b[half[64 * pair + i] >> 4];
    }
}

static INLINE int8_t floor_code(float x) {
    int whole = (int)(x < -128.0f ? -128.0f : x > 127.0f ? 127.0f : x);
    return (int8_t)(whole - ((float)whole > x && whole > -128));
}
static INLINE vc floor_codes(vf a, vf b, vf c, vf d) {
    vc codes;
    EACH_LANE {
        codes.v[4 * i] = floor_code(a.v[i]);
        codes.v[4 * i + 1] = floor_code(b.v[i]);
        codes.v[4 * i + 2] = floor_code(c.v[i]);
        codes.v[4 * i + 3] = floor_code(d.v[i]);
    }
    return codes;
}
static INLINE vf code_floats(vc codes, int j, float offset) {
    vf r;
    EACH_LANE r.v[i] = (float)codes.v[4 * i + j] - offset;
    return r;
}
static INLINE void split_codes(vc u, vc *cell, vc *rest) {
    for (int i = 0; i < 64; i++) {
        cell->v[i] = (int8_t)((uint8_t)u.v[i] >> 3);
        rest->v[i] = u.v[i] & 7;
    }
}

typedef const uint8_t *stairs, *treads; /* [32], [16] */
static INLINE stairs make_stairs(const uint8_t *cells) { return cells; }
static INLINE treads make_treads(const uint8_t *values) { return values; }
static INLINE vc climb(vc cell, vc rest, stairs s) {
    for (int i = 0; i < 64; i++) cell.v[i] = (int8_t)(s[cell.v[i]] + rest.v[i]);
    return cell;
}
static INLINE vc step_values(vc height, treads s) {
    for (int i = 0; i < 64; i++) height.v[i] = (int8_t)s[height.v[i] >> 3];
    return height;
}
static INLINE vi mac_bytes(vi sum, vc a, vc b) {
    EACH_LANE {
        const int8_t *v = a.v + 4 * i, *w = b.v + 4 * i;
        sum.v[i] += v[0] * w[0] + v[1] * w[1] + v[2] * w[2] + v[3] * w[3];
    }
    return sum;
}

static INLINE vi mac_start(const int32_t *start, int32_t offset) { /* signed codes: the offset is 0 */
    (void)start, (void)offset;
    vi dot;
    EACH_LANE dot.v[i] = 0;
    return dot;
}
static INLINE vi mac_q8(vi dot, vc codes, vi scales, acts x, int g) {
    (void)scales;
    EACH_LANE {
        const int8_t *w = codes.v + 4 * i, *v = x + 4 * g;
        dot.v[i] += w[0] * v[0] + w[1] * v[1] + w[2] * v[2] + w[3] * v[3];
    }
    return dot;
}
static INLINE vi mac_q4(vi dot, vc codes, vi scales, acts x, int g) { return mac_q8(dot, codes, scales, x, g); }
static INLINE vi mac_weights(vi dot, vc codes, vi scales, acts x, int g) { return mac_q8(dot, codes, scales, x, g); }

#include "simd/scale_last.h"

#include "simd/tile_by_group.h"

#endif
