/* Attention: queries of readers over the pages of their texts.
 *
 * A reader is one token with the heads of its query; it sees the positions up to its own, of a window at most. Readers that
 * are given together may belong to several texts. For every page index, neighbours whose page is the same one are handled in
 * one pass over it: the tokens of a chunk, and rows of a batch that share their prompt's pages.
 *
 * Attention of a query over the keys that it sees is defined as follows, and never differs by a bit, however the work is split
 * and whoever else reads (Milakov and Gimelshein 2018; the merge is that of Dao et al. 2022):
 *   spans of 1024 positions; in a span, pages of 64 in order, with m = -inf, l = 0, o = 0 at its start:
 *       s = K q                       (q is scaled already)
 *       m' = max(m, max s);  c = exp(m - m');  e = exp(s - m')
 *       l = fma(l, c, sum e);  o = fma(o, c, V e);  m = m'
 *   the spans' results are merged in order: with M = max(m1, m2), a = exp(m1 - M), b = exp(m2 - M)
 *       l = fma(l1, a, l2 b);  o = fma(o1, a, o2 b);  m = M
 *   the output is o (1 / l).
 * Pages and spans of which nothing is seen are passed over. K q is
 *   f32, f16  a matrix product of simd/kernels.h over the channels
 *   q8        what nb_scores_q8 says (simd/kernels.h): every position is quantized by quantize_key when it is stored, q by
 *             quantize_head
 * and the rest of a page is
 *   f32, f16  as above, V e a matrix product over the positions that are seen
 *   q8        log2 of V's scales is added to the scores (by nb_scores_q8 as it scales them, or else afterwards), and then
 *             what nb_weigh_q8 says: m and the exponentials are of powers of 2 (q is multiplied by log2 e), l and o are 127 times
 *             what they stand for. Values are quantized by quantize_head; a scale below 2^-60 becomes 2^-60 with codes of 0. */
#ifndef NB_CORE_ATTEND_H
#define NB_CORE_ATTEND_H

#include "core/kv.h"

enum { NB_ATTEND_SPAN = 1024 }; /* positions */

typedef struct nb_reader {
    const nb_kv_text *text;
    uint32_t position; /* its own, which is stored already */
    const float *q;    /* [heads][head_dim] of the query, scaled */
    float *out;        /* [heads][head_dim] */
} nb_reader;

typedef struct nb_attention {
    const nb_kv *kv;
    uint32_t layer, head;     /* KV head */
    uint32_t group;           /* query heads per KV head: those that it serves are head * group and on */
    uint32_t window;          /* key j is seen by the query at i when 0 <= i - j <= window; 0: all before it */
    uint32_t n;               /* readers, 1 to nb_attend_tile(group) */
    const nb_reader *readers; /* [n] */
} nb_attention;

/* Readers that are worth attending together: they read a shared page once. */
uint32_t nb_attend_tile(uint32_t group);

/* Floats of scratch that nb_attend needs for that many. */
size_t nb_attend_scratch(const nb_kv_shape *shape, uint32_t group);

/* Attention of every reader. room: nb_attend_scratch floats of this thread's own, NB_ALIGN-aligned. */
void nb_attend(const nb_attention *a, const nb_kernels *k, float *room);

/* The same in parts, span by span, for threads that would have nothing to do. Widen [*first, *end) to the numbers of the spans
 * that a reader sees; the floats of a part; compute one span's; and the end, with the parts of spans that follow one another. */
void nb_attend_spans(const nb_attention *a, uint32_t *first, uint32_t *end);
size_t nb_attend_part(const nb_kv_shape *shape, uint32_t group);
void nb_attend_span(const nb_attention *a, const nb_kernels *k, uint32_t span, float *part, float *room);
void nb_attend_merge(const nb_attention *a, const nb_kernels *k, float *parts, uint32_t n_parts, float *room);

#endif
