/* Attention over pages in q8: a tile of readers over one KV head's text of 4096 positions, softmax included. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "bench/bench.h"
#include "core/attend.h"

enum { DEPTH = 4096, KV_HEADS = 4, MOST_READERS = 32 };
static const double BRACKET_SECONDS = 0.02;

typedef struct attention_case {
    const nb_kernels *tier;
    bench_machine *machine;
    uint32_t dim, group;
    bool decode; /* one reader, over more heads than a cache holds; else a tile of readers over heads that stay in it */
} attention_case;

typedef struct scene {
    nb_kv kv;
    uint32_t layers, n; /* readers */
    nb_reader readers[MOST_READERS];
    float *memory, *room;
} scene;

static float noise(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u;
    return (float)(*state >> 8 & 0xffff) / 32768 - 1;
}

/* The first layer is filled, the others are copies of it. */
static void fill_pages(scene *s, const nb_kernels *k, float *heads) {
    nb_kv_text *t = s->kv.texts;
    uint32_t seed = 1;
    size_t n = (size_t)KV_HEADS * s->kv.shape.head_dim;
    nb_kv_extend(&s->kv, t, DEPTH);
    for (uint32_t p = 0; p < DEPTH; p++) {
        for (size_t i = 0; i < 2 * n; i++) heads[i] = noise(&seed);
        nb_kv_store(&s->kv, k, t, 0, p, heads, heads + n);
    }
    for (uint32_t layer = 1; layer < s->layers; layer++)
        for (uint32_t p = 0; p < DEPTH / NB_KV_PAGE; p++)
            memcpy(nb_kv_page_at(&s->kv, t, layer, 0, p), nb_kv_page_at(&s->kv, t, 0, 0, p), nb_kv_leaf_bytes(&s->kv));
}

static nb_status scene_make(scene *s, const attention_case *c, nb_error *err) {
    nb_hparams h;
    nb_hparams_default(&h);
    h.n_layer = s->layers = c->decode ? 8192 / c->dim : 1; /* 290 MB */
    h.n_kv_head = KV_HEADS;
    h.n_head = KV_HEADS * c->group;
    h.head_dim = c->dim;
    const nb_kv_plan plan = {.n_texts = 1, .n_positions = DEPTH, .types = {NB_KV_Q8, NB_KV_Q8}};
    nb_status st = nb_kv_create(&s->kv, &h, &plan, err);
    if (st) return st;
    size_t query = (size_t)h.n_head * c->dim, room = nb_attend_scratch(&s->kv.shape, c->group);
    s->n = c->decode ? 1 : nb_attend_tile(c->group);
    s->memory = nb_alloc(2 * (size_t)s->n * query * sizeof(float));
    s->room = nb_alloc(room * sizeof(float));
    if (!s->memory || !s->room) return nb_oom(err, "queries", 2 * (size_t)s->n * query * sizeof(float));
    fill_pages(s, c->tier, s->memory);
    uint32_t seed = 2;
    for (size_t i = 0; i < s->n * query; i++) s->memory[i] = noise(&seed) / 2;
    for (uint32_t i = 0; i < s->n; i++)
        s->readers[i] = (nb_reader){.text = s->kv.texts, .position = DEPTH - s->n + i, .q = s->memory + i * query,
                                    .out = s->memory + (s->n + i) * query};
    return NB_OK;
}

static void scene_free(scene *s) {
    nb_kv_free(&s->kv);
    nb_free(s->memory);
    nb_free(s->room);
}

static void run_case(shim_state *state, void *arg) {
    const attention_case *c = arg;
    nb_error err = {0};
    scene s = {0};
    if (scene_make(&s, c, &err)) {
        shim_skip(state, err.text);
        scene_free(&s);
        return;
    }
    nb_probe kind = c->decode ? NB_PROBE_READ : NB_PROBE_Q8;
    double limit = bench_limit(c->machine, c->tier, kind, false, BRACKET_SECONDS) / 2;
    double begin = bench_now();
    for (uint32_t i = 0; shim_next(state); i++) {
        nb_attention a = {.kv = &s.kv, .layer = i / KV_HEADS % s.layers, .head = i % KV_HEADS, .group = c->group,
                          .n = s.n, .readers = s.readers};
        nb_attend(&a, c->tier, s.room);
    }
    double seconds = bench_now() - begin;
    limit += bench_limit(c->machine, c->tier, kind, false, BRACKET_SECONDS) / 2;
    size_t pages = DEPTH / NB_KV_PAGE;
    double bytes = (double)(pages * s.kv.shape.page_bytes);
    double operations = 4.0 * c->dim * DEPTH * c->group * s.n; /* two products */
    bench_count(state, seconds, bytes, operations);
    bench_percent(state, c->decode ? "%dram" : "%int8", seconds, c->decode ? bytes : operations, limit);
    scene_free(&s);
}

void bench_add_attention(const nb_kernels *tier, bench_machine *machine) {
    static const uint32_t dims[] = {64, 128}, groups[] = {1, 4, 8};
    char name[96];
    for (size_t i = 0; i < 12; i++) { /* prefill within groups within sizes */
        attention_case *c = malloc(sizeof *c); /* until the process ends */
        if (!c) continue;
        *c = (attention_case){.tier = tier, .machine = machine, .dim = dims[i / 6], .group = groups[i / 2 % 3],
                              .decode = i % 2 == 0};
        snprintf(name, sizeof name, "%s/attention_q8/d%u/g%u/%s", tier->isa, c->dim, c->group,
                 c->decode ? "decode" : "prefill");
        shim_register(name, run_case, c);
    }
}
