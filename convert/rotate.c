#include "convert/rotate.h"

#include <stdio.h>
#include <string.h>
#include "base/checked.h"
#include "base/mem.h"

/* ---- names ---- */

static const char *const names[NB_ROTATION_COUNT] = {
#define ROTATION(NAME, name, doc) #name,
#include "convert/rotations.def"
#undef ROTATION
};

const char *nb_rotations_text(unsigned set, char text[NB_ROTATION_TEXT]) {
    size_t n = 0;
    snprintf(text, NB_ROTATION_TEXT, "%s", set & NB_ROTATE_AUTO ? "auto" : "none");
    for (int i = 0; i < NB_ROTATION_COUNT; i++)
        if (set >> i & 1) n += (size_t)snprintf(text + n, NB_ROTATION_TEXT - n, "%s%s", n ? "," : "", names[i]);
    return text;
}

bool nb_rotations_parse(const char *text, unsigned *set) {
    *set = !strcmp(text, "auto") ? NB_ROTATE_AUTO : 0;
    if (*set || !strcmp(text, "none")) return true;
    for (const char *at = text;; at++) {
        size_t n = strcspn(at, ",");
        int i = 0;
        while (i < NB_ROTATION_COUNT && (strlen(names[i]) != n || strncmp(names[i], at, n) != 0)) i++;
        if (i == NB_ROTATION_COUNT) return false;
        *set |= 1u << i;
        at += n;
        if (!*at) return true;
    }
}

/* ---- what is rotated ---- */

/* What a tensor is to a rotation. */
typedef enum part {
    UNKNOWN,      /* a tensor that this list does not have: no rotation is exact before someone has thought of it */
    APART,        /* not touched */
    READS,        /* its columns meet what is rotated */
    WRITES,       /* its rows do */
    WRITES_COLS,  /* its columns do: rows of it are looked up, or it is a vector */
    FOLDED,       /* a norm's weights, which become columns of what reads */
    BARS          /* reads or writes single channels, or adds what no matrix behind it can hold */
} part;

static const struct {
    uint8_t in[NB_ROTATION_COUNT];
} parts[NB_SPEC_COUNT] = {
#define PART(spec, vo, residual) [NB_SPEC_##spec] = {{vo, residual, APART}}
    PART(embed, APART, WRITES_COLS),
    PART(pos, APART, WRITES_COLS),
    PART(inv_freq, APART, APART),
    PART(rope_kinds, APART, APART),
    PART(rope_gains, APART, APART),
    PART(windows, APART, APART),
    PART(resid_lambdas, APART, APART),
    PART(x0_lambdas, APART, APART),
    PART(smear_gate, APART, BARS),
    PART(smear_lambda, APART, APART),
    PART(backout_lambda, APART, APART),
    PART(norm_w, APART, FOLDED),
    PART(norm_b, APART, BARS),
    PART(head, APART, READS),
    PART(attn_norm_w, APART, FOLDED),
    PART(attn_norm_b, APART, BARS),
    PART(qkv_w, WRITES, READS),
    PART(qkv_b, WRITES_COLS, APART),
    PART(q_norm_w, APART, APART),
    PART(k_norm_w, APART, APART),
    PART(value_embed, WRITES_COLS, APART),
    PART(value_gate, APART, BARS),
    PART(out_w, READS, WRITES),
    PART(out_b, APART, WRITES_COLS),
    PART(mlp_norm_w, APART, FOLDED),
    PART(mlp_norm_b, APART, BARS),
    PART(up_w, APART, READS),
    PART(up_b, APART, APART),
    PART(down_w, APART, WRITES),
    PART(down_b, APART, WRITES_COLS),
#undef PART
};

static const char *tensor_obstacle(int rotation, const nb_hparams *h) {
    nb_tensor_spec specs[NB_SPEC_COUNT];
    nb_tensor_specs(h, specs);
    for (int id = 0; id < NB_SPEC_COUNT; id++) {
        if (!specs[id].present) continue;
        if (parts[id].in[rotation] == UNKNOWN) return "it has a tensor that rotations do not know";
        if (parts[id].in[rotation] == BARS)
            return id == NB_SPEC_smear_gate || id == NB_SPEC_value_gate
                       ? "its gates read single channels of the residual stream"
                       : "its norms have biases, which the matrices behind them do not all hold";
    }
    return NULL;
}

const char *nb_rotation_obstacle(int rotation, const nb_hparams *h) {
    bool layer_norm = h->norm == NB_NORM_LAYER;
    uint32_t channels = rotation == NB_ROTATION_RESIDUAL ? h->n_embd : h->head_dim;
    if (channels % 2) return "its number of channels is odd, and there is no Hadamard matrix of that size";
    if (rotation == NB_ROTATION_VO && h->clip_qkv > 0) return "it limits every single channel of its values (clip_qkv)";
    if (rotation == NB_ROTATION_RESIDUAL) {
        if (h->norm_weight && h->tied)
            return "its head is its embedding, which cannot take up the weights of the last norm too";
        if (h->post_norm && (h->norm_weight || layer_norm))
            return "what its blocks write goes through a norm of single channels";
        if (h->embed_norm && layer_norm)
            return "its embedding goes through a norm of its own, which the other norms would not equal";
    }
    return tensor_obstacle(rotation, h);
}

/* What is done to a tensor. Elements of a row [col, cols) are rotated col_group at a time, rows [row, rows) row_group
 * at a time; a group of 0: they are not. */
typedef struct turn {
    uint64_t col, col_group, row, row_group;
    const float *gain; /* [cols] for every column, first of all; or NULL */
    bool centre_cols, centre_rows;
} turn;

/* The weights of a norm and of what reads what it gives: two norms of each block, then the last. */
static float *gain_of(const nb_rotation *r, const nb_plan_tensor *t) {
    bool attn = t->id == NB_SPEC_attn_norm_w || t->id == NB_SPEC_qkv_w;
    bool last = t->id == NB_SPEC_norm_w || t->id == NB_SPEC_head;
    size_t slot = 2 * (size_t)(last ? r->n_layer : t->layer) + !(attn || last);
    return r->gains ? r->gains + slot * r->n_embd : NULL;
}

static turn turn_of(const nb_rotation *r, const nb_plan_tensor *t) {
    turn u = {0};
    part vo = r->set & NB_ROTATE_VO ? (part)parts[t->id].in[NB_ROTATION_VO] : APART;
    part residual = r->set & NB_ROTATE_RESIDUAL ? (part)parts[t->id].in[NB_ROTATION_RESIDUAL] : APART;
    uint64_t v = t->id == NB_SPEC_qkv_w || t->id == NB_SPEC_qkv_b ? r->v_row : 0;
    if (vo == READS || vo == WRITES_COLS) u = (turn){.col = v, .col_group = r->head_dim};
    if (vo == WRITES) u = (turn){.row = v, .row_group = r->head_dim};
    if (residual == READS || residual == WRITES_COLS) u.col_group = r->n_embd;
    if (residual == READS) u.gain = gain_of(r, t);
    /* what hadamard mixes */
    if (residual == WRITES) u.row_group = r->centre ? r->n_embd : r->n_embd & (~r->n_embd + 1);
    u.centre_cols = r->centre && residual == WRITES_COLS;
    u.centre_rows = r->centre && residual == WRITES;
    return u;
}

/* ---- reading ---- */

static void take_mean_out(float *x, uint64_t n) {
    double sum = 0;
    for (uint64_t i = 0; i < n; i++) sum += (double)x[i];
    for (uint64_t i = 0; i < n; i++) x[i] = (float)((double)x[i] - sum / (double)n);
}

static void turn_channels(const nb_rotation *r, float *x, uint64_t n, bool centre) {
    if (centre) take_mean_out(x, n);
    r->kernels->hadamard(x, (size_t)n);
}

static void turn_cols(const nb_rotation *r, const turn *u, uint64_t cols, float *rows, uint64_t n) {
    for (float *x = rows; x < rows + n * cols; x += cols) {
        if (u->gain) r->kernels->mul(x, u->gain, (size_t)cols);
        for (uint64_t c = u->col; u->col_group && c < cols; c += u->col_group)
            turn_channels(r, x + c, u->col_group, u->centre_cols);
    }
}

/* Rows of x [n][cols], some columns at a time, which are turned into rows for it. */
static nb_status turn_rows(const nb_rotation *r, float *x, uint64_t n, uint64_t cols, bool centre, nb_error *err) {
    enum { WIDTH = 16 };
    float *columns = nb_alloc((size_t)n * WIDTH * sizeof *columns);
    if (!columns) return nb_oom(err, "columns of a tensor", (size_t)n * WIDTH * sizeof *columns);
    for (uint64_t c = 0; c < cols; c += WIDTH) {
        uint64_t width = cols - c < WIDTH ? cols - c : WIDTH;
        for (uint64_t i = 0; i < n; i++)
            for (uint64_t j = 0; j < width; j++) columns[j * n + i] = x[i * cols + c + j];
        for (uint64_t j = 0; j < width; j++) turn_channels(r, columns + j * n, n, centre);
        for (uint64_t i = 0; i < n; i++)
            for (uint64_t j = 0; j < width; j++) x[i * cols + c + j] = columns[j * n + i];
    }
    nb_free(columns);
    return NB_OK;
}

/* Make r->block the rows of t from `row` on. */
static nb_status load_block(nb_rotation *r, const nb_plan_tensor *t, nb_source *s, const turn *u, uint64_t row,
                            nb_error *err) {
    size_t floats = 0;
    if (r->of == t && r->block_row == row) return NB_OK;
    r->of = NULL;
    if (!nb_mul_size((size_t)u->row_group, (size_t)t->spec.cols, &floats) || floats > SIZE_MAX / sizeof(float))
        return nb_fail(err, NB_LIMIT, "tensor '%s' is too large to be rotated", t->name);
    nb_status st = nb_scratch_reserve(&r->block, floats * sizeof(float), err);
    if (!st) st = nb_plan_read(t, s, row, u->row_group, r->block.data, err);
    if (!st) st = turn_rows(r, r->block.data, u->row_group, t->spec.cols, u->centre_rows, err);
    if (st) return st;
    r->of = t;
    r->block_row = row;
    return NB_OK;
}

static nb_status read_rows(nb_rotation *r, const nb_plan_tensor *t, nb_source *s, const turn *u, uint64_t row,
                           uint64_t n, float *dst, nb_error *err) {
    uint64_t end = row + n, cols = t->spec.cols, before = u->row_group ? u->row : end;
    nb_status st = NB_OK;
    if (row < before) {
        uint64_t plain = before < end ? before - row : n;
        st = nb_plan_read(t, s, row, plain, dst, err);
        row += plain;
        dst += plain * cols;
    }
    while (!st && row < end) {
        uint64_t first = row - (row - u->row) % u->row_group,
                 past = first + u->row_group < end ? first + u->row_group : end;
        st = load_block(r, t, s, u, first, err);
        if (st) break;
        memcpy(dst, (const float *)r->block.data + (row - first) * cols, (size_t)((past - row) * cols) * sizeof *dst);
        dst += (past - row) * cols;
        row = past;
    }
    return st;
}

nb_status nb_rotation_read(nb_rotation *r, const nb_plan_tensor *t, nb_source *s, uint64_t row, uint64_t n, float *dst,
                           nb_error *err) {
    if (!r->set || !t->n_parts) return nb_plan_read(t, s, row, n, dst, err);
    turn u = turn_of(r, t);
    nb_status st = read_rows(r, t, s, &u, row, n, dst, err);
    if (!st) turn_cols(r, &u, t->spec.cols, dst, n);
    return st;
}

/* ---- making ---- */

/* Norms' weights leave the plan. */
static nb_status take_gains(nb_rotation *r, nb_plan *plan, nb_source *s, nb_error *err) {
    size_t n = 0, floats = (2 * (size_t)r->n_layer + 1) * (size_t)r->n_embd;
    r->gains = nb_alloc(floats * sizeof *r->gains);
    nb_status st = r->gains ? NB_OK : nb_oom(err, "the weights of norms", floats * sizeof *r->gains);
    for (size_t i = 0; !st && i < plan->n; i++) {
        const nb_plan_tensor *t = &plan->tensors[i];
        if (parts[t->id].in[NB_ROTATION_RESIDUAL] != FOLDED) {
            plan->tensors[n++] = *t;
            continue;
        }
        st = nb_plan_read(t, s, 0, 1, gain_of(r, t), err);
        plan->source_elements -= t->spec.cols;
    }
    if (!st) plan->n = n;
    return st;
}

nb_status nb_rotation_make(nb_rotation *r, unsigned set, nb_hparams *h, nb_plan *plan, nb_source *s,
                           const nb_kernels *kernels, nb_error *err) {
    nb_status st = NB_OK;
    *r = (nb_rotation){.set = set & NB_ROTATE_WEIGHTS, .kernels = kernels, .n_embd = h->n_embd, .head_dim = h->head_dim,
                       .n_layer = h->n_layer, .v_row = ((uint64_t)h->n_head + h->n_kv_head) * h->head_dim};
    for (int i = 0; i < NB_ROTATION_COUNT; i++) {
        const char *obstacle = set >> i & 1 ? nb_rotation_obstacle(i, h) : NULL;
        if (obstacle)
            return nb_fail(err, NB_UNSUPPORTED, "the rotation '%s' is not for this model: %s", names[i], obstacle);
    }
    if (set & NB_ROTATE_QK) h->qk_rotate = 1;
    if (!(set & NB_ROTATE_RESIDUAL)) return NB_OK;
    if (h->norm_weight) st = take_gains(r, plan, s, err);
    r->centre = h->norm == NB_NORM_LAYER;
    h->norm = NB_NORM_RMS;
    h->norm_weight = 0;
    return st;
}

void nb_rotation_free(nb_rotation *r) {
    nb_free(r->gains);
    nb_scratch_free(&r->block);
    *r = (nb_rotation){0};
}
