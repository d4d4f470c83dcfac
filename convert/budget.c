#include "convert/budget.h"

#include <math.h>
#include <stdio.h>

#include "base/mem.h"
#include "convert/choose.h"

/* ---- the knapsack ----
 *
 * Exact but for rounding: what is left of the budget beyond the smallest types is counted in UNITS units, costs are
 * rounded up to them. best[u] is the least divergence of the items so far with at most u units, by dynamic
 * programming. */

enum { UNITS = 16384 };

static nb_type smallest_type(const nb_budget_item *item) {
    nb_type smallest = NB_TYPE_COUNT;
    for (int t = 0; t < NB_TYPE_COUNT; t++)
        if (item->bytes[t] && (smallest == NB_TYPE_COUNT || item->bytes[t] < item->bytes[smallest]))
            smallest = (nb_type)t;
    return smallest;
}

uint64_t nb_budget_least(const nb_budget_item *items, size_t n) {
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++) sum += items[i].bytes[smallest_type(&items[i])];
    return sum;
}

static uint64_t most_bytes(const nb_budget_item *items, size_t n) {
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t most = 0;
        for (int t = 0; t < NB_TYPE_COUNT; t++) most = items[i].bytes[t] > most ? items[i].bytes[t] : most;
        sum += most;
    }
    return sum;
}

static size_t units_of(const nb_budget_item *item, nb_type type, uint64_t unit) {
    return (size_t)((item->bytes[type] - item->bytes[smallest_type(item)] + unit - 1) / unit);
}

/* best becomes that of one item more; chosen[u] is its type. From the most units down, so that each counts once. */
static void add_item(const nb_budget_item *item, uint64_t unit, double *best, uint8_t *chosen) {
    for (size_t u = UNITS + 1; u-- > 0;) {
        double least = (double)INFINITY;
        for (int t = 0; t < NB_TYPE_COUNT; t++) {
            size_t units = item->bytes[t] ? units_of(item, (nb_type)t, unit) : UNITS + 1;
            if (units > u || !(best[u - units] + item->divergence[t] < least)) continue;
            least = best[u - units] + item->divergence[t];
            chosen[u] = (uint8_t)t;
        }
        best[u] = least;
    }
}

nb_status nb_budget_spend(const nb_budget *b, nb_budget_item *items, size_t n, nb_error *err) {
    if (n > UNITS / 2) return nb_fail(err, NB_LIMIT, "types can be chosen for %d matrices, not for %zu", UNITS / 2, n);
    uint64_t least = nb_budget_least(items, n), most = most_bytes(items, n), bytes = b->bytes < most ? b->bytes : most;
    uint64_t unit = bytes > least ? (bytes - least + UNITS - n - 1) / (UNITS - n) : 1;
    /* Where all can have the largest types, the units that rounding up takes are there too. */
    size_t u = bytes == most ? UNITS : (size_t)((bytes - least) / unit);
    double *best = nb_calloc(UNITS + 1, sizeof *best);
    uint8_t *chosen = nb_calloc(n, UNITS + 1);
    nb_status st = best && chosen ? NB_OK : nb_oom(err, "a budget", n * (UNITS + 1));
    for (size_t i = 0; !st && i < n; i++) add_item(&items[i], unit, best, chosen + i * (UNITS + 1));
    while (!st && u > 0 && best[u - 1] <= b->divergence) u--;
    for (size_t i = n; !st && i-- > 0;) {
        items[i].type = (nb_type)chosen[i * (UNITS + 1) + u];
        u -= units_of(&items[i], items[i].type, unit);
    }
    nb_free(best);
    nb_free(chosen);
    return st;
}

/* ---- measuring ---- */

/* What a matrix would be in a type: the weight that can take the exact one's place. `panels` is owned by the caller. */
static nb_status quantize(nb_emit *e, nb_plan_tensor *t, nb_type type, uint8_t **panels, nb_weight *w, double *noise,
                          nb_error *err) {
    uint64_t panel_bytes = 0, bytes = 0;
    if (!nb_panel_bytes(type, t->spec.cols, &panel_bytes) || !nb_panels_bytes(type, t->spec.rows, t->spec.cols, &bytes))
        return nb_fail(err, NB_LIMIT, "tensor '%s' is too large", t->name);
    *panels = nb_alloc((size_t)bytes);
    if (!*panels) return nb_oom(err, "a quantized matrix", (size_t)bytes);
    *w = (nb_weight){.data = *panels, .rows = t->spec.rows, .cols = t->spec.cols, .panel_bytes = panel_bytes,
                     .type = type};
    e->error = (nb_quant_error){0};
    t->type = type;
    nb_status st = nb_emit_quantize(e, t, *panels, w->codebook, err);
    *noise = e->error.output > 0 ? e->error.output_noise : e->error.noise;
    return st;
}

static nb_status measure_item(nb_emit *e, nb_plan_tensor *t, nb_budget_item *item, nb_error *err) {
    double noise[NB_TYPE_COUNT] = {0}, smallest = 0;
    nb_status st = NB_OK;
    for (int type = 0; type < NB_TYPE_COUNT; type++)
        if (nb_types[type].scaled) nb_panels_bytes((nb_type)type, t->spec.rows, t->spec.cols, &item->bytes[type]);
    nb_type first = smallest_type(item);
    for (int i = 0; !st && i < NB_TYPE_COUNT; i++) {
        nb_weight w;
        uint8_t *panels = NULL;
        if (!item->bytes[i]) continue;
        st = quantize(e, t, (nb_type)i, &panels, &w, &noise[i], err);
        if (!st && (nb_type)i == first) st = nb_calibration_divergence(e->calibration, t, &w, &smallest, err);
        nb_free(panels);
    }
    for (int i = 0; i < NB_TYPE_COUNT; i++)
        if (item->bytes[i]) item->divergence[i] = noise[first] > 0 ? smallest * noise[i] / noise[first] : 0;
    t->type = first;
    return st;
}

/* What matrices may cost, and what the smallest types do. */
typedef struct account {
    uint64_t weights, spent;
    double divergence;
} account;

static account add_up(nb_plan_tensor *const *tensors, const nb_budget_item *items, size_t n) {
    account a = {0};
    for (size_t i = 0; i < n; i++) {
        a.weights += tensors[i]->spec.rows * tensors[i]->spec.cols;
        a.spent += items[i].bytes[items[i].type];
        a.divergence += items[i].divergence[items[i].type];
    }
    return a;
}

static nb_status spend(nb_plan_tensor **tensors, nb_budget_item *items, size_t n, double bits, char *told,
                       size_t told_size, nb_error *err) {
    uint64_t least = nb_budget_least(items, n);
    for (size_t i = 0; i < n; i++) items[i].type = smallest_type(&items[i]);
    account a = add_up(tensors, items, n);
    nb_budget b = {.bytes = UINT64_MAX, .divergence = NB_BUDGET_ENOUGH};
    if (bits > 0) b = (nb_budget){.bytes = (uint64_t)(bits * (double)a.weights / 8), .divergence = -1};
    if (b.bytes < least)
        return nb_fail(err, NB_ARGUMENT, "%g bits per weight are too few: the smallest types take %.2f", bits,
                       8 * (double)least / (double)a.weights);
    nb_status st = nb_budget_spend(&b, items, n, err);
    if (st) return st;
    for (size_t i = 0; i < n; i++) tensors[i]->type = items[i].type;
    a = add_up(tensors, items, n);
    snprintf(told, told_size,
             "%.2f bits per weight, with a divergence of %.2g nats by the sum of what single matrices cause",
             8 * (double)a.spent / (double)a.weights, a.divergence);
    return NB_OK;
}

nb_status nb_budget_choose(nb_plan *plan, nb_emit *e, double bits, char *told, size_t told_size, nb_error *err) {
    nb_budget_item *items = nb_calloc(plan->n, sizeof *items);
    nb_plan_tensor **tensors = nb_calloc(plan->n, sizeof *tensors);
    nb_status st = items && tensors ? NB_OK : nb_oom(err, "the list of matrices", plan->n * sizeof *items);
    size_t n = 0;
    for (size_t i = 0; !st && i < plan->n; i++) {
        nb_plan_tensor *t = &plan->tensors[i];
        if (!nb_plan_is_matrix(t) || t->pinned) continue;
        tensors[n] = t;
        st = measure_item(e, t, &items[n++], err);
    }
    if (!st && !n) st = nb_fail(err, NB_ARGUMENT, "there is no matrix whose type could be chosen");
    if (!st) st = spend(tensors, items, n, bits, told, told_size, err);
    nb_free(items);
    nb_free(tensors);
    return st;
}
