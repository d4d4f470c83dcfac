/* Second moments of what enters matrix products: sums of x x' over the tokens that a model reads.
 *
 * An observer of a session (core/session.h) adds up, for each watched matrix, its inputs' products, a chunk of tokens
 * at a time: within a chunk in f32 by the engine's own product, whose sums run over the tokens in order on every tier,
 * then chunk by chunk. So equal chunks give equal bits, whatever the machine and the team. */
#ifndef NB_CONVERT_MOMENTS_H
#define NB_CONVERT_MOMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/status.h"
#include "base/team.h"
#include "core/session.h"

typedef struct nb_moment {
    const nb_weight *w; /* whose inputs these are */
    size_t n;           /* its columns */
    float *sum;         /* [n][n], lower triangle. Owned */
    float *drift;       /* NULL, or [n][n]: sums of y[k] (x - y)[j] at [k * n + j], of exact inputs x and those
                         * at hand, y. Owned */
    float *exact;       /* where there is a drift: [chunk][n], x of the chunk whose y is to come. Owned */
    uint64_t tokens;
} nb_moment;

typedef struct nb_moments {
    nb_moment *list; /* [size] owned */
    size_t size, capacity;
    const nb_kernels *k;
    nb_team *team;
    size_t chunk;   /* tokens of an append at most */
    float *turned;  /* of a chunk: [n][chunk], channel by channel */
    float *panels;  /* what is multiplied with it, as panels: [n / 16][chunk][16] */
    float *product; /* [team size][MOMENT_ROWS][n] */
    size_t widest, n_chunk; /* what the buffers are for; tokens of the chunk at work */
    nb_moment *at_work;
} nb_moments;

/* For appends of up to `chunk` tokens and matrices of up to `widest` columns. */
nb_status nb_moments_create(nb_moments *m, const nb_kernels *k, nb_team *team, size_t chunk, size_t widest,
                            nb_error *err);
void nb_moments_free(nb_moments *m); /* accepts a zeroed one */

/* Watch the inputs of w from now on; drift: every chunk is seen twice, first its exact inputs by nb_moments_note. */
nb_status nb_moments_watch(nb_moments *m, const nb_weight *w, bool drift, nb_error *err);
void nb_moments_clear(nb_moments *m); /* watch nothing, and forget all sums */
nb_moment *nb_moments_find(const nb_moments *m, const nb_weight *w); /* NULL: not watched */

/* Observers' functions; `moments` is their user. */
void nb_moments_note(void *moments, const nb_weight *w, const float *x, size_t stride, size_t n);
void nb_moments_observe(void *moments, const nb_weight *w, const float *x, size_t stride, size_t n);

#endif
