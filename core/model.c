#include "core/model.h"

#include <jansson.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "base/checked.h"
#include "base/mem.h"
#include "core/vocab.h"
#include "format/reader.h"

enum { NAME_MAX_BYTES = 64 };

struct nb_model {
    nb_reader *reader; /* kept open while weights lie in its mapping; else NULL */
    nb_kernels kernels;
    nb_hparams hparams;
    nb_model_weights shared;
    nb_layer_weights *layers; /* [n_layer] */
    nb_region region;         /* the weights that were decompressed */
    nb_tokenizer *tokenizer;
    char architecture[NAME_MAX_BYTES], chat_style[NAME_MAX_BYTES];
    char *chat_system; /* NULL: none */
    uint64_t identity, weight_bytes;
};

/* Where each row of tensors.def has its nb_weight: in nb_model_weights or in nb_layer_weights. */
static const size_t weight_offset[NB_SPEC_COUNT] = {
#define OFFSET_MODEL(field) offsetof(nb_model_weights, field)
#define OFFSET_LAYER(field) offsetof(nb_layer_weights, field)
#define TENSOR(field, SCOPE, name, KIND, rows, cols, present) OFFSET_##SCOPE(field),
#include "core/tensors.def"
#undef TENSOR
};

static const nb_tensor_scope weight_scope[NB_SPEC_COUNT] = {
#define TENSOR(field, SCOPE, name, KIND, rows, cols, present) NB_SCOPE_##SCOPE,
#include "core/tensors.def"
#undef TENSOR
};

/* Everything that is bound, in one list: the tensor of the file and the weight it becomes. */
typedef struct binding {
    const nb_tensor *tensor;
    nb_weight *weight;
    size_t region_offset; /* SIZE_MAX: used in place */
} binding;

typedef struct binder {
    nb_model *m;
    binding *list;
    size_t n;
    size_t region_bytes;
} binder;

/* ---- the model section ---- */

static nb_status copy_name(char out[NAME_MAX_BYTES], const json_t *value, const char *fallback, const char *key,
                           nb_error *err) {
    const char *text = value ? json_string_value(value) : fallback;
    if (!text) return nb_fail(err, NB_FORMAT, "model section: \"%s\" is missing or not a string", key);
    if (strlen(text) >= NAME_MAX_BYTES)
        return nb_fail(err, NB_LIMIT, "model section: \"%s\" is longer than %d bytes", key, NAME_MAX_BYTES - 1);
    memcpy(out, text, strlen(text) + 1);
    return NB_OK;
}

static nb_status load_tokenizer(nb_model *m, const json_t *object, nb_error *err) {
    if (!object || json_is_null(object)) return NB_OK;
    nb_vocab vocab = {0};
    nb_status st = nb_vocab_load(&vocab, object, m->reader, err);
    if (!st && vocab.n_tokens > m->hparams.vocab_size) {
        st = nb_fail(err, NB_FORMAT, "the tokenizer has %u tokens, but the model's vocab_size is %u", vocab.n_tokens,
                     m->hparams.vocab_size);
    }
    if (!st) st = nb_tokenizer_create(&m->tokenizer, &vocab, err);
    nb_vocab_free(&vocab);
    return st;
}

static nb_status read_model_section(nb_model *m, nb_error *err) {
    size_t size;
    const char *text = nb_reader_model_json(m->reader, &size);
    json_error_t parse;
    json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &parse);
    if (!root) return nb_fail(err, NB_FORMAT, "model section, line %d: %s", parse.line, parse.text);
    nb_status st = copy_name(m->architecture, json_object_get(root, "architecture"), NULL, "architecture", err);
    if (!st) st = nb_hparams_from_json(&m->hparams, json_object_get(root, "hparams"), err);
    const json_t *chat = json_object_get(root, "chat");
    if (!st) st = copy_name(m->chat_style, json_object_get(chat, "style"), "plain", "chat.style", err);
    const char *system = json_string_value(json_object_get(chat, "system"));
    if (!st && system && !(m->chat_system = nb_strdup(system))) st = nb_oom(err, "chat.system", strlen(system));
    if (!st) st = load_tokenizer(m, json_object_get(root, "tokenizer"), err);
    json_decref(root);
    return st;
}

/* ---- binding tensors ---- */

static nb_status check_tensor(const nb_tensor *t, const nb_tensor_spec *spec, nb_error *err) {
    bool matrix = spec->kind == NB_KIND_MATRIX || spec->kind == NB_KIND_EMBED;
    bool layout_ok = matrix ? t->layout == NB_LAYOUT_PANELS : t->layout == NB_LAYOUT_PLAIN && t->type == NB_TYPE_F32;
    if (!layout_ok)
        return nb_fail(err, NB_FORMAT, "tensor '%s': expected %s, found %s %s", t->name,
                       matrix ? "panels" : "plain f32", t->layout == NB_LAYOUT_PANELS ? "panels of" : "plain",
                       nb_types[t->type].name);
    uint64_t rows = t->n_dims == 2 ? t->dims[0] : 1, cols = t->n_dims ? t->dims[t->n_dims - 1] : 0;
    if (t->n_dims != (spec->kind == NB_KIND_VECTOR ? 1u : 2u) || rows != spec->rows || cols != spec->cols)
        return nb_fail(err, NB_FORMAT, "tensor '%s': expected shape [%llu, %llu], found %u dimensions, [%llu, %llu]",
                       t->name, (unsigned long long)spec->rows, (unsigned long long)spec->cols, t->n_dims,
                       (unsigned long long)rows, (unsigned long long)cols);
    return NB_OK;
}

static nb_status bind_one(binder *b, const nb_tensor_spec *spec, uint32_t layer, nb_weight *w, nb_error *err) {
    char name[NB_TENSOR_NAME];
    nb_tensor_name(spec, layer, name);
    const nb_tensor *t = nb_reader_find(b->m->reader, name);
    if (!t) return nb_fail(err, NB_MISSING, "tensor '%s' is missing", name);
    nb_status st = check_tensor(t, spec, err);
    if (st) return st;
    uint64_t panel = 0;
    if (t->layout == NB_LAYOUT_PANELS && !nb_panel_bytes(t->type, spec->cols, &panel))
        return nb_fail(err, NB_LIMIT, "tensor '%s' is too large for this machine", name);
    *w = (nb_weight){.rows = spec->rows, .cols = spec->cols, .panel_bytes = panel, .type = t->type};
    memcpy(w->codebook, t->codebook, sizeof w->codebook);
    w->data = nb_reader_in_place(b->m->reader, t);
    binding *entry = &b->list[b->n++];
    *entry = (binding){.tensor = t, .weight = w, .region_offset = SIZE_MAX};
    b->m->weight_bytes += t->raw_bytes;
    if (w->data) return NB_OK;
    entry->region_offset = b->region_bytes;
    size_t padded;
    if (t->raw_bytes > SIZE_MAX - NB_ALIGN ||
        !nb_add_size(b->region_bytes, nb_round_up((size_t)t->raw_bytes, NB_ALIGN), &padded))
        return nb_fail(err, NB_LIMIT, "the model does not fit this machine's address space");
    b->region_bytes = padded;
    return NB_OK;
}

static nb_status bind_all(binder *b, nb_error *err) {
    nb_model *m = b->m;
    nb_tensor_spec specs[NB_SPEC_COUNT];
    nb_tensor_specs(&m->hparams, specs);
    size_t most = NB_SPEC_COUNT * ((size_t)m->hparams.n_layer + 1);
    b->list = nb_calloc(most, sizeof *b->list);
    m->layers = nb_calloc(m->hparams.n_layer, sizeof *m->layers);
    if (!b->list || !m->layers) return nb_oom(err, "the list of tensors", most * sizeof *b->list);
    for (size_t i = 0; i < NB_SPEC_COUNT; i++) {
        if (!specs[i].present) continue;
        uint32_t copies = specs[i].scope == NB_SCOPE_MODEL ? 1 : m->hparams.n_layer;
        for (uint32_t layer = 0; layer < copies; layer++) {
            if (!nb_tensor_present(&m->hparams, (int)i, layer)) continue;
            char *base = specs[i].scope == NB_SCOPE_MODEL ? (char *)&m->shared : (char *)&m->layers[layer];
            nb_status st = bind_one(b, &specs[i], layer, (nb_weight *)(void *)(base + weight_offset[i]), err);
            if (st) return st;
        }
    }
    return NB_OK;
}

static nb_status load_all(binder *b, const nb_model_options *options, nb_error *err) {
    nb_model *m = b->m;
    nb_load *loads = nb_calloc(b->n, sizeof *loads);
    if (!loads) return nb_oom(err, "the list of tensors", b->n * sizeof *loads);
    size_t n = 0;
    nb_status st = b->region_bytes ? nb_region_alloc(&m->region, b->region_bytes, "the weights", err) : NB_OK;
    for (size_t i = 0; !st && i < b->n; i++) {
        if (b->list[i].region_offset == SIZE_MAX) continue;
        uint8_t *dst = (uint8_t *)m->region.data + b->list[i].region_offset;
        b->list[i].weight->data = dst;
        loads[n++] = (nb_load){.tensor = b->list[i].tensor, .dst = dst};
    }
    if (!st && n) st = nb_reader_load(m->reader, loads, n, options->team, options->progress, err);
    nb_free(loads);
    if (!st && n == b->n) { /* nothing is used in place: the mapping has served */
        nb_reader_close(m->reader);
        m->reader = NULL;
    }
    return st;
}

static const float *vector(const nb_weight *w) { return (const float *)(const void *)w->data; }

/* What is used as a count must be one. */
static nb_status check_windows(const nb_model *m, nb_error *err) {
    const float *windows = vector(&m->shared.windows);
    for (uint32_t i = 0; windows && i < m->hparams.n_layer; i++)
        if (!(windows[i] >= 0.0f && windows[i] <= 0x1p24f) || windows[i] != floorf(windows[i]))
            return nb_fail(err, NB_FORMAT,
                           "tensor 'attn.windows': block %u has a window of %g, expected a whole number up to 2^24", i,
                           (double)windows[i]);
    return NB_OK;
}

static nb_status check_rope_kinds(const nb_model *m, nb_error *err) {
    const float *kinds = vector(&m->shared.rope_kinds);
    for (uint32_t i = 0; kinds && i < m->hparams.n_layer; i++)
        if (!(kinds[i] >= 0.0f && kinds[i] < (float)m->hparams.rope_kinds) || kinds[i] != floorf(kinds[i]))
            return nb_fail(err, NB_FORMAT,
                           "tensor 'rope.kinds': block %u is of kind %g, expected a whole number below %u", i,
                           (double)kinds[i], m->hparams.rope_kinds);
    return NB_OK;
}

nb_status nb_model_open(nb_model **model, const char *path, const nb_model_options *options, nb_error *err) {
    static const nb_model_options none = {0};
    if (!options) options = &none;
    *model = NULL;
    nb_model *m = nb_calloc(1, sizeof *m);
    if (!m) return nb_oom(err, "the model", sizeof *m);
    binder b = {.m = m};
    nb_reader_limits limits = {.max_raw_bytes = options->max_raw_bytes};
    nb_status st = nb_reader_open(&m->reader, path, &limits, err);
    if (st) goto out;
    if (options->kernels) m->kernels = *options->kernels;
    else if ((st = nb_kernels_choose(&m->kernels, NULL, err))) goto out;
    m->identity = nb_reader_identity(m->reader);
    st = read_model_section(m, err);
    if (!st) st = bind_all(&b, err);
    if (st) {
        st = nb_context(err, st, "'%s'", path);
        goto out;
    }
    st = load_all(&b, options, err);
    if (!st && ((st = check_windows(m, err)) || (st = check_rope_kinds(m, err))))
        st = nb_context(err, st, "'%s'", path);
out:
    nb_free(b.list);
    if (st) nb_model_free(m);
    else *model = m;
    return st;
}

void nb_model_free(nb_model *m) {
    if (!m) return;
    nb_tokenizer_free(m->tokenizer);
    nb_free(m->chat_system);
    nb_region_free(&m->region);
    nb_free(m->layers);
    nb_reader_close(m->reader);
    nb_free(m);
}

const nb_hparams *nb_model_hparams(const nb_model *m) { return &m->hparams; }
const nb_model_weights *nb_model_shared(const nb_model *m) { return &m->shared; }
const nb_layer_weights *nb_model_layer(const nb_model *m, uint32_t layer) { return &m->layers[layer]; }
const nb_weight *nb_model_head(const nb_model *m) { return m->hparams.tied ? &m->shared.embed : &m->shared.head; }
uint32_t nb_model_window(const nb_model *m, uint32_t layer) {
    const float *windows = vector(&m->shared.windows);
    return windows ? (uint32_t)windows[layer] : 0;
}
uint32_t nb_model_rope_kind(const nb_model *m, uint32_t layer) {
    const float *kinds = vector(&m->shared.rope_kinds);
    return kinds ? (uint32_t)kinds[layer] : 0;
}
float nb_model_rope_gain(const nb_model *m, uint32_t layer) {
    const float *gains = vector(&m->shared.rope_gains);
    return gains ? gains[nb_model_rope_kind(m, layer)] : 1.0f;
}
const nb_weight *nb_model_weight(const nb_model *m, int spec, uint32_t layer) {
    const void *base = weight_scope[spec] == NB_SCOPE_MODEL ? (const void *)&m->shared : &m->layers[layer];
    return (const nb_weight *)(const void *)((const char *)base + weight_offset[spec]);
}
nb_weight nb_model_exchange(nb_model *m, int spec, uint32_t layer, const nb_weight *w) {
    void *base = weight_scope[spec] == NB_SCOPE_MODEL ? (void *)&m->shared : &m->layers[layer];
    nb_weight *place = (nb_weight *)(void *)((char *)base + weight_offset[spec]), former = *place;
    *place = *w;
    return former;
}
void nb_model_rotate_qk(nb_model *m, bool rotate) { m->hparams.qk_rotate = rotate; }
const nb_kernels *nb_model_kernels(const nb_model *m) { return &m->kernels; }
const nb_tokenizer *nb_model_tokenizer(const nb_model *m) { return m->tokenizer; }
const char *nb_model_architecture(const nb_model *m) { return m->architecture; }
const char *nb_model_chat_style(const nb_model *m) { return m->chat_style; }
const char *nb_model_chat_system(const nb_model *m, const char *style) {
    return strcmp(style, m->chat_style) == 0 ? m->chat_system : NULL;
}
uint64_t nb_model_identity(const nb_model *m) { return m->identity; }
uint64_t nb_model_weight_bytes(const nb_model *m) { return m->weight_bytes; }
