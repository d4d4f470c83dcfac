#include "convert/synthetic.h"

#include <math.h>
#include <string.h>
#include "base/buf.h"
#include "base/mem.h"
#include "convert/plan.h"
#include "core/tensors.h"

/* ---- the shapes ---- */

/* A synthetic source has the names of the model file itself. */
#define NAME_MODEL(name) name
#define NAME_LAYER(name) "blocks.%u." name
static const nb_map_row map[] = {
#define TENSOR(field, SCOPE, name, KIND, rows, cols, present) \
    {NAME_##SCOPE(name), NB_SPEC_##field, NB_PART_WHOLE, NB_MAP_SAME},
#include "core/tensors.def"
#undef TENSOR
};

#define IS(hparam, number) {#hparam, NB_FACT_IS, NULL, NULL, number}

/* Llama, without the scaling of rotary frequencies that version 3.1 added ("llama3", a factor per frequency): the
 * computation is the same without it. */
#define LLAMA IS(norm, NB_NORM_RMS), IS(norm_eps, 1e-5), IS(pos, NB_POS_ROPE), IS(act, NB_ACT_SILU), IS(glu, 1)

/* meta-llama/Llama-3.2-1B, config.json */
static const nb_fact llama_32_1b[] = {
    LLAMA,
    IS(n_layer, 16), IS(n_embd, 2048), IS(n_head, 32), IS(n_kv_head, 8), IS(head_dim, 64), IS(n_ff, 8192),
    IS(vocab_size, 128256), IS(n_ctx, 131072), IS(rope_theta, 500000), IS(tied, 1),
};
/* TinyLlama/TinyLlama-1.1B-Chat-v1.0, config.json */
static const nb_fact tinyllama_11b[] = {
    LLAMA,
    IS(n_layer, 22), IS(n_embd, 2048), IS(n_head, 32), IS(n_kv_head, 4), IS(head_dim, 64), IS(n_ff, 5632),
    IS(vocab_size, 32000), IS(n_ctx, 2048), IS(rope_theta, 10000), IS(tied, 0),
};
/* karpathy/tinyllamas, stories110M */
static const nb_fact stories110m[] = {
    LLAMA,
    IS(n_layer, 12), IS(n_embd, 768), IS(n_head, 12), IS(n_kv_head, 12), IS(head_dim, 64), IS(n_ff, 2048),
    IS(vocab_size, 32000), IS(n_ctx, 1024), IS(rope_theta, 10000), IS(tied, 1),
};
/* nanochat of November 2025 with --depth=20: 64 channels per block of depth, heads of 128 */
static const nb_fact nanochat_d20[] = {
    IS(n_layer, 20), IS(n_embd, 1280), IS(n_head, 10), IS(n_kv_head, 10), IS(head_dim, 128), IS(n_ff, 5120),
    IS(vocab_size, 65536), IS(n_ctx, 2048), IS(norm, NB_NORM_RMS), IS(norm_eps, 0x1p-23), IS(norm_weight, 0),
    IS(embed_norm, 1), IS(pos, NB_POS_ROPE), IS(rope_theta, 10000), IS(rope_bf16, 1),
    IS(qk_norm, NB_QKNORM_AFTER_ROPE), IS(act, NB_ACT_RELU2), IS(softcap, 15), IS(tied, 0),
};
/* openai-community/gpt2, config.json */
static const nb_fact gpt2_124m[] = {
    IS(n_layer, 12), IS(n_embd, 768), IS(n_head, 12), IS(n_kv_head, 12), IS(head_dim, 64), IS(n_ff, 3072),
    IS(vocab_size, 50257), IS(n_ctx, 1024), IS(norm, NB_NORM_LAYER), IS(norm_eps, 1e-5), IS(norm_bias, 1),
    IS(pos, NB_POS_LEARNED), IS(qkv_bias, 1), IS(out_bias, 1), IS(mlp_bias, 1), IS(act, NB_ACT_GELU_TANH),
    IS(tied, 1),
};

#define SHAPE(shape_name, family, facts_of, sign)                \
    {.name = shape_name,                                         \
     .arch = {.name = family,                                    \
              .chat_style = "plain",                             \
              .tokenizer_files = {"tokenizer"},                  \
              .map = map,                                        \
              .n_map = sizeof map / sizeof *map,                 \
              .facts = facts_of,                                 \
              .n_facts = sizeof(facts_of) / sizeof *(facts_of),  \
              .rope_sign = sign}}
static const struct shape {
    const char *name;
    nb_arch arch;
} shapes[] = {
    SHAPE("llama-3.2-1b", "llama", llama_32_1b, 1),
    SHAPE("tinyllama-1.1b", "llama", tinyllama_11b, 1),
    SHAPE("stories110m", "llama", stories110m, 1),
    SHAPE("nanochat-d20", "nanochat", nanochat_d20, -1),
    SHAPE("gpt2-124m", "gpt2", gpt2_124m, 1),
};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

const char *nb_synthetic_name(size_t i) { return i < N_SHAPES ? shapes[i].name : NULL; }

/* ---- the weights ---- */

/* Of one tensor: value = mean + spread * noise, where the noise has a variance of 1. */
typedef struct recipe {
    uint64_t seed;
    float mean, spread;
} recipe;

enum { ARENA = 64 << 20 }; /* names and records of the tensors of up to a thousand blocks */

typedef struct synthetic {
    nb_source source;
    nb_form form;
} synthetic;

/* Steele, Lea and Flood 2014 (splitmix64): the n-th output needs none before it. */
static inline uint64_t random_at(uint64_t seed, uint64_t n) {
    uint64_t z = seed + n * UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* Four uniform numbers of 16 bits add up to something close to a Gaussian: what quantizers expect of weights. The sum
 * has the variance 4 * 2^32 / 12. */
static const float NOISE_UNIT = 1.0f / 37837.23f;

static inline float value_at(const recipe *r, uint64_t n) {
    uint64_t z = random_at(r->seed, n);
    int32_t sum = (int32_t)((z & 0xffff) + (z >> 16 & 0xffff) + (z >> 32 & 0xffff) + (z >> 48)) - 2 * 0xffff;
    return r->mean + r->spread * NOISE_UNIT * (float)sum;
}

static nb_status read_block(nb_source *s, const nb_source_tensor *t, uint64_t row, uint64_t n_rows, uint64_t col,
                            uint64_t n_cols, float *dst, nb_error *err) {
    (void)s, (void)err;
    for (uint64_t r = 0; r < n_rows; r++) {
        uint64_t first = (row + r) * nb_source_cols(t) + col;
        for (uint64_t c = 0; c < n_cols; c++) dst[r * n_cols + c] = value_at(t->where, first + c);
    }
    return NB_OK;
}

static void close_source(nb_source *s) {
    nb_arena_free(&s->arena);
    nb_free(s);
}

static const nb_source_ops ops = {.read = read_block, .close = close_source};

/* Matrices keep the size of what goes through them, norms scale by about 1, biases are small: activations stay finite
 * in models of any depth. */
static recipe recipe_of(const nb_tensor_spec *spec, int id, uint32_t layer) {
    bool vector = spec->kind == NB_KIND_VECTOR;
    float spread = vector ? 0.1f : spec->kind == NB_KIND_ROWS ? 0.02f : 1.0f / sqrtf((float)spec->cols);
    return (recipe){.seed = random_at(UINT64_C(0x6e6962626c65), (uint64_t)layer * NB_SPEC_COUNT + (uint64_t)id),
                    .mean = vector && strstr(spec->name, "weight") ? 1.0f : 0.0f,
                    .spread = spread};
}

/* ---- the source ---- */

static nb_status add_tensor(nb_source *s, nb_source_tensor *t, const nb_tensor_spec *spec, int id, uint32_t layer,
                            nb_error *err) {
    char name[NB_TENSOR_NAME];
    nb_tensor_name(spec, layer, name);
    recipe *r = nb_arena_alloc(&s->arena, sizeof *r);
    if (!r || !(t->name = nb_arena_text(&s->arena, name, strlen(name)))) return nb_arena_failed(&s->arena, err);
    *r = recipe_of(spec, id, layer);
    bool vector = spec->kind == NB_KIND_VECTOR;
    t->dtype = NB_DTYPE_F32;
    t->n_dims = vector ? 1 : 2;
    t->dims[0] = vector ? spec->cols : spec->rows;
    t->dims[1] = vector ? 0 : spec->cols;
    t->where = r;
    return NB_OK;
}

/* Every tensor that such a model has; the rotary frequencies are the converter's own. */
static nb_status add_tensors(nb_source *s, const nb_hparams *h, nb_error *err) {
    nb_tensor_spec specs[NB_SPEC_COUNT];
    size_t most = (1 + (size_t)h->n_layer) * NB_SPEC_COUNT;
    nb_tensor_specs(h, specs);
    nb_source_tensor *tensors = nb_arena_alloc(&s->arena, most * sizeof *tensors);
    if (!tensors) return nb_arena_failed(&s->arena, err);
    memset(tensors, 0, most * sizeof *tensors);
    size_t n = 0;
    for (int id = 0; id < NB_SPEC_COUNT; id++) {
        uint32_t layers = specs[id].scope == NB_SCOPE_LAYER ? h->n_layer : 1;
        if (!specs[id].present || nb_spec_made(id)) continue;
        for (uint32_t layer = 0; layer < layers; layer++) {
            if (!nb_tensor_present(h, id, layer)) continue;
            nb_status st = add_tensor(s, &tensors[n++], &specs[id], id, layer, err);
            if (st) return st;
        }
    }
    return nb_source_set_tensors(s, tensors, n, err);
}

static const struct shape *find_shape(const char *name) {
    for (size_t i = 0; i < N_SHAPES; i++)
        if (!strcmp(shapes[i].name, name)) return &shapes[i];
    return NULL;
}

static nb_status unknown_shape(const char *name, nb_error *err) {
    nb_buf names = {0};
    for (size_t i = 0; i < N_SHAPES; i++) nb_buf_printf(&names, "%s%s", i ? ", " : "", shapes[i].name);
    nb_status st = nb_fail(err, NB_ARGUMENT, "shape '%s' is not known; there are %s", name, nb_buf_str(&names));
    nb_buf_free(&names);
    return st;
}

nb_status nb_synthetic_open(nb_input *in, const char *shape, const nb_setting *settings, size_t n_settings,
                            nb_error *err) {
    const struct shape *found = find_shape(shape);
    *in = (nb_input){0};
    if (!found) return unknown_shape(shape, err);
    synthetic *s = nb_calloc(1, sizeof *s);
    if (!s) return nb_oom(err, "a source", sizeof *s);
    *s = (synthetic){.source = {.ops = &ops, .arena = {.limit = ARENA}, .wrapper = ""},
                     .form = {.title = "synthetic shape", .arch = &found->arch}};
    in->source = &s->source;
    in->form = &s->form;
    const nb_arch_input facts = {.source = in->source, .settings = settings, .n_settings = n_settings};
    nb_hparams h;
    nb_status st = nb_arch_hparams(&found->arch, &facts, &h, err);
    if (!st && !(in->path = nb_strdup(shape))) st = nb_oom(err, "a name", strlen(shape));
    if (!st) st = add_tensors(in->source, &h, err);
    if (st) nb_input_close(in);
    return st;
}
