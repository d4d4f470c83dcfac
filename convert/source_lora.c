/* A checkpoint with a LoRA adapter merged into it (Hu et al. 2021): W + scale * B A, row by row while it is read, in
 * f32.
 *
 * The form is that of PEFT: adapter_config.json and adapter_model.safetensors, or adapter_model.bin of its old versions.
 * Whole tensors that an adapter holds (modules_to_save, biases, what lies below an adapted embedding) take the place of
 * the checkpoint's. What cannot be merged exactly is refused. */
#include <inttypes.h>
#include <math.h>
#include <string.h>
#include "base/buf.h"
#include "base/checked.h"
#include "base/file.h"
#include "base/mem.h"
#include "convert/arch.h"
#include "convert/container.h"
#include "convert/names.h"
#include "convert/source.h"
#include "core/regex.h"

enum { ARENA = 64 << 20, NAME = 600 };

/* What the adapter does to a tensor of the checkpoint, seen as a matrix [rows][cols]. */
typedef struct change {
    const nb_source_tensor *a, *b; /* [r][in], [out][r] of the module */
    const nb_source_tensor *whole; /* what takes its place */
    bool below;                    /* `whole` is what the factors are added to, else there are none */
    bool turned;                   /* the matrix is [in][out] */
    float scale;
} change;

typedef struct lora {
    nb_source base;
    nb_source *model, *adapter; /* owned */
    const nb_value *config;
    double scale;               /* the caller's factor */
    change *changes;            /* [n_tensors], zeroed where nothing is changed */
    const change *held;         /* whose factors are in memory */
    float *left, *right, *sum;  /* of it: [rows][r], [r][cols], and [cols] to work in */
} lora;

/* ---- reading ---- */

static void drop_factors(lora *l) {
    nb_free(l->left);
    nb_free(l->right);
    nb_free(l->sum);
    l->left = l->right = l->sum = NULL;
    l->held = NULL;
}

/* All of t, as it is or turned, into new memory. */
static nb_status read_factor(lora *l, const nb_source_tensor *t, bool turned, float **out, nb_error *err) {
    size_t rows = (size_t)nb_source_rows(t), cols = (size_t)nb_source_cols(t), n = rows * cols;
    float *x = nb_alloc(n * sizeof *x), *y = turned ? nb_alloc(n * sizeof *y) : NULL;
    nb_status st = x && (y || !turned) ? NB_OK : nb_oom(err, "a factor of an adapter", n * sizeof *x);
    if (!st) st = nb_source_read(l->adapter, t, 0, rows, 0, cols, x, err);
    for (size_t i = 0; !st && turned && i < n; i++) y[i % cols * rows + i / cols] = x[i];
    *out = turned ? y : x;
    if (turned) nb_free(x);
    return st;
}

static nb_status hold_factors(lora *l, const change *c, nb_error *err) {
    if (l->held == c) return NB_OK;
    drop_factors(l);
    nb_status st = read_factor(l, c->turned ? c->a : c->b, c->turned, &l->left, err);
    if (!st) st = read_factor(l, c->turned ? c->b : c->a, c->turned, &l->right, err);
    size_t cols = (size_t)(c->turned ? nb_source_rows(c->b) : nb_source_cols(c->a));
    if (!st && !(l->sum = nb_alloc(cols * sizeof *l->sum))) st = nb_oom(err, "a row of an adapter", cols * sizeof *l->sum);
    if (st) drop_factors(l);
    else l->held = c;
    return st;
}

static nb_status read_changed(nb_source *s, const nb_source_tensor *t, uint64_t row, uint64_t n_rows, uint64_t col,
                              uint64_t n_cols, float *dst, nb_error *err) {
    lora *l = (lora *)(void *)s;
    const change *c = &l->changes[t - s->tensors];
    nb_status st = c->whole ? nb_source_read(l->adapter, c->whole, row, n_rows, col, n_cols, dst, err)
                            : l->model->ops->read(l->model, t, row, n_rows, col, n_cols, dst, err);
    if (st || !c->a) return st;
    st = hold_factors(l, c, err);
    size_t rank = (size_t)nb_source_rows(c->a), cols = (size_t)nb_source_cols(t), n = (size_t)n_cols;
    for (size_t i = 0; !st && i < n_rows; i++, dst += n) {
        const float *left = l->left + (row + i) * rank, *right = l->right + col;
        memset(l->sum, 0, n * sizeof *l->sum);
        for (size_t k = 0; k < rank; k++, right += cols)
            for (size_t j = 0; j < n; j++) l->sum[j] += left[k] * right[j];
        for (size_t j = 0; j < n; j++) dst[j] += c->scale * l->sum[j];
    }
    return st;
}

static void close_lora(nb_source *source) {
    lora *l = (lora *)(void *)source;
    drop_factors(l);
    nb_source_close(l->model);
    nb_source_close(l->adapter);
    nb_arena_free(&l->base.arena);
    nb_free(l);
}

/* ---- configuration ---- */

/* What PEFT can do besides; a value of null is always fine. */
static const nb_demand demands[] = {
    {"peft_type", "LORA"},
    {"use_dora", "false"},
    {"use_qalora", "false"},
    {"lora_bias", "false"},
    {"init_lora_weights", "true|false|gaussian|eva|orthogonal"}, /* others change the weights below the adapter */
    {"layer_replication", "null"},
    {"alora_invocation_tokens", "null"},
    {"target_parameters", "null"},
    {"trainable_token_indices", "null"},
    {"use_bdlora", "null"},
    {"kasa_config", "null"},
    {"monteclora_config", "null"},
    {"velora_config", "null"},
};

/* Of letters, digits and what names are made of, among it the dot, which stands for any character. */
static bool plain_key(const char *key) {
    for (; *key; key++)
        if (!strchr("._-", *key) && !(*key >= '0' && *key <= '9') && !(*key >= 'a' && *key <= 'z') && !(*key >= 'A' && *key <= 'Z'))
            return false;
    return true;
}

/* What a plain key matches, without an engine: some adapters have one for every module. */
static bool ends_with(const char *module, const char *key) {
    size_t n = strlen(key), m = strlen(module);
    if (n > m || (n < m && module[m - n - 1] != '.')) return false;
    for (module += m - n; *key && (*key == '.' || *key == *module); key++) module++;
    return !*key;
}

/* Keys of patterns are regular expressions for a whole name or for what follows one of its dots (peft's get_pattern_key). */
static nb_status matches_key(const char *module, const char *key, const char *pattern, bool *found, nb_error *err) {
    nb_buf text = {0};
    nb_regex *regex = NULL;
    nb_regex_run run = {0};
    size_t n = strlen(module), begin = n, end;
    if (plain_key(key)) {
        *found = ends_with(module, key);
        return NB_OK;
    }
    nb_buf_printf(&text, "\\A(.*\\.)?(%s)$", key);
    nb_status st = text.failed ? nb_oom(err, "a pattern", strlen(key)) : nb_regex_create(&regex, nb_buf_str(&text), false, err);
    if (!st) st = nb_regex_open(&run, regex, n, err);
    if (!st) st = nb_regex_next(&run, (const uint8_t *)module, n, 0, &begin, &end, err);
    *found = begin < n;
    nb_regex_close(&run);
    nb_regex_free(regex);
    nb_buf_free(&text);
    return st ? nb_context(err, st, "its configuration has '%.80s' in '%s'", key, pattern) : NB_OK;
}

/* The value for a module: that of the first key of `pattern` that matches its name, else that under `key`. */
static nb_status setting_of(const lora *l, const char *module, const char *pattern, const char *key, double *out, nb_error *err) {
    const nb_value *list = nb_value_get(l->config, pattern), *v = nb_value_get(l->config, key);
    bool found = false;
    for (size_t i = 0; !found && list && list->kind == NB_VALUE_DICT && i < list->count; i++) {
        const nb_value *name = list->items[2 * i];
        nb_status st = matches_key(module, name->kind == NB_VALUE_STR ? name->text : "?", pattern, &found, err);
        if (st) return st;
        if (found) v = list->items[2 * i + 1];
    }
    if (!v || !nb_value_number(v, out) || !(*out > 0 && *out < 1e9))
        return nb_fail(err, NB_FORMAT, "its configuration has no positive number '%s' for '%s'", key, module);
    return NB_OK;
}

static bool is_true(const lora *l, const char *key) {
    const nb_value *v = nb_value_get(l->config, key);
    return v && v->kind == NB_VALUE_BOOL && v->boolean;
}

/* ---- which tensors ---- */

/* The checkpoint's tensor of that name, also without the wrapper's part before it, as hubs save some models. */
static const nb_source_tensor *find(const nb_source *model, const char *name) {
    const nb_source_tensor *t = nb_source_find(model, name);
    const char *dot = strchr(name, '.');
    return t || !dot ? t : nb_source_find(model, dot + 1);
}

/* An embedding that is the head too cannot be changed alone. */
static nb_status check_embedding(const lora *l, const char *name, nb_error *err) {
    static const char *const heads[] = {"lm_head.weight", "output.weight"};
    if (!strstr(name, "embed_tokens.") && !strstr(name, "wte.")) return NB_OK;
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
        if (nb_source_find(l->model, heads[i])) return NB_OK;
    return nb_fail(err, NB_UNSUPPORTED,
                   "it changes '%s', which is the head of this model too: that cannot be merged", name);
}

/* Endings of PEFT's names: which factor, what the tensor is called, whether it is seen the other way round. */
static const struct {
    const char *ending;
    bool second, turned;
} endings[] = {
    {".lora_A.weight", false, false},
    {".lora_B.weight", true, false},
    {".lora_embedding_A", false, true}, /* an embedding is [vocabulary][channels], its factors are the other way round */
    {".lora_embedding_B", true, true},
};

static bool cut_ending(char *name, const char *ending) {
    size_t n = strlen(name), m = strlen(ending);
    bool found = n > m && !strcmp(name + n - m, ending);
    if (found) name[n - m] = '\0';
    return found;
}

static bool remove_part(char *name, const char *part) {
    char *at = strstr(name, part);
    if (at) memmove(at, at + strlen(part) - 1, strlen(at + strlen(part) - 1) + 1); /* its last dot stays */
    return at != NULL;
}

static nb_status target_of(const lora *l, const nb_source_tensor *t, const char *name, change **c, nb_error *err) {
    const nb_source_tensor *found = find(l->model, name);
    if (!found)
        return nb_fail(err, NB_UNSUPPORTED, "its tensor '%s' is for '%s', which the checkpoint does not have", t->name,
                       name);
    *c = &l->changes[found - l->model->tensors];
    return check_embedding(l, name, err);
}

static nb_status take_factor(lora *l, const nb_source_tensor *t, char *module, size_t ending, nb_error *err) {
    size_t n = strlen(module);
    double rank, alpha;
    change *c = NULL;
    nb_status st = setting_of(l, module, "rank_pattern", "r", &rank, err);
    if (!st) st = setting_of(l, module, "alpha_pattern", "lora_alpha", &alpha, err);
    memcpy(module + n, ".weight", sizeof ".weight");
    if (!st) st = target_of(l, t, module, &c, err);
    if (st) return st;
    uint64_t found = endings[ending].second ? nb_source_cols(t) : nb_source_rows(t);
    if (t->n_dims != 2 || (double)found != rank)
        return nb_fail(err, NB_FORMAT,
                       "its tensor '%s' is of rank %" PRIu64 ", but its configuration says %g", t->name, found, rank);
    *(endings[ending].second ? &c->b : &c->a) = t;
    c->turned = endings[ending].turned || is_true(l, "fan_in_fan_out");
    c->scale = (float)(l->scale * alpha / (is_true(l, "use_rslora") ? sqrt(rank) : rank));
    return NB_OK;
}

static nb_status take_whole(lora *l, const nb_source_tensor *t, char *name, nb_error *err) {
    change *c = NULL;
    char found[NB_SHAPE_TEXT], expected[NB_SHAPE_TEXT];
    bool below = remove_part(name, ".base_layer.");
    (void)remove_part(name, ".modules_to_save.");
    nb_status st = target_of(l, t, name, &c, err);
    if (st) return st;
    const nb_source_tensor *other = &l->model->tensors[c - l->changes];
    if (t->n_dims != other->n_dims || memcmp(t->dims, other->dims, t->n_dims * sizeof *t->dims) != 0)
        return nb_fail(err, NB_FORMAT, "its tensor '%s' has the shape %s, but that of the checkpoint %s", t->name,
                       nb_source_shape(t, found), nb_source_shape(other, expected));
    c->whole = t;
    c->below = below;
    return NB_OK;
}

static nb_status take(lora *l, const nb_source_tensor *t, nb_error *err) {
    static const char prefix[] = "base_model.model.";
    char name[NAME + sizeof ".weight"];
    size_t n = strlen(t->name), skip = sizeof prefix - 1;
    if (n <= skip || n >= NAME || strncmp(t->name, prefix, skip) != 0)
        return nb_fail(err, NB_UNSUPPORTED,
                       "its tensor '%s' is not named as PEFT names them (base_model.model. ...)", t->name);
    memcpy(name, t->name + skip, n - skip + 1);
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (cut_ending(name, endings[i].ending)) return take_factor(l, t, name, i, err);
    if (strstr(name, ".lora_"))
        return nb_fail(err, NB_UNSUPPORTED, "its tensor '%s' is nothing that can be merged", t->name);
    return take_whole(l, t, name, err);
}

static nb_status check_change(const lora *l, size_t i, nb_error *err) {
    const change *c = &l->changes[i];
    const nb_source_tensor *t = &l->model->tensors[i];
    char shape[NB_SHAPE_TEXT];
    if (!c->a && !c->b) return NB_OK;
    if (!c->a || !c->b || (c->whole && !c->below))
        return nb_fail(err, NB_FORMAT, "it has not just one A and one B for tensor '%s'", t->name);
    uint64_t in = nb_source_cols(c->a), out = nb_source_rows(c->b), rows = c->turned ? in : out, cols = c->turned ? out : in;
    if (t->n_dims == 2 && nb_source_rows(t) == rows && nb_source_cols(t) == cols) return NB_OK;
    return nb_fail(err, NB_FORMAT,
                   "it changes tensor '%s' as if it had the shape [%" PRIu64 ", %" PRIu64 "], but it has %s", t->name, rows,
                   cols, nb_source_shape(t, shape));
}

static nb_status match(lora *l, nb_error *err) {
    size_t n = l->model->n_tensors;
    l->changes = nb_arena_alloc(&l->base.arena, n * sizeof *l->changes);
    if (!l->changes) return nb_arena_failed(&l->base.arena, err);
    memset(l->changes, 0, n * sizeof *l->changes);
    nb_status st = nb_demands_check(demands, sizeof demands / sizeof *demands, l->config, "adapters are merged", err);
    if (!st && !l->adapter->n_tensors) st = nb_fail(err, NB_FORMAT, "it has no tensors");
    for (size_t i = 0; !st && i < l->adapter->n_tensors; i++) st = take(l, &l->adapter->tensors[i], err);
    for (size_t i = 0; !st && i < n; i++) st = check_change(l, i, err);
    return st;
}

/* ---- opening ---- */

/* The checkpoint's files, then the adapter's two. */
static nb_status list_files(lora *l, const char *config, nb_error *err) {
    size_t n = l->model->n_files, added = l->adapter->n_files;
    const char **files = nb_arena_alloc(&l->base.arena, (n + 1 + added) * sizeof *files);
    nb_file **handles = nb_arena_alloc(&l->base.arena, (n + 1 + added) * sizeof *handles);
    if (!files || !handles || !(files[n] = nb_arena_text(&l->base.arena, config, strlen(config))))
        return nb_arena_failed(&l->base.arena, err);
    if (n) memcpy(files, l->model->files, n * sizeof *files);
    if (n) memcpy(handles, l->model->handles, n * sizeof *handles);
    memcpy(files + n + 1, l->adapter->files, added * sizeof *files);
    memcpy(handles + n + 1, l->adapter->handles, added * sizeof *handles);
    handles[n] = NULL;
    l->base.files = files;
    l->base.handles = handles;
    l->base.n_files = n + 1 + added;
    return NB_OK;
}

static nb_status open_adapter(lora *l, const char *folder, nb_error *err) {
    nb_buf config = {0}, weights = {0};
    nb_buf_printf(&config, "%s/adapter_config.json", folder);
    nb_buf_printf(&weights, "%s/adapter_model.safetensors", folder);
    bool old = !weights.failed && !nb_file_exists(nb_buf_str(&weights));
    if (old) nb_buf_clear(&weights);
    if (old) nb_buf_printf(&weights, "%s/adapter_model.bin", folder);
    nb_status st = config.failed || weights.failed ? nb_oom(err, "a path", weights.size) : NB_OK;
    if (!st && !nb_file_exists(nb_buf_str(&config)))
        st = nb_fail(err, NB_MISSING, "'%s' is no adapter of PEFT: it has no adapter_config.json", folder);
    if (!st && !nb_file_exists(nb_buf_str(&weights)))
        st = nb_fail(err, NB_MISSING, "'%s' has no adapter_model.safetensors (or .bin)", folder);
    if (!st) st = nb_value_from_json_file(nb_buf_str(&config), &l->base.arena, &l->config, err);
    if (!st) st = (old ? nb_container_open : nb_source_safetensors_open)(&l->adapter, nb_buf_str(&weights), err);
    if (!st && (st = match(l, err))) st = nb_context(err, st, "adapter '%s'", folder);
    if (!st) st = list_files(l, nb_buf_str(&config), err);
    nb_buf_free(&config);
    nb_buf_free(&weights);
    return st;
}

nb_status nb_source_lora_open(nb_source **source, const char *folder, double scale, size_t *changed, nb_error *err) {
    static const nb_source_ops ops = {.read = read_changed, .close = close_lora};
    nb_source *model = *source;
    lora *l = nb_calloc(1, sizeof *l);
    if (!l) return nb_oom(err, "an adapter", sizeof *l);
    *l = (lora){.base = *model, .model = model, .scale = scale};
    l->base.ops = &ops;
    l->base.arena = (nb_arena){.limit = ARENA};
    nb_status st = open_adapter(l, folder, err);
    if (st) {
        l->model = NULL; /* it stays the caller's */
        close_lora(&l->base);
        return st;
    }
    *changed = 0;
    for (size_t i = 0; i < model->n_tensors; i++) *changed += l->changes[i].a || l->changes[i].whole;
    *source = &l->base;
    return NB_OK;
}
