#include "convert/rotate_auto.h"

#include <string.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/checked.h"
#include "base/mem.h"
#include "convert/divergence.h"
#include "convert/exact.h"
#include "convert/rotate.h"
#include "core/score.h"

typedef struct chooser {
    const char *source, *target;
    const nb_convert_options *o;
    const nb_hparams *h;
    nb_model *exact;
    const nb_reading *reading;
    nb_rotation_trials *trials;
    size_t n;           /* tokens of a trial */
    double *plain, *turned; /* [n] divergences without rotations, and with those of a trial */
    nb_error *err;
} chooser;

/* ---- one trial ---- */

static nb_status measure(const chooser *c, const nb_model *changed, nb_kv_types kv, double *divergence) {
    const nb_divergence_job job = {.exact = c->exact, .changed = changed, .kv = kv, .ids = c->reading->ids.data, .n = c->n,
                                   .window = c->reading->window, .team = c->o->team, .progress = c->o->progress};
    return nb_divergence_measure(&job, divergence, c->err);
}

/* The model as it would be written, with a set of rotations. */
static nb_status measure_weights(const chooser *c, unsigned set, double *divergence) {
    nb_convert_options o = *c->o;
    nb_model *changed = NULL;
    nb_buf path = {0};
    o.rotate = set;
    o.reading = c->reading;
    o.store = NB_STORE_RAW;
    o.overwrite = true;
    o.say = NULL;
    o.list = NULL;
    nb_buf_printf(&path, "%s.rotate.tmp", c->target);
    if (path.failed) return nb_oom(c->err, "a file's name", path.size);
    const nb_model_options how = {.team = o.team};
    nb_status st = nb_convert(c->source, nb_buf_str(&path), &o, NULL, c->err);
    if (!st) st = nb_model_open(&changed, nb_buf_str(&path), &how, c->err);
    if (!st) st = measure(c, changed, (nb_kv_types){0}, divergence);
    nb_model_free(changed);
    unlink(nb_buf_str(&path));
    nb_buf_free(&path);
    return st;
}

/* The exact weights with a cache in q8. */
static nb_status measure_cache(const chooser *c, unsigned set, double *divergence) {
    nb_model_rotate_qk(c->exact, set != 0);
    nb_status st = measure(c, c->exact, (nb_kv_types){.keys = NB_KV_Q8, .values = NB_KV_Q8}, divergence);
    nb_model_rotate_qk(c->exact, false);
    return st;
}

/* ---- all of them ---- */

typedef nb_status (*measure_fn)(const chooser *c, unsigned set, double *divergence);

/* Try the subsets of `sets`, none first; of those that gain more than `errors` standard errors the best is kept, and added to
 * *kept. */
static nb_status try_sets(chooser *c, const char *what, measure_fn fn, unsigned sets, double errors, unsigned *kept) {
    nb_rotation_trials *all = c->trials;
    nb_rotation_trial *best = &all->list[all->n];
    nb_status st = NB_OK;
    for (unsigned set = 0; !st && set <= sets; set++) {
        if (set & ~sets) continue;
        nb_rotation_trial *t = &all->list[all->n];
        st = fn(c, set, set ? c->turned : c->plain);
        if (st) break;
        *t = (nb_rotation_trial){.what = what, .set = set, .divergence = nb_mean_of(set ? c->turned : c->plain, c->n)};
        for (size_t i = 0; set && i < c->n; i++) c->turned[i] = c->plain[i] - c->turned[i];
        if (set) t->gain = nb_mean_of(c->turned, c->n);
        if (t->gain.mean > errors * t->gain.error && t->divergence.mean < best->divergence.mean) best = t;
        all->n++;
    }
    if (!st) best->kept = true;
    *kept |= st ? 0 : best->set;
    return st;
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
    nb_status st = NB_OK;
    c->n = nb_min_size(c->reading->ids.size, NB_ROTATE_TOKENS);
    c->trials->tokens = c->n;
    c->plain = nb_alloc(2 * c->n * sizeof *c->plain);
    if (!c->plain) return nb_oom(c->err, "divergences", 2 * c->n * sizeof *c->plain);
    c->turned = c->plain + c->n;
    if (weights) st = try_sets(c, "weights", measure_weights, weights, NB_ROTATE_ERRORS_WEIGHTS, set);
    if (!st && cache) st = try_sets(c, "q8 cache", measure_cache, cache, NB_ROTATE_ERRORS_CACHE, set);
    nb_free(c->plain);
    return st;
}

nb_status nb_rotate_choose(const char *source, const char *target, const nb_convert_options *o, const nb_plan *plan,
                           const nb_hparams *h, unsigned *set, nb_rotation_trials *trials, nb_reading *reading,
                           nb_error *err) {
    chooser c = {.source = source, .target = target, .o = o, .h = h, .reading = reading, .trials = trials, .err = err};
    *set = 0;
    *trials = (nb_rotation_trials){0};
    nb_convert_options plain = *o;
    plain.rotate = 0;
    nb_status st = nb_exact_open(&c.exact, source, target, &plain, plan, err);
    size_t most = o->calibrate ? NB_CALIBRATE_TOKENS : NB_ROTATE_TOKENS;
    if (!st) st = nb_reading_make(reading, c.exact, o->calibrate ? o->calibrate : NB_CALIBRATE_SELF, most, o->team, o->progress, err);
    if (!st) st = try_all(&c, plan, set);
    nb_model_free(c.exact);
    return st;
}
