#include "convert/windows.h"

#include <math.h>
#include <string.h>

enum { MOST = 1 << 24 };

typedef struct maker {
    float *windows; /* [n_layer] */
    const nb_arch *arch;
    const nb_arch_input *in;
    const nb_hparams *h;
    bool gguf;
    nb_error *err;
} maker;

static nb_status none(maker *m) {
    (void)m;
    return NB_OK;
}

/* A whole number of the configuration; `fallback` where there is none or null. */
static nb_status count(const maker *m, const char *key, double fallback, double *out) {
    const nb_value *v = nb_value_get(m->in->config, key);
    *out = fallback;
    if (!v || v->kind == NB_VALUE_NONE) return NB_OK;
    if (!nb_value_number(v, out) || !(*out >= 0 && *out < MOST) || *out != floor(*out))
        return nb_fail(m->err, NB_FORMAT,
                       "'%s' in the checkpoint's configuration is not a whole number from 0 to %d", key, MOST - 1);
    return NB_OK;
}

/* Whether block i attends over a window: what layer_types says, or where it is not there, from block `first` on. */
static nb_status is_sliding(const maker *m, uint32_t i, double first, bool *sliding) {
    const nb_value *types = nb_value_get(m->in->config, "layer_types");
    *sliding = m->arch->windows == NB_WINDOWS_FOURTHS ? (i + 1) % 4 != 0 : i >= first;
    if (!types || types->kind == NB_VALUE_NONE) return NB_OK;
    const nb_value *type = types->kind == NB_VALUE_LIST && types->count == m->h->n_layer ? types->items[i] : NULL;
    *sliding = nb_value_is_text(type, "sliding_attention");
    if (*sliding || nb_value_is_text(type, "full_attention")) return NB_OK;
    return nb_fail(
        m->err, NB_UNSUPPORTED,
        "'layer_types' in the checkpoint's configuration is not a list of %u texts sliding_attention or full_attention",
        m->h->n_layer);
}

static nb_status window_of(const maker *m, double *window) {
    return count(m, m->gguf ? "attention.sliding_window" : "sliding_window", 0, window);
}

/* Hugging Face counts a query's own position too: key j is seen when i - j < sliding_window. */
static nb_status sliding(maker *m) {
    double window = 0, first = 0;
    nb_status st = window_of(m, &window);
    if (!st) st = count(m, "max_window_layers", 0, &first);
    if (!st && window == 1)
        st = nb_fail(m->err, NB_UNSUPPORTED, "a sliding_window of 1 lets a token see nothing but itself");
    for (uint32_t i = 0; !st && window > 0 && i < m->h->n_layer; i++) {
        bool here;
        st = is_sliding(m, i, first, &here);
        m->windows[i] = !st && here ? (float)(window - 1) : 0.0f;
    }
    return st;
}

static nb_status named(maker *m) {
    if (nb_value_get(m->in->config, "layer_types")) return sliding(m);
    return nb_fail(m->err, NB_MISSING,
                   "the checkpoint's configuration has no 'layer_types', which say where its windows are");
}

static bool are_asked(const maker *m) {
    const nb_value *use = nb_value_get(m->in->config, "use_sliding_window");
    return use && use->kind == NB_VALUE_BOOL && use->boolean;
}
static nb_status asked(maker *m) { return are_asked(m) ? sliding(m) : NB_OK; }
static nb_status asked_named(maker *m) { return are_asked(m) ? named(m) : NB_OK; }

/* nanochat tiles its pattern over the blocks; the last one is always long, and all are without a pattern. A long
 * window is the context that it was trained with. */
static nb_status pattern(maker *m) {
    const nb_era *era = nb_arch_era(m->arch, m->in->source);
    const nb_value *v = nb_value_get(m->in->config, "window_pattern");
    double context;
    nb_status st = count(m, "sequence_len", m->h->n_ctx, &context);
    if (st || !era || !era->short_share) return st;
    bool given = v && v->kind != NB_VALUE_NONE;
    if (given && (v->kind != NB_VALUE_STR || !v->count || strspn(v->text, "SLsl") != v->count))
        return nb_fail(m->err, NB_FORMAT,
                       "'window_pattern' in the checkpoint's configuration is not a text of S and L");
    double share = context / era->short_share, unit = era->short_unit;
    double shorter = unit > 0 ? ceil(share / unit) * unit : floor(share);
    for (uint32_t i = 0; i < m->h->n_layer; i++) {
        bool is_short = given && strchr("Ss", v->text[i % v->count]) && i + 1 < m->h->n_layer;
        m->windows[i] = (float)(is_short ? shorter : context);
    }
    return NB_OK;
}

static maker maker_of(const nb_arch *arch, const nb_arch_input *in, const nb_hparams *h, nb_error *err) {
    bool gguf = in->source && nb_value_get(in->source->meta, "gguf");
    return (maker){.arch = arch, .in = in, .h = h, .gguf = gguf, .err = err};
}

nb_status nb_windows_slides(const nb_arch *arch, const nb_arch_input *in, const nb_hparams *h, uint32_t layer,
                            bool *slides, nb_error *err) {
    maker m = maker_of(arch, in, h, err);
    double window;
    nb_status st = window_of(&m, &window);
    if (!st) st = is_sliding(&m, layer, 0, slides);
    if (!st && !(window > 0)) *slides = false;
    return st;
}

nb_status nb_windows_make(float windows[NB_BLOCKS_MAX], const nb_arch *arch, const nb_arch_input *in, nb_hparams *h,
                          nb_error *err) {
    static nb_status (*const ways[])(maker *m) = {[NB_WINDOWS_NONE] = none,
                                                  [NB_WINDOWS_SLIDING] = sliding,
                                                  [NB_WINDOWS_NAMED] = named,
                                                  [NB_WINDOWS_ASKED] = asked,
                                                  [NB_WINDOWS_ASKED_NAMED] = asked_named,
                                                  [NB_WINDOWS_FOURTHS] = sliding,
                                                  [NB_WINDOWS_PATTERN] = pattern};
    maker m = maker_of(arch, in, h, err);
    m.windows = windows;
    memset(windows, 0, NB_BLOCKS_MAX * sizeof *windows);
    for (size_t i = 0; i < in->n_settings; i++)
        if (!strcmp(in->settings[i].key, "windows") && !h->windows) return NB_OK; /* full attention was asked for */
    nb_status st = ways[arch->windows](&m);
    h->windows = 0;
    for (uint32_t i = 0; i < h->n_layer; i++) h->windows |= windows[i] > 0.0f;
    return st;
}
