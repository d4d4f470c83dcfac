#include "convert/rope.h"

#include <math.h>
#include <string.h>
#include "base/buf.h"
#include "base/dmath.h"
#include "convert/windows.h"

static const double TWO_PI = 6.283185307179586;

typedef struct maker {
    const nb_arch_input *in;
    nb_hparams *h;
    const char *kind; /* of blocks, whose parameters stand apart; NULL: of all */
    float *inv_freq;  /* [half] of that kind; on entry of a scaling: unscaled */
    uint32_t half;
    double theta;
    double attention; /* factor on cosines and sines */
    nb_error *err;
} maker;

/* ---- the configuration ---- */

/* Where the parameters of a scaling stand: transformers from 5 on, before 5, GGUF. */
static const char *const places[] = {"rope_parameters/%s", "rope_scaling/%s", "rope.scaling.%s"};

/* What GGUF calls otherwise. */
static const struct {
    const char *key, *gguf;
} aliases[] = {
    {"original_max_position_embeddings", "rope.scaling.original_context_length"},
    {"beta_fast", "rope.scaling.yarn_beta_fast"},
    {"beta_slow", "rope.scaling.yarn_beta_slow"},
};

static const char FULL[] = "full_attention", SLIDING[] = "sliding_attention"; /* as layer_types calls them */

/* A parameter of the kind of blocks. What is not said of any kind is of those without a window. */
static const nb_value *find(const maker *m, const char *key) {
    const nb_value *v = NULL;
    char path[128];
    if (m->kind) {
        snprintf(path, sizeof path, "rope_parameters/%s/%s", m->kind, key);
        v = nb_value_path(m->in->config, path);
        if (v && v->kind == NB_VALUE_NONE) v = NULL;
        if (v || m->kind == SLIDING) return v;
    }
    for (size_t i = 0; !v && i < sizeof places / sizeof *places; i++) {
        const char *hole = strstr(places[i], "%s");
        snprintf(path, sizeof path, "%.*s%s", (int)(hole - places[i]), places[i], key);
        v = nb_value_path(m->in->config, path);
        if (v && v->kind == NB_VALUE_NONE) v = NULL;
    }
    for (size_t i = 0; !v && i < sizeof aliases / sizeof *aliases; i++)
        if (!strcmp(aliases[i].key, key)) v = nb_value_get(m->in->config, aliases[i].gguf);
    return v;
}

/* A positive number; `fallback` where there is none, an error when that is 0. */
static nb_status number(const maker *m, const char *key, double fallback, double *out) {
    const nb_value *v = find(m, key);
    *out = fallback;
    if (!v && fallback > 0) return NB_OK;
    if (!v) return nb_fail(m->err, NB_MISSING, "the scaling of its rotary positions has no '%s'", key);
    if (!nb_value_number(v, out) || !(*out > 0 && *out < 1e12))
        return nb_fail(m->err, NB_FORMAT, "'%s' in the scaling of its rotary positions is no positive number", key);
    return NB_OK;
}

static double trained_context(const maker *m) {
    static const char *const keys[] = {"max_position_embeddings", "context_length"};
    double n;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (nb_value_number(nb_value_get(m->in->config, keys[i]), &n) && n > 0) return n;
    return m->h->n_ctx;
}

/* The context before it was extended: some models keep it outside of the scaling. */
static nb_status original_context(const maker *m, double *out) {
    if (nb_value_number(nb_value_path(m->in->config, "original_max_position_embeddings"), out) && *out > 0)
        return NB_OK;
    return number(m, "original_max_position_embeddings", trained_context(m), out);
}

static bool is_set(const maker *m, const char *key) {
    for (size_t i = 0; i < m->in->n_settings; i++)
        if (!strcmp(m->in->settings[i].key, key)) return true;
    return false;
}

/* ---- scalings ---- */

/* theta^(2i/D), rounded as torch rounds it. */
static float power(const maker *m, double theta, uint32_t i) {
    float exponent = (float)(2 * i) / (float)(2 * m->half);
    return (float)nb_pow(theta, (double)exponent);
}

static void unscaled(maker *m, double theta) {
    for (uint32_t i = 0; i < m->half; i++) m->inv_freq[i] = 1.0f / power(m, theta, i);
}

static nb_status scale_default(maker *m) {
    (void)m;
    return NB_OK;
}

static nb_status scale_linear(maker *m) {
    double factor;
    nb_status st = number(m, "factor", 0, &factor);
    for (uint32_t i = 0; !st && i < m->half; i++) m->inv_freq[i] /= (float)factor;
    return st;
}

/* The base grows with the context that is used; ours is the one the model file states. */
static nb_status scale_dynamic(maker *m) {
    double factor, trained = trained_context(m), used = m->h->n_ctx, dim = 2.0 * m->half;
    nb_status st = number(m, "factor", 0, &factor);
    if (st || used <= trained || m->half < 2) return st;
    unscaled(m, m->theta * nb_pow(factor * used / trained - (factor - 1), dim / (dim - 2)));
    return NB_OK;
}

typedef struct llama3 {
    double factor, low, high, original;
} llama3;

/* Long waves are stretched, short ones stay, those between are blended. */
static void stretch_llama3(maker *m, const llama3 *p) {
    for (uint32_t i = 0; i < m->half; i++) {
        float f = m->inv_freq[i], wave = (float)TWO_PI / f;
        if (wave < (float)(p->original / p->high)) continue;
        m->inv_freq[i] = f / (float)p->factor;
        if (wave > (float)(p->original / p->low)) continue;
        float smooth = ((float)p->original / wave - (float)p->low) / (float)(p->high - p->low);
        m->inv_freq[i] = (1.0f - smooth) * f / (float)p->factor + smooth * f;
    }
}

static nb_status scale_llama3(maker *m) {
    llama3 p = {0};
    nb_status st = number(m, "factor", 0, &p.factor);
    if (!st) st = number(m, "low_freq_factor", 0, &p.low);
    if (!st) st = number(m, "high_freq_factor", 0, &p.high);
    if (!st) st = original_context(m, &p.original);
    if (!st && !(p.low < p.high))
        st = nb_fail(m->err, NB_FORMAT,
                     "the scaling of its rotary positions has a low_freq_factor of %g, but a high one of %g", p.low,
                     p.high);
    if (!st) stretch_llama3(m, &p);
    return st;
}

/* The same in Meta's params.json: a switch, and constants in its code. */
static nb_status scale_meta(maker *m) {
    llama3 p = {.factor = 8, .low = 1, .high = 4, .original = 8192};
    double given;
    if (nb_value_number(nb_value_get(m->in->config, "rope_scaling_factor"), &given) && given > 0) p.factor = given;
    if (nb_value_number(nb_value_get(m->in->config, "rope_high_freq_factor"), &given) && given > 1) p.high = given;
    stretch_llama3(m, &p);
    return NB_OK;
}

/* Peng et al. 2023, YaRN: a ramp over the channels, between those that turn beta_fast times within the original context
 * (kept) and those that turn beta_slow times (stretched). */
static double yarn_channel(const maker *m, double turns, double original) {
    return 2.0 * m->half * nb_log(original / (turns * TWO_PI)) / (2.0 * nb_log(m->theta));
}

static double yarn_mscale(double factor, double mscale) { return factor <= 1 ? 1 : 0.1 * mscale * nb_log(factor) + 1; }

static nb_status yarn_attention(maker *m, double factor) {
    double mscale, mscale_all;
    nb_status st;
    if (find(m, "attention_factor")) return number(m, "attention_factor", 0, &m->attention);
    m->attention = yarn_mscale(factor, 1);
    const nb_value *gguf = nb_value_get(m->in->config, "rope.scaling.attn_factor"); /* there it comes on top */
    double more;
    if (nb_value_number(gguf, &more) && more > 0) m->attention *= more;
    bool both = nb_value_number(find(m, "mscale"), &mscale) && mscale != 0 &&
                nb_value_number(find(m, "mscale_all_dim"), &mscale_all) && mscale_all != 0;
    if (!both) return NB_OK;
    st = number(m, "mscale", 0, &mscale);
    if (!st) st = number(m, "mscale_all_dim", 0, &mscale_all);
    if (!st) m->attention = yarn_mscale(factor, mscale) / yarn_mscale(factor, mscale_all);
    return st;
}

static nb_status scale_yarn(maker *m) {
    double factor, fast, slow, original, last = 2.0 * m->half - 1;
    /* transformers (5.24) looks for this one where parameters are not told by kind, even when the others are */
    const nb_value *truncate = m->kind ? nb_value_path(m->in->config, "rope_parameters/truncate") : find(m, "truncate");
    nb_status st = original_context(m, &original);
    if (!st) st = number(m, "factor", trained_context(m) / original, &factor);
    if (!st) st = number(m, "beta_fast", 32, &fast);
    if (!st) st = number(m, "beta_slow", 1, &slow);
    if (!st) st = yarn_attention(m, factor);
    if (st) return st;
    double low = yarn_channel(m, fast, original), high = yarn_channel(m, slow, original);
    if (!truncate || truncate->kind != NB_VALUE_BOOL || truncate->boolean) {
        low = floor(low);
        high = ceil(high);
    }
    low = fmax(low, 0);
    high = fmin(high, last);
    if (low == high) high += 0.001;
    for (uint32_t i = 0; i < m->half; i++) {
        float wave = power(m, m->theta, i), ramp = ((float)i - (float)low) / (float)(high - low);
        ramp = ramp < 0.0f ? 0.0f : ramp > 1.0f ? 1.0f : ramp;
        float keep = 1.0f - ramp;
        m->inv_freq[i] = 1.0f / ((float)factor * wave) * (1.0f - keep) + 1.0f / wave * keep;
    }
    return NB_OK;
}

/* Ding et al. 2024, LongRoPE: a factor per frequency, one list for the original context and one for what is longer. A
 * context beyond the original one is used only when it was asked for: texts that fit the original one need the short
 * list. */
static bool takes_long_list(maker *m, double original) {
    bool longer = is_set(m, "n_ctx") && m->h->n_ctx > original;
    if (!longer && m->h->n_ctx > original) m->h->n_ctx = (uint32_t)original;
    return longer;
}

static nb_status scale_longrope(maker *m) {
    double factor, original, stretch;
    nb_status st = original_context(m, &original);
    if (!st) st = number(m, "factor", trained_context(m) / original, &factor);
    if (st) return st;
    const char *key = takes_long_list(m, original) ? "long_factor" : "short_factor";
    const nb_value *list = find(m, key);
    if (!list || list->kind != NB_VALUE_LIST || list->count != m->half)
        return nb_fail(m->err, NB_FORMAT, "the scaling of its rotary positions has no list '%s' of %u numbers", key,
                       (unsigned)m->half);
    if (find(m, "attention_factor")) st = number(m, "attention_factor", 0, &m->attention);
    else if (factor > 1) m->attention = sqrt(1 + nb_log(factor) / nb_log(original));
    for (uint32_t i = 0; !st && i < m->half; i++) {
        if (!nb_value_number(list->items[i], &stretch) || !(stretch > 0))
            return nb_fail(m->err, NB_FORMAT,
                           "'%s' in the scaling of its rotary positions holds something other than positive "
                           "numbers",
                           key);
        m->inv_freq[i] = 1.0f / ((float)stretch * power(m, m->theta, i));
    }
    return st;
}

static const struct {
    const char *name;
    nb_status (*scale)(maker *m);
} scalings[] = {
    {"default", scale_default},   {"none", scale_default},  {"linear", scale_linear},
    {"dynamic", scale_dynamic},   {"llama3", scale_llama3}, {"yarn", scale_yarn},
    {"longrope", scale_longrope}, {"su", scale_longrope}, /* its older name */
};

static nb_status scale(maker *m) {
    const nb_value *type = find(m, "rope_type");
    if (!type) type = find(m, "type");
    const nb_value *meta = nb_value_get(m->in->config, "use_scaled_rope");
    if (!type && meta && meta->kind == NB_VALUE_BOOL && meta->boolean) return scale_meta(m);
    if (!type) return NB_OK;
    for (size_t i = 0; i < sizeof scalings / sizeof *scalings; i++)
        if (nb_value_is_text(type, scalings[i].name)) return scalings[i].scale(m);
    nb_buf names = {0};
    for (size_t i = 0; i < sizeof scalings / sizeof *scalings; i++)
        nb_buf_printf(&names, "%s%s", i ? ", " : "", scalings[i].name);
    nb_status st =
        nb_fail(m->err, NB_UNSUPPORTED, "the scaling '%.40s' of its rotary positions is not known; there are %s",
                type->kind == NB_VALUE_STR ? type->text : "?", nb_buf_str(&names));
    nb_buf_free(&names);
    return st;
}

static bool has_tensor(const maker *m, const char *name) {
    return m->in->source && nb_source_find(m->in->source, name);
}

static nb_status divide_by(maker *m, const char *name) {
    const nb_source_tensor *t = nb_source_find(m->in->source, name);
    float divisors[NB_ROPE_MAX];
    if (!t || nb_source_rows(t) != 1 || nb_source_cols(t) != m->half)
        return nb_fail(m->err, NB_FORMAT, "tensor '%s' does not hold %u divisors", name, (unsigned)m->half);
    nb_status st = nb_source_read(m->in->source, t, 0, 1, 0, m->half, divisors, m->err);
    for (uint32_t i = 0; !st && i < m->half; i++) {
        if (!(divisors[i] > 0.0f))
            return nb_fail(m->err, NB_FORMAT, "tensor '%s' holds something other than positive numbers", name);
        m->inv_freq[i] /= divisors[i];
    }
    return st;
}

/* LongRoPE in GGUF: its two lists are tensors, and the factor on cosines and sines is told. */
static nb_status scale_gguf_longrope(maker *m) {
    double original;
    nb_status st = original_context(m, &original);
    if (!st) st = number(m, "attn_factor", 1, &m->attention);
    if (st) return st;
    return divide_by(m, takes_long_list(m, original) ? "rope_factors_long.weight" : "rope_factors_short.weight");
}

/* Channels that are not rotated: a GGUF key says how many are. */
static nb_status check_rotated(const maker *m) {
    double n;
    if (!nb_value_number(nb_value_get(m->in->config, "rope.dimension_count"), &n) || n == m->h->head_dim) return NB_OK;
    return nb_fail(m->err, NB_UNSUPPORTED, "%g of %u channels of a head are rotated, expected all", n,
                   (unsigned)m->h->head_dim);
}

/* The table of one kind of blocks, and its factor on cosines and sines. */
static nb_status make_kind(maker *m, float sign, double *attention) {
    double theta;
    m->attention = 1;
    m->theta = (double)m->h->rope_theta;
    if (m->kind && !is_set(m, "rope_theta") && nb_value_number(find(m, "rope_theta"), &theta)) m->theta = theta;
    if (!((float)m->theta > 0.0f && m->theta < 1e12))
        return nb_fail(m->err, NB_FORMAT, "rope_theta is %g, expected a positive number", m->theta);
    unscaled(m, m->theta);
    bool shared = m->kind != SLIDING; /* GGUF's tensors are of all blocks, or of those without a window */
    nb_status st = shared && has_tensor(m, "rope_factors_short.weight") ? scale_gguf_longrope(m) : scale(m);
    /* llama3's scaling in GGUF */
    if (!st && shared && has_tensor(m, "rope_freqs.weight")) st = divide_by(m, "rope_freqs.weight");
    for (uint32_t i = 0; !st && i < m->half; i++) m->inv_freq[i] *= sign;
    *attention = m->attention;
    return st;
}

/* ---- kinds of blocks ---- */

/* One kind, although parameters may stand apart. */
static nb_status check_alike(const maker *m) {
    static const char *const kinds[] = {FULL, SLIDING};
    for (size_t i = 0; i < 2; i++) {
        char path[64];
        snprintf(path, sizeof path, "rope_parameters/%s", kinds[i]);
        const nb_value *kind = nb_value_path(m->in->config, path), *type = nb_value_get(kind, "rope_type");
        double theta = (double)m->h->rope_theta;
        bool plain = !type || nb_value_is_text(type, "default");
        if (!plain || (nb_value_number(nb_value_get(kind, "rope_theta"), &theta) && (float)theta != m->h->rope_theta))
            return nb_fail(
                m->err, NB_UNSUPPORTED,
                "its blocks are rotated by different frequencies ('%s' in its configuration), which is not known of "
                "this family",
                path);
    }
    return NB_OK;
}

/* Whether block i is rotated: what no_rope_layers says, else all but every fourth are, or as many as are told. */
static nb_status is_rotated(const maker *m, uint32_t i, bool *rotated) {
    const nb_value *list = nb_value_get(m->in->config, "no_rope_layers");
    const nb_value *every = nb_value_get(m->in->config, "no_rope_layer_interval");
    double n = 4;
    bool given = list && list->kind != NB_VALUE_NONE;
    if (given && (list->kind != NB_VALUE_LIST || list->count != m->h->n_layer || !nb_value_number(list->items[i], &n) ||
                  (n != 0 && n != 1)))
        return nb_fail(m->err, NB_FORMAT,
                       "'no_rope_layers' in the checkpoint's configuration is not a list of %u numbers 0 or 1",
                       m->h->n_layer);
    if (!given && every && every->kind != NB_VALUE_NONE &&
        (!nb_value_number(every, &n) || !(n >= 1 && n < 1e6) || n != floor(n)))
        return nb_fail(m->err, NB_FORMAT,
                       "'no_rope_layer_interval' in the checkpoint's configuration is no positive whole number");
    *rotated = given ? n != 0 : (i + 1) % (uint32_t)n != 0;
    return NB_OK;
}

/* Of which of two kinds every block is. */
static nb_status find_kinds(maker *m, nb_rope *r, const nb_arch *arch) {
    nb_status st = NB_OK;
    for (uint32_t i = 0; !st && i < m->h->n_layer; i++) {
        bool first = true;
        if (arch->rope == NB_ROPE_SOME) {
            st = is_rotated(m, i, &first);
        } else if (arch->rope == NB_ROPE_TYPED) {
            st = nb_windows_slides(arch, m->in, m->h, i, &first, m->err);
            first = !first;
        }
        r->kinds[i] = first ? 0.0f : 1.0f;
    }
    return st;
}

/* Two kinds are one where all blocks are of the same, or the tables are. */
static void settle(maker *m, nb_rope *r, double attention[NB_ROPE_KINDS]) {
    size_t size = m->half * sizeof *r->inv_freq, second = 0;
    for (uint32_t i = 0; i < m->h->n_layer; i++) second += r->kinds[i] > 0.0f;
    bool same = !memcmp(r->inv_freq, r->inv_freq + m->half, size) && attention[0] == attention[1];
    m->h->rope_kinds = second && second < m->h->n_layer && !same ? 2 : 1;
    if (second && second == m->h->n_layer) {
        memcpy(r->inv_freq, r->inv_freq + m->half, size);
        attention[0] = attention[1];
    }
    for (size_t i = 0; i < NB_ROPE_KINDS; i++) r->gains[i] = (float)(attention[i] * attention[i]);
    if (m->h->rope_kinds == 1 && attention[0] != 1) {
        double plain = m->h->attn_scale > 0.0f ? (double)m->h->attn_scale : 1 / sqrt((double)m->h->head_dim);
        m->h->attn_scale = (float)(plain * attention[0] * attention[0]);
    }
}

nb_status nb_rope_make(nb_rope *rope, const nb_arch *arch, const nb_arch_input *in, nb_hparams *h, nb_error *err) {
    maker m = {.in = in, .h = h, .inv_freq = &rope->inv_freq[0], .half = h->head_dim / 2, .err = err};
    double attention[NB_ROPE_KINDS] = {1, 1};
    memset(rope, 0, sizeof *rope);
    if (h->pos != NB_POS_ROPE) return NB_OK;
    if (m.half > NB_ROPE_MAX)
        return nb_fail(err, NB_LIMIT, "head_dim is %u, at most %d", (unsigned)h->head_dim, 2 * NB_ROPE_MAX);
    bool typed = arch->rope == NB_ROPE_TYPED;
    nb_status st = check_rotated(&m);
    if (!st && !typed) st = check_alike(&m);
    if (!st) st = find_kinds(&m, rope, arch);
    m.kind = typed ? FULL : NULL;
    if (!st) st = make_kind(&m, arch->rope_sign, &attention[0]);
    m.kind = SLIDING;
    m.inv_freq += m.half;
    if (!st && typed) st = make_kind(&m, arch->rope_sign, &attention[1]);
    if (!st) settle(&m, rope, attention);
    return st;
}
