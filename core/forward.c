#include "core/forward.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/checked.h"
#include "base/dmath.h"
#include "base/mem.h"
#include "quant/half.h"
#include "quant/quantize.h"

/* Shapes in this file: T tokens of the chunk, N = n_embd, H = n_head, G = n_kv_head, D = head_dim, F = n_ff. */

/* ---- matrix products ---- */

typedef struct product {
    nb_matmul job;
    nb_matmul_fn fn;
} product;

static void product_panels(void *arg, size_t begin, size_t end, int member) {
    (void)member;
    const product *p = arg;
    p->fn(&p->job, begin, end);
}

static size_t padded_cols(const nb_weight *w) { return nb_round_up((size_t)w->cols, NB_BLOCK_COLS); }

static size_t panels_of(const nb_weight *w) { return nb_div_up((size_t)w->rows, NB_PANEL_ROWS); }

/* y [n][y_stride] = x [n][x_stride] W^T for an x that every token has entered; y gets whole panels. `next` is the matrix of
 * the product after this. */
static void multiply(nb_forward *f, const nb_weight *w, const nb_weight *next, const float *x, size_t x_stride, size_t n, float *y,
                     size_t y_stride) {
    if (f->observer) f->observer->fn(f->observer->user, w, x, x_stride, n);
    product p = {.fn = nb_kernels_matmul(f->k, w->type)};
    p.job = (nb_matmul){.w = w->data, .panel_bytes = (size_t)w->panel_bytes, .cols = padded_cols(w), .codebook = w->codebook,
                        .n_tokens = n, .y = y, .y_stride = y_stride,
                        .x = {.f = x, .f_stride = x_stride, .q = f->q, .q_stride = f->stride_q,
                              .scale = f->q_scale, .scale_stride = f->stride_scale,
                              .start = f->q_start, .start_stride = f->stride_start}};
    size_t share = nb_matmul_share(n);
    nb_team_expect(f->team, next->data, (size_t)next->panel_bytes, panels_of(next), share);
    nb_team_for(f->team, panels_of(w), share, product_panels, &p);
}

/* Token t's x, zero beyond W's columns, is about to be multiplied by W: quantize it where W wants that. */
static void enter(nb_forward *f, const nb_weight *w, const float *x, size_t t) {
    if (nb_types[w->type].scaled)
        f->k->quantize_acts(x, padded_cols(w), f->q + t * f->stride_q, f->q_scale + t * f->stride_scale,
                            f->q_start + t * f->stride_start);
}

/* ---- steps over the tokens of a chunk; each runs on the team ---- */

typedef void (*token_fn)(nb_forward *f, size_t t);
typedef struct token_job {
    nb_forward *f;
    token_fn fn;
} token_job;

static void token_share(void *arg, size_t begin, size_t end, int member) {
    (void)member;
    const token_job *job = arg;
    for (size_t t = begin; t < end; t++) job->fn(job->f, t);
}

/* A step of one token takes 1 to 5 us, a team 2 to begin and to end: two tokens are worth it already. */
static void each_token(nb_forward *f, token_fn fn) {
    token_job job = {f, fn};
    nb_team_for(f->team, f->n_tokens, 1, token_share, &job);
}

static const float *vector(const nb_weight *w) { return (const float *)(const void *)w->data; }

static void norm(const nb_forward *f, float *y, const float *x, const nb_weight *w, const nb_weight *b) {
    if (f->h->norm == NB_NORM_RMS) f->k->rmsnorm(y, x, vector(w), f->h->n_embd, f->h->norm_eps);
    else f->k->layernorm(y, x, vector(w), vector(b), f->h->n_embd, f->h->norm_eps);
}

static void add_bias(const nb_forward *f, float *y, const nb_weight *b) {
    if (b->data) f->k->add(y, vector(b), (size_t)b->cols);
}

/* The rotary tables of a token, one per kind of blocks: angles are formed in double; a model that was trained with tables of
 * f32 angles rounded to bf16 gets those. */
static void rotary_table(nb_forward *f, size_t t) {
    const nb_weight *w = &nb_model_shared(f->model)->inv_freq;
    const float *inv_freq = vector(w);
    size_t n = (size_t)w->cols; /* [rope_kinds][D/2] */
    for (size_t i = 0; i < n; i++) {
        double angle = (double)f->position[t] * (double)inv_freq[i], s, c;
        if (f->h->rope_bf16) angle = (double)(float)angle;
        nb_sincos(angle, &s, &c);
        float cf = (float)c, sf = (float)s;
        f->cos[t * n + i] = f->h->rope_bf16 ? nb_bf16_to_f32(nb_f32_to_bf16(cf)) : cf;
        f->sin[t * n + i] = f->h->rope_bf16 ? nb_bf16_to_f32(nb_f32_to_bf16(sf)) : sf;
    }
}

static void norm_heads(const nb_forward *f, float *heads, uint32_t n, const nb_weight *w) {
    bool together = f->h->qk_norm == NB_QKNORM_TOGETHER;
    size_t all = (size_t)n * f->h->head_dim, width = together ? all : f->h->head_dim;
    for (float *head = heads; head < heads + all; head += width) f->k->rmsnorm(head, head, vector(w), width, f->h->norm_eps);
}

static void norm_q_and_k(const nb_forward *f, float *q, float *k) {
    norm_heads(f, q, f->h->n_head, &f->w->q_norm_w);
    norm_heads(f, k, f->h->n_kv_head, &f->w->k_norm_w);
}

static void clip(float *x, size_t n, float most) {
    for (size_t i = 0; i < n; i++) x[i] = x[i] > most ? most : x[i] < -most ? -most : x[i];
}

/* How far a gate is open: the sigmoid of w [n] times the first n channels of x, summed in their order. */
static float gate(const nb_forward *f, const float *w, const float *x, size_t n) {
    float z = 0.0f;
    for (size_t i = 0; i < n; i++) z = fmaf(w[i], x[i], z);
    float e = -z;
    f->k->exp_sum(&e, 0.0f, 1);
    return 1.0f / (1.0f + e);
}

/* v += gain * gate of the head * its part of the token's value embedding (Zhou et al. 2024). */
static void add_value_embed(nb_forward *f, size_t t, float *v) {
    const nb_weight *w = &f->w->value_embed;
    size_t d = f->h->head_dim, n = f->h->value_channels;
    if (!w->data) return;
    float *embedding = f->att + t * f->stride_att; /* [G][D], in the place of what attention is about to write */
    nb_dequantize_row(w->type, w->codebook, w->data, (size_t)f->ids[t], (size_t)w->cols, embedding);
    for (size_t i = 0; i < f->h->n_kv_head; i++) {
        float open = gate(f, vector(&f->w->value_gate) + i * n, f->xn + t * f->stride_embd, n);
        f->k->blend(v + i * d, 1.0f, embedding + i * d, f->h->value_gain * open, d);
    }
}

/* Bias, norms, rotation and scale of a token's q, k, v; k and v go to the cache. */
static void place_qkv(nb_forward *f, size_t t) {
    const nb_hparams *h = f->h;
    size_t d = h->head_dim, half = d / 2, table = (t * h->rope_kinds + nb_model_rope_kind(f->model, f->layer)) * half;
    float *q = f->qkv + t * f->stride_qkv; /* [H][D] */
    float *k = q + h->n_head * d;          /* [G][D] */
    float *v = k + h->n_kv_head * d;       /* [G][D] */
    add_bias(f, q, &f->w->qkv_b);
    add_value_embed(f, t, v);
    if (h->clip_qkv > 0.0f) clip(q, (h->n_head + 2 * h->n_kv_head) * d, h->clip_qkv);
    if (h->qk_norm == NB_QKNORM_BEFORE_ROPE || h->qk_norm == NB_QKNORM_TOGETHER) norm_q_and_k(f, q, k);
    if (h->pos == NB_POS_ROPE)
        for (uint32_t i = 0; i < h->n_head + h->n_kv_head; i++)
            f->k->rope(q + i * d, f->cos + table, f->sin + table, half);
    if (h->qk_norm == NB_QKNORM_AFTER_ROPE) norm_q_and_k(f, q, k);
    for (size_t i = 0; h->qk_rotate && i < h->n_head + h->n_kv_head; i++) f->k->hadamard(q + i * d, d);
    f->k->scale(q, f->scale * nb_model_rope_gain(f->model, f->layer), h->n_head * d);
    nb_kv_store(f->kv, f->k, f->text[t], f->layer, f->position[t], k, v);
}

/* Items are (KV head, tile of tokens): a tile reads each page once, and a head's pages stay in the cache from tile to tile. */
static size_t attention_tiles(const nb_forward *f) {
    return nb_div_up(f->n_tokens, nb_attend_tile(f->h->n_head / f->h->n_kv_head));
}

static nb_attention attention_of(const nb_forward *f, size_t item) {
    size_t tiles = attention_tiles(f);
    uint32_t group = f->h->n_head / f->h->n_kv_head, most = nb_attend_tile(group);
    size_t first = item % tiles * most;
    return (nb_attention){.kv = f->kv, .layer = f->layer, .head = (uint32_t)(item / tiles), .group = group,
                          .window = nb_model_window(f->model, f->layer), .n = (uint32_t)nb_min_size(most, f->n_tokens - first),
                          .readers = f->readers + first};
}

static float *scratch_of(const nb_forward *f, int member) { return f->kv_scratch + (size_t)member * f->scratch_stride; }

static void attend_share(void *arg, size_t begin, size_t end, int member) {
    const nb_forward *f = arg;
    for (size_t i = begin; i < end; i++) {
        nb_attention a = attention_of(f, i);
        nb_attend(&a, f->k, scratch_of(f, member));
    }
}

/* Items times spans. */
static void attend_spans_share(void *arg, size_t begin, size_t end, int member) {
    const nb_forward *f = arg;
    for (size_t i = begin; i < end; i++) {
        nb_attention a = attention_of(f, i / f->n_spans);
        nb_attend_span(&a, f->k, f->first_span + (uint32_t)(i % f->n_spans), f->parts + i * f->part_stride, scratch_of(f, member));
    }
}

static void merge_share(void *arg, size_t begin, size_t end, int member) {
    const nb_forward *f = arg;
    for (size_t i = begin; i < end; i++) {
        nb_attention a = attention_of(f, i);
        nb_attend_merge(&a, f->k, f->parts + i * f->n_spans * f->part_stride, f->n_spans, scratch_of(f, member));
    }
}

/* Where items are few and texts long, spans are items too. */
static bool spans_are_items(nb_forward *f, size_t items) {
    if (!f->n_parts || items >= 2 * (size_t)nb_team_size(f->team)) return false;
    uint32_t first = UINT32_MAX, end = 0;
    for (size_t i = 0; i < attention_tiles(f); i++) {
        nb_attention a = attention_of(f, i);
        nb_attend_spans(&a, &first, &end);
    }
    f->first_span = first;
    f->n_spans = end - first;
    return f->n_spans > 1 && items * f->n_spans <= f->n_parts;
}

static void attend(nb_forward *f) {
    size_t items = attention_tiles(f) * f->h->n_kv_head;
    if (spans_are_items(f, items)) {
        nb_team_for(f->team, items * f->n_spans, 1, attend_spans_share, f);
        nb_team_for(f->team, items, 1, merge_share, f);
    } else {
        nb_team_for(f->team, items, 1, attend_share, f);
    }
}

static void activate(nb_forward *f, size_t t) {
    const nb_hparams *h = f->h;
    float *y = f->ff + t * f->stride_ff; /* [F], or [2][F] gate and up */
    add_bias(f, y, &f->w->up_b);
    switch ((nb_act_kind)h->act) {
    case NB_ACT_RELU2: f->k->relu2(y, h->n_ff); break;
    case NB_ACT_GELU_ERF: f->k->gelu_erf(y, h->n_ff); break;
    case NB_ACT_GELU_TANH: f->k->gelu_tanh(y, h->n_ff); break;
    case NB_ACT_SILU: f->k->silu(y, h->n_ff); break;
    }
    if (h->glu) {
        f->k->mul(y, y + h->n_ff, h->n_ff);
        memset(y + h->n_ff, 0, (padded_cols(&f->w->down_w) - h->n_ff) * sizeof *y); /* padding columns of `down` */
    }
    enter(f, &f->w->down_w, y, t);
}

static void enter_out(nb_forward *f, size_t t) { enter(f, &f->w->out_w, f->att + t * f->stride_att, t); }

/* xn = norm(x), or x where norms come later, ready for the product with `next`. */
static void enter_norm(nb_forward *f, size_t t, const nb_weight *w, const nb_weight *b, const nb_weight *next) {
    float *xn = f->xn + t * f->stride_embd, *x = f->x + t * f->stride_embd;
    if (f->h->post_norm) memcpy(xn, x, f->h->n_embd * sizeof *xn);
    else norm(f, xn, x, w, b);
    enter(f, next, xn, t);
}
/* x += y, or norm(y) with the norm's w and b where norms come here. */
static void residual(nb_forward *f, size_t t, const nb_weight *bias, const nb_weight *w, const nb_weight *b) {
    float *y = f->y + t * f->stride_embd;
    add_bias(f, y, bias);
    if (f->h->post_norm) norm(f, y, y, w, b);
    f->k->add(f->x + t * f->stride_embd, y, f->h->n_embd);
}
static void enter_attn(nb_forward *f, size_t t) {
    const nb_model_weights *w = nb_model_shared(f->model);
    if (f->h->residual_mix)
        f->k->blend(f->x + t * f->stride_embd, vector(&w->resid_lambdas)[f->layer], f->x0 + t * f->stride_embd,
                    vector(&w->x0_lambdas)[f->layer], f->h->n_embd);
    enter_norm(f, t, &f->w->attn_norm_w, &f->w->attn_norm_b, &f->w->qkv_w);
}
static void enter_mlp(nb_forward *f, size_t t) {
    residual(f, t, &f->w->out_b, &f->w->attn_norm_w, &f->w->attn_norm_b);
    enter_norm(f, t, &f->w->mlp_norm_w, &f->w->mlp_norm_b, &f->w->up_w);
}
static void leave_mlp(nb_forward *f, size_t t) {
    float *x = f->x + t * f->stride_embd, *mid = f->mid + t * f->stride_embd;
    size_t n = f->h->n_embd;
    residual(f, t, &f->w->down_b, &f->w->mlp_norm_w, &f->w->mlp_norm_b);
    if (!f->h->backout) return;
    if (f->layer == f->h->n_layer / 2) memcpy(mid, x, n * sizeof *mid);
    if (f->layer + 1 == f->h->n_layer) f->k->blend(x, 1.0f, mid, -*vector(&nb_model_shared(f->model)->backout_lambda), n);
}

/* ---- the pass ---- */

static void embedding(const nb_forward *f, int32_t id, uint32_t position, float *x) {
    const nb_model_weights *w = nb_model_shared(f->model);
    nb_dequantize_row(w->embed.type, w->embed.codebook, w->embed.data, (size_t)id, f->h->n_embd, x);
    if (f->h->pos == NB_POS_LEARNED) f->k->add(x, vector(&w->pos) + (size_t)position * f->h->n_embd, f->h->n_embd);
    if (f->h->embed_norm) f->k->rmsnorm(x, x, NULL, f->h->n_embd, f->h->norm_eps);
}

/* x += lambda * gate * the embedding of the token before, which is looked up once more: a text has no state but its tokens. */
static void smear(nb_forward *f, size_t t) {
    const nb_model_weights *w = nb_model_shared(f->model);
    float *x = f->x + t * f->stride_embd, *last = f->y + t * f->stride_embd;
    if (!f->h->smear_channels || f->position[t] == 0) return;
    embedding(f, f->before[t], f->position[t] - 1, last);
    float open = gate(f, vector(&w->smear_gate), x, f->h->smear_channels);
    f->k->blend(x, 1.0f, last, *vector(&w->smear_lambda) * open, f->h->n_embd);
}

static void embed(nb_forward *f, size_t t) {
    float *x = f->x + t * f->stride_embd;
    embedding(f, f->ids[t], f->position[t], x);
    smear(f, t);
    if (f->h->residual_mix) memcpy(f->x0 + t * f->stride_embd, x, f->h->n_embd * sizeof *x);
    if (f->h->pos == NB_POS_ROPE) rotary_table(f, t);
}

static void block(nb_forward *f) {
    const nb_layer_weights *w = f->w;
    bool last = f->layer + 1 == f->h->n_layer;
    const nb_weight *next = last ? nb_model_head(f->model) : &nb_model_layer(f->model, f->layer + 1)->qkv_w;
    size_t n = f->n_tokens, e = f->stride_embd;
    each_token(f, enter_attn);                                            /* xn = norm(x)          [T][N]         */
    multiply(f, &w->qkv_w, &w->out_w, f->xn, e, n, f->qkv, f->stride_qkv);/* q, k, v = Wqkv xn     [T][(H+2G)D]   */
    each_token(f, place_qkv);                                             /* rotate, norm, store k and v          */
    attend(f);                                                            /* att = attention(q)    [T][HD]        */
    each_token(f, enter_out);
    multiply(f, &w->out_w, &w->up_w, f->att, f->stride_att, n, f->y, e);  /* y = Wo att            [T][N]         */
    each_token(f, enter_mlp);                                             /* x += y, xn = norm(x)                 */
    multiply(f, &w->up_w, &w->down_w, f->xn, e, n, f->ff, f->stride_ff);  /* ff = Wup xn           [T][F or 2F]   */
    each_token(f, activate);                                              /* ff = act(ff)          [T][F]         */
    multiply(f, &w->down_w, next, f->ff, f->stride_ff, n, f->y, e);       /* y = Wdown ff          [T][N]         */
    each_token(f, leave_mlp);                                             /* x += y                               */
}

/* Whose every token is. */
static void lay_out(nb_forward *f, const nb_span *spans, size_t n_spans) {
    f->n_tokens = 0;
    for (const nb_span *s = spans; s < spans + n_spans; s++)
        for (uint32_t i = 0; i < s->n; i++) {
            size_t t = f->n_tokens++;
            f->text[t] = s->text;
            f->ids[t] = s->ids[i];
            f->before[t] = i ? s->ids[i - 1] : s->before;
            f->position[t] = s->position + i;
            f->readers[t] = (nb_reader){.text = s->text, .position = s->position + i, .q = f->qkv + t * f->stride_qkv,
                                        .out = f->att + t * f->stride_att};
        }
}

void nb_forward_chunk(nb_forward *f, const nb_span *spans, size_t n_spans) {
    lay_out(f, spans, n_spans);
    each_token(f, embed);
    uint32_t n_layer = f->observer && f->observer->n_layer ? f->observer->n_layer : f->h->n_layer;
    for (f->layer = 0; f->layer < n_layer; f->layer++) {
        f->w = nb_model_layer(f->model, f->layer);
        block(f);
    }
}

void nb_forward_logits(nb_forward *f, const uint32_t *tokens, size_t n) {
    const nb_model_weights *w = nb_model_shared(f->model);
    const nb_weight *head = nb_model_head(f->model);
    for (size_t t = 0; t < n; t++) {
        float *xn = f->xn + t * f->stride_embd;
        norm(f, xn, f->x + tokens[t] * f->stride_embd, &w->norm_w, &w->norm_b);
        enter(f, head, xn, t);
    }
    multiply(f, head, &nb_model_layer(f->model, 0)->qkv_w, f->xn, f->stride_embd, n, f->logits, f->stride_vocab);
    if (f->h->softcap > 0.0f)
        for (size_t t = 0; t < n; t++) f->k->softcap(f->logits + t * f->stride_vocab, f->h->softcap, f->h->vocab_size);
}

/* ---- memory ---- */

/* Take `bytes` of the region, or only count them while there is none. */
static void *carve_bytes(nb_forward *f, size_t *used, size_t bytes) {
    void *at = f->memory.data ? (uint8_t *)f->memory.data + *used : NULL;
    *used += nb_round_up(bytes, NB_ALIGN);
    return at;
}
static float *carve(nb_forward *f, size_t *used, size_t count) { return carve_bytes(f, used, count * sizeof(float)); }

/* Hyperparameters are bounded (hparams.def) and n_chunk is at most NB_SESSION_CHUNK_MAX, so the sums fit 64 bits. */
static size_t plan(nb_forward *f, size_t n_chunk, size_t n_logits) {
    const nb_hparams *h = f->h;
    size_t used = 0, rotary = (size_t)h->rope_kinds * (h->head_dim / 2);
    f->x = carve(f, &used, n_chunk * f->stride_embd);
    f->xn = carve(f, &used, nb_max_size(n_chunk, n_logits) * f->stride_embd);
    f->y = carve(f, &used, n_chunk * f->stride_embd);
    f->qkv = carve(f, &used, n_chunk * f->stride_qkv);
    f->att = carve(f, &used, n_chunk * f->stride_att);
    f->ff = carve(f, &used, n_chunk * f->stride_ff);
    f->x0 = carve(f, &used, h->residual_mix ? n_chunk * f->stride_embd : 0);
    f->mid = carve(f, &used, h->backout ? n_chunk * f->stride_embd : 0);
    f->cos = carve(f, &used, n_chunk * rotary);
    f->sin = carve(f, &used, n_chunk * rotary);
    f->logits = carve(f, &used, n_logits * f->stride_vocab);
    f->kv_scratch = carve(f, &used, (size_t)nb_team_size(f->team) * f->scratch_stride);
    f->parts = carve(f, &used, f->n_parts * f->part_stride);
    size_t rows = nb_max_size(n_chunk, n_logits);
    f->q = carve_bytes(f, &used, rows * f->stride_q);
    f->q_scale = carve(f, &used, rows * f->stride_scale);
    f->q_start = carve_bytes(f, &used, rows * f->stride_start * sizeof *f->q_start);
    f->text = carve_bytes(f, &used, n_chunk * sizeof *f->text);
    f->ids = carve_bytes(f, &used, n_chunk * sizeof *f->ids);
    f->before = carve_bytes(f, &used, n_chunk * sizeof *f->before);
    f->position = carve_bytes(f, &used, n_chunk * sizeof *f->position);
    f->readers = carve_bytes(f, &used, n_chunk * sizeof *f->readers);
    return used;
}

/* Floats from one row of n to the next: whole blocks of columns, and rows apart as kernels like them. */
static size_t padded_row(size_t n) { return nb_row_bytes(nb_round_up(n, NB_BLOCK_COLS) * sizeof(float)) / sizeof(float); }

/* Parts for every span of the longest text, or for sixteen per thread where those are more; none where one thread does it all. */
static void plan_parts(nb_forward *f) {
    size_t threads = (size_t)nb_team_size(f->team), spans = nb_div_up((size_t)f->kv->n_pages * NB_KV_PAGE, NB_ATTEND_SPAN);
    f->part_stride = nb_attend_part(&f->kv->shape, f->h->n_head / f->h->n_kv_head);
    if (threads > 1 && spans > 1) f->n_parts = nb_min_size((2 * threads - 1) * spans, nb_max_size(spans, 16 * threads));
}

nb_status nb_forward_create(nb_forward *f, const nb_model *model, const nb_kv *kv, uint32_t n_chunk, uint32_t n_logits,
                            nb_team *team, nb_error *err) {
    const nb_hparams *h = nb_model_hparams(model);
    *f = (nb_forward){.model = model, .h = h, .k = nb_model_kernels(model), .kv = kv, .team = team};
    f->scale = h->attn_scale > 0.0f ? h->attn_scale : 1.0f / sqrtf((float)h->head_dim);
    f->scale *= h->qk_scale * h->qk_scale; /* a factor on keys does not change what they are to each other: q takes both */
    f->stride_embd = padded_row(h->n_embd);
    f->stride_qkv = padded_row((size_t)(h->n_head + 2 * h->n_kv_head) * h->head_dim);
    f->stride_att = padded_row((size_t)h->n_head * h->head_dim);
    f->stride_ff = padded_row((size_t)h->n_ff * (h->glu ? 2 : 1));
    f->stride_vocab = padded_row(h->vocab_size);
    size_t widest = nb_max_size(nb_max_size(h->n_embd, h->n_ff), (size_t)h->n_head * h->head_dim);
    f->stride_q = nb_row_bytes(nb_round_up(widest, NB_BLOCK_COLS));
    f->stride_scale = nb_div_up(widest, NB_STRIP_COLS);
    f->stride_start = nb_div_up(widest, NB_BLOCK_COLS);
    f->scratch_stride = nb_round_up(nb_attend_scratch(&kv->shape, h->n_head / h->n_kv_head), NB_ALIGN / sizeof(float));
    plan_parts(f);
    /* Of huge pages, where the system has them: a product's tiles write rows of y that lie 10 to 50 KB apart. */
    nb_status st = nb_region_alloc(&f->memory, plan(f, n_chunk, n_logits), "the buffers of a forward pass", err);
    if (!st) plan(f, n_chunk, n_logits);
    return st;
}

void nb_forward_free(nb_forward *f) { nb_region_free(&f->memory); }
