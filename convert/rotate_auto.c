#include "convert/rotate_auto.h"

#include "base/checked.h"
#include "base/mem.h"
#include "convert/divergence.h"
#include "convert/exact.h"
#include "convert/rotate.h"
#include "core/score.h"

/* Subsets of some rotations and those of the others are no more than the subsets of all. */
_Static_assert(1 << NB_ROTATION_COUNT <= NB_ROTATION_TRIALS, "room for all trials");
_Static_assert((int)NB_ROTATION_TRIALS <= (int)NB_DIVERGENCE_READERS, "all can read side by side");

typedef struct chooser {
    const char *source, *target;
    const nb_convert_options *o;
    const nb_hparams *h;
    nb_model *exact;
    const nb_reading *reading;
    nb_rotation_trials *trials;
    nb_divergence_reader readers[NB_ROTATION_TRIALS]; /* of the trials */
    nb_model *models[NB_ROTATION_TRIALS];             /* made for them; NULL: the exact one */
    size_t n;                                         /* tokens of a trial */
    double *divergence;                               /* [trials][n] */
    nb_error *err;
} chooser;

/* ---- the trials ---- */

/* The model as it would be written, with a set of rotations. */
static nb_status weights_trial(chooser *c, unsigned set, nb_divergence_reader *r, nb_model **model) {
    nb_convert_options o = *c->o;
    o.rotate = set;
    o.reading = c->reading;
    nb_status st = nb_trial_open(model, c->source, c->target, &o, c->err);
    *r = (nb_divergence_reader){.model = *model, .rotate_qk = c->h->qk_rotate};
    return st;
}

/* The exact weights with a cache in q8. */
static nb_status cache_trial(chooser *c, unsigned set, nb_divergence_reader *r, nb_model **model) {
    *model = NULL;
    *r = (nb_divergence_reader){.model = c->exact, .kv = {.keys = NB_KV_Q8, .values = NB_KV_Q8}, .rotate_qk = set != 0};
    return NB_OK;
}

typedef nb_status (*trial_fn)(chooser *c, unsigned set, nb_divergence_reader *r, nb_model **model);

/* A trial for every subset of `sets`, none first; no trial where there is nothing to choose. */
static nb_status add_trials(chooser *c, const char *what, trial_fn fn, unsigned sets) {
    nb_status st = NB_OK;
    for (unsigned set = 0; sets && !st && set <= sets; set++) {
        if (set & ~sets) continue;
        size_t i = c->trials->n++;
        c->trials->list[i] = (nb_rotation_trial){.what = what, .set = set};
        st = fn(c, set, &c->readers[i], &c->models[i]);
    }
    return st;
}

/* Of the trials [first, end), the first being without rotations: those that gain more than `errors` standard errors and
 * more than `share` of the divergence are better, and the best is kept. */
static unsigned choose(chooser *c, size_t first, size_t end, double errors, double share) {
    nb_rotation_trial *list = c->trials->list, *best = &list[first];
    for (nb_rotation_trial *t = best; t < list + end; t++) {
        double *plain = c->divergence + first * c->n, *turned = c->divergence + (size_t)(t - list) * c->n;
        t->divergence = nb_mean_of(turned, c->n);
        if (!t->set) continue;
        for (size_t i = 0; i < c->n; i++) turned[i] = plain[i] - turned[i];
        t->gain = nb_mean_of(turned, c->n);
        bool better = t->gain.mean > errors * t->gain.error && t->gain.mean > share * list[first].divergence.mean;
        if (better && t->divergence.mean < best->divergence.mean) best = t;
    }
    if (first == end) return 0;
    best->kept = true;
    return best->set;
}

static unsigned possible(const nb_hparams *h, unsigned sets) {
    for (int i = 0; i < NB_ROTATION_COUNT; i++)
        if (nb_rotation_obstacle(i, h)) sets &= ~(1u << i);
    return sets;
}

static bool any_quantized(const nb_plan *plan) {
    for (size_t i = 0; i < plan->n; i++)
        if (nb_types[plan->tensors[i].type].scaled) return true;
    return false;
}

static nb_status try_all(chooser *c, const nb_plan *plan, unsigned *set) {
    unsigned weights = any_quantized(plan) ? possible(c->h, NB_ROTATE_WEIGHTS) : 0;
    unsigned cache = c->h->qk_rotate ? 0 : possible(c->h, NB_ROTATE_QK); /* --set qk_rotate=1 has decided */
    nb_status st = add_trials(c, "weights", weights_trial, weights);
    size_t n_weights = c->trials->n;
    if (!st) st = add_trials(c, "q8 cache", cache_trial, cache);
    if (st || !c->trials->n) return st;
    c->n = c->trials->tokens = nb_min_size(c->reading->ids.size, NB_ROTATE_TOKENS);
    size_t bytes = c->trials->n * c->n * sizeof *c->divergence;
    c->divergence = nb_alloc(bytes);
    if (!c->divergence) return nb_oom(c->err, "divergences", bytes);
    const nb_divergence_job job = {.exact = {.model = c->exact, .rotate_qk = c->h->qk_rotate}, .readers = c->readers,
                                   .n_readers = c->trials->n, .ids = c->reading->ids.data, .n = c->n,
                                   .window = c->reading->window, .team = c->o->team, .progress = c->o->progress};
    st = nb_divergence_measure(&job, c->divergence, c->err);
    if (st) return st;
    *set = choose(c, 0, n_weights, NB_ROTATE_ERRORS_WEIGHTS, 0);
    *set |= choose(c, n_weights, c->trials->n, NB_ROTATE_ERRORS_CACHE, 1.0 / NB_ROTATE_PART_CACHE);
    return NB_OK;
}

nb_status nb_rotate_choose(const char *source, const char *target, const nb_convert_options *o, const nb_plan *plan,
                           const nb_hparams *h, unsigned *set, nb_rotation_trials *trials, nb_reading *reading,
                           nb_error *err) {
    chooser c = {.source = source, .target = target, .o = o, .h = h, .reading = reading, .trials = trials, .err = err};
    nb_convert_options plain = *o;
    size_t most = o->calibrate ? NB_CALIBRATE_TOKENS : NB_ROTATE_TOKENS;
    const char *text = o->calibrate ? o->calibrate : NB_CALIBRATE_SELF;
    plain.rotate = 0;
    *set = 0;
    *trials = (nb_rotation_trials){0};
    nb_status st = nb_exact_open(&c.exact, source, target, &plain, plan, err);
    if (!st) st = nb_reading_make(reading, c.exact, text, most, o->team, o->progress, err);
    if (!st) st = try_all(&c, plan, set);
    for (size_t i = 0; i < trials->n; i++) nb_model_free(c.models[i]);
    nb_model_free(c.exact);
    nb_free(c.divergence);
    return st;
}
