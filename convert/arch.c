#include "convert/arch.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "base/buf.h"
#include "base/checked.h"
#include "base/mem.h"

const nb_arch *const nb_archs[] = {
    &nb_arch_nanochat,
    &nb_arch_nanogpt,
    &nb_arch_minigpt,
    &nb_arch_mingpt,
    &nb_arch_gpt2,
    &nb_arch_llama,
    &nb_arch_mistral,
    &nb_arch_qwen2,
    &nb_arch_qwen3,
    &nb_arch_phi3,
    &nb_arch_gemma,
    &nb_arch_olmo,
    &nb_arch_olmo2,
    &nb_arch_olmo3,
    &nb_arch_smollm3,
    &nb_arch_nanochat_hf,
    &nb_arch_meta,
    &nb_arch_block,
    &nb_arch_tutorial,
    &nb_arch_gguf_llama,
    &nb_arch_gguf_qwen2,
    &nb_arch_gguf_qwen3,
    &nb_arch_gguf_phi3,
    &nb_arch_gguf_gemma,
    &nb_arch_gguf_olmo,
    &nb_arch_gguf_olmo2,
    &nb_arch_gguf_smollm3,
    &nb_arch_gguf_gpt2,
    NULL,
};

const char *nb_convert_arch_name(size_t i) {
    return i < sizeof nb_archs / sizeof *nb_archs && nb_archs[i] ? nb_archs[i]->name : NULL;
}

void nb_arch_names(nb_buf *names) {
    for (size_t i = 0; nb_archs[i]; i++) nb_buf_printf(names, "%s%s", i ? ", " : "", nb_archs[i]->name);
}

/* ---- names ---- */

/* Digits without a leading zero, below 10000: "h.01.x" is not layer 1 under another name. */
static size_t layer_number(const char *s, uint32_t *layer) {
    size_t n = 0;
    uint32_t value = 0;
    while (n < 4 && s[n] >= '0' && s[n] <= '9') value = value * 10 + (uint32_t)(s[n++] - '0');
    if (n > 1 && s[0] == '0') return 0;
    *layer = value;
    return n;
}

/* Braces are tried alternative by alternative; patterns are short and come from our own tables. */
static bool match_from(const char *p, const char *name, uint32_t *layer) {
    for (; *p; p++, name++) {
        if (*p == '{') {
            const char *close = strchr(p, '}');
            for (const char *at = p + 1; at <= close; at += strcspn(at, "|}") + 1) {
                size_t n = strcspn(at, "|}");
                if (!strncmp(at, name, n) && match_from(close + 1, name + n, layer)) return true;
            }
            return false;
        }
        if (p[0] == '%') {
            size_t digits = layer_number(name, layer);
            return digits && match_from(p + 2, name + digits, layer);
        }
        if (*p != *name) return false;
    }
    return !*name;
}

bool nb_arch_match(const char *pattern, const char *name, uint32_t *layer) {
    *layer = 0;
    return match_from(pattern, name, layer);
}

void nb_arch_source_name(const char *pattern, uint32_t layer, char *buf, size_t n) {
    size_t used = 0;
    char number[12];
    snprintf(number, sizeof number, "%u", (unsigned)layer);
    for (const char *p = pattern; *p && used + sizeof number < n; p++) {
        if (*p == '%') {
            memcpy(buf + used, number, strlen(number));
            used += strlen(number);
            p++; /* and the 'u' */
        } else if (*p == '|') {
            p = strchr(p, '}'); /* the first alternative has been written */
        } else if (*p != '{' && *p != '}') {
            buf[used++] = *p;
        }
    }
    buf[used] = 0;
}

/* The tensor whose name fits a pattern, that of the first block where there are several. */
static const nb_source_tensor *find_tensor(const nb_source *s, const char *pattern) {
    const nb_source_tensor *first = NULL;
    uint32_t layer, least = UINT32_MAX;
    if (!pattern || !pattern[strcspn(pattern, "{%")]) return pattern ? nb_source_find(s, pattern) : NULL;
    for (size_t i = 0; i < s->n_tensors; i++) {
        if (!nb_arch_match(pattern, s->tensors[i].name, &layer) || layer >= least) continue;
        first = &s->tensors[i];
        least = layer;
    }
    return first;
}

const nb_era *nb_arch_era(const nb_arch *arch, const nb_source *s) {
    for (const nb_era *e = arch->eras; e < arch->eras + arch->n_eras; e++) {
        const nb_source_tensor *t = find_tensor(s, e->tensor);
        if (!e->tensor || (t && (!e->cols || e->cols == nb_source_cols(t)))) return e;
    }
    return NULL;
}

/* ---- hyperparameters ---- */

typedef struct facts {
    const nb_arch *arch;
    const nb_arch_input *in;
    nb_hparams *h;
    uint64_t known; /* bit i: nb_hparam_list[i] has its value */
    nb_error *err;
} facts;

static size_t find_hparam(const char *name) {
    size_t i = 0;
    while (i < nb_hparam_count && strcmp(nb_hparam_list[i].name, name) != 0) i++;
    return i;
}

static bool known(const facts *f, const char *name) { return f->known >> find_hparam(name) & 1; }

static nb_status assign(facts *f, const char *name, double value) {
    size_t i = find_hparam(name);
    if (i == nb_hparam_count)
        return nb_fail(f->err, NB_ARGUMENT, "the map of %s gives '%s', which is no hyperparameter", f->arch->name,
                       name);
    char *field = (char *)f->h + nb_hparam_list[i].offset;
    if (nb_hparam_list[i].kind == NB_HPARAM_F32) {
        float number = (float)value;
        memcpy(field, &number, sizeof number);
    } else {
        if (!(value >= 0 && value <= UINT32_MAX) || value != (double)(uint32_t)value)
            return nb_fail(f->err, NB_FORMAT, "%s is %.17g, expected a count", name, value);
        uint32_t number = (uint32_t)value;
        memcpy(field, &number, sizeof number);
    }
    f->known |= UINT64_C(1) << i;
    return NB_OK;
}

static nb_status apply_settings(facts *f) {
    for (size_t i = 0; i < f->in->n_settings; i++) {
        const nb_setting *s = &f->in->settings[i];
        nb_status st = nb_hparams_set(f->h, s->key, s->value, f->err);
        if (st) return st;
        f->known |= UINT64_C(1) << find_hparam(s->key);
    }
    return NB_OK;
}

static uint32_t count_layers(const nb_source *s, const char *pattern) {
    uint32_t n = 0, layer;
    for (size_t i = 0; i < s->n_tensors; i++)
        if (nb_arch_match(pattern, s->tensors[i].name, &layer) && layer >= n) n = layer + 1;
    return n;
}

/* Compare two tensors bit by bit, some rows at a time. */
static nb_status same_values(nb_source *s, const nb_source_tensor *a, const nb_source_tensor *b, bool *same,
                             nb_error *err) {
    enum { BATCH = 1 << 20 };
    uint64_t rows = nb_source_rows(a), cols = nb_source_cols(a);
    *same = false;
    if (rows != nb_source_rows(b) || cols != nb_source_cols(b)) return NB_OK;
    if (!nb_dtypes[a->dtype].widen || !nb_dtypes[b->dtype].widen) return NB_OK; /* refused elsewhere, with its name */
    uint64_t width = cols < BATCH ? cols : BATCH, batch = BATCH / width;
    size_t n = (size_t)((batch < rows ? batch : rows) * width);
    float *x = nb_alloc(2 * n * sizeof *x);
    if (!x) return nb_oom(err, "rows of a tensor", 2 * n * sizeof *x);
    nb_status st = NB_OK;
    *same = true;
    for (uint64_t r = 0; !st && *same && r < rows; r += batch) {
        uint64_t n_rows = rows - r < batch ? rows - r : batch;
        for (uint64_t c = 0; !st && *same && c < cols; c += width) {
            uint64_t n_cols = cols - c < width ? cols - c : width;
            st = nb_source_read(s, a, r, n_rows, c, n_cols, x, err);
            if (!st) st = nb_source_read(s, b, r, n_rows, c, n_cols, x + n, err);
            if (!st) *same = !memcmp(x, x + n, (size_t)(n_rows * n_cols) * sizeof *x);
        }
    }
    nb_free(x);
    return st;
}

/* The value of a fact; *found false when it does not know. */
static nb_status evaluate(facts *f, const nb_fact *fact, double *value, bool *found) {
    nb_source *s = f->in->source;
    const nb_source_tensor *t = find_tensor(s, fact->text);
    const nb_value *v = NULL;
    bool same = true;
    nb_status st = NB_OK;
    *found = true;
    switch (fact->how) {
    case NB_FACT_IS: *value = fact->value; break;
    case NB_FACT_KEY:
        v = nb_value_path(f->in->config, fact->text);
        *found = v && v->kind != NB_VALUE_NONE;
        if (*found && !nb_value_number(v, value))
            st = nb_fail(f->err, NB_FORMAT, "'%s' in the checkpoint's configuration is %s, expected a number",
                         fact->text, nb_value_kind_name(v->kind));
        break;
    case NB_FACT_NULL:
        v = nb_value_path(f->in->config, fact->text);
        *value = fact->value;
        *found = v && v->kind == NB_VALUE_NONE;
        break;
    case NB_FACT_NAME:
        *value = fact->value;
        *found = nb_value_is_text(nb_value_path(f->in->config, fact->text), fact->other);
        break;
    case NB_FACT_ROWS:
    case NB_FACT_COLS:
        *found = t != NULL;
        if (t) *value = (double)(fact->how == NB_FACT_ROWS ? nb_source_rows(t) : nb_source_cols(t));
        break;
    case NB_FACT_LAYERS:
        *value = fact->text ? count_layers(s, fact->text) : 0;
        *found = *value > 0;
        break;
    case NB_FACT_HAS: *value = t != NULL; break;
    case NB_FACT_SAME: {
        const nb_source_tensor *other = find_tensor(s, fact->other);
        *found = t && other;
        if (*found) st = same_values(s, t, other, &same, f->err);
        *value = same;
        break;
    }
    }
    return st;
}

static nb_status apply_facts(facts *f, const nb_fact *list, size_t n) {
    for (const nb_fact *fact = list; fact < list + n; fact++) {
        double value = 0;
        bool found = false;
        if (known(f, fact->hparam)) continue;
        nb_status st = evaluate(f, fact, &value, &found);
        if (!st && found) st = assign(f, fact->hparam, value);
        if (st) return st;
    }
    return NB_OK;
}

/* "n_head is not stored ...": what to give, and which values are possible. */
static nb_status ask_for(facts *f, const char *name, uint32_t divides) {
    nb_buf values = {0};
    for (uint32_t d = 1; divides && d <= divides && d <= 1024; d++)
        if (divides % d == 0) nb_buf_printf(&values, "%s%u", values.size ? ", " : "", (unsigned)d);
    nb_status st = nb_fail(f->err, NB_MISSING, "the checkpoint does not say %s: give it with --set %s=N%s%s%s%s", name,
                           name, values.size ? ", N one of " : "", nb_buf_str(&values), f->arch->hint ? " " : "",
                           f->arch->hint ? f->arch->hint : "");
    nb_buf_free(&values);
    return st;
}

/* What follows from the rest when neither a setting nor a fact has said it. */
static nb_status derive(facts *f) {
    nb_hparams *h = f->h;
    nb_status st = NB_OK;
    if (!known(f, "n_head")) return ask_for(f, "n_head", known(f, "n_embd") ? h->n_embd : 0);
    if (!known(f, "n_kv_head")) st = assign(f, "n_kv_head", h->n_head);
    if (st || known(f, "head_dim")) return st;
    if (!h->n_head || h->n_embd % h->n_head)
        return nb_fail(f->err, NB_ARGUMENT, "n_embd %u is not divisible by n_head %u", (unsigned)h->n_embd,
                       (unsigned)h->n_head);
    uint32_t head_dim = h->n_embd / h->n_head;
    return assign(f, "head_dim", head_dim);
}

/* ---- demands ---- */

static bool is_one_of(const char *values, const char *text) {
    size_t n = strlen(text);
    for (const char *at = values; at; at = strchr(at, '|')) {
        at += *at == '|';
        if (strcspn(at, "|") == n && !strncmp(at, text, n)) return true;
    }
    return false;
}

nb_status nb_demands_check(const nb_demand *demands, size_t n, const nb_value *config, const char *what,
                           nb_error *err) {
    for (const nb_demand *d = demands; d < demands + n; d++) {
        const nb_value *v = nb_value_path(config, d->key);
        char number[32] = "";
        if (!v || v->kind == NB_VALUE_NONE) continue;
        if (v->kind == NB_VALUE_BOOL) snprintf(number, sizeof number, "%s", v->boolean ? "true" : "false");
        if (v->kind == NB_VALUE_INT) snprintf(number, sizeof number, "%" PRId64, v->integer);
        if (v->kind == NB_VALUE_FLOAT) snprintf(number, sizeof number, "%.17g", v->number);
        const char *found = v->kind == NB_VALUE_STR ? v->text : *number ? number : nb_value_kind_name(v->kind);
        if (!is_one_of(d->values, found))
            return nb_fail(err, NB_UNSUPPORTED,
                           "its configuration says %s = %.100s; %s with %s only", d->key, found, what, d->values);
    }
    return NB_OK;
}

nb_status nb_arch_hparams(const nb_arch *arch, const nb_arch_input *in, nb_hparams *h, nb_error *err) {
    facts f = {.arch = arch, .in = in, .h = h, .err = err};
    nb_hparams_default(h);
    const nb_era *era = nb_arch_era(arch, in->source);
    char what[80];
    snprintf(what, sizeof what, "%s models are computed", arch->name);
    nb_status st = nb_demands_check(arch->demands, arch->n_demands, in->config, what, err);
    if (!st) st = apply_settings(&f);
    if (!st && era) st = apply_facts(&f, era->facts, era->n_facts);
    if (!st) st = apply_facts(&f, arch->facts, arch->n_facts);
    if (!st) st = derive(&f);
    for (size_t i = 0; !st && i < nb_hparam_count; i++)
        if (nb_hparam_list[i].required && !(f.known >> i & 1)) st = ask_for(&f, nb_hparam_list[i].name, 0);
    return st ? st : nb_hparams_check(h, err);
}
