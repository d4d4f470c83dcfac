/* How fast panels of every type are quantized. */
#include <stdio.h>
#include <stdlib.h>
#include "base/mem.h"
#include "bench/bench.h"
#include "quant/quantize.h"

enum { COLS = 2048, WEIGHTS = NB_PANEL_ROWS * COLS };

typedef struct panel_case {
    const nb_kernels *tier;
    nb_type type;
} panel_case;

static void run_case(shim_state *s, void *arg) {
    const panel_case *c = arg;
    nb_quantizer q;
    nb_search search = nb_kernels_search(c->tier);
    float *w = nb_alloc(WEIGHTS * sizeof *w);
    uint8_t *panel = nb_alloc(WEIGHTS * sizeof *w);
    if (!w || !panel) {
        shim_skip(s, "out of memory");
    } else {
        bench_gaussian(w, WEIGHTS);
        nb_quantizer_init(&q, c->type, nb_q4_codebook, &search);
        nb_quant_error lost = {0};
        double begin = bench_now();
        while (shim_next(s)) nb_quantize_panel(&q, w, NB_PANEL_ROWS, COLS, COLS, panel, &lost);
        shim_counter(s, "ns/weight", (bench_now() - begin) * 1e9 / shim_iterations(s) / WEIGHTS);
    }
    nb_free(w);
    nb_free(panel);
}

void bench_add_quantizers(const nb_kernels *tier) {
    char name[96];
    for (int t = 0; t < NB_TYPE_COUNT; t++) {
        panel_case *c = nb_types[t].block_bytes ? malloc(sizeof *c) : NULL; /* until the process ends */
        if (!c) continue;
        *c = (panel_case){.tier = tier, .type = (nb_type)t};
        snprintf(name, sizeof name, "%s/quantize_%s/16x%d", tier->isa, nb_types[t].name, COLS);
        shim_register(name, run_case, c);
    }
}
