/* A persistent team of threads.
 *
 * The caller of nb_team_run is member 0 and works too, so a team of size 1 has no threads at all. Members spin for a
 * few microseconds between jobs and then sleep. A team runs one job at a time and belongs to one calling thread; jobs
 * must not start jobs on the same team. Results must not depend on which member does which share: every job here
 * writes disjoint outputs. */
#ifndef NB_BASE_TEAM_H
#define NB_BASE_TEAM_H

#include <stddef.h>
#include "base/status.h"

typedef struct nb_team nb_team;

enum { NB_TEAM_MAX = 256 };

/* n_threads 1..NB_TEAM_MAX; 0 means nb_physical_cores(). */
nb_status nb_team_create(nb_team **team, int n_threads, nb_error *err);
void nb_team_free(nb_team *team); /* accepts NULL */
int nb_team_size(const nb_team *team); /* a NULL team has size 1 */

/* Run fn(arg, member) once on every member, 0 <= member < size, and wait for all. A NULL team runs member 0 only. */
void nb_team_run(nb_team *team, void (*fn)(void *arg, int member), void *arg);

/* Split [0, n_items) into shares and run fn(arg, begin, end, member) for each; returns when all are done. Every member
 * goes through an even part of its own in ascending order and then helps with the others', so a slow core does less.
 * Shares become smaller towards the end of a part, down to `share` items (>= 1), of which all but the last are a
 * multiple. */
void nb_team_for(nb_team *team, size_t n_items, size_t share,
                 void (*fn)(void *arg, size_t begin, size_t end, int member), void *arg);

/* A later nb_team_for over n_items in the same shares will read item i at data + i * item_bytes: a member that waits
 * fetches the beginning of its part into its cache, so that memory works while one thread does alone what cannot be
 * shared. Holds from the end of the next job until it is said anew; NULL: nothing is expected. A hint, which decides
 * nothing. */
void nb_team_expect(nb_team *team, const void *data, size_t item_bytes, size_t n_items, size_t share);

/* Physical cores, and logical CPUs, of which SMT gives a core several, that this process may use at once: by its
 * affinity and, on Linux, by the quota of its control group (base/quota.h). At least 1. */
int nb_physical_cores(void);
int nb_usable_cpus(void);

#endif
