/* The kernel table: what the engine computes with, chosen once for the CPU it runs on.
 *
 * Numerics contract. Every tier gives the same bits, for any tile shape, batch size and number of threads:
 *   - Lanes are rows: 16 lanes, each output summed in one fixed order. Every fused multiply-add is written as one.
 *   - Quantized product of row r and token t; a strip is 4 blocks of 32 columns (the last strip may hold fewer):
 *         acc = 0
 *         for each strip s:  part = 0
 *                            for each block b of s:  part = part + dot(b) * blockscale(r, b)
 *                            acc = fma((float)part, actscale(t, s), acc)
 *         y = acc * rowscale(r)
 *     dot(b) is the sum of code * q over 32 columns. It and part are 32-bit integers and exact: codes and scales are bytes,
 *     of any value in a damaged file, and |part| <= 4 * 32 * 128 * 127 * 128 < 2^31. The conversion, to nearest even, is the
 *     first rounding. Since integers may be added in any order, a tier multiplies by scales where that costs it least.
 *   - f32, f16 and bf16 weights: acc = fma(w, x, acc) over the columns in order, weights widened exactly.
 *   - Activations are quantized per token and strip of 128 columns: scale = absmax / 127 and
 *     q = round-half-even(x * (127 / absmax)); all zero when absmax is 0 (or so small that 127 / absmax overflows).
 *   - Reductions over a vector: element i goes to partial sum i mod 16; the 16 are folded 8-4-2-1.
 *   - exp, tanh, erf are the polynomials of simd/float_tmpl.h with a fixed sequence of operations.
 *   - max(a, b) means a > b ? a : b.
 *
 * Kernels do not allocate, do not fail and keep no state; they may run on many threads at once. */
#ifndef NB_SIMD_KERNELS_H
#define NB_SIMD_KERNELS_H

#include <stddef.h>
#include <stdint.h>
#include "base/status.h"
#include "quant/search.h"
#include "quant/types.h"

/* Activations of n tokens, as matrix products take them. Unscaled weight types read `f`, scaled ones the rest. */
typedef struct nb_acts {
    const float *f;       /* [n][f_stride] */
    size_t f_stride;
    const int8_t *q;      /* [n][q_stride] */
    size_t q_stride;
    const float *scale;   /* [n][scale_stride], one per strip of 128 columns */
    size_t scale_stride;
    const int32_t *start; /* [n][start_stride], -128 * the sum of q over each block of 32 columns: where a dot product
                           * with codes that are offset by 128 begins */
    size_t start_stride;
} nb_acts;

/* Bytes from one row of n bytes to the next, as kernels like them: an odd number of cache lines. Rows that lie a power
 * of two apart would share few sets of the caches. */
static inline size_t nb_row_bytes(size_t n) { return ((n + 63) / 64 | 1) * 64; }

/* Y = X W^T for a matrix W [rows][cols] in panels. */
typedef struct nb_matmul {
    const uint8_t *w;         /* panels; NB_ALIGN-aligned */
    size_t panel_bytes;       /* from one panel to the next */
    size_t cols;              /* columns to walk; scaled types: a multiple of 32, padding included */
    const int8_t *codebook;   /* [16], q4; else not looked at */
    nb_acts x;
    size_t n_tokens;
    float *y;                 /* [n_tokens][y_stride]: y[t * y_stride + r], 16 rows written per panel */
    size_t y_stride;
} nb_matmul;

/* ---- attention over a page of 64 positions in q8; rows are query heads of positions, see core/attend.h ---- */

enum { NB_PAGE_POSITIONS = 64 };

/* Scores of n queries of `cols` channels: for every row and position, with K's scales in bf16,
 *     acc = 0;  for each block b of 32 channels:  acc = fma((float)dot(b), keyscale(position, b), acc)
 *     y = fma(acc, scale(row), offset(position))
 * Keys: codes + 128 as panels [4][cols / 4][16 positions][4 channels], then scales [cols / 32][64]. */
typedef struct nb_scores_q8 {
    const uint8_t *keys;        /* the page's, NB_ALIGN-aligned */
    const uint8_t *next;        /* those of the page that is wanted afterwards, to be fetched meanwhile, or NULL */
    size_t cols;                /* a multiple of 32 */
    size_t begin, end;          /* panels of 16 positions that are wanted */
    size_t n;                   /* rows */
    const int8_t *q;            /* [n][cols] */
    const float *scale;         /* [n] */
    const int32_t *start;       /* [n][cols / 32]: -128 * the sum of q over each block */
    const float *offset;        /* [64] */
    const float *next_offset;   /* as `next` */
    float *y;                   /* [n][64] */
} nb_scores_q8;
static inline size_t nb_keys_q8_bytes(size_t cols) { return NB_PAGE_POSITIONS * (cols + cols / NB_BLOCK_COLS * 2); }

/* A page's share in the softmax and in the weighted sum of V, in powers of 2. With the positions that a row sees, V's
 * scale v, and scores t to which log2 v has been added:
 *     p = max t;  e = exp2(t - (p - log2 127)), by a polynomial of degree 3;  code = round-half-even(e)
 *     L = sum e (1 / v), in 16 partial sums;  d = p - m;  f = exp2(-|d|);  (carry, share) = d > 0 ? (f, 1) : (1, f)
 *     l = fma(l, carry, L share);  m = max(p, m);  o = fma(o, carry, (float)dot(code, V's codes) share)
 * V's scale is part of the exponent, so the largest weight of a page is 127 without a search for it, and l and o are
 * both 127 times what they stand for. |dot| <= 64 * 127 * 127 < 2^24.
 * Values: signed codes as panels [channels / 16][16][16 channels][4 positions], then log2 v [64] and 1 / v [64], f32.
 *
 * Adding V up is a part of its own, for which the exponentials of the page after do not wait: the kernel does it for
 * the page before while it forms the weights of this one. The one wants the pipes that multiply, the other more those
 * that add, and no row waits for its own weights. */
typedef struct nb_values_q8 {
    const uint8_t *values;      /* NB_ALIGN-aligned */
    size_t channels;            /* a multiple of 16 */
    size_t n;                   /* rows; 0: nothing to do */
    const uint8_t *codes;       /* [n][64] */
    const float *carry, *share; /* [n] */
    float *o;                   /* [n][channels] in and out */
} nb_values_q8;
typedef struct nb_weigh_q8 {
    const float *inverses;    /* [64] 1 / v */
    size_t n;                 /* rows; 0: nothing to do */
    const float *scores;      /* [n][64] t; those of unseen positions may be anything */
    const uint8_t *from, *to; /* [n] the row sees positions [from, to) of the page, at least one */
    float *page_m, *page_l;   /* [n] room */
    float *m, *l;             /* [n] in and out */
    uint8_t *codes;           /* [n][64] out */
    float *carry, *share;     /* [n] out */
    /* Another page's, maybe of other rows, none of whose arrays is one of those above; or, where `codes` are the same,
     * this page's own, which is then done last. */
    nb_values_q8 before;
    const uint8_t *next;      /* values of the page that is wanted afterwards, to be fetched meanwhile, or NULL */
    size_t channels;          /* of `next` */
} nb_weigh_q8;
static inline size_t nb_values_q8_bytes(size_t channels) { return NB_PAGE_POSITIONS * (channels + 2 * sizeof(float)); }
static inline const float *nb_values_q8_logs(const uint8_t *values, size_t channels) {
    return (const float *)(const void *)(values + channels * NB_PAGE_POSITIONS);
}
#define NB_LOG2_127 6.98868469f

/* What a tier can do at most, for reports (simd/probe.h): reading, the instructions of its 8-bit products for q4 and
 * for q8, fused multiply-adds. A probe reads n bytes, or does n rounds of arithmetic on the first 4096 bytes of `data`
 * (floats of ordinary size), and returns how many bytes or operations that were. */
typedef enum nb_probe { NB_PROBE_READ, NB_PROBE_Q4, NB_PROBE_Q8, NB_PROBE_FMA, NB_PROBE_COUNT } nb_probe;
typedef uint64_t (*nb_probe_fn)(const uint8_t *data, size_t n, float sink[NB_PANEL_ROWS]);

typedef struct nb_kernels {
    const char *isa; /* name of the tier */
#define KERNEL(name, ret, args) ret(*name) args;
#include "simd/kernels.def"
#undef KERNEL
    nb_probe_fn probe[NB_PROBE_COUNT];
} nb_kernels;

/* Panels that a product likes to get together: shares of it are multiples of that. Those of scaled types stream by,
 * packed, for up to NB_STREAM_TOKENS tokens, and for one token one after the other. */
enum { NB_MATMUL_PANELS = 2, NB_STREAM_TOKENS = 8 };
static inline size_t nb_matmul_share(size_t n_tokens) { return n_tokens == 1 ? 1 : NB_MATMUL_PANELS; }

typedef void (*nb_matmul_fn)(const nb_matmul *m, size_t panel_begin, size_t panel_end);
/* The product for a weight type; NULL for types that are not multiplied. */
nb_matmul_fn nb_kernels_matmul(const nb_kernels *k, nb_type type);

nb_search nb_kernels_search(const nb_kernels *k); /* its kernels that quantizers are handed */

/* Fill *k for the tier named `isa`, or, when it is NULL, for $NIBBLE_ISA, or, without that, for the best tier of this
 * CPU. NB_ARGUMENT with the list of valid names when the tier is unknown or this CPU lacks it. */
nb_status nb_kernels_choose(nb_kernels *k, const char *isa, nb_error *err);
/* The same for a CPU with these features (NB_CPU_* of simd/cpu.h), which is not asked whether it is this one. */
nb_status nb_kernels_choose_for(nb_kernels *k, const char *isa, uint32_t features, nb_error *err);

/* Tiers of this build, lowest first: the name (NULL past the end) and whether this CPU can run it. */
const char *nb_isa_name(size_t i);
int nb_isa_supported(size_t i);

#endif
