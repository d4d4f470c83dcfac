/* What it takes to choose a token from a vocabulary of 128k, stage by stage. */
#include <stdio.h>
#include <stdlib.h>
#include "base/mem.h"
#include "bench/bench.h"
#include "core/rng.h"
#include "core/sampler.h"

enum { VOCAB = 128256 }; /* Llama 3's */

#define NEUTRAL .top_p = 1, .repeat_penalty = 1
#define WARM NEUTRAL, .temperature = 0.8F

static const struct stage {
    const char *name;
    nb_sampler_params params;
} stages[] = {
    {"greedy", {NEUTRAL}},
    {"temperature", {WARM}},
    {"top_k", {WARM, .top_k = 50}},
    {"top_k_many", {WARM, .top_k = 20000}},
    {"typical", {WARM, .typical_p = 0.95F}},
    {"top_p", {.temperature = 0.8F, .repeat_penalty = 1, .top_p = 0.95F}},
    {"min_p", {WARM, .min_p = 0.05F}},
    {"penalties",
     {.temperature = 0.8F, .top_p = 1, .repeat_penalty = 1.1F, .frequency_penalty = 0.2F, .repeat_last_n = 1024}},
    {"all", {.temperature = 0.8F, .top_k = 20000, .typical_p = 0.95F, .top_p = 0.9F, .min_p = 0.05F, .repeat_penalty = 1.1F,
             .repeat_last_n = 64}},
};

/* Logits as a model's, where most tokens are hopeless, and as noise that says nothing, the most work. */
static const struct form {
    const char *name;
    double spread;
    int peaks; /* logits that stand out */
} forms[] = {{"peaked", 2, 40}, {"flat", 1, 0}};

typedef struct sampler_case {
    const nb_kernels *tier;
    const struct stage *stage;
    const struct form *form;
} sampler_case;

static void make_logits(const struct form *form, float *logits) {
    nb_rng rng = nb_rng_start(1, 0);
    for (size_t i = 0; i < VOCAB; i++) { /* a sum of uniform numbers, about normally distributed */
        double sum = 0;
        for (int j = 0; j < 6; j++) sum += nb_rng_uniform(&rng) - 0.5;
        logits[i] = (float)(form->spread * 1.4 * sum);
    }
    for (int i = 0; i < form->peaks; i++)
        logits[nb_rng_next(&rng) % VOCAB] = (float)(10 + 10 * nb_rng_uniform(&rng));
}

static void run_case(shim_state *state, void *arg) {
    const sampler_case *c = arg;
    nb_sampler *s = NULL;
    nb_sampler_room *room = NULL;
    float *logits = nb_alloc(VOCAB * sizeof *logits);
    if (!logits || nb_sampler_create(&s, &c->stage->params, 0, VOCAB, c->tier, NULL) ||
        nb_sampler_room_create(&room, VOCAB, NULL)) {
        nb_sampler_free(s);
        nb_free(logits);
        shim_skip(state, "out of memory");
        return;
    }
    make_logits(c->form, logits);
    double begin = bench_now();
    while (shim_next(state)) nb_sampler_accept(s, nb_sampler_next(s, room, logits));
    bench_count(state, bench_now() - begin, VOCAB * sizeof *logits, 0);
    nb_sampler_room_free(room);
    nb_sampler_free(s);
    nb_free(logits);
}

void bench_add_sampler(const nb_kernels *tier) {
    char name[96];
    for (size_t i = 0; i < sizeof stages / sizeof *stages; i++)
        for (size_t f = 0; f < sizeof forms / sizeof *forms; f++) {
            sampler_case *c = malloc(sizeof *c); /* until the process ends */
            if (!c) continue;
            *c = (sampler_case){.tier = tier, .stage = &stages[i], .form = &forms[f]};
            snprintf(name, sizeof name, "%s/sampler_%s/%s/n%d", tier->isa, stages[i].name, forms[f].name, VOCAB);
            shim_register(name, run_case, c);
        }
}
