#include "tests/support/tiny_model.h"

#include <math.h>

#include "base/dmath.h"
#include "base/mem.h"
#include "format/writer.h"
#include "quant/quantize.h"
#include "tests/support/quantizer.h"
#include "tests/support/unit.h"

static double normal(uint64_t *seed) { /* the sum of 12 uniforms has variance 1 */
    double sum = 0;
    for (int i = 0; i < 12; i++) sum += unit_random_between(seed, -0.5, 0.5);
    return sum;
}

static float **slot(const tiny_model *m, size_t spec, uint32_t layer) {
    return &m->tensors[spec * m->h.n_layer + layer];
}
const float *tiny_tensor(const tiny_model *m, size_t spec, uint32_t layer) { return *slot(m, spec, layer); }

static float value(const tiny_model *m, size_t spec, const nb_tensor_spec *s, size_t i, uint64_t *seed) {
    size_t half = m->h.head_dim / 2;
    if (spec == NB_SPEC_inv_freq && half && i >= half) return i % half ? 0.5f / (float)(i % half) : 0.0f; /* of other kinds of blocks */
    if (spec == NB_SPEC_inv_freq) return (float)nb_pow(100.0, -2.0 * (double)i / m->h.head_dim) * (i % 2 ? -1.0f : 1.0f);
    if (spec == NB_SPEC_rope_kinds) return (float)((i + 1) % m->h.rope_kinds);
    if (spec == NB_SPEC_windows) return i % 2 ? 0.0f : 37.0f; /* the last of two blocks sees everything */
    double r = normal(seed);
    if (s->kind == NB_KIND_MATRIX) return (float)(r * 1.5 / sqrt((double)s->cols));
    if (s->kind == NB_KIND_EMBED || s->kind == NB_KIND_ROWS) return (float)r;
    return (float)(strstr(s->name, "bias") ? 0.2 * r : 1 + 0.2 * r);
}

nb_hparams tiny_hparams(const char *settings) {
    static const char base[] = "n_layer=2 n_embd=96 n_head=4 n_kv_head=4 head_dim=24 n_ff=200 vocab_size=131 n_ctx=1200 norm_eps=1e-5";
    const char *const texts[] = {base, settings};
    nb_hparams h;
    nb_error err;
    nb_hparams_default(&h);
    for (size_t t = 0; t < 2; t++) {
        char copy[512], *rest = copy;
        snprintf(copy, sizeof copy, "%s", texts[t]);
        for (char *pair; (pair = strtok_r(rest, " ", &rest));) {
            char *value = strchr(pair, '=');
            *value++ = 0;
            if (nb_hparams_set(&h, pair, value, &err)) fail_msg("%s", err.text);
        }
    }
    return h;
}

tiny_model tiny_new(const nb_hparams *h, uint64_t seed) {
    tiny_model m = {.h = *h};
    nb_tensor_spec specs[NB_SPEC_COUNT];
    nb_error err;
    if (nb_hparams_check(h, &err)) fail_msg("%s", err.text);
    nb_tensor_specs(h, specs);
    m.tensors = nb_calloc(NB_SPEC_COUNT * (size_t)h->n_layer, sizeof *m.tensors);
    for (size_t i = 0; i < NB_SPEC_COUNT; i++)
        for (uint32_t l = 0; l < (specs[i].scope == NB_SCOPE_LAYER ? h->n_layer : 1); l++) {
            if (!nb_tensor_present(h, (int)i, l)) continue;
            size_t n = (size_t)(specs[i].rows * specs[i].cols);
            float *t = *slot(&m, i, l) = nb_alloc(n * sizeof *t);
            for (size_t j = 0; j < n; j++) t[j] = value(&m, i, &specs[i], j, &seed);
        }
    return m;
}

void tiny_free(tiny_model *m) {
    for (size_t i = 0; i < NB_SPEC_COUNT * (size_t)m->h.n_layer; i++) nb_free(m->tensors[i]);
    nb_free(m->tensors);
    *m = (tiny_model){.tensors = NULL};
}

static void write_tensor(nb_writer *w, const nb_tensor_spec *s, const char *name, const float *x, nb_type type) {
    nb_error err = {0};
    bool matrix = s->kind == NB_KIND_MATRIX || s->kind == NB_KIND_EMBED;
    nb_tensor t = {.name = name, .type = matrix ? type : NB_TYPE_F32, .layout = matrix ? NB_LAYOUT_PANELS : NB_LAYOUT_PLAIN,
                   .n_dims = s->kind == NB_KIND_VECTOR ? 1 : 2};
    t.dims[0] = s->kind == NB_KIND_VECTOR ? s->cols : s->rows;
    t.dims[1] = s->kind == NB_KIND_VECTOR ? 0 : s->cols;
    if (t.type == NB_TYPE_Q4) memcpy(t.codebook, nb_q4_codebook, sizeof t.codebook);
    nb_status st = nb_writer_tensor_begin(w, &t, &err);
    if (!matrix) {
        if (!st) st = nb_writer_tensor_append(w, x, (size_t)(s->rows * s->cols) * sizeof *x, &err);
    } else {
        uint64_t bytes;
        assert_true(nb_panel_bytes(type, s->cols, &bytes));
        uint8_t *panel = nb_alloc((size_t)bytes);
        nb_quantizer q = unit_quantizer(type, nb_q4_codebook);
        for (size_t r = 0; !st && r < s->rows; r += 16) {
            size_t n = s->rows - r < 16 ? (size_t)s->rows - r : 16;
            nb_quantize_panel(&q, x + r * s->cols, n, (size_t)s->cols, (size_t)s->cols, panel, NULL);
            st = nb_writer_tensor_append(w, panel, (size_t)bytes, &err);
        }
        nb_free(panel);
    }
    if (!st) st = nb_writer_tensor_end(w, &err);
    if (st) fail_msg("%s", err.text);
}

void tiny_write(const tiny_model *m, const char *path, nb_type type, int raw) {
    nb_error err = {0};
    nb_writer *w;
    nb_writer_options o = {.store = raw ? NB_STORE_RAW : NB_STORE_ZSTD, .overwrite = true};
    if (nb_writer_create(&w, path, &o, &err)) fail_msg("%s", err.text);
    nb_tensor_spec specs[NB_SPEC_COUNT];
    nb_tensor_specs(&m->h, specs);
    for (size_t i = 0; i < NB_SPEC_COUNT; i++)
        for (uint32_t l = 0; l < (specs[i].scope == NB_SCOPE_LAYER ? m->h.n_layer : 1); l++) {
            if (!nb_tensor_present(&m->h, (int)i, l)) continue;
            char name[NB_TENSOR_NAME];
            nb_tensor_name(&specs[i], l, name);
            write_tensor(w, &specs[i], name, tiny_tensor(m, i, l), type);
        }
    json_t *model = json_pack("{s:s, s:o, s:{s:s}}", "architecture", "tiny", "hparams", nb_hparams_to_json(&m->h),
                              "chat", "style", "plain");
    char *text = json_dumps(model, JSON_COMPACT | JSON_SORT_KEYS);
    if (nb_writer_commit(w, text, "{}", NULL, NULL, &err)) fail_msg("%s", err.text);
    free(text);
    json_decref(model);
    nb_writer_close(w);
}

/* ---- the formulas (docs/models.md), without a cache: keys and values of all positions are kept ---- */

typedef struct plain {
    const tiny_model *m;
    const nb_hparams *h;
    uint32_t layer;
    double *k, *v; /* [n_layer][n][n_kv_head][head_dim] */
    size_t n;
    const int32_t *ids;
    double *x0, *mid; /* [n_embd] the input of block 0, the output of block n_layer / 2 */
} plain;

static void product(const plain *p, size_t spec, uint32_t layer, size_t rows, size_t cols, const double *x, double *y) {
    const float *w = tiny_tensor(p->m, spec, layer);
    for (size_t r = 0; r < rows; r++) {
        y[r] = 0;
        for (size_t c = 0; c < cols; c++) y[r] += (double)w[r * cols + c] * x[c];
    }
}

static void add_vector(const plain *p, size_t spec, uint32_t layer, size_t n, double *y) {
    const float *b = tiny_tensor(p->m, spec, layer);
    for (size_t i = 0; b && i < n; i++) y[i] += (double)b[i];
}

static void normalise(const double *x, size_t n, int centred, double eps, const float *w, const float *b, double *y) {
    double mean = 0, square = 0;
    for (size_t i = 0; i < n; i++) mean += centred ? x[i] / (double)n : 0;
    for (size_t i = 0; i < n; i++) square += (x[i] - mean) * (x[i] - mean) / (double)n;
    for (size_t i = 0; i < n; i++)
        y[i] = (x[i] - mean) / sqrt(square + eps) * (w ? (double)w[i] : 1) + (b ? (double)b[i] : 0);
}

static void norm_spec(const plain *p, size_t w, size_t b, uint32_t layer, const double *x, double *y) {
    normalise(x, p->h->n_embd, p->h->norm == NB_NORM_LAYER, (double)p->h->norm_eps, tiny_tensor(p->m, w, layer),
              tiny_tensor(p->m, b, layer), y);
}

static double bf16(double x) { /* to nearest, ties to even, by arithmetic on the value */
    int e;
    double fraction = frexp(x, &e);
    return ldexp(nearbyint(ldexp(fraction, 8)), e - 8);
}

static size_t rope_kind(const plain *p) {
    const float *kinds = tiny_tensor(p->m, NB_SPEC_rope_kinds, 0);
    return kinds ? (size_t)kinds[p->layer] : 0;
}

static void rotate_head(const plain *p, double *x, size_t position) {
    size_t half = p->h->head_dim / 2;
    const float *inv = tiny_tensor(p->m, NB_SPEC_inv_freq, 0) + rope_kind(p) * half;
    for (size_t i = 0; i < half; i++) {
        double angle = (double)position * (double)inv[i];
        if (p->h->rope_bf16) angle = (double)(float)angle;
        double c = cos(angle), s = sin(angle), a = x[i], b = x[half + i];
        if (p->h->rope_bf16) {
            c = bf16((double)(float)c);
            s = bf16((double)(float)s);
        }
        x[i] = a * c - b * s;
        x[half + i] = b * c + a * s;
    }
}

static void place_head(const plain *p, double *x, size_t position, size_t norm_w) {
    const nb_hparams *h = p->h;
    const float *w = tiny_tensor(p->m, norm_w, p->layer);
    if (h->qk_norm == NB_QKNORM_BEFORE_ROPE) normalise(x, h->head_dim, 0, (double)h->norm_eps, w, NULL, x);
    if (h->pos == NB_POS_ROPE) rotate_head(p, x, position);
    if (h->qk_norm == NB_QKNORM_AFTER_ROPE) normalise(x, h->head_dim, 0, (double)h->norm_eps, w, NULL, x);
}

/* Whether the token at `position` sees the one at j: windows, and what core/session.h says of texts that slide. */
static int seen(const plain *p, size_t position, size_t j) {
    size_t window = p->h->windows ? (size_t)tiny_tensor(p->m, NB_SPEC_windows, 0)[p->layer] : 0;
    if (window && position > j + window) return 0;
    return !p->m->slide || j < 64 || j / 64 + p->m->slide / 64 >= position / 64 + 2;
}

static void attend_head(const plain *p, const double *q, size_t position, size_t kv_head, double *out) {
    const nb_hparams *h = p->h;
    size_t d = h->head_dim, width = h->n_kv_head * d;
    const double *k = p->k + p->layer * p->n * width + kv_head * d, *v = p->v + p->layer * p->n * width + kv_head * d;
    double scale = h->attn_scale > 0 ? (double)h->attn_scale : 1 / sqrt((double)d), sum = 0, largest = -1e300;
    double *e = nb_calloc(position + 1, sizeof *e);
    scale *= pow((double)h->qk_scale, 2);
    if (h->rope_kinds > 1) scale *= (double)tiny_tensor(p->m, NB_SPEC_rope_gains, 0)[rope_kind(p)];
    for (size_t j = 0; j <= position; j++) {
        for (size_t i = 0; i < d; i++) e[j] += q[i] * k[j * width + i] * scale;
        if (seen(p, position, j)) largest = fmax(largest, e[j]);
    }
    memset(out, 0, d * sizeof *out);
    for (size_t j = 0; j <= position; j++) sum += e[j] = seen(p, position, j) ? exp(e[j] - largest) : 0;
    for (size_t j = 0; j <= position; j++)
        for (size_t i = 0; i < d; i++) out[i] += e[j] / sum * v[j * width + i];
    nb_free(e);
}

static double gate(const float *w, const double *x, size_t n) {
    double z = 0;
    for (size_t i = 0; i < n; i++) z += (double)w[i] * x[i];
    return 1 / (1 + exp(-z));
}

static void add_value_embed(const plain *p, size_t position, const double *xn, double *v) {
    const nb_hparams *h = p->h;
    size_t d = h->head_dim, n = h->value_channels;
    const float *embed = tiny_tensor(p->m, NB_SPEC_value_embed, p->layer), *w = tiny_tensor(p->m, NB_SPEC_value_gate, p->layer);
    for (size_t i = 0; embed && i < h->n_kv_head * d; i++)
        v[i] += (double)h->value_gain * gate(w + i / d * n, xn, n) *
                (double)embed[(size_t)p->ids[position] * h->n_kv_head * d + i];
}

static void attention(const plain *p, size_t position, const double *xn, double *y) {
    const nb_hparams *h = p->h;
    size_t d = h->head_dim, width = h->n_kv_head * d, all = h->n_head * d + 2 * width;
    double *qkv = nb_calloc(all + h->n_head * d, sizeof *qkv), *out = qkv + all;
    product(p, NB_SPEC_qkv_w, p->layer, all, h->n_embd, xn, qkv);
    add_vector(p, NB_SPEC_qkv_b, p->layer, all, qkv);
    for (size_t i = 0; h->clip_qkv > 0 && i < all; i++)
        qkv[i] = fmin(fmax(qkv[i], -(double)h->clip_qkv), (double)h->clip_qkv);
    double *k = qkv + h->n_head * d, *v = k + width;
    add_value_embed(p, position, xn, v);
    if (h->qk_norm == NB_QKNORM_TOGETHER) {
        normalise(qkv, h->n_head * d, 0, (double)h->norm_eps, tiny_tensor(p->m, NB_SPEC_q_norm_w, p->layer), NULL, qkv);
        normalise(k, width, 0, (double)h->norm_eps, tiny_tensor(p->m, NB_SPEC_k_norm_w, p->layer), NULL, k);
    }
    for (size_t i = 0; i < h->n_head; i++) place_head(p, qkv + i * d, position, NB_SPEC_q_norm_w);
    for (size_t i = 0; i < h->n_kv_head; i++) place_head(p, k + i * d, position, NB_SPEC_k_norm_w);
    memcpy(p->k + (p->layer * p->n + position) * width, k, width * sizeof *k);
    memcpy(p->v + (p->layer * p->n + position) * width, v, width * sizeof *v);
    for (size_t i = 0; i < h->n_head; i++)
        attend_head(p, qkv + i * d, position, i * h->n_kv_head / h->n_head, out + i * d);
    product(p, NB_SPEC_out_w, p->layer, h->n_embd, h->n_head * d, out, y);
    add_vector(p, NB_SPEC_out_b, p->layer, h->n_embd, y);
    nb_free(qkv);
}

static double activation(uint32_t act, double x) {
    switch ((nb_act_kind)act) {
    case NB_ACT_RELU2: return x > 0 ? x * x : 0;
    case NB_ACT_GELU_ERF: return x / 2 * (1 + erf(x / sqrt(2)));
    case NB_ACT_GELU_TANH: return x / 2 * (1 + tanh(sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x)));
    case NB_ACT_SILU: return x / (1 + exp(-x));
    }
    return 0;
}

static void mlp(const plain *p, const double *xn, double *y) {
    const nb_hparams *h = p->h;
    size_t f = h->n_ff, rows = f * (h->glu ? 2 : 1);
    double *hidden = nb_calloc(rows, sizeof *hidden);
    product(p, NB_SPEC_up_w, p->layer, rows, h->n_embd, xn, hidden);
    add_vector(p, NB_SPEC_up_b, p->layer, rows, hidden);
    for (size_t i = 0; i < f; i++) hidden[i] = activation(h->act, hidden[i]) * (h->glu ? hidden[f + i] : 1);
    product(p, NB_SPEC_down_w, p->layer, h->n_embd, f, hidden, y);
    add_vector(p, NB_SPEC_down_b, p->layer, h->n_embd, y);
    nb_free(hidden);
}

static void embedding(const plain *p, size_t position, double *x) {
    const nb_hparams *h = p->h;
    size_t e = h->n_embd;
    for (size_t i = 0; i < e; i++) x[i] = (double)tiny_tensor(p->m, NB_SPEC_embed, 0)[(size_t)p->ids[position] * e + i];
    if (h->pos == NB_POS_LEARNED)
        for (size_t i = 0; i < e; i++) x[i] += (double)tiny_tensor(p->m, NB_SPEC_pos, 0)[position * e + i];
    if (h->embed_norm) normalise(x, e, 0, (double)h->norm_eps, NULL, NULL, x);
}

static void smear(const plain *p, size_t position, double *x) {
    size_t e = p->h->n_embd;
    if (!p->h->smear_channels || position == 0) return;
    double *last = nb_calloc(e, sizeof *last);
    embedding(p, position - 1, last);
    double open = (double)*tiny_tensor(p->m, NB_SPEC_smear_lambda, 0) *
                  gate(tiny_tensor(p->m, NB_SPEC_smear_gate, 0), x, p->h->smear_channels);
    for (size_t i = 0; i < e; i++) x[i] += open * last[i];
    nb_free(last);
}

/* x = a x + b other */
static void mix(double *x, double a, double b, const double *other, size_t n) {
    for (size_t i = 0; i < n; i++) x[i] = a * x[i] + b * other[i];
}

/* A block's norm, where it has it: before attention and MLP, or after. */
static void block_norm(const plain *p, size_t w, size_t b, uint32_t after, const double *x, double *y) {
    if (p->h->post_norm == after) norm_spec(p, w, b, p->layer, x, y);
    else memmove(y, x, p->h->n_embd * sizeof *y);
}

static void token(plain *p, size_t position, double *logits) {
    const nb_hparams *h = p->h;
    size_t e = h->n_embd;
    double *x = nb_calloc(3 * e, sizeof *x), *xn = x + e, *y = xn + e;
    embedding(p, position, x);
    smear(p, position, x);
    memcpy(p->x0, x, e * sizeof *x);
    for (p->layer = 0; p->layer < h->n_layer; p->layer++) {
        if (h->residual_mix)
            mix(x, (double)tiny_tensor(p->m, NB_SPEC_resid_lambdas, 0)[p->layer],
                (double)tiny_tensor(p->m, NB_SPEC_x0_lambdas, 0)[p->layer], p->x0, e);
        block_norm(p, NB_SPEC_attn_norm_w, NB_SPEC_attn_norm_b, 0, x, xn);
        attention(p, position, xn, y);
        block_norm(p, NB_SPEC_attn_norm_w, NB_SPEC_attn_norm_b, 1, y, y);
        for (size_t i = 0; i < e; i++) x[i] += y[i];
        block_norm(p, NB_SPEC_mlp_norm_w, NB_SPEC_mlp_norm_b, 0, x, xn);
        mlp(p, xn, y);
        block_norm(p, NB_SPEC_mlp_norm_w, NB_SPEC_mlp_norm_b, 1, y, y);
        for (size_t i = 0; i < e; i++) x[i] += y[i];
        if (p->layer == h->n_layer / 2) memcpy(p->mid, x, e * sizeof *x);
    }
    if (h->backout) mix(x, 1, -(double)*tiny_tensor(p->m, NB_SPEC_backout_lambda, 0), p->mid, e);
    norm_spec(p, NB_SPEC_norm_w, NB_SPEC_norm_b, 0, x, xn);
    product(p, h->tied ? NB_SPEC_embed : NB_SPEC_head, 0, h->vocab_size, e, xn, logits);
    for (size_t i = 0; h->softcap > 0 && i < h->vocab_size; i++)
        logits[i] = (double)h->softcap * tanh(logits[i] / (double)h->softcap);
    nb_free(x);
}

void tiny_logits(const tiny_model *m, const int32_t *ids, size_t n, double *logits) {
    size_t cells = (size_t)m->h.n_layer * n * m->h.n_kv_head * m->h.head_dim;
    plain p = {.m = m, .h = &m->h, .n = n, .ids = ids, .k = nb_calloc(cells, sizeof(double)), .v = nb_calloc(cells, sizeof(double)),
               .x0 = nb_calloc(m->h.n_embd, sizeof(double)), .mid = nb_calloc(m->h.n_embd, sizeof(double))};
    for (size_t t = 0; t < n; t++) token(&p, t, logits + t * m->h.vocab_size);
    nb_free(p.x0);
    nb_free(p.mid);
    nb_free(p.k);
    nb_free(p.v);
}

nb_model *tiny_open(const char *dir, const char *settings, uint64_t seed, nb_type type, const nb_kernels *k) {
    char path[UNIT_PATH];
    nb_error err = {0};
    nb_model *model = NULL;
    nb_hparams h = tiny_hparams(settings);
    tiny_model m = tiny_new(&h, seed);
    tiny_write(&m, unit_path(path, dir, "tiny.nbl"), type, 0);
    tiny_free(&m);
    if (nb_model_open(&model, path, &(nb_model_options){.kernels = k}, &err)) fail_msg("%s", err.text);
    return model;
}
