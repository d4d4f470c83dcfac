#include "core/sampler.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>
#include "base/checked.h"
#include "base/mem.h"
#include "core/rng.h"
#include "core/select.h"

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
    int32_t *ring;       /* [ring_size] the latest tokens; ring_size is 0 without penalties */
    uint32_t ring_size, n_ring, next_slot;
};

/* Candidates, in the order of their ids. What a stage leaves out is marked, d = NaN and w = 0, or, when little is left,
 * the rest moves to the front. Until then id[i] is i: only the first `moved` need restoring for the next token. */
struct nb_sampler_room {
    const nb_sampler_params *p; /* of the sampler at work */
    const nb_kernels *k;
    size_t moved;
    float *d;              /* [vocab_size] logits, then how far each lies below the best, in units of the temperature */
    float *w;              /* weights */
    int32_t *id;
    uint32_t *key;         /* what a stage ranks by; NaN of d comes last */
    nb_select_room select; /* its place: also of those that stay */
    double *blocks;        /* sums of DRAW_BLOCK weights */
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

/* Whoever does not takes the best. */
static bool draws(const nb_sampler_params *p) { return p->temperature >= coldest; }

nb_status nb_sampler_room_create(nb_sampler_room **room, uint32_t vocab_size, nb_error *err) {
    *room = NULL;
    nb_sampler_room *r = nb_calloc(1, sizeof *r);
    size_t n = vocab_size;
    if (!r) return nb_oom(err, "room for a sampler", sizeof *r);
    r->d = nb_alloc(n * sizeof *r->d);
    r->w = nb_alloc(n * sizeof *r->w);
    r->id = nb_alloc(n * sizeof *r->id);
    r->key = nb_alloc(n * sizeof *r->key);
    r->select.bins = nb_alloc(NB_SELECT_BINS * sizeof *r->select.bins);
    r->select.place = nb_alloc(n * sizeof *r->select.place);
    r->blocks = nb_alloc((n / DRAW_BLOCK + 1) * sizeof *r->blocks);
    r->moved = n;
    if (r->d && r->w && r->id && r->key && r->select.bins && r->select.place && r->blocks) *room = r;
    else nb_sampler_room_free(r);
    return *room ? NB_OK : nb_oom(err, "room for a sampler", 20 * n);
}

void nb_sampler_room_free(nb_sampler_room *r) {
    if (!r) return;
    nb_free(r->d);
    nb_free(r->w);
    nb_free(r->id);
    nb_free(r->key);
    nb_free(r->select.bins);
    nb_free(r->select.place);
    nb_free(r->blocks);
    nb_free(r);
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
            return nb_fail(err, NB_ARGUMENT, "the bias of token %d: expected an id from 0 to %u",
                           (int)params->bias[i].id, (unsigned)vocab_size - 1);
    nb_sampler *s = nb_calloc(1, sizeof *s);
    if (!s) return nb_oom(err, "sampler", sizeof *s);
    s->params = *params;
    s->k = k;
    s->rng = nb_rng_start(params->seed, stream);
    s->vocab_size = vocab_size;
    s->ring_size = penalizes(params) ? params->repeat_last_n : 0;
    s->ring = nb_calloc(s->ring_size, sizeof *s->ring);
    s->bias = nb_calloc(params->n_bias, sizeof *s->bias);
    if (!s->ring || !s->bias) {
        st = nb_oom(err, "a sampler", s->ring_size * sizeof *s->ring + params->n_bias * sizeof *s->bias);
        nb_sampler_free(s);
        return st;
    }
    if (params->n_bias) memcpy(s->bias, params->bias, params->n_bias * sizeof *s->bias);
    *sampler = s;
    return NB_OK;
}

void nb_sampler_free(nb_sampler *s) {
    if (!s) return;
    nb_free(s->bias);
    nb_free(s->ring);
    nb_free(s);
}

nb_rng nb_sampler_rng(const nb_sampler *s) { return s->rng; }
void nb_sampler_resume(nb_sampler *s, const nb_rng *rng) { s->rng = *rng; }

void nb_sampler_accept(nb_sampler *s, int32_t id) {
    if (!s->ring_size || id < 0 || (uint32_t)id >= s->vocab_size) return;
    s->ring[s->next_slot] = id;
    s->n_ring += s->n_ring < s->ring_size;
    s->next_slot = (s->next_slot + 1) % s->ring_size;
}

/* ---- stages 1 and 2 */

/* Without NaN, and with one kind of zero, so that the order of bits is the order of values. */
static float clean(float logit) { return isnan(logit) ? -HUGE_VALF : logit + 0.0F; }

/* `count` [vocab_size] need not be initialised: of the tokens in the ring it becomes how often they are there. */
static void change_logits(const nb_sampler *s, float *d, uint32_t *count) {
    const nb_sampler_params *p = &s->params;
    for (size_t i = 0; i < p->n_bias; i++) d[s->bias[i].id] = clean(d[s->bias[i].id] + s->bias[i].bias);
    for (uint32_t slot = 0; slot < s->n_ring; slot++) count[s->ring[slot]] = 0;
    for (uint32_t slot = 0; slot < s->n_ring; slot++) count[s->ring[slot]]++;
    for (uint32_t slot = 0; slot < s->n_ring; slot++) {
        int32_t id = s->ring[slot];
        if (!count[id]) continue; /* once per token */
        float logit = d[id] > 0 ? d[id] / p->repeat_penalty : d[id] * p->repeat_penalty;
        d[id] = clean(logit - ((float)count[id] * p->frequency_penalty + p->presence_penalty));
        count[id] = 0;
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
static size_t move_up(nb_sampler_room *r, size_t n) {
    for (size_t j = 0; j < n; j++) {
        size_t i = r->select.place[j];
        r->id[j] = r->id[i];
        r->d[j] = r->d[i];
        r->w[j] = r->w[i];
    }
    r->moved = nb_max_size(r->moved, n);
    return n;
}

/* When so many of n stay, marking the others is faster than moving. */
static bool many(size_t staying, size_t n) { return staying > n / 4; }

/* The loops over all candidates have no branches, as which are kept is hard to foresee, and are such that compilers
 * make vectors of them. */

/* `out` has all bits set when candidate i goes, else none: d becomes NaN, w zero. */
static void mark(float *d, float *w, size_t i, uint32_t out) {
    d[i] = of_bits(bits(d[i]) | out);
    w[i] = of_bits(bits(w[i]) & ~out);
}

enum moving { MOVE_FEW, MOVE_ALWAYS };

static uint32_t count_up_to(const uint32_t *key, size_t begin, size_t end, uint32_t most) {
    uint32_t count = 0;
    for (size_t i = begin; i < end; i++) count += key[i] <= most;
    return count;
}

static void mark_above(nb_sampler_room *r, size_t begin, size_t end, uint32_t most) {
    float *d = r->d, *w = r->w;
    const uint32_t *key = r->key;
    for (size_t i = begin; i < end; i++) mark(d, w, i, 0U - (uint32_t)(key[i] > most));
}

/* Their places behind the first `to`; how many there are then. */
static size_t find_up_to(nb_sampler_room *r, size_t begin, size_t end, uint32_t most, size_t to) {
    uint32_t *place = r->select.place;
    const uint32_t *key = r->key;
    for (size_t i = begin; i < end; i++) {
        place[to] = (uint32_t)i;
        to += key[i] <= most;
    }
    return to;
}

/* Up to cut.before, keys that equal the cut's stay too; behind it smaller ones only, of which there are none when it is
 * 0. */
static size_t keep_cut(nb_sampler_room *r, size_t n, nb_cut cut, enum moving moving) {
    size_t ties = nb_min_size(cut.before, n);
    uint32_t key = cut.key, below = key - 1;
    if (moving == MOVE_FEW && key && many(count_up_to(r->key, 0, ties, key) + count_up_to(r->key, ties, n, below), n)) {
        mark_above(r, 0, ties, key);
        mark_above(r, ties, n, below);
        return n;
    }
    size_t staying = find_up_to(r, 0, ties, key, 0);
    if (key) staying = find_up_to(r, ties, n, below, staying);
    return move_up(r, staying);
}

static uint32_t count_heavy(const float *w, size_t n, float least) {
    uint32_t count = 0;
    for (size_t i = 0; i < n; i++) count += w[i] >= least;
    return count;
}

/* Those with a weight of at least `least`, which is above 0, move to the front. Where they are few, most of the way is
 * the find kernel's. */
static size_t gather_heavy(nb_sampler_room *r, size_t n, float least) {
    enum { STRETCH = 64 }; /* to look through where one is found */
    size_t to = 0;
    for (size_t i = r->k->find(r->w, n, least); i < n; i += i < n ? r->k->find(r->w + i, n - i, least) : 0)
        for (size_t end = nb_min_size(i + STRETCH, n); i < end; i++) {
            r->select.place[to] = (uint32_t)i;
            to += r->w[i] >= least;
        }
    return move_up(r, to);
}

static size_t keep_heavy(nb_sampler_room *r, size_t n, float least) {
    if (!many(count_heavy(r->w, n, least), n)) return gather_heavy(r, n, least);
    float *d = r->d, *w = r->w;
    for (size_t i = 0; i < n; i++) mark(d, w, i, 0U - (uint32_t)(w[i] < least));
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

/* The k best of the n logits in r->d, k small. One comparison decides for most: a later one has the higher id, so only
 * a greater logit can be better than the worst that is kept. */
static size_t keep_best(nb_sampler_room *r, size_t n, size_t k) {
    ranked heap[HEAP_MAX];
    for (size_t i = 0; i < k; i++) heap[i] = (ranked){r->d[i], (int32_t)i};
    for (size_t i = k / 2; i-- > 0;) sift_down(heap, k, i);
    for (size_t i = k; i += r->k->find(r->d + i, n - i, heap[0].logit), i < n; i++) {
        if (!(r->d[i] > heap[0].logit)) continue;
        heap[0] = (ranked){r->d[i], (int32_t)i};
        sift_down(heap, k, 0);
    }
    ranked worst = heap[0];
    size_t to = 0;
    for (size_t i = 0; to < k; i++) {
        i += r->k->find(r->d + i, n - i, worst.logit);
        if (r->d[i] > worst.logit || (int32_t)i <= worst.id) r->select.place[to++] = (uint32_t)i;
    }
    return move_up(r, to);
}

static size_t keep_top_k(nb_sampler_room *r, size_t n, size_t k) {
    if (k <= HEAP_MAX) return keep_best(r, n, k);
    for (size_t i = 0; i < n; i++) {
        /* Floats order as their bits do, negative ones the other way round; the best must have the smallest key. */
        uint32_t b = bits(r->d[i]);
        r->key[i] = b >> 31 ? b : ~b & INT32_MAX;
    }
    return keep_cut(r, n, nb_select(r->key, NULL, n, (double)k, r->select), MOVE_ALWAYS);
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
static void weigh(nb_sampler_room *r, size_t n) {
    float best = r->d[r->k->argmax(r->d, n)], scale = 1 / r->p->temperature;
    if (isfinite(best)) {
        for (size_t i = 0; i < n; i++) {
            float d = (best - r->d[i]) * scale;
            r->d[i] = d < FARTHEST ? d : FARTHEST; /* also NaN */
            r->w[i] = -r->d[i];
        }
        (void)r->k->exp_sum(r->w, 0, n);
    } else { /* infinity - infinity is no number */
        for (size_t i = 0; i < n; i++) {
            bool one = r->d[i] >= best;
            r->d[i] = one ? 0 : FARTHEST;
            r->w[i] = one;
        }
    }
}

/* Stages 6 and 7: the first by the ranking in r->key whose weights reach `target`. */
static size_t keep_until(nb_sampler_room *r, size_t n, double target) {
    nb_cut cut = nb_select(r->key, r->w, n, target, r->select);
    if (r->p->min_keep > 1)
        cut = nb_cut_wider(cut, nb_select(r->key, NULL, n, r->p->min_keep, r->select));
    return keep_cut(r, n, cut, MOVE_FEW);
}

/* The surprisal of a token is d + log(sum of weights), so it lies as far from the entropy as d from its own mean. */
static size_t keep_typical(nb_sampler_room *r, size_t n) {
    double all = sum(r->w, n);
    float mean = (float)(sum_of_products(r->w, r->d, n) / all);
    for (size_t i = 0; i < n; i++) r->key[i] = bits(fabsf(r->d[i] - mean));
    return keep_until(r, n, (double)r->p->typical_p * all);
}

static void rank_by_distance(nb_sampler_room *r, size_t n) {
    for (size_t i = 0; i < n; i++) r->key[i] = bits(r->d[i]);
}

/* Tokens of less than (1 - p) / n each have together less than 1 - p, so the nucleus is without them; a thousandth of
 * that is left for roundings. */
static size_t keep_nucleus(nb_sampler_room *r, size_t n) {
    double all = sum(r->w, n), target = (double)r->p->top_p * all;
    float least = (float)(0.999 * (all - target) / (double)n);
    if (r->p->min_keep <= 1 && !many(count_heavy(r->w, n, least), n)) n = gather_heavy(r, n, least);
    rank_by_distance(r, n);
    return keep_until(r, n, target);
}

static size_t keep_likely(nb_sampler_room *r, size_t n) {
    float least = r->p->min_p * r->k->max(r->w, n);
    if (r->p->min_keep <= 1 || count_heavy(r->w, n, least) >= r->p->min_keep) return keep_heavy(r, n, least);
    rank_by_distance(r, n);
    return keep_cut(r, n, nb_select(r->key, NULL, n, r->p->min_keep, r->select), MOVE_FEW);
}

nb_candidates nb_sampler_candidates(const nb_sampler *s, nb_sampler_room *r, const float *logits) {
    const nb_sampler_params *p = &s->params;
    size_t n = s->vocab_size;
    r->p = p;
    r->k = s->k;
    for (size_t i = 0; i < r->moved; i++) r->id[i] = (int32_t)i;
    r->moved = 0;
    for (size_t i = 0; i < n; i++) r->d[i] = clean(logits[i]);
    change_logits(s, r->d, r->key);
    if (p->top_k && p->top_k < n) n = keep_top_k(r, n, p->top_k);
    weigh(r, n);
    if (p->typical_p > 0 && p->typical_p < 1) n = keep_typical(r, n);
    if (p->top_p < 1) n = keep_nucleus(r, n);
    if (p->min_p > 0) n = keep_likely(r, n);
    return (nb_candidates){.id = r->id, .weight = r->w, .n = n};
}

/* The first candidate at which the weights, added up, exceed `target` times their sum: first the block, then the
 * candidate. */
static int32_t draw(nb_sampler_room *r, nb_candidates c, double target) {
    size_t n_blocks = (c.n + DRAW_BLOCK - 1) / DRAW_BLOCK, b = 0;
    double total = 0, reached = 0;
    for (size_t i = 0; i < n_blocks; i++)
        total += r->blocks[i] = sum(c.weight + i * DRAW_BLOCK, nb_min_size(DRAW_BLOCK, c.n - i * DRAW_BLOCK));
    target *= total;
    while (n_blocks > 1 && !(r->blocks[n_blocks - 1] > 0)) n_blocks--;
    while (b + 1 < n_blocks && reached + r->blocks[b] <= target) reached += r->blocks[b++];
    size_t i = b * DRAW_BLOCK, end = nb_min_size(i + DRAW_BLOCK, c.n);
    int32_t last = c.id[i]; /* for a target that rounding has put behind the block's end */
    for (; i < end; i++) {
        reached += (double)c.weight[i];
        if (reached > target) return c.id[i];
        if (c.weight[i] > 0) last = c.id[i];
    }
    return last;
}

int32_t nb_sampler_next(nb_sampler *s, nb_sampler_room *r, const float *logits) {
    if (draws(&s->params)) return draw(r, nb_sampler_candidates(s, r, logits), nb_rng_uniform(&s->rng));
    if (s->params.n_bias || s->n_ring) {
        memcpy(r->d, logits, s->vocab_size * sizeof *r->d);
        change_logits(s, r->d, r->key);
        logits = r->d;
    }
    size_t best = s->k->argmax(logits, s->vocab_size);
    return logits[best] > -HUGE_VALF ? (int32_t)best : 0; /* NaN and -infinity are equals: the lowest id */
}
