/* How far a changed model is from the exact one, token by token. */
#ifndef NB_CONVERT_DIVERGENCE_H
#define NB_CONVERT_DIVERGENCE_H

#include <stddef.h>
#include "base/progress.h"
#include "base/status.h"
#include "base/team.h"
#include "core/session.h"
#include "core/tokenizer.h"

typedef struct nb_divergence_job {
    const nb_model *exact, *changed; /* may be the same, with another cache */
    nb_kv_types kv;                  /* of `changed`; the exact one's are f32 */
    const int32_t *ids;              /* [n] */
    size_t n, window;                /* windows of so many tokens, each read from an empty context; the last may be shorter */
    nb_team *team;                   /* may be NULL */
    const nb_progress *progress;     /* may be NULL; units are tokens */
} nb_divergence_job;

/* KL(exact || changed) in nats after every token, into divergence [n]: the same bits for every team. Both models read side
 * by side, so that the logits of a few tokens are all that is kept (64 MiB of either at most, or those of one token). */
nb_status nb_divergence_measure(const nb_divergence_job *job, double *divergence, nb_error *err);

#endif
