/* Progress of long work, told to whoever asked for it.
 *
 * A library function takes a `const nb_progress *` (NULL: nobody listens) and calls nb_progress_step; the listener may
 * ask for the work to stop, which the function returns as NB_CANCELLED. */
#ifndef NB_BASE_PROGRESS_H
#define NB_BASE_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct nb_progress {
    /* done of total units of `what`; unit: the plural of what is counted, NULL: bytes. Long work may come in parts,
     * each with a `what` or a count of its own from 0 on. Returns false to cancel. */
    bool (*step)(void *user, const char *what, const char *unit, uint64_t done, uint64_t total);
    void *user;
} nb_progress;

static inline bool nb_progress_step(const nb_progress *p, const char *what, const char *unit, uint64_t done,
                                    uint64_t total) {
    return !p || !p->step || p->step(p->user, what, unit, done, total);
}

#endif
