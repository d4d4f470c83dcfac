#include "convert/exact.h"

#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "convert/rotate.h"

static nb_type exact_type_of(const nb_plan_part *p) {
    bool changed = p->offset != 0.0f || (p->gain != 0.0f && p->gain != 1.0f);
    if (changed) return NB_TYPE_F32;
    nb_dtype dtype = p->tensor->dtype;
    return dtype == NB_DTYPE_BF16 ? NB_TYPE_BF16 : dtype == NB_DTYPE_F16 ? NB_TYPE_F16 : NB_TYPE_F32;
}

/* The type of all tensors, or f32 when they differ. */
static nb_type exact_type(const nb_plan *plan) {
    nb_type type = NB_TYPE_COUNT;
    for (size_t i = 0; i < plan->n; i++)
        for (size_t p = 0; p < plan->tensors[i].n_parts; p++) {
            nb_type its = exact_type_of(&plan->tensors[i].parts[p]);
            if (type != NB_TYPE_COUNT && its != type) return NB_TYPE_F32;
            type = its;
        }
    return type == NB_TYPE_COUNT ? NB_TYPE_F32 : type;
}

nb_status nb_trial_open(nb_model **model, const char *source, const char *target, const nb_convert_options *options,
                        nb_error *err) {
    nb_convert_options o = *options;
    o.store = NB_STORE_RAW; /* used in place: only what is read is in memory */
    o.overwrite = true;
    o.say = NULL;
    o.list = NULL;
    nb_buf path = {0};
    nb_buf_printf(&path, "%s.trial.tmp", target);
    nb_status st = path.failed ? nb_oom(err, "a file's name", path.size)
                               : nb_convert(source, nb_buf_str(&path), &o, NULL, err);
    const nb_model_options how = {.team = o.team};
    if (!st) st = nb_model_open(model, nb_buf_str(&path), &how, err);
    if (!path.failed) unlink(nb_buf_str(&path));
    nb_buf_free(&path);
    return st;
}

nb_status nb_exact_open(nb_model **model, const char *source, const char *target, const nb_convert_options *options,
                        const nb_plan *plan, nb_error *err) {
    nb_convert_options o = *options;
    bool changed = o.n_loras || (o.rotate & NB_ROTATE_WEIGHTS); /* sums of weights need f32 */
    o.calibrate = NULL;
    o.bits = 0;
    o.automatic = false;
    o.type = changed ? NB_TYPE_F32 : exact_type(plan);
    o.n_rules = 0;
    return nb_trial_open(model, source, target, &o, err);
}
