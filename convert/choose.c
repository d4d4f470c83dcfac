#include "convert/choose.h"

#include <fnmatch.h>
#include <stdio.h>
#include <string.h>
#include "base/checked.h"

bool nb_plan_is_matrix(const nb_plan_tensor *t) {
    return t->spec.kind == NB_KIND_MATRIX || t->spec.kind == NB_KIND_EMBED;
}

static bool fits_name(const char *pattern, const char *name) {
    static const char ending[] = ".weight";
    char short_name[512];
    size_t n = strlen(name), end = sizeof ending - 1;
    if (!fnmatch(pattern, name, 0)) return true;
    if (n <= end || n - end >= sizeof short_name || strcmp(name + n - end, ending) != 0) return false;
    memcpy(short_name, name, n - end);
    short_name[n - end] = '\0';
    return !fnmatch(pattern, short_name, 0);
}

static bool fits(const char *pattern, const nb_plan_tensor *t) {
    bool found = fits_name(pattern, t->name);
    for (size_t i = 0; !found && i < t->n_parts; i++) found = fits_name(pattern, t->parts[i].tensor->name);
    return found;
}

nb_status nb_choose_types(nb_plan *plan, const nb_convert_options *o, nb_error *err) {
    for (size_t i = 0; i < plan->n; i++) {
        nb_plan_tensor *t = &plan->tensors[i];
        bool spared = t->spec.kind == NB_KIND_EMBED && o->type == NB_TYPE_Q4;
        t->type = !nb_plan_is_matrix(t) ? NB_TYPE_F32 : spared ? NB_TYPE_Q8 : o->type;
    }
    for (size_t r = 0; r < o->n_rules; r++) {
        bool used = false;
        for (size_t i = 0; i < plan->n; i++) {
            nb_plan_tensor *t = &plan->tensors[i];
            if (!nb_plan_is_matrix(t) || !fits(o->rules[r].pattern, t)) continue;
            t->type = o->rules[r].type;
            t->pinned = true;
            used = true;
        }
        if (!used)
            return nb_fail(err, NB_ARGUMENT, "no matrix is named like '%s'; tensors are named from '%s' to '%s'",
                           o->rules[r].pattern, plan->tensors[0].name, plan->tensors[plan->n - 1].name);
    }
    return NB_OK;
}

nb_status nb_plan_bytes(const nb_plan *plan, uint64_t *bytes, nb_error *err) {
    *bytes = 0;
    for (size_t i = 0; i < plan->n; i++) {
        const nb_plan_tensor *t = &plan->tensors[i];
        uint64_t count, raw = 0;
        bool fine = nb_mul_u64(t->spec.rows, t->spec.cols, &count) &&
                    (nb_plan_is_matrix(t) ? nb_panels_bytes(t->type, t->spec.rows, t->spec.cols, &raw)
                                  : nb_plain_bytes(t->type, count, &raw));
        if (!fine || !nb_add_u64(*bytes, raw, bytes))
            return nb_fail(err, NB_LIMIT, "tensor '%s' is too large", t->name);
    }
    return NB_OK;
}

void nb_choice_text(const nb_plan *plan, char *text, size_t n) {
    size_t matrices[NB_TYPE_COUNT] = {0}, vectors = 0, at = 0;
    for (size_t i = 0; i < plan->n; i++) {
        if (nb_plan_is_matrix(&plan->tensors[i])) matrices[plan->tensors[i].type]++;
        else vectors++;
    }
    text[0] = '\0';
    for (size_t type = 0; type < NB_TYPE_COUNT && at < n; type++) {
        if (!matrices[type]) continue;
        at += (size_t)snprintf(text + at, n - at, "%s%zu %s in %s", at ? ", " : "", matrices[type],
                               matrices[type] == 1 ? "matrix" : "matrices", nb_types[type].name);
    }
    if (at < n && vectors)
        snprintf(text + at, n - at, "%s%zu vector%s in f32", at ? ", " : "", vectors, vectors == 1 ? "" : "s");
}
