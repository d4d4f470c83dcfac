#include "core/hparams.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

const nb_hparam_info nb_hparam_list[] = {
#define HPARAM(name_, KIND, required_, def, min_, max_, doc_)                                              \
    {.name = #name_, .kind = NB_HPARAM_##KIND, .required = required_, .default_value = (double)(def),      \
     .min = (double)(min_), .max = (double)(max_), .offset = offsetof(nb_hparams, name_), .doc = doc_},
#include "core/hparams.def"
#undef HPARAM
};
const size_t nb_hparam_count = sizeof nb_hparam_list / sizeof *nb_hparam_list;

/* The values of the enumerated kinds and their names. */
static const struct {
    nb_hparam_kind kind;
    uint32_t value;
    const char *name;
} enums[] = {
#define HPARAM(name, KIND, required, def, min, max, doc)
#define HPARAM_ENUM(KIND, VALUE, name_) {NB_HPARAM_##KIND, VALUE, name_},
#include "core/hparams.def"
#undef HPARAM
};
enum { N_ENUMS = sizeof enums / sizeof *enums };

static bool is_enum(nb_hparam_kind kind) {
    return kind != NB_HPARAM_U32 && kind != NB_HPARAM_F32 && kind != NB_HPARAM_BOOL;
}

static void *field(nb_hparams *h, const nb_hparam_info *p) { return (char *)h + p->offset; }
static const void *stored(const nb_hparams *h, const nb_hparam_info *p) { return (const char *)h + p->offset; }
static uint32_t *field_u32(nb_hparams *h, const nb_hparam_info *p) { return field(h, p); }
static float *field_f32(nb_hparams *h, const nb_hparam_info *p) { return field(h, p); }
static uint32_t value_u32(const nb_hparams *h, const nb_hparam_info *p) { return *(const uint32_t *)stored(h, p); }
static float value_f32(const nb_hparams *h, const nb_hparam_info *p) { return *(const float *)stored(h, p); }

static const nb_hparam_info *find(const char *name) {
    for (size_t i = 0; i < nb_hparam_count; i++)
        if (strcmp(nb_hparam_list[i].name, name) == 0) return &nb_hparam_list[i];
    return NULL;
}

static void append(char *list, size_t size, const char *item) {
    if (*list) strncat(list, ", ", size - strlen(list) - 1);
    strncat(list, item, size - strlen(list) - 1);
}

void nb_hparams_default(nb_hparams *h) {
    for (size_t i = 0; i < nb_hparam_count; i++) {
        const nb_hparam_info *p = &nb_hparam_list[i];
        if (p->kind == NB_HPARAM_F32) *field_f32(h, p) = (float)p->default_value;
        else *field_u32(h, p) = (uint32_t)p->default_value;
    }
}

static nb_status unknown(const char *name, nb_error *err) {
    char list[1024] = "";
    for (size_t i = 0; i < nb_hparam_count; i++) append(list, sizeof list, nb_hparam_list[i].name);
    return nb_fail(err, NB_ARGUMENT, "unknown hyperparameter '%s'; known are %s", name, list);
}

static nb_status check_range(const nb_hparam_info *p, double v, nb_error *err) {
    if (v >= p->min && v <= p->max && (p->kind == NB_HPARAM_F32 || v == floor(v))) return NB_OK;
    return nb_fail(err, NB_ARGUMENT, "hyperparameter %s: expected %s from %g to %g, found %.9g", p->name,
                   p->kind == NB_HPARAM_F32 ? "a number" : "a whole number", p->min, p->max, v);
}

static nb_status set_number(nb_hparams *h, const nb_hparam_info *p, double v, nb_error *err) {
    nb_status st = check_range(p, v, err);
    if (st) return st;
    if (p->kind == NB_HPARAM_F32) *field_f32(h, p) = (float)v;
    else *field_u32(h, p) = (uint32_t)v;
    return NB_OK;
}

static nb_status set_name(nb_hparams *h, const nb_hparam_info *p, const char *value, nb_error *err) {
    char list[256] = "";
    for (size_t i = 0; i < N_ENUMS; i++) {
        if (enums[i].kind != p->kind) continue;
        if (strcmp(enums[i].name, value) == 0) {
            *field_u32(h, p) = enums[i].value;
            return NB_OK;
        }
        append(list, sizeof list, enums[i].name);
    }
    return nb_fail(err, NB_ARGUMENT, "hyperparameter %s: expected one of %s, found '%s'", p->name, list, value);
}

nb_status nb_hparams_set(nb_hparams *h, const char *name, const char *value, nb_error *err) {
    const nb_hparam_info *p = find(name);
    if (!p) return unknown(name, err);
    if (is_enum(p->kind)) return set_name(h, p, value, err);
    if (p->kind == NB_HPARAM_BOOL && strcmp(value, "true") == 0) return set_number(h, p, 1, err);
    if (p->kind == NB_HPARAM_BOOL && strcmp(value, "false") == 0) return set_number(h, p, 0, err);
    char *end;
    double v = strtod(value, &end);
    if (end == value || *end)
        return nb_fail(err, NB_ARGUMENT, "hyperparameter %s: expected a number, found '%s'", name, value);
    return set_number(h, p, v, err);
}

nb_status nb_hparams_check(const nb_hparams *h, nb_error *err) {
    for (size_t i = 0; i < nb_hparam_count; i++) {
        const nb_hparam_info *p = &nb_hparam_list[i];
        if (p->required && value_u32(h, p) == 0)
            return nb_fail(err, NB_MISSING, "hyperparameter %s (%s) is missing", p->name, p->doc);
        if (is_enum(p->kind)) continue;
        double v = p->kind == NB_HPARAM_F32 ? (double)value_f32(h, p) : (double)value_u32(h, p);
        nb_status st = check_range(p, v, err);
        if (st) return st;
    }
    if (h->n_head % h->n_kv_head != 0)
        return nb_fail(err, NB_ARGUMENT, "n_head %u is not a multiple of n_kv_head %u", h->n_head, h->n_kv_head);
    if (h->pos != NB_POS_ROPE && h->rope_kinds > 1)
        return nb_fail(err, NB_ARGUMENT, "rope_kinds is %u, but positions are not rotary", h->rope_kinds);
    if (h->pos == NB_POS_ROPE && h->head_dim % 2 != 0)
        return nb_fail(err, NB_ARGUMENT, "rotary positions need an even head_dim, found %u", h->head_dim);
    if (!(h->norm_eps > 0.0f))
        return nb_fail(err, NB_ARGUMENT, "norm_eps must be positive, found %g", (double)h->norm_eps);
    if (h->norm == NB_NORM_RMS && h->norm_bias)
        return nb_fail(err, NB_ARGUMENT, "norm_bias is set, but RMS norms have no bias");
    if (h->qk_norm == NB_QKNORM_NONE && h->qk_norm_weight)
        return nb_fail(err, NB_ARGUMENT, "qk_norm_weight is set, but qk_norm is none");
    if (h->smear_channels > h->n_embd || h->value_channels > h->n_embd)
        return nb_fail(err, NB_ARGUMENT, "gates over %u and %u channels were asked for, but there are %u",
                       h->smear_channels, h->value_channels, h->n_embd);
    if (!h->value_every != !h->value_channels)
        return nb_fail(err, NB_ARGUMENT, "value_every is %u, but value_channels %u", h->value_every, h->value_channels);
    return NB_OK;
}

static json_t *to_json(const nb_hparams *h, const nb_hparam_info *p) {
    if (p->kind == NB_HPARAM_F32) return json_real((double)value_f32(h, p));
    if (p->kind == NB_HPARAM_BOOL) return json_boolean(value_u32(h, p));
    if (p->kind == NB_HPARAM_U32) return json_integer(value_u32(h, p));
    for (size_t i = 0; i < N_ENUMS; i++)
        if (enums[i].kind == p->kind && enums[i].value == value_u32(h, p)) return json_string(enums[i].name);
    return NULL;
}

json_t *nb_hparams_to_json(const nb_hparams *h) {
    json_t *object = json_object();
    for (size_t i = 0; object && i < nb_hparam_count; i++)
        if (json_object_set_new(object, nb_hparam_list[i].name, to_json(h, &nb_hparam_list[i])) != 0) {
            json_decref(object);
            return NULL;
        }
    return object;
}

static nb_status from_json(nb_hparams *h, const char *key, const json_t *value, nb_error *err) {
    const nb_hparam_info *p = find(key);
    if (!p) return nb_fail(err, NB_UNSUPPORTED, "the hyperparameter '%s' is not known to this version", key);
    if (is_enum(p->kind) && json_is_string(value)) return set_name(h, p, json_string_value(value), err);
    if (p->kind == NB_HPARAM_BOOL && json_is_boolean(value)) return set_number(h, p, json_is_true(value), err);
    if (p->kind == NB_HPARAM_U32 && json_is_integer(value))
        return set_number(h, p, (double)json_integer_value(value), err);
    if (p->kind == NB_HPARAM_F32 && json_is_number(value)) return set_number(h, p, json_number_value(value), err);
    return nb_fail(err, NB_FORMAT, "hyperparameter %s: its JSON value has the wrong type", key);
}

nb_status nb_hparams_from_json(nb_hparams *h, const json_t *object, nb_error *err) {
    nb_hparams_default(h);
    if (!json_is_object(object)) return nb_fail(err, NB_FORMAT, "the model section has no object \"hparams\"");
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value) {
        nb_status st = from_json(h, key, value, err);
        if (st) return st;
    }
    return nb_hparams_check(h, err);
}
