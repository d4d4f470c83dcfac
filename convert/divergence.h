/* How far changed models are from the exact one, token by token. */
#ifndef NB_CONVERT_DIVERGENCE_H
#define NB_CONVERT_DIVERGENCE_H

#include <stdbool.h>
#include <stddef.h>
#include "base/progress.h"
#include "base/status.h"
#include "base/team.h"
#include "core/session.h"

/* One that reads beside the exact model; it may be the same model with another cache. */
typedef struct nb_divergence_reader {
    nb_model *model;
    nb_kv_types kv;
    bool rotate_qk; /* its hyperparameter qk_rotate while it reads */
} nb_divergence_reader;

enum { NB_DIVERGENCE_READERS = 8 };

typedef struct nb_divergence_job {
    nb_divergence_reader exact;
    const nb_divergence_reader *readers; /* [n_readers] */
    size_t n_readers;                    /* at most NB_DIVERGENCE_READERS */
    const int32_t *ids;                  /* [n] */
    size_t n, window;            /* windows of so many tokens, each from an empty context; the last may be shorter */
    nb_team *team;               /* may be NULL */
    const nb_progress *progress; /* may be NULL */
} nb_divergence_job;

/* KL(exact || reader) in nats after every token, into divergence [n_readers][n]: the same bits for every team. All read
 * side by side, so that the logits of a few tokens are all that is kept (32 MiB of each, or those of one token). */
nb_status nb_divergence_measure(const nb_divergence_job *job, double *divergence, nb_error *err);

#endif
