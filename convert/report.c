#include "convert/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/checked.h"
#include "base/mem.h"
#include "convert/plan.h"

static void name_class(nb_convert_tensor *to, const nb_tensor_spec *spec) {
    static const char ending[] = ".weight";
    to->matrix = spec->kind == NB_KIND_MATRIX || spec->kind == NB_KIND_EMBED;
    snprintf(to->class, sizeof to->class, "%s", to->matrix ? spec->name : "vectors");
    size_t n = strlen(to->class), end = sizeof ending - 1;
    if (n > end && !strcmp(to->class + n - end, ending)) to->class[n - end] = '\0';
}

static nb_status make_room(nb_convert_list *list, nb_error *err) {
    size_t old = list->capacity * sizeof *list->tensors, bytes = nb_max_size(64 * sizeof *list->tensors, 2 * old);
    nb_convert_tensor *grown = nb_realloc(list->tensors, old, bytes);
    if (!grown) return nb_oom(err, "the list of tensors", bytes);
    list->tensors = grown;
    list->capacity = bytes / sizeof *grown;
    return NB_OK;
}

nb_status nb_convert_list_add(nb_convert_list *list, const nb_plan_tensor *t, uint64_t raw_bytes,
                              const nb_quant_error *error, nb_error *err) {
    nb_status st = list->n == list->capacity ? make_room(list, err) : NB_OK;
    if (st) return st;
    nb_convert_tensor *to = &list->tensors[list->n++];
    *to = (nb_convert_tensor){.layer = -1, .type = t->type, .rows = t->spec.rows, .cols = t->spec.cols, .raw_bytes = raw_bytes,
                              .error = *error};
    memcpy(to->name, t->name, sizeof to->name);
    name_class(to, &t->spec);
    if (t->spec.scope == NB_SCOPE_LAYER) to->layer = (int32_t)strtol(t->name + sizeof "blocks." - 1, NULL, 10);
    return NB_OK;
}

void nb_convert_list_free(nb_convert_list *list) {
    nb_free(list->tensors);
    *list = (nb_convert_list){0};
}

nb_quant_error nb_convert_total(const nb_convert_list *list) {
    nb_quant_error total = {0};
    for (size_t i = 0; i < list->n; i++) nb_quant_error_join(&total, &list->tensors[i].error);
    return total;
}

static nb_convert_class *class_of(nb_convert_class *classes, size_t *n, const nb_convert_tensor *t) {
    for (size_t i = 0; i < *n; i++)
        if (!strcmp(classes[i].name, t->class)) return &classes[i];
    classes[*n] = (nb_convert_class){.name = t->class, .matrix = t->matrix};
    return &classes[(*n)++];
}

/* The vectors' class, when there is one, goes behind the others. */
static void vectors_last(nb_convert_class *classes, size_t n) {
    for (size_t i = 0; i + 1 < n; i++)
        if (!classes[i].matrix) {
            nb_convert_class moved = classes[i];
            memmove(classes + i, classes + i + 1, (n - 1 - i) * sizeof *classes);
            classes[n - 1] = moved;
        }
}

nb_status nb_convert_classes(const nb_convert_list *list, nb_convert_class **classes, size_t *n, nb_error *err) {
    *n = 0;
    *classes = nb_calloc(list->n, sizeof **classes);
    if (!*classes) return nb_oom(err, "the classes of tensors", list->n * sizeof **classes);
    for (const nb_convert_tensor *t = list->tensors; t < list->tensors + list->n; t++) {
        nb_convert_class *c = class_of(*classes, n, t);
        c->n++;
        c->parameters += t->rows * t->cols;
        c->raw_bytes += t->raw_bytes;
        nb_quant_error_join(&c->error, &t->error);
    }
    vectors_last(*classes, *n);
    return NB_OK;
}

double nb_convert_loss(const nb_quant_error *error) {
    if (error->output > 0) return error->output_noise / error->output;
    return error->signal > 0 ? error->noise / error->signal : 0;
}
