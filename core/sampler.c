#include "core/sampler.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>
#include "base/checked.h"
#include "base/mem.h"
#include "core/rng.h"
#include "core/select.h"

/* A token's place among the latest: how often it is there, and the slot of the ring that holds it last. */
typedef struct recent {
    uint32_t count, newest;
} recent;

/* Up to this k, the k best are found with a heap. */
enum { HEAP_MAX = 256, DRAW_BLOCK = 1024, LANES = 8, MAX_LAST_N = 1 << 20 };

typedef struct ranked {
    float logit;
    int32_t id;
} ranked;

struct nb_sampler {
    nb_sampler_params params;
    const nb_kernels *k;
    nb_rng rng;
    uint32_t vocab_size;
    nb_logit_bias *bias; /* [params.n_bias] */
    /* Candidates, in the order of their ids. What a stage leaves out is marked, d = NaN and w = 0, or, when little is left, the
     * rest moves to the front. Until then id[i] is i: only the first `moved` need restoring for the next token. */
    float *d;            /* [vocab_size] logits, then how far each lies below the best, in units of the temperature */
    float *w;            /* weights */
    int32_t *id;
    size_t moved;
    uint32_t *key;       /* [vocab_size] what a stage ranks by; NaN of d comes last */
    nb_select_room room; /* place: also of those that stay */
    double *blocks;      /* sums of DRAW_BLOCK weights */
    recent *seen;        /* [vocab_size] */
    int32_t *ring;       /* [ring_size] the latest tokens; ring_size is 0 without penalties */
    uint32_t ring_size, n_ring, next_slot;
};

const nb_sampler_params nb_sampler_defaults = {
    .temperature = 0.8F, .top_p = 1, .repeat_penalty = 1, .repeat_last_n = 64};

/* A distance at which weights are 0, and still a number. */
#define FARTHEST 1e30F
static const float coldest = 1e-6F; /* below, 1 / temperature is of no use in f32 */

static nb_status check_range(const char *name, float v, float low, bool open, float high, nb_error *err) {
    if ((open ? v > low : v >= low) && v <= high) return NB_OK; /* false for NaN */
    return nb_fail(err, NB_ARGUMENT, "%s is %g, expected %s %g and at most %g", name, (double)v,
                   open ? "more than" : "at least", (double)low, (double)high);
}

nb_status nb_sampler_params_check(const nb_sampler_params *p, nb_error *err) {
    nb_status st = check_range("temperature", p->temperature, 0, false, 1000, err);
    if (!st) st = check_range("typical-p", p->typical_p, 0, false, 1, err);
    if (!st) st = check_range("top-p", p->top_p, 0, true, 1, err);
    if (!st) st = check_range("min-p", p->min_p, 0, false, 1, err);
    if (!st) st = check_range("repeat penalty", p->repeat_penalty, 0, true, 1000, err);
    if (!st) st = check_range("frequency penalty", p->frequency_penalty, -1000, false, 1000, err);
    if (!st) st = check_range("presence penalty", p->presence_penalty, -1000, false, 1000, err);
    if (!st && p->repeat_last_n > MAX_LAST_N)
        st = nb_fail(err, NB_ARGUMENT, "penalties over the last %u tokens, at most %d are supported",
                     (unsigned)p->repeat_last_n, (int)MAX_LAST_N);
    for (size_t i = 0; !st && i < p->n_bias; i++)
        if (!(p->bias[i].bias < HUGE_VALF))
            st = nb_fail(err, NB_ARGUMENT, "the bias of token %d is %g, expected a finite number or -infinity",
                         (int)p->bias[i].id, (double)p->bias[i].bias);
    return st;
}

static bool differs(float v, float neutral) { return v < neutral || v > neutral; }

static bool penalizes(const nb_sampler_params *p) {
    return p->repeat_last_n && (differs(p->repeat_penalty, 1) || differs(p->frequency_penalty, 0) ||
                                differs(p->presence_penalty, 0));
}

/* Whoever takes the best token needs no candidates, and room for logits only where they change. */
static bool draws(const nb_sampler_params *p) { return p->temperature >= coldest; }

static nb_status take_memory(nb_sampler *s, nb_error *err) {
    const nb_sampler_params *p = &s->params;
    size_t n = s->vocab_size, ring = penalizes(p) ? p->repeat_last_n : 0, n_seen = ring ? n : 0;
    size_t n_drawn = draws(p) ? n : 0, n_logits = draws(p) || ring || p->n_bias ? n : 0;
    s->d = nb_calloc(n_logits, sizeof *s->d);
    s->w = nb_calloc(n_drawn, sizeof *s->w);
    s->id = nb_calloc(n_drawn, sizeof *s->id);
    s->key = nb_calloc(n_drawn, sizeof *s->key);
    s->room.bins = nb_calloc(NB_SELECT_BINS, sizeof *s->room.bins);
    s->room.place = nb_calloc(n_drawn, sizeof *s->room.place);
    s->blocks = nb_calloc(n_drawn / DRAW_BLOCK + 1, sizeof *s->blocks);
    s->bias = nb_calloc(p->n_bias, sizeof *s->bias);
    s->seen = nb_calloc(n_seen, sizeof *s->seen);
    s->ring = nb_calloc(ring, sizeof *s->ring);
    if (!s->d || !s->w || !s->id || !s->key || !s->room.bins || !s->room.place || !s->blocks || !s->bias || !s->seen || !s->ring)
        return nb_oom(err, "a sampler", n_logits * sizeof *s->d + n_drawn * 16 + n_seen * sizeof *s->seen);
    s->moved = n_drawn;
    s->ring_size = (uint32_t)ring;
    if (p->n_bias) memcpy(s->bias, p->bias, p->n_bias * sizeof *s->bias);
    return NB_OK;
}

nb_status nb_sampler_create(nb_sampler **sampler, const nb_sampler_params *params, uint64_t stream, uint32_t vocab_size,
                            const nb_kernels *k, nb_error *err) {
    *sampler = NULL;
    nb_status st = nb_sampler_params_check(params, err);
    if (st) return st;
    if (vocab_size == 0 || vocab_size > INT32_MAX)
        return nb_fail(err, NB_ARGUMENT, "a vocabulary of %u tokens cannot be sampled from", (unsigned)vocab_size);
    for (size_t i = 0; i < params->n_bias; i++)
        if (params->bias[i].id < 0 || (uint32_t)params->bias[i].id >= vocab_size)
            return nb_fail(err, NB_ARGUMENT, "the bias of token %d: expected an id from 0 to %u", (int)params->bias[i].id,
                           (unsigned)vocab_size - 1);
    nb_sampler *s = nb_calloc(1, sizeof *s);
    if (!s) return nb_oom(err, "sampler", sizeof *s);
    s->params = *params;
    s->k = k;
    s->rng = nb_rng_start(params->seed, stream);
    s->vocab_size = vocab_size;
    st = take_memory(s, err);
    if (st) nb_sampler_free(s);
    else *sampler = s;
    return st;
}

void nb_sampler_free(nb_sampler *s) {
    if (!s) return;
    nb_free(s->d);
    nb_free(s->w);
    nb_free(s->id);
    nb_free(s->key);
    nb_free(s->room.bins);
    nb_free(s->room.place);
    nb_free(s->blocks);
    nb_free(s->bias);
    nb_free(s->seen);
    nb_free(s->ring);
    nb_free(s);
}

nb_rng nb_sampler_rng(const nb_sampler *s) { return s->rng; }
void nb_sampler_resume(nb_sampler *s, const nb_rng *rng) { s->rng = *rng; }

void nb_sampler_accept(nb_sampler *s, int32_t id) {
    if (!s->ring_size || id < 0 || (uint32_t)id >= s->vocab_size) return;
    if (s->n_ring == s->ring_size) s->seen[s->ring[s->next_slot]].count--;
    else s->n_ring++;
    s->ring[s->next_slot] = id;
    s->seen[id].count++;
    s->seen[id].newest = s->next_slot;
    s->next_slot = (s->next_slot + 1) % s->ring_size;
}

/* ---- stages 1 and 2 */

/* Without NaN, and with one kind of zero, so that the order of bits is the order of values. */
static float clean(float logit) { return isnan(logit) ? -HUGE_VALF : logit + 0.0F; }

static void change_logits(const nb_sampler *s, float *d) {
    const nb_sampler_params *p = &s->params;
    for (size_t i = 0; i < p->n_bias; i++) d[s->bias[i].id] = clean(d[s->bias[i].id] + s->bias[i].bias);
    for (uint32_t slot = 0; slot < s->n_ring; slot++) {
        int32_t id = s->ring[slot];
        if (s->seen[id].newest != slot) continue; /* once per token */
        float logit = d[id] > 0 ? d[id] / p->repeat_penalty : d[id] * p->repeat_penalty;
        d[id] = clean(logit - ((float)s->seen[id].count * p->frequency_penalty + p->presence_penalty));
    }
}

/* ---- stages that leave candidates out */

static uint32_t bits(float x) {
    uint32_t b;
    memcpy(&b, &x, sizeof b);
    return b;
}

static float of_bits(uint32_t b) {
    float x;
    memcpy(&x, &b, sizeof x);
    return x;
}

/* Those at room.place[n] move to the front. */
static size_t move_up(nb_sampler *s, size_t n) {
    for (size_t j = 0; j < n; j++) {
        size_t i = s->room.place[j];
        s->id[j] = s->id[i];
        s->d[j] = s->d[i];
        s->w[j] = s->w[i];
    }
    s->moved = nb_max_size(s->moved, n);
    return n;
}

/* When so many of n stay, marking the others is faster than moving. */
static bool many(size_t staying, size_t n) { return staying > n / 4; }

/* The loops over all candidates have no branches, as which are kept is hard to foresee, and are such that compilers make
 * vectors of them. `out` has all bits set where a candidate goes, else none: d becomes NaN, w zero. */
static void mark(float *d, float *w, const uint32_t *out, size_t n) {
    for (size_t i = 0; i < n; i++) d[i] = of_bits(bits(d[i]) | out[i]);
    for (size_t i = 0; i < n; i++) w[i] = of_bits(bits(w[i]) & ~out[i]);
}

enum moving { MOVE_FEW, MOVE_ALWAYS };

static size_t keep_cut(nb_sampler *s, size_t n, nb_cut cut, enum moving moving) {
    uint32_t *out = s->key, end = (uint32_t)n, staying = 0, to = 0; /* the keys have served */
    for (uint32_t i = 0; i < end; i++) {
        uint32_t tie = (uint32_t)(out[i] == cut.key) & (uint32_t)(i < cut.before);
        uint32_t stays = (uint32_t)(out[i] < cut.key) | tie;
        out[i] = stays - 1;
        staying += stays;
    }
    if (moving == MOVE_FEW && many(staying, n)) {
        mark(s->d, s->w, out, n);
        return n;
    }
    for (uint32_t i = 0; i < end; i++) {
        s->room.place[to] = i;
        to += out[i] + 1;
    }
    return move_up(s, to);
}

static uint32_t count_heavy(const float *w, size_t n, float least) {
    uint32_t count = 0;
    for (size_t i = 0; i < n; i++) count += w[i] >= least;
    return count;
}

/* Those with a weight of at least `least`, which is above 0, move to the front. Where they are few, most of the way is the find
 * kernel's. */
static size_t gather_heavy(nb_sampler *s, size_t n, float least) {
    enum { STRETCH = 64 }; /* to look through where one is found */
    size_t to = 0;
    for (size_t i = s->k->find(s->w, n, least); i < n; i += i < n ? s->k->find(s->w + i, n - i, least) : 0)
        for (size_t end = nb_min_size(i + STRETCH, n); i < end; i++) {
            s->room.place[to] = (uint32_t)i;
            to += s->w[i] >= least;
        }
    return move_up(s, to);
}

static size_t keep_heavy(nb_sampler *s, size_t n, float least) {
    if (!many(count_heavy(s->w, n, least), n)) return gather_heavy(s, n, least);
    for (size_t i = 0; i < n; i++) s->key[i] = 0U - (s->w[i] < least);
    mark(s->d, s->w, s->key, n);
    return n;
}

static bool better(ranked a, ranked b) { return a.logit > b.logit || (!(a.logit < b.logit) && a.id < b.id); }

/* A binary heap whose worst is in front. */
static void sift_down(ranked *heap, size_t n, size_t i) {
    ranked moving = heap[i];
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && better(heap[child], heap[child + 1])) child++;
        if (!better(moving, heap[child])) break;
        heap[i] = heap[child];
    }
    heap[i] = moving;
}

/* The k best of the n logits in s->d, k small. One comparison decides for most: a later one has the higher id, so only a greater
 * logit can be better than the worst that is kept. */
static size_t keep_best(nb_sampler *s, size_t n, size_t k) {
    ranked heap[HEAP_MAX];
    for (size_t i = 0; i < k; i++) heap[i] = (ranked){s->d[i], (int32_t)i};
    for (size_t i = k / 2; i-- > 0;) sift_down(heap, k, i);
    for (size_t i = k; i += s->k->find(s->d + i, n - i, heap[0].logit), i < n; i++) {
        if (!(s->d[i] > heap[0].logit)) continue;
        heap[0] = (ranked){s->d[i], (int32_t)i};
        sift_down(heap, k, 0);
    }
    ranked worst = heap[0];
    size_t to = 0;
    for (size_t i = 0; to < k; i++) {
        i += s->k->find(s->d + i, n - i, worst.logit);
        if (s->d[i] > worst.logit || (int32_t)i <= worst.id) s->room.place[to++] = (uint32_t)i;
    }
    return move_up(s, to);
}

static size_t keep_top_k(nb_sampler *s, size_t n, size_t k) {
    if (k <= HEAP_MAX) return keep_best(s, n, k);
    for (size_t i = 0; i < n; i++) {
        /* Floats order as their bits do, negative ones the other way round; the best must have the smallest key. */
        uint32_t b = bits(s->d[i]);
        s->key[i] = b >> 31 ? b : ~b & INT32_MAX;
    }
    return keep_cut(s, n, nb_select(s->key, NULL, n, (double)k, s->room), MOVE_ALWAYS);
}

/* Sums run in lanes, which are folded at the end: one order on every machine, and eight additions at a time. */
static double fold(const double lanes[LANES]) {
    double sum = 0;
    for (size_t j = 0; j < LANES; j++) sum += lanes[j];
    return sum;
}

static double sum(const float *w, size_t n) {
    double lanes[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t j = 0; j < LANES; j++) lanes[j] += (double)w[i + j];
    for (; i < n; i++) lanes[i % LANES] += (double)w[i];
    return fold(lanes);
}

static double sum_of_products(const float *w, const float *d, size_t n) {
    double lanes[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t j = 0; j < LANES; j++) lanes[j] += (double)w[i + j] * (double)d[i + j];
    for (; i < n; i++) lanes[i % LANES] += (double)w[i] * (double)d[i];
    return fold(lanes);
}

/* Stage 5: from logits to distances and weights. */
static void weigh(nb_sampler *s, size_t n) {
    float best = s->d[s->k->argmax(s->d, n)], scale = 1 / s->params.temperature;
    if (isfinite(best)) {
        for (size_t i = 0; i < n; i++) {
            float d = (best - s->d[i]) * scale;
            s->d[i] = d < FARTHEST ? d : FARTHEST; /* also NaN */
            s->w[i] = -s->d[i];
        }
        (void)s->k->exp_sum(s->w, 0, n);
    } else { /* infinity - infinity is no number */
        for (size_t i = 0; i < n; i++) {
            bool one = s->d[i] >= best;
            s->d[i] = one ? 0 : FARTHEST;
            s->w[i] = one;
        }
    }
}

/* Stages 6 and 7: the first by the ranking in s->key whose weights reach `target`. */
static size_t keep_until(nb_sampler *s, size_t n, double target) {
    nb_cut cut = nb_select(s->key, s->w, n, target, s->room);
    if (s->params.min_keep > 1)
        cut = nb_cut_wider(cut, nb_select(s->key, NULL, n, s->params.min_keep, s->room));
    return keep_cut(s, n, cut, MOVE_FEW);
}

/* The surprisal of a token is d + log(sum of weights), so it lies as far from the entropy as d from its own mean. */
static size_t keep_typical(nb_sampler *s, size_t n) {
    double all = sum(s->w, n);
    float mean = (float)(sum_of_products(s->w, s->d, n) / all);
    for (size_t i = 0; i < n; i++) s->key[i] = bits(fabsf(s->d[i] - mean));
    return keep_until(s, n, (double)s->params.typical_p * all);
}

static void rank_by_distance(nb_sampler *s, size_t n) {
    for (size_t i = 0; i < n; i++) s->key[i] = bits(s->d[i]);
}

/* Tokens of less than (1 - p) / n each have together less than 1 - p, so the nucleus is without them; a thousandth of that is
 * left for roundings. */
static size_t keep_nucleus(nb_sampler *s, size_t n) {
    double all = sum(s->w, n), target = (double)s->params.top_p * all;
    float least = (float)(0.999 * (all - target) / (double)n);
    if (s->params.min_keep <= 1 && !many(count_heavy(s->w, n, least), n)) n = gather_heavy(s, n, least);
    rank_by_distance(s, n);
    return keep_until(s, n, target);
}

static size_t keep_likely(nb_sampler *s, size_t n) {
    float least = s->params.min_p * s->k->max(s->w, n);
    if (s->params.min_keep <= 1 || count_heavy(s->w, n, least) >= s->params.min_keep) return keep_heavy(s, n, least);
    rank_by_distance(s, n);
    return keep_cut(s, n, nb_select(s->key, NULL, n, s->params.min_keep, s->room), MOVE_FEW);
}

nb_candidates nb_sampler_candidates(nb_sampler *s, const float *logits) {
    const nb_sampler_params *p = &s->params;
    size_t n = s->vocab_size;
    for (size_t i = 0; i < s->moved; i++) s->id[i] = (int32_t)i;
    s->moved = 0;
    for (size_t i = 0; i < n; i++) s->d[i] = clean(logits[i]);
    change_logits(s, s->d);
    if (p->top_k && p->top_k < n) n = keep_top_k(s, n, p->top_k);
    weigh(s, n);
    if (p->typical_p > 0 && p->typical_p < 1) n = keep_typical(s, n);
    if (p->top_p < 1) n = keep_nucleus(s, n);
    if (p->min_p > 0) n = keep_likely(s, n);
    return (nb_candidates){.id = s->id, .weight = s->w, .n = n};
}

/* The first candidate at which the weights, added up, exceed `target` times their sum: first the block, then the candidate. */
static int32_t draw(nb_sampler *s, nb_candidates c, double target) {
    size_t n_blocks = (c.n + DRAW_BLOCK - 1) / DRAW_BLOCK, b = 0;
    double total = 0, reached = 0;
    for (size_t i = 0; i < n_blocks; i++)
        total += s->blocks[i] = sum(c.weight + i * DRAW_BLOCK, nb_min_size(DRAW_BLOCK, c.n - i * DRAW_BLOCK));
    target *= total;
    while (n_blocks > 1 && !(s->blocks[n_blocks - 1] > 0)) n_blocks--;
    while (b + 1 < n_blocks && reached + s->blocks[b] <= target) reached += s->blocks[b++];
    size_t i = b * DRAW_BLOCK, end = nb_min_size(i + DRAW_BLOCK, c.n);
    int32_t last = c.id[i]; /* for a target that rounding has put behind the block's end */
    for (; i < end; i++) {
        reached += (double)c.weight[i];
        if (reached > target) return c.id[i];
        if (c.weight[i] > 0) last = c.id[i];
    }
    return last;
}

static bool changes_logits(const nb_sampler *s) { return s->params.n_bias || s->n_ring; }

int32_t nb_sampler_next(nb_sampler *s, const float *logits) {
    if (!draws(&s->params)) {
        if (changes_logits(s)) {
            memcpy(s->d, logits, s->vocab_size * sizeof *s->d);
            change_logits(s, s->d);
            logits = s->d;
        }
        return (int32_t)s->k->argmax(logits, s->vocab_size);
    }
    nb_candidates c = nb_sampler_candidates(s, logits);
    return draw(s, c, nb_rng_uniform(&s->rng));
}
